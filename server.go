package knarr

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	apidiscovery "k8s.io/apiserver/pkg/endpoints/discovery"
	"k8s.io/apiserver/pkg/util/flowcontrol"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/knarr-io/knarr/internal/audit"
	"github.com/knarr-io/knarr/internal/auth/authn"
	"github.com/knarr-io/knarr/internal/auth/authz"
	"github.com/knarr-io/knarr/internal/bootstrap"
	"github.com/knarr-io/knarr/internal/componentstatus"
	"github.com/knarr-io/knarr/internal/connect"
	"github.com/knarr-io/knarr/internal/controller"
	"github.com/knarr-io/knarr/internal/controller/definitions"
	"github.com/knarr-io/knarr/internal/controller/everynamespace"
	"github.com/knarr-io/knarr/internal/discovery"
	"github.com/knarr-io/knarr/internal/endpoint"
	"github.com/knarr-io/knarr/internal/health"
	"github.com/knarr-io/knarr/internal/informers"
	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/kind/native"
	"github.com/knarr-io/knarr/internal/kubeconfig"
	"github.com/knarr-io/knarr/internal/loopback"
	"github.com/knarr-io/knarr/internal/openapi"
	"github.com/knarr-io/knarr/internal/pki"
	"github.com/knarr-io/knarr/internal/pods"
	"github.com/knarr-io/knarr/internal/process"
	"github.com/knarr-io/knarr/internal/reviews"
	"github.com/knarr-io/knarr/internal/service"
	"github.com/knarr-io/knarr/internal/serviceaccount"
	"github.com/knarr-io/knarr/internal/state"
	"github.com/knarr-io/knarr/internal/store/etcd"
	"github.com/knarr-io/knarr/internal/verb"
	"github.com/knarr-io/knarr/internal/version"
)

// Server is a running server. Its methods are safe for concurrent use.
type Server struct {
	options Options
	access  kubeconfig.Access
	// authority is the server's own.
	authority *pki.Authority
	listener  net.Listener
	http      *http.Server
	health    *health.Handler
	state     *state.State
	// storeChecks tell how the store is, and what encrypts it; storeErr the first
	// of it alone.
	storeChecks []health.Check
	storeErr    func() error
	cluster     *etcd.Store // nil unless the store is one
	// authenticator finds out who asks, and authorizer decides who may do what.
	authenticator *authn.Authenticator
	authorizer    *authz.Authorizer
	aggregation   *aggregation
	connections   *connect.Connections
	definitions   *definitions.Keeper
	// mark is what Reset goes back to; nil where there is no way back.
	mark atomic.Pointer[state.Mark]
	// informers and loopback let upstream's code read and write the server's
	// objects as clients do.
	informers *informers.Factory
	loopback  loopback.Transport
	fairness  flowcontrol.Interface // nil without
	audit     *audit.Auditor        // nil for none

	// description is what OpenAPI tells, once there is something that serves it.
	description atomic.Pointer[openapi.Handler]

	requests *gate
	stopping chan struct{} // closed when watches are to end
	// background is what the server does by itself; cancel ends it.
	background sync.WaitGroup
	running    context.Context
	cancel     context.CancelFunc
	stop       sync.Once
	stopErr    error
	served     chan struct{} // closed when the listener is no longer served
	serveErr   error
}

// Start starts a server and returns when it is ready. ctx is for starting
// only: its end does not stop the server. What has been opened when Start
// fails is closed again.
func Start(ctx context.Context, o Options) (*Server, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	if err := process.Set(process.Settings{FeatureGates: o.FeatureGates, AllowPrivileged: *o.AllowPrivileged}); err != nil {
		return nil, err
	}
	if err := o.checkFrontProxies(); err != nil {
		return nil, err
	}
	s := &Server{options: o, requests: newGate(), stopping: make(chan struct{}), served: make(chan struct{})}
	if err := s.start(ctx); err != nil {
		if s.listener != nil {
			_ = s.listener.Close() // nothing was accepted
		}
		_ = s.abandon(ctx) // what went wrong is err; this could only add to it
		return nil, err
	}
	return s, nil
}

