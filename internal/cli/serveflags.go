package cli

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	cliflag "k8s.io/component-base/cli/flag"
	"k8s.io/klog/v2"

	"github.com/knarr-io/knarr"
	"github.com/knarr-io/knarr/internal/cli/apiserverflags"
	"github.com/knarr-io/knarr/internal/version"
)

// serveFlags are the flags of serve where they differ in form from the options
// that they become.
type serveFlags struct {
	knarr.Options
	authorization authorizationFlags

	tls               tlsFlags
	authentication    authenticationFlags
	admission         admissionFlags
	store             string
	etcd              etcdFlags
	runtimeConfig     cliflag.ConfigurationMap
	allowPrivileged   bool
	fairness          bool
	rejectRedirects   bool
	minRequestTimeout int // seconds
	logging           *flag.FlagSet
}

// newServeFlags returns the flags with their defaults.
func newServeFlags() *serveFlags {
	return &serveFlags{
		Options: knarr.Options{
			DataDir:                     defaultDataDir,
			BindAddress:                 net.IPv4(127, 0, 0, 1),
			SecurePort:                  6443,
			ServiceClusterIPRange:       "10.0.0.0/24",
			ServiceNodePortRange:        utilnet.PortRange{Base: 30000, Size: 2768},
			EventTTL:                    time.Hour,
			HistoryRetention:            5 * time.Minute,
			HistoryBytes:                64 << 20,
			RequestTimeout:              time.Minute,
			MaxRequestsInflight:         400,
			MaxMutatingRequestsInflight: 200,
			FeatureGates:                map[string]bool{},
			ServiceAccountIssuers:       []string{"https://kubernetes.default.svc.cluster.local"},
			Controllers:                 []string{"*"},
			Audit:                       knarr.DefaultAudit(),
			ClusterSigning:              knarr.ClusterSigning{Duration: 365 * 24 * time.Hour},
		},
		store:             string(knarr.Disk),
		runtimeConfig:     cliflag.ConfigurationMap{},
		allowPrivileged:   true,
		fairness:          true,
		rejectRedirects:   true,
		minRequestTimeout: 1800,
	}
}

func (f *serveFlags) addTo(fs *pflag.FlagSet) {
	fs.SortFlags = false
	// As in kube-apiserver, an underscore may stand for a dash.
	fs.SetNormalizeFunc(cliflag.WordSepNormalizeFunc)

	fs.StringVar(&f.DataDir, "data-dir", f.DataDir, "directory for objects, certificates and admin.kubeconfig")
	fs.StringVar(&f.store, "store", f.store, `where objects are kept: "disk", "etcd", which --etcd-servers implies, or "memory", which forgets them`)
	f.etcd.addTo(fs, &f.Options)

	fs.IntVar(&f.SecurePort, "secure-port", f.SecurePort, "port to serve HTTPS on; 0 takes a free one")
	fs.IPVar(&f.BindAddress, "bind-address", f.BindAddress, "IP address to listen on")
	fs.IPVar(&f.AdvertiseAddress, "advertise-address", f.AdvertiseAddress, "IP address at which others reach the server (default --bind-address, or one of this machine)")
	fs.BoolVar(&f.EnableAggregatorRouting, "enable-aggregator-routing", f.EnableAggregatorRouting, "pass requests on to the endpoints of Services instead of their addresses")
	fs.BoolVar(&f.rejectRedirects, "aggregator-reject-forwarding-redirect", f.rejectRedirects, "refuse answers of other servers that would send the client elsewhere")

	f.tls.addTo(fs, &f.Options)
	f.authentication.addTo(fs, &f.Options)
	f.authorization.addTo(fs)

	f.admission.addTo(fs, &f.Options)
	fs.StringSliceVar(&f.Controllers, "controllers", f.Controllers, "controllers of kube-controller-manager to run: * for all there are, name or -name for one")
	addSigningFlags(fs, &f.ClusterSigning)
	addLifecycleFlags(fs, &f.Options)
	addKubeletFlags(fs, &f.Kubelet)

	fs.StringVar(&f.ServiceClusterIPRange, "service-cluster-ip-range", f.ServiceClusterIPRange, "network of the addresses of Services, or two of different families, divided by a comma")
	fs.Var(&f.ServiceNodePortRange, "service-node-port-range", "node ports of Services, as 30000-32767, 30000+2767 or one port")
	fs.Var(&f.runtimeConfig, "runtime-config", "API versions and resources to switch on or off: api/all, api/beta, <group>/<version>[/<resource>], each =true or =false")
	fs.Var(cliflag.NewMapStringBool(&f.FeatureGates), "feature-gates", "features of Kubernetes to switch on or off: <name>=true or =false")
	fs.BoolVar(&f.allowPrivileged, "allow-privileged", f.allowPrivileged, "let pods be privileged")
	fs.DurationVar(&f.EventTTL, "event-ttl", f.EventTTL, "how long events are kept")

	addAuditFlags(fs, f.Audit)
	addEncryptionFlags(fs, &f.Options)
	addHistoryFlags(fs, &f.Options)

	fs.DurationVar(&f.RequestTimeout, "request-timeout", f.RequestTimeout, "how long a request may take that is not a watch")
	fs.IntVar(&f.minRequestTimeout, "min-request-timeout", f.minRequestTimeout, "how many seconds a watch lasts at least, unless its client says")
	fs.IntVar(&f.MaxRequestsInflight, "max-requests-inflight", f.MaxRequestsInflight, "how many reading requests may run at once; 0 for no limit")
	fs.IntVar(&f.MaxMutatingRequestsInflight, "max-mutating-requests-inflight", f.MaxMutatingRequestsInflight, "how many writing requests may run at once; 0 for no limit")
	fs.BoolVar(&f.fairness, "enable-priority-and-fairness", f.fairness, "let FlowSchemas and PriorityLevelConfigurations say whose requests run first, instead of the two limits each for itself")
	fs.DurationVar(&f.ShutdownDelayDuration, "shutdown-delay-duration", f.ShutdownDelayDuration, "how long to go on serving, not ready, when told to stop")

	f.logging = flag.NewFlagSet("", flag.ContinueOnError)
	klog.InitFlags(f.logging)
	fs.AddGoFlag(f.logging.Lookup("v"))
	fs.AddGoFlag(f.logging.Lookup("vmodule"))
}

