package authn

import (
	"crypto/sha256"
	stdx509 "crypto/x509"
	"net/http"
	"sync"
	"time"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/group"
	"k8s.io/apiserver/pkg/authentication/request/x509"
)

// maxKnown bounds the clients that are remembered. Each takes about 1 KB.
const maxKnown = 1024

// certificates authenticates requests by their connection's client
// certificate: the common name is the user, the organizations are the groups.
//
// Upstream verifies the chain on every request, for about as much CPU as all
// the rest of a GET. The answer follows from the certificates' bytes, the
// authorities and the time, so it is remembered under these bytes' digest until
// the first certificate of the chain ends or the authorities change. Only those
// that verified are remembered: no one can fill the memory with others.
type certificates struct {
	authorities func() *stdx509.CertPool
	now         func() time.Time

	mu    sync.RWMutex
	known map[[sha256.Size]byte]verified // guarded by mu
}

type verified struct {
	response *authenticator.Response
	by       *stdx509.CertPool
	until    time.Time
}

func newCertificates(authorities func() *stdx509.CertPool, now func() time.Time) *certificates {
	return &certificates{authorities: authorities, now: now, known: map[[sha256.Size]byte]verified{}}
}

func (c *certificates) AuthenticateRequest(req *http.Request) (*authenticator.Response, bool, error) {
	if req.TLS == nil || len(req.TLS.PeerCertificates) == 0 {
		return nil, false, nil
	}
	chain := req.TLS.PeerCertificates
	now, by := c.now(), c.authorities()

	key := digest(chain)
	c.mu.RLock()
	v, ok := c.known[key]
	c.mu.RUnlock()
	if ok && v.by == by && !now.After(v.until) {
		return v.response, true, nil
	}

	v, ok, err := c.verify(req, now, by)
	if err != nil || !ok {
		return nil, false, err
	}
	c.remember(key, v)
	return v.response, true, nil
}

// verify has upstream's authenticator look at the request's certificates.
func (c *certificates) verify(req *http.Request, now time.Time, by *stdx509.CertPool) (verified, bool, error) {
	options := x509.DefaultVerifyOptions()
	options.Roots, options.CurrentTime = by, now
	var until time.Time
	user := func(chain []*stdx509.Certificate) (*authenticator.Response, bool, error) {
		until = end(chain)
		return x509.CommonNameUserConversion(chain)
	}
	// The group is added here, once, instead of to each response.
	response, ok, err := group.NewAuthenticatedGroupAdder(x509.New(options, x509.UserConversionFunc(user))).AuthenticateRequest(req)
	return verified{response, by, until}, ok, err
}

func (c *certificates) remember(key [sha256.Size]byte, v verified) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.known) >= maxKnown {
		// So many clients are rare and starting over is cheap: each pays for
		// one more verification.
		clear(c.known)
	}
	c.known[key] = v
}

// digest stands for the certificates' bytes. DER tells its own length, so
// different chains have different bytes.
func digest(chain []*stdx509.Certificate) (sum [sha256.Size]byte) {
	h := sha256.New()
	for _, cert := range chain {
		h.Write(cert.Raw)
	}
	h.Sum(sum[:0])
	return sum
}

// end is when the first of the certificates ends.
func end(chain []*stdx509.Certificate) time.Time {
	until := chain[0].NotAfter
	for _, cert := range chain[1:] {
		if cert.NotAfter.Before(until) {
			until = cert.NotAfter
		}
	}
	return until
}
