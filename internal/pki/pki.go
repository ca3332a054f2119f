// Package pki makes and keeps the certificates of one server: its authority,
// the serving certificate and the administrator's client certificate, those of
// front proxies, and the key that service account tokens are signed with, in a
// directory or in memory. It must not know who listens with them, what a token
// says or what an identity may do.
package pki

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"time"

	"k8s.io/apiserver/pkg/authentication/user"
)

const (
	authorityValidity = 10 * 365 * 24 * time.Hour
	leafValidity      = 365 * 24 * time.Hour
	// renewBefore is how long before its end a certificate is renewed.
	renewBefore = 30 * 24 * time.Hour
	// backdate lets clients whose clock is a little behind use a new certificate.
	backdate = time.Hour
)

// authorityName is the common name of the authority.
const authorityName = "knarr-ca"

// AdminUser is the common name of the administrator's certificate; its
// organization is system:masters.
const AdminUser = "kubernetes-admin"

// Options say what the certificates are for.
type Options struct {
	// Hosts are the names and IP addresses that the serving certificate must
	// hold; see Hosts.
	Hosts []string
	// Now is the current time; nil means time.Now.
	Now func() time.Time
}

// Bundle holds what a server needs to prove who it is and to know its
// administrator. It is immutable.
type Bundle struct {
	CA      *Authority
	Serving *Pair
	Admin   *Pair
}

// New makes a bundle in memory.
func New(o Options) (*Bundle, error) {
	ca, err := makeAuthority(authorityName, o)
	if err != nil {
		return nil, err
	}
	b := &Bundle{CA: ca}
	if b.Serving, err = ca.issueNew(serving(o.Hosts)); err != nil {
		return nil, err
	}
	if b.Admin, err = ca.issueNew(client(AdminUser, user.SystemPrivilegedGroup)); err != nil {
		return nil, err
	}
	return b, nil
}

// makeAuthority makes an authority in memory.
func makeAuthority(name string, o Options) (*Authority, error) {
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	return newAuthority(name, key, o.clock())
}

func (o Options) clock() func() time.Time {
	if o.Now == nil {
		return time.Now
	}
	return o.Now
}

// identity is what a certificate says about its holder.
type identity struct {
	subject pkix.Name
	usage   x509.ExtKeyUsage
	hosts   []string
}

func serving(hosts []string) identity {
	return identity{
		subject: pkix.Name{CommonName: "kube-apiserver"},
		usage:   x509.ExtKeyUsageServerAuth,
		hosts:   hosts,
	}
}

// client follows Kubernetes' convention for X.509 client certificates: the
// common name is the user, the organizations are the groups.
func client(name string, groups ...string) identity {
	return identity{
		subject: pkix.Name{CommonName: name, Organization: groups},
		usage:   x509.ExtKeyUsageClientAuth,
	}
}