// complete checks the options and fills in defaults.
func (o *Options) complete() error {
	if o.Store == "" {
		o.Store = Memory
		if o.DataDir != "" {
			o.Store = Disk
		}
		if len(o.Etcd.Servers) > 0 {
			o.Store = Etcd
		}
	}
	switch {
	case o.Store != Disk && o.Store != Memory && o.Store != Etcd:
		return fmt.Errorf("store %q is not known; use %q, %q or %q", o.Store, Disk, Etcd, Memory)
	case o.Store == Disk && o.DataDir == "":
		return errors.New("the disk store needs a data directory")
	case o.SecurePort < 0 || o.SecurePort > 65535:
		return fmt.Errorf("port %d is not between 0 and 65535", o.SecurePort)
	}
	if err := o.completeEtcd(); err != nil {
		return err
	}
	if err := o.checkEncryption(); err != nil {
		return err
	}
	if _, err := o.tokenSettings(); err != nil {
		return err
	}
	authorization := o.authorization()
	if err := authorization.Validate(); err != nil {
		return err
	}
	if err := o.checkAuthentication(); err != nil {
		return err
	}
	if err := o.checkServing(); err != nil {
		return err
	}
	if _, err := controller.Enable(o.Controllers); err != nil {
		return err
	}
	if err := o.admissionSettings().Check(); err != nil {
		return err
	}
	if err := o.ClusterSigning.check(); err != nil {
		return err
	}
	if err := o.completeLifecycle(); err != nil {
		return err
	}
	if o.BindAddress == nil {
		o.BindAddress = net.IPv4(127, 0, 0, 1)
	}
	if o.ServiceClusterIPRange == "" {
		o.ServiceClusterIPRange = "10.0.0.0/24"
	}
	if o.AllowPrivileged == nil {
		yes := true
		o.AllowPrivileged = &yes
	}
	return nil
}

// start brings the server up. What it has opened is in s, also when it fails.
func (s *Server) start(ctx context.Context) error {
	o := &s.options
	ranges, err := o.serviceRanges()
	if err != nil {
		return err
	}
	ips := ranges[0]
	if s.listener, err = listen(o.BindAddress, o.SecurePort); err != nil {
		return err
	}
	if o.Audit != nil {
		if s.audit, err = audit.New(o.Audit); err != nil {
			return err
		}
	}
	rules := &references{}
	catalogue, err := native.Catalogue(native.Options{
		RuntimeConfig: o.RuntimeConfig, EventTTL: o.EventTTL, IPFamily: family(ips),
		Authorizer: rules, RoleRules: rules, Resources: rules, Policies: rules, Namespaces: rules,
	})
	if err != nil {
		return err
	}
	st, err := s.openEncrypted(ctx, catalogue)
	if err != nil {
		return err
	}
	s.state, err = state.Start(ctx, st, state.Options{Retention: o.HistoryRetention, HistoryBytes: o.HistoryBytes})
	if err != nil {
		return err
	}
	seen := o.files()
	certs, err := loadCertificates(o, net.IP(ips.Addr().Next().AsSlice()))
	if err != nil {
		return err
	}
	s.authority = certs.bundle.CA
	s.access = kubeconfig.Access{Server: s.URL(), CA: certs.trust, Cert: certs.bundle.Admin.CertPEM, Key: certs.bundle.Admin.KeyPEM}
	rules.state, rules.native = s.state, catalogue
	if err := s.authorize(rules); err != nil {
		return err
	}
	if s.aggregation, err = s.newAggregation(catalogue, certs.proxies); err != nil {
		return err
	}
	keeper, err := newDefinitions(catalogue, s.aggregation.resolver)
	if err != nil {
		return err
	}
	s.definitions = keeper
	s.informers = informers.New(s.state, keeper.Catalogue)
	rules.current, rules.elsewhere = keeper.Catalogue, s.loopback.Config
	verbs, err := s.prepare(ctx, catalogue, keeper, certs, ranges)
	if err != nil {
		return err
	}
	handler, err := s.handler(keeper.Catalogue, verbs, certs, ips)
	if err != nil {
		return err
	}
	s.loopback.Serve(s.requests.around(handler))
	s.followFiles(s.running, seen, certs)
	if o.DataDir != "" {
		if err := s.access.WriteFile(filepath.Join(o.DataDir, "admin.kubeconfig")); err != nil {
			return err
		}
	}
	if err := s.Checkpoint(ctx); err != nil && !errors.Is(err, state.ErrNoWayBack) {
		return err
	}
	s.serve(handler, certs)
	return nil
}

// listen opens the port, or says in one line why it cannot.
func listen(address net.IP, port int) (net.Listener, error) {
	hostPort := net.JoinHostPort(address.String(), strconv.Itoa(port))
	l, err := net.Listen("tcp", hostPort)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s is taken; choose another port with --secure-port, or 0 for a free one", hostPort)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("%s is not an address of this machine; choose another with --bind-address", address)
	case err != nil:
		return nil, fmt.Errorf("cannot listen on %s: %w", hostPort, err)
	}
	return l, nil
}

