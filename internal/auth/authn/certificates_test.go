package authn

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"
)

// A certificate that was good is refused from the moment it ends, though it is
// remembered.
func TestRememberedUntilEnd(t *testing.T) {
	b := bundle(t)
	now := time.Now()
	c := newCertificates(fixed(b.CA.Pool()), func() time.Time { return now })
	cert := clientCert(t, b, "jane")
	ask := func() error {
		_, ok, err := c.AuthenticateRequest(request(certs(cert)))
		if ok != (err == nil) {
			t.Fatalf("%v with error %v", ok, err)
		}
		return err
	}
	if err := ask(); err != nil {
		t.Fatal(err)
	}
	now = cert.NotAfter
	if err := ask(); err != nil {
		t.Errorf("at its last moment: %v", err)
	}
	now = now.Add(time.Second)
	if err := ask(); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("after its end: %v", err)
	}
}

// A certificate that was good is looked at again when the authorities change.
func TestRememberedUntilAuthoritiesChange(t *testing.T) {
	first, second := bundle(t), bundle(t)
	pool := first.CA.Pool()
	c := newCertificates(func() *x509.CertPool { return pool }, time.Now)
	cert := certs(clientCert(t, first, "jane"))
	for i, change := range []struct {
		pool *x509.CertPool
		want bool
	}{{pool, true}, {pool, true}, {second.CA.Pool(), false}, {first.CA.Pool(), true}, {nil, false}, {pool, true}} {
		pool = change.pool
		if _, ok, err := c.AuthenticateRequest(request(cert)); ok != change.want || (err == nil) != change.want {
			t.Errorf("%d: %v, %v", i, ok, err)
		}
	}
}

// The uid is an attribute of the subject, of Kubernetes' own.
func TestCertificateUID(t *testing.T) {
	ca, key := authority(t, "ca", nil, nil, time.Now().Add(time.Hour))
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	c := newCertificates(fixed(pool), time.Now)
	uid := func(value any) pkix.AttributeTypeAndValue {
		return pkix.AttributeTypeAndValue{Type: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57683, 2}, Value: value}
	}
	for _, test := range []struct {
		name string
		more []pkix.AttributeTypeAndValue
		want string
		err  string
	}{
		{name: "none"},
		{name: "one", more: []pkix.AttributeTypeAndValue{uid("4711")}, want: "4711"},
		{name: "two", more: []pkix.AttributeTypeAndValue{uid("1"), uid("2")}, err: "expected 1 UID, but found multiple"},
		{name: "empty", more: []pkix.AttributeTypeAndValue{uid("")}, err: "UID cannot be an empty string"},
	} {
		t.Run(test.name, func(t *testing.T) {
			cert, _ := issue(t, &x509.Certificate{
				Subject:     pkix.Name{CommonName: "jane", ExtraNames: test.more},
				ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, NotAfter: time.Now().Add(time.Hour),
			}, ca, key)
			got, ok, err := c.AuthenticateRequest(request(certs(cert)))
			switch {
			case test.err != "":
				if ok || err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("%v, %v; want %q", ok, err, test.err)
				}
			case !ok || err != nil:
				t.Error(ok, err)
			case got.User.GetUID() != test.want || got.User.GetName() != "jane":
				t.Errorf("user %q, uid %q", got.User.GetName(), got.User.GetUID())
			}
		})
	}
}

// The answer belongs to the whole chain: a certificate that is good with its
// intermediate says nothing without it, and ends with it.
func TestRememberedByChain(t *testing.T) {
	now := time.Now()
	root, rootKey := authority(t, "root", nil, nil, now.Add(time.Hour))
	intermediate, intermediateKey := authority(t, "intermediate", root, rootKey, now.Add(time.Minute))
	leaf := leafOf(t, intermediate, intermediateKey, now.Add(time.Hour))

	pool := x509.NewCertPool()
	pool.AddCert(root)
	clock := now
	c := newCertificates(fixed(pool), func() time.Time { return clock })
	ask := func(chain ...*x509.Certificate) bool {
		_, ok, _ := c.AuthenticateRequest(request(chain))
		return ok
	}
	for range 2 {
		if !ask(leaf, intermediate) {
			t.Error("refused with the intermediate")
		}
		if ask(leaf) {
			t.Error("accepted without the intermediate")
		}
	}
	clock = now.Add(2 * time.Minute)
	if ask(leaf, intermediate) {
		t.Error("accepted after the intermediate's end")
	}
}

func TestMemoryIsBounded(t *testing.T) {
	b := bundle(t)
	c := newCertificates(fixed(b.CA.Pool()), time.Now)
	for i := range maxKnown {
		c.remember(digest(certs(&x509.Certificate{Raw: fmt.Append(nil, i)})), verified{})
	}
	for range 3 {
		if _, ok, err := c.AuthenticateRequest(request(certs(b.Admin.Leaf()))); !ok {
			t.Fatal(err)
		}
	}
	if n := len(c.known); n == 0 || n > maxKnown {
		t.Errorf("%d certificates are remembered, want 1 to %d", n, maxKnown)
	}
	// Refused ones are never remembered.
	before := len(c.known)
	if _, ok, _ := c.AuthenticateRequest(request(certs(bundle(t).Admin.Leaf()))); ok {
		t.Fatal("another authority's certificate was accepted")
	}
	if len(c.known) != before {
		t.Error("a refused certificate is remembered")
	}
}

func TestConcurrentClients(t *testing.T) {
	b := bundle(t)
	c := newCertificates(fixed(b.CA.Pool()), time.Now)
	var clients sync.WaitGroup
	for i := range 8 {
		name := fmt.Sprint("user-", i%4)
		cert := clientCert(t, b, name)
		clients.Go(func() {
			for range 100 {
				resp, ok, err := c.AuthenticateRequest(request(certs(cert)))
				if !ok || resp.User.GetName() != name {
					t.Errorf("%s is %v: %v", name, resp, err)
					return
				}
			}
		})
	}
	clients.Wait()
}

func authority(t *testing.T, name string, parent *x509.Certificate, parentKey *ecdsa.PrivateKey, until time.Time) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	return issue(t, &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		BasicConstraintsValid: true,
		IsCA:                  true,
		KeyUsage:              x509.KeyUsageCertSign,
		NotAfter:              until,
	}, parent, parentKey)
}

func leafOf(t *testing.T, parent *x509.Certificate, parentKey *ecdsa.PrivateKey, until time.Time) *x509.Certificate {
	t.Helper()
	cert, _ := issue(t, &x509.Certificate{
		Subject:     pkix.Name{CommonName: "jane"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		NotAfter:    until,
	}, parent, parentKey)
	return cert
}

// issue signs the template with the parent's key, or with its own if there is
// no parent.
func issue(t *testing.T, template, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if parent == nil {
		parent, parentKey = template, key
	}
	template.SerialNumber = big.NewInt(1)
	template.NotBefore = time.Now().Add(-time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}
