package aggregate

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/features"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/client-go/transport"
	"k8s.io/kube-aggregator/pkg/apis/apiregistration"
)

// ServiceResolver finds the address of a Service. It is what
// k8s.io/apiserver/pkg/util/webhook asks for, too.
type ServiceResolver interface {
	// ResolveEndpoint returns a URL of a scheme and a host, the caller's own.
	ResolveEndpoint(namespace, name string, port int32) (*url.URL, error)
}

// backend is where and how a server is reached.
type backend struct {
	namespace, name string // of the Service
	port            int32
	peer
}

// peer is what a server is recognised by. Connections to servers of the same
// are shared.
type peer struct {
	serverName string
	insecure   bool
	authority  string // PEM; empty for those that this machine trusts
}

func backendOf(spec *apiregistration.APIServiceSpec) backend {
	s := spec.Service
	return backend{s.Namespace, s.Name, s.Port, peer{s.Name + "." + s.Namespace + ".svc", spec.InsecureSkipTLSVerify, string(spec.CABundle)}}
}

// Connector connects to other servers. It keeps connections that were used for
// those to come, until Close. It is safe for concurrent use.
type Connector struct {
	resolver ServiceResolver

	mu         sync.Mutex // guards cert, key and transports; connections are closed without it
	cert, key  []byte
	transports map[peer]*http.Transport

	openMu sync.Mutex // guards what follows
	open   map[*connection]bool
	closed bool
}

// NewConnector returns a connector that shows servers a client certificate, PEM,
// by which they know that they may believe it who asks. It may be empty.
func NewConnector(resolver ServiceResolver, cert, key []byte) *Connector {
	return &Connector{resolver: resolver, cert: cert, key: key, transports: map[peer]*http.Transport{}, open: map[*connection]bool{}}
}

// SetCertificate has servers shown another client certificate, PEM, on connections to
// come.
func (c *Connector) SetCertificate(cert, key []byte) {
	c.mu.Lock()
	c.cert, c.key = cert, key
	c.mu.Unlock()
	c.retain(nil)
}

// Transport returns what sends requests to the server of an APIService that has
// a service. It is the connector's: others may close its idle connections and
// nothing else. An authority that is none is an error.
func (c *Connector) Transport(spec *apiregistration.APIServiceSpec) (http.RoundTripper, error) {
	return c.transport(backendOf(spec).peer)
}

func (c *Connector) transport(p peer) (*http.Transport, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.transports[p]; t != nil {
		return t, nil
	}
	config, err := transport.TLSConfigFor(&transport.Config{TLS: transport.TLSConfig{
		Insecure: p.insecure, ServerName: p.serverName, CAData: []byte(p.authority), CertData: c.cert, KeyData: c.key,
	}})
	if err != nil {
		return nil, err
	}
	t := utilnet.SetTransportDefaults(&http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		TLSHandshakeTimeout: 10 * time.Second,
		TLSClientConfig:     config,
		MaxIdleConnsPerHost: 25,
		DialContext:         c.Dial,
	})
	c.transports[p] = t
	return t, nil
}

// retain forgets how servers are reached that are not used any more. Requests to
// them go on; a connection on which there was one ends when it has been idle for
// as long as any.
func (c *Connector) retain(used map[peer]bool) {
	var unused []*http.Transport
	c.mu.Lock()
	for p, t := range c.transports {
		if !used[p] {
			delete(c.transports, p)
			unused = append(unused, t)
		}
	}
	c.mu.Unlock()
	for _, t := range unused {
		t.CloseIdleConnections()
	}
}

// Close closes all connections, for ever. What is sent after it fails.
func (c *Connector) Close() {
	c.openMu.Lock()
	c.closed = true
	open := slices.Collect(maps.Keys(c.open))
	c.openMu.Unlock()
	for _, one := range open {
		_ = one.Close() // nobody is left to hear of it
	}
	c.retain(nil)
}

var errClosed = errors.New("the server has stopped")

// Dial connects to an address. The connection ends with the connector.
func (c *Connector) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}
	raw, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	one := &connection{Conn: raw, of: c}
	c.openMu.Lock()
	defer c.openMu.Unlock()
	if c.closed {
		return nil, errors.Join(errClosed, raw.Close())
	}
	c.open[one] = true
	return one, nil
}

// connection is known to its connector while it is open.
type connection struct {
	net.Conn
	of *Connector
}

func (c *connection) Close() error {
	c.of.openMu.Lock()
	delete(c.of.open, c)
	c.of.openMu.Unlock()
	return c.Conn.Close()
}

// locate returns where a path at a server is now.
func (c *Connector) locate(b backend, path, query string) (*url.URL, error) {
	location, err := c.resolver.ResolveEndpoint(b.namespace, b.name, b.port)
	if err != nil {
		return nil, err
	}
	return &url.URL{Scheme: "https", Host: location.Host, Path: path, RawQuery: query}, nil
}

// caller sends requests of this server's own making to one other server.
type caller struct {
	backend   backend
	connector *Connector
}

var errNoUser = errors.New("missing user")

func (c *caller) RoundTrip(r *http.Request) (*http.Response, error) {
	who, ok := request.UserFrom(r.Context())
	if !ok {
		return nil, errNoUser
	}
	t, err := c.connector.transport(c.backend.peer)
	if err != nil {
		return nil, err
	}
	location, err := c.connector.locate(c.backend, r.URL.Path, r.URL.RawQuery)
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.URL, r.Host = location, location.Host
	return inNameOf(who, t).RoundTrip(r)
}

// inNameOf returns what sends requests by t and tells who asks.
func inNameOf(who user.Info, t http.RoundTripper) http.RoundTripper {
	return transport.NewAuthProxyRoundTripper(who.GetName(), toldUID(who), who.GetGroups(), who.GetExtra(), t)
}

// toldUID returns the uid of a user if others are to know it.
func toldUID(who user.Info) string {
	if !utilfeature.DefaultFeatureGate.Enabled(features.RemoteRequestHeaderUID) {
		return ""
	}
	return who.GetUID()
}
