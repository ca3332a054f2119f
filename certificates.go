package knarr

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"slices"
	"sync"
	"sync/atomic"

	"k8s.io/client-go/util/cert"

	"github.com/knarr-io/knarr/internal/pki"
	"github.com/knarr-io/knarr/internal/serviceaccount"
)

// certificates are what the server proves itself and knows clients by. What comes
// from files of others changes with them.
type certificates struct {
	options *Options
	bundle  *pki.Bundle
	// trust is what clients verify the server with, PEM.
	trust   []byte
	proxies *frontProxies
	clients authorities
	// serving is what connections begin with.
	serving atomic.Pointer[tls.Config]
	// issuer issues tokens to service accounts.
	issuer *serviceaccount.Issuer

	reading sync.Mutex // held while files are read again
	told    told
}

// authorities are those of some certificates, as they are now.
type authorities struct{ now atomic.Pointer[trusted] }

type trusted struct {
	pool *x509.CertPool
	pem  []byte
	all  []*x509.Certificate
}

// pool is nil if there are none.
func (a *authorities) pool() *x509.CertPool {
	if t := a.now.Load(); t != nil {
		return t.pool
	}
	return nil
}

// pem is empty if there are none.
func (a *authorities) pem() []byte {
	if t := a.now.Load(); t != nil {
		return t.pem
	}
	return nil
}

// newTrusted reads the authorities in a file, if it has a name, besides those that
// are given.
func newTrusted(file string, own ...*x509.Certificate) (*trusted, error) {
	t := &trusted{pool: x509.NewCertPool(), all: own}
	if file != "" {
		more, err := pki.ReadCertificates(file)
		if err != nil {
			return nil, err
		}
		t.all = slices.Concat(own, more)
	}
	for _, c := range t.all {
		t.pool.AddCert(c)
	}
	var err error
	t.pem, err = cert.EncodeCertificates(t.all...)
	return t, err
}

// told tells who follows it that authorities have changed.
type told struct {
	mu      sync.Mutex
	changed chan struct{} // closed by the next change
}

func (t *told) next() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.changed == nil {
		t.changed = make(chan struct{})
	}
	return t.changed
}

func (t *told) change() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.changed != nil {
		close(t.changed)
		t.changed = nil
	}
}

func loadCertificates(o *Options, service net.IP) (*certificates, error) {
	c := &certificates{options: o}
	hosts := pki.Options{Hosts: pki.Hosts(o.BindAddress, service)}
	var err error
	if dir := o.pkiDir(); dir == "" {
		c.bundle, err = pki.New(hosts)
	} else {
		c.bundle, err = pki.Load(dir, hosts)
	}
	if err != nil {
		return nil, err
	}
	if c.issuer, err = newIssuer(o); err != nil {
		return nil, err
	}
	if c.proxies, err = loadFrontProxies(o); err != nil {
		return nil, err
	}
	if err := c.readAuthorities(); err != nil {
		return nil, err
	}
	return c, c.readServing()
}

// readAuthorities reads those of clients and of front proxies.
func (c *certificates) readAuthorities() error {
	c.reading.Lock()
	defer c.reading.Unlock()
	o := c.options
	clients, err := newTrusted(o.ClientCAFile, c.bundle.CA.Certificate())
	if err != nil {
		return err
	}
	proxies := c.proxies.authorities.now.Load()
	if o.RequestHeaderClientCAFile != "" {
		if proxies, err = newTrusted(o.RequestHeaderClientCAFile); err != nil {
			return err
		}
	}
	if o.RequestHeaderClientCAFile != "" && len(o.RequestHeaderAllowedNames) == 0 {
		if err := apart(clients, proxies); err != nil {
			return err
		}
	}
	c.clients.now.Store(clients)
	c.proxies.authorities.now.Store(proxies)
	c.told.change()
	return nil
}

// readServing makes what connections begin with.
func (c *certificates) readServing() error {
	c.reading.Lock()
	defer c.reading.Unlock()
	o := c.options
	serving, trust := c.bundle.Serving, c.bundle.CA.CertPEM()
	if o.TLSCertFile != "" {
		var err error
		if serving, err = pki.ReadPair(o.TLSCertFile, o.TLSPrivateKeyFile); err != nil {
			return err
		}
		trust = slices.Concat(trust, serving.CertPEM)
	}
	var named []pki.Named
	for _, n := range o.TLSSNICertKeys {
		pair, err := pki.ReadPair(n.CertFile, n.KeyFile)
		if err != nil {
			return err
		}
		named = append(named, pki.Named{Pair: pair, Names: n.Names})
	}
	base, err := o.tlsConfig()
	if err != nil {
		return err
	}
	// Clients are told whom to have a certificate of.
	known := x509.NewCertPool()
	for _, a := range []*authorities{&c.clients, &c.proxies.authorities} {
		if t := a.now.Load(); t != nil {
			for _, one := range t.all {
				known.AddCert(one)
			}
		}
	}
	if c.trust == nil { // what was told at the start stays
		c.trust = trust
	}
	c.serving.Store(pki.ServerConfig(base, serving, named, known))
	return nil
}

// configFor is what a connection begins with.
func (c *certificates) configFor(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	config := c.serving.Load()
	if config.GetConfigForClient != nil {
		if its, err := config.GetConfigForClient(hello); its != nil || err != nil {
			return its, err
		}
	}
	return config, nil
}
