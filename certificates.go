package knarr

import (
	"crypto/x509"
	"net"
	"slices"

	"k8s.io/client-go/util/cert"

	"github.com/knarr-io/knarr/internal/pki"
	"github.com/knarr-io/knarr/internal/serviceaccount"
)

// certificates are what the server proves itself and knows clients by.
type certificates struct {
	bundle  *pki.Bundle
	serving *pki.Pair
	clients func() *x509.CertPool
	// trust is what clients verify the server with, clientCAs what it
	// verifies them with; both PEM.
	trust, clientCAs []byte
	proxies          *frontProxies
	// issuer issues tokens to service accounts.
	issuer *serviceaccount.Issuer
}

func loadCertificates(o *Options, service net.IP) (*certificates, error) {
	c := &certificates{}
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
	c.serving, c.trust, c.clientCAs = c.bundle.Serving, c.bundle.CA.CertPEM(), c.bundle.CA.CertPEM()
	if o.TLSCertFile != "" {
		if c.serving, err = pki.ReadPair(o.TLSCertFile, o.TLSPrivateKeyFile); err != nil {
			return nil, err
		}
		c.trust = append(append([]byte{}, c.trust...), c.serving.CertPEM...)
	}
	var others []*x509.Certificate
	if o.ClientCAFile != "" {
		if others, err = pki.ReadCertificates(o.ClientCAFile); err != nil {
			return nil, err
		}
		more, err := cert.EncodeCertificates(others...)
		if err != nil {
			return nil, err
		}
		c.clientCAs = slices.Concat(c.clientCAs, more)
	}
	pool := c.bundle.CA.Pool(others...)
	c.clients = func() *x509.CertPool { return pool }
	if c.proxies, err = loadFrontProxies(o); err != nil {
		return nil, err
	}
	return c, nil
}
