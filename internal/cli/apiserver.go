package cli

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	cliflag "k8s.io/component-base/cli/flag"

	"github.com/knarr-io/knarr"
	"github.com/knarr-io/knarr/internal/cli/apiserverflags"
	"github.com/knarr-io/knarr/internal/version"
)

// apiServer is knarr called as kube-apiserver: its command line, and objects in
// memory.
type apiServer struct {
	*serveFlags
	etcdServers []string
}

// controllersVariable says which of kube-controller-manager's controllers run, for
// suites whose flags of kube-apiserver are fixed. By default none do: suites that
// were written for kube-apiserver alone count on what they have made being all there
// is, and finalize namespaces themselves.
const controllersVariable = "KNARR_CONTROLLERS"

func newAPIServerFlags() *apiServer {
	s := &apiServer{serveFlags: newServeFlags()}
	s.Controllers = []string{}
	if given := os.Getenv(controllersVariable); given != "" {
		s.Controllers = strings.Split(given, ",")
	}
	return s
}

func newAPIServer() *cobra.Command {
	s := newAPIServerFlags()
	cmd := &cobra.Command{
		Use:   apiServerName,
		Short: "Serve the Kubernetes API, for tests",
		Long: `knarr called as kube-apiserver: it takes kube-apiserver's flags, listens on 127.0.0.1
unless told otherwise, and keeps its objects in memory. --etcd-servers has to name the
etcd that knarr envtest has made.

As kube-apiserver, it does nothing of kube-controller-manager's work. --controllers, or
the variable KNARR_CONTROLLERS, set to * has it do what knarr serve does.

It ends with the process that started it.`,
		Version: version.Kubernetes(),
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return s.run(cmd)
		},
	}
	cmd.SetVersionTemplate("Kubernetes {{.Version}}\n")
	s.addTo(cmd.Flags())
	return cmd
}

func (s *apiServer) addTo(fs *pflag.FlagSet) {
	fs.SortFlags = false
	fs.SetNormalizeFunc(cliflag.WordSepNormalizeFunc)
	fs.StringSliceVar(&s.etcdServers, "etcd-servers", nil, "where the etcd of knarr envtest is")
	all := pflag.NewFlagSet("", pflag.ContinueOnError)
	s.serveFlags.addTo(all)
	all.VisitAll(func(f *pflag.Flag) {
		if strings.HasPrefix(f.Name, "etcd-") {
			return // the etcd that there is keeps nothing
		}
		// Whether knarr does what kube-controller-manager would is for tests to say.
		if apiserverflags.Has(f.Name) || f.Name == "controllers" {
			fs.AddFlag(f)
		}
	})
	s.authorization.all = fs // where they are given
	mode := fs.Lookup("authorization-mode")
	mode.DefValue = "[AlwaysAllow]"
	addIdle(fs, ofAPIServer)
}

// options turns the flags into options, with kube-apiserver's defaults where
// those of serve are others.
func (s *apiServer) options() (knarr.Options, error) {
	if len(s.etcdServers) == 0 {
		return knarr.Options{}, errors.New("--etcd-servers must be specified")
	}
	o, err := s.serveFlags.options()
	if err != nil {
		return o, err
	}
	o.DataDir, o.Store, o.Etcd = "", knarr.Memory, knarr.EtcdOptions{}
	if len(o.AuthorizationModes) == 0 && o.AuthorizationConfig == "" {
		o.AuthorizationModes = []string{"AlwaysAllow"}
	}
	// Who is allowed everything has to be somebody: as kube-apiserver.
	if slices.Contains(o.AuthorizationModes, "AlwaysAllow") && o.AuthenticationConfigFile == "" {
		o.AnonymousAuth = new(bool)
	}
	// kube-apiserver serves with what it finds here. knarr would keep an
	// authority here, too, which nobody needs who has brought certificates.
	if found := filepath.Join(o.CertDir, "apiserver"); o.CertDir != "" && o.TLSCertFile == "" && !missing(found+".crt") && !missing(found+".key") {
		o.TLSCertFile, o.TLSPrivateKeyFile = found+".crt", found+".key"
	}
	if o.TLSCertFile != "" {
		o.CertDir = ""
	}
	return o, nil
}

func (s *apiServer) run(cmd *cobra.Command) error {
	o, err := s.options()
	if err != nil {
		return err
	}
	if err := s.log(); err != nil {
		return err
	}
	ctx, release := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
	defer release()
	ctx, cancel := untilOrphaned(ctx)
	defer cancel()
	if err := findStandIn(ctx, s.etcdServers); err != nil {
		if ctx.Err() != nil {
			return nil // told to stop
		}
		return err
	}
	return serve(ctx, release, o, func(url string, took time.Duration) {
		fmt.Fprintf(cmd.ErrOrStderr(), "knarr v%s (Kubernetes %s) serves %s, ready in %d ms, objects in memory\n",
			version.Knarr, version.Kubernetes(), url, took.Milliseconds())
	})
}