// log has the log say no more than what is wrong, unless more was asked for:
// upstream's code tells what it begins and ends.
func (f *serveFlags) log() error {
	if f.logging.Lookup("v").Value.String() != "0" || f.logging.Lookup("vmodule").Value.String() != "" {
		return nil
	}
	klog.SetOutput(io.Discard) // in place of files
	return errors.Join(f.logging.Set("logtostderr", "false"), f.logging.Set("stderrthreshold", "WARNING"))
}

// options checks what only flags can get wrong and returns the options.
func (f *serveFlags) options() (knarr.Options, error) {
	o := f.Options
	switch {
	case o.DataDir == "":
		return o, errors.New("--data-dir is empty; name a directory, or leave the flag out for ./" + defaultDataDir)
	case o.EventTTL <= 0:
		return o, errors.New("--event-ttl must be more than 0")
	case o.RequestTimeout <= 0:
		return o, errors.New("--request-timeout must be more than 0")
	case f.minRequestTimeout <= 0:
		return o, errors.New("--min-request-timeout must be more than 0")
	case o.ShutdownDelayDuration < 0:
		return o, errors.New("--shutdown-delay-duration must not be negative")
	case o.MaxRequestsInflight < 0:
		return o, errors.New("--max-requests-inflight must not be negative; 0 is no limit")
	case o.MaxMutatingRequestsInflight < 0:
		return o, errors.New("--max-mutating-requests-inflight must not be negative; 0 is no limit")
	}
	if err := checkHistory(&o); err != nil {
		return o, err
	}
	f.authorization.apply(&o)
	f.admission.into(&o)
	f.etcd.complete(&o, f.store)
	o.RuntimeConfig = f.runtimeConfig
	o.AllowPrivileged = &f.allowPrivileged
	o.EnablePriorityAndFairness = &f.fairness
	f.tls.complete(&o)
	f.authentication.complete(&o)
	o.AggregatorRejectForwardingRedirect = &f.rejectRedirects
	o.MinRequestTimeout = time.Duration(f.minRequestTimeout) * time.Second
	o.TerminatedPodGCThreshold = unlimited(o.TerminatedPodGCThreshold)
	o.MaxRequestsInflight = unlimited(o.MaxRequestsInflight)
	o.MaxMutatingRequestsInflight = unlimited(o.MaxMutatingRequestsInflight)
	return o, nil
}

// unlimited turns the 0 of kube-apiserver's flags into what an option says for
// no limit, where 0 is the default.
func unlimited(n int) int {
	if n == 0 {
		return -1
	}
	return n
}

// flagError says what is wrong with a flag, and for one that is not here
// whether kube-apiserver has it.
func flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return err
	}
	name := unknown.GetSpecifiedName()
	if upstream := strings.ReplaceAll(name, "_", "-"); apiserverflags.Has(upstream) {
		return fmt.Errorf("kube-apiserver has a flag --%s, but it is not implemented in knarr %s; leave it out", upstream, version.Knarr)
	}
	dashes := "--"
	if unknown.GetSpecifiedShortnames() != "" {
		dashes = "-"
	}
	return fmt.Errorf("there is no flag %s%s; %s --help lists those there are", dashes, name, cmd.CommandPath())
}
