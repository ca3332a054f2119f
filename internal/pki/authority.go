package pki

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"
)

// Authority is a certificate authority. It is safe for concurrent use.
type Authority struct {
	pair *Pair
	now  func() time.Time
}

// CertPEM is the authority's certificate. The caller must not modify it.
func (a *Authority) CertPEM() []byte { return a.pair.CertPEM }

// Certificate is the authority's own.
func (a *Authority) Certificate() *x509.Certificate { return a.pair.Leaf() }

// Pool returns a new pool of the authority's certificate and others, for
// verifying clients (or, with none, this server).
func (a *Authority) Pool(others ...*x509.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.pair.Leaf())
	for _, cert := range others {
		pool.AddCert(cert)
	}
	return pool
}

// IssueClient makes a client certificate, valid for a year, for a user who
// is in the groups. The name must not be empty.
func (a *Authority) IssueClient(name string, groups ...string) (*Pair, error) {
	if name == "" {
		return nil, errors.New("a client certificate needs a user name")
	}
	return a.issueNew(client(name, groups...))
}

// newAuthority makes a self-signed authority of a name for the key.
func newAuthority(name string, key privateKey, now func() time.Time) (*Authority, error) {
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             now().Add(-backdate),
		NotAfter:              now().Add(authorityValidity),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key.Signer)
	if err != nil {
		return nil, err
	}
	pair, err := newPair(der, key)
	if err != nil {
		return nil, err
	}
	return &Authority{pair: pair, now: now}, nil
}

// issueNew issues a certificate with a key of its own.
func (a *Authority) issueNew(id identity) (*Pair, error) {
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	return a.issue(id, key)
}

// issue signs a certificate for the identity and the key. It ends no later
// than the authority's own.
func (a *Authority) issue(id identity, key privateKey) (*Pair, error) {
	ca := a.pair.Leaf()
	template := &x509.Certificate{
		Subject:     id.subject,
		NotBefore:   a.now().Add(-backdate),
		NotAfter:    earlier(a.now().Add(leafValidity), ca.NotAfter),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{id.usage},
	}
	for _, host := range id.hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca, key.Public(), a.pair.key.Signer)
	if err != nil {
		return nil, fmt.Errorf("certificate for %s: %w", id.subject.CommonName, err)
	}
	return newPair(der, key)
}

// vouches says whether the certificate is this authority's, serves the
// identity's purpose and hosts, and lasts. Hosts it holds beyond those asked
// for do no harm, so a server that changes its address back and forth keeps
// one certificate.
func (a *Authority) vouches(cert *x509.Certificate, id identity) bool {
	_, err := cert.Verify(x509.VerifyOptions{
		Roots:       a.Pool(),
		CurrentTime: a.now(),
		KeyUsages:   []x509.ExtKeyUsage{id.usage},
	})
	if err != nil {
		return false
	}
	// Near the authority's own end a new certificate would not last longer.
	if cert.NotAfter.Before(earlier(a.now().Add(renewBefore), a.pair.Leaf().NotAfter)) {
		return false
	}
	return !slices.ContainsFunc(id.hosts, func(host string) bool { return !holds(cert, host) })
}

func holds(cert *x509.Certificate, host string) bool {
	if ip := net.ParseIP(host); ip != nil {
		return slices.ContainsFunc(cert.IPAddresses, ip.Equal)
	}
	return slices.Contains(cert.DNSNames, host)
}

// check says why the authority cannot be used: an error without the file's
// name.
func (a *Authority) check() error {
	cert, now := a.pair.Leaf(), a.now()
	switch {
	case !cert.IsCA || cert.KeyUsage != 0 && cert.KeyUsage&x509.KeyUsageCertSign == 0:
		return errors.New("not the certificate of an authority")
	case now.After(cert.NotAfter):
		return fmt.Errorf("expired on %s", cert.NotAfter.Format(time.DateOnly))
	case now.Before(cert.NotBefore):
		return fmt.Errorf("not valid before %s (is this machine's clock right?)", cert.NotBefore.Format(time.DateTime))
	}
	return nil
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