// prepare makes the verbs and the objects that every server holds.
func (s *Server) prepare(ctx context.Context, catalogue *kind.Catalogue, keeper *definitions.Keeper, certs *certificates, ranges []netip.Prefix) (*verb.Verbs, error) {
	owned := func(v *kind.Version, obj runtime.Object, manager string) runtime.Object {
		return keeper.Ownership(v, nil).Update(v.Resource.New(), obj, manager)
	}
	enabled, err := controller.Enable(s.options.Controllers)
	if err != nil {
		return nil, err
	}
	content := everynamespace.New(s.state, catalogue, everynamespace.Options{Enabled: enabled, RootCA: certs.trust, Own: owned})
	allocator := service.New(s.state, catalogue, service.Options{
		Families:  families(ranges),
		NodePorts: s.options.ServiceNodePortRange,
		Own: func(v *kind.Version, address runtime.Object) (runtime.Object, error) {
			return owned(v, address, "kube-apiserver"), nil
		},
	})
	companions := map[schema.GroupResource]verb.Companion{
		everynamespace.Resource: content,
		service.Resource:        allocator,
	}
	own := &verb.Verbs{State: s.state, Companions: companions, Ownership: keeper.Ownership}
	first := bootstrap.Options{
		ServiceRanges:         ranges,
		ServiceCIDRController: enabled[controller.ServiceCIDRs],
		AdvertiseAddress:      s.options.AdvertiseAddress,
		BindAddress:           s.options.BindAddress,
		Port:                  s.port(),
		ClientCA:              certs.clients.pem(),
		FrontProxies:          certs.proxies.told(),
		Fairness:              s.options.fairness(),
	}
	if err := bootstrap.Run(ctx, own, catalogue, first); err != nil {
		return nil, fmt.Errorf("preparing the first objects: %w", err)
	}
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.running, s.cancel = background, cancel
	s.background.Go(func() { s.informers.Run(background) })
	if err := s.startFairness(background); err != nil {
		return nil, err
	}
	s.background.Go(func() { bootstrap.KeepIdentity(background, own, catalogue, first) })
	admitted, err := s.newAdmission(background, keeper)
	if err != nil {
		return nil, err
	}
	verbs := &verb.Verbs{
		State:      s.state,
		Admission:  admitted,
		Authorizer: s.authorizer,
		Ownership:  keeper.Ownership,
		Companions: companions,
	}
	verbs.Actions = pods.Actions(verbs, keeper.Catalogue)
	verbs.Actions[serviceaccount.Key] = serviceaccount.NewTokenRequests(certs.issuer, tokenObjects(verbs, keeper.Catalogue), verbs.Authorizer)
	maps.Copy(verbs.Actions, reviews.Actions(catalogue, reviews.Options{
		// There is none yet; nobody asks before the server serves.
		Authenticator: authenticator.RequestFunc(func(r *http.Request) (*authenticator.Response, bool, error) {
			return s.authenticator.AuthenticateRequest(r)
		}),
		APIAudiences: certs.issuer.Audiences(), Authorizer: s.authorizer, Rules: s.authorizer,
	}))
	if err := s.connect(verbs, catalogue, ranges); err != nil {
		return nil, err
	}
	verbs.Computed = map[schema.GroupResource]verb.Computed{componentstatus.Resource: componentstatus.New(s.storeErr)}
	s.keepDefinitions(ctx, background, verbs, keeper)
	s.background.Go(func() { s.authorizer.Run(background) })
	s.background.Go(func() { bootstrap.KeepFlowControl(background, verbs, catalogue, clock.RealClock{}) })
	s.background.Go(func() { s.keepTrust(background, verbs, catalogue, first, certs) })
	s.keepServices(background, verbs, catalogue, allocator, first)
	s.keepAggregation(background, verbs, catalogue)
	return verbs, s.control(background, world{verbs, catalogue, keeper.Catalogue, certs, content, admitted}, enabled)
}

// family is that of a network.
func family(p netip.Prefix) corev1.IPFamily {
	if p.Addr().Is4() {
		return corev1.IPv4Protocol
	}
	return corev1.IPv6Protocol
}

// handler puts the HTTP side together.
func (s *Server) handler(current func() *kind.Catalogue, verbs *verb.Verbs, certs *certificates, ips netip.Prefix) (http.Handler, error) {
	issuer := certs.issuer
	who, err := s.newAuthenticator(certs, tokenObjects(verbs, current))
	if err != nil {
		return nil, err
	}
	s.authenticator = who
	s.health = health.New(append([]health.Check{health.Ping(), health.Log(klog.Flush)}, s.storeChecks...)...)
	documents := issuerDocuments(issuer, s.address())
	describe := openapi.Options{Catalogue: current, Version: version.Info(), Issuer: documents != nil}
	tell := discovery.Options{Catalogue: current, Version: version.Info(), Addresses: s.addresses(ips), Issuer: documents}
	s.aggregation.tellElsewhere(&tell, &describe)
	description := openapi.New(describe)
	s.description.Store(description)
	tell.Paths = func() []string { return append(s.health.Paths(), description.Paths()...) }
	about := discovery.New(tell)
	return endpoint.New(endpoint.Options{
		Verbs: verbs, Catalogue: current,
		Authenticator: loopback.Authenticator(who), Authorizer: verbs.Authorizer, APIAudiences: issuer.Audiences(),
		Audit: s.audit.Sink(), AuditPolicy: s.audit.Policy(),
		Elsewhere:           s.elsewhere(),
		Others:              []endpoint.Mux{s.health, about, description, &backups{s.state, s.stopping}},
		RequestTimeout:      s.options.RequestTimeout,
		MinRequestTimeout:   s.options.MinRequestTimeout,
		MaxInFlight:         s.options.MaxRequestsInflight,
		MaxMutatingInFlight: s.options.MaxMutatingRequestsInflight,
		Fairness:            s.fairness,
		Estimate:            s.estimator(current),
		CORSAllowedOrigins:  s.options.CORSAllowedOrigins,
		HSTSDirectives:      s.options.StrictTransportSecurityDirectives,
		Stopping:            s.stopping,
	}), nil
}

// addresses tells clients where the server is: those inside the network of
// Services at the kubernetes Service, others where it listens.
func (s *Server) addresses(ips netip.Prefix) apidiscovery.Addresses {
	inside := apidiscovery.CIDRRule{
		IPRange: net.IPNet{IP: ips.Addr().AsSlice(), Mask: net.CIDRMask(ips.Bits(), ips.Addr().BitLen())},
		Address: net.JoinHostPort(ips.Addr().Next().String(), "443"),
	}
	return apidiscovery.DefaultAddresses{DefaultAddress: s.address(), CIDRRules: []apidiscovery.CIDRRule{inside}}
}

func (s *Server) port() int { return s.listener.Addr().(*net.TCPAddr).Port }

// URL returns where the server is reached, such as https://127.0.0.1:6443.
func (s *Server) URL() string {
	ip := s.options.BindAddress
	if ip.IsUnspecified() {
		ip = net.IPv4(127, 0, 0, 1)
	}
	return "https://" + net.JoinHostPort(ip.String(), strconv.Itoa(s.port()))
}

// address is where the server is reached: host and port.
func (s *Server) address() string { return strings.TrimPrefix(s.URL(), "https://") }

// ClientConfig returns a new configuration for client-go, as a member of
// system:masters, who may do everything. It does not hold requests back as
// client-go does by default (5 a second); set QPS to have that.
func (s *Server) ClientConfig() *rest.Config {
	c := s.access.REST()
	c.QPS = -1
	return c
}

// Kubeconfig returns the same as a kubeconfig file, with the key in it.
func (s *Server) Kubeconfig() ([]byte, error) { return s.access.Render() }

// Done is closed when the server no longer serves, be it stopped or broken.
func (s *Server) Done() <-chan struct{} { return s.served }

// Stop stops the server: readyz turns false, running requests finish, watches
// end, and everything is closed when it returns. If ctx ends first, requests
// that still run are cut off. Further calls wait and return the same.
func (s *Server) Stop(ctx context.Context) error {
	s.stop.Do(func() { s.stopErr = s.shutdown(ctx) })
	return s.stopErr
}

func (s *Server) shutdown(ctx context.Context) error {
	s.health.Shutdown()
	select {
	case <-time.After(s.options.ShutdownDelayDuration):
	case <-ctx.Done():
	}
	close(s.stopping)
	// Shutdown stops listening and tells clients to go; for those of HTTP/2 it
	// then waits a second. That is not needed: when no request runs, and what
	// was answered has had the time to leave, connections are closed.
	graceful := make(chan error, 1)
	go func() { graceful <- s.http.Shutdown(ctx) }()
	err := s.requests.close(ctx)
	if err != nil {
		err = fmt.Errorf("requests did not end in time: %w", err)
	}
	select {
	case <-graceful:
	case <-time.After(lastWords):
		closed := s.http.Close()
		<-graceful
		err = errors.Join(err, closed)
	}
	<-s.served
	return errors.Join(err, s.serveErr, s.abandon(ctx))
}

// lastWords is how long the last answers have to leave.
const lastWords = 100 * time.Millisecond

// abandon ends and closes what start has begun and opened, apart from serving.
func (s *Server) abandon(ctx context.Context) error {
	if s.cancel != nil {
		s.cancel()
		s.background.Wait()
	}
	s.loopback.Close()
	if s.authenticator != nil {
		s.authenticator.Close()
	}
	if s.connections != nil {
		s.connections.Close()
	}
	if s.aggregation != nil {
		s.aggregation.connector.Close()
	}
	err := s.audit.Stop(ctx)
	if s.state != nil {
		err = errors.Join(err, s.state.Stop())
	}
	return err
}
