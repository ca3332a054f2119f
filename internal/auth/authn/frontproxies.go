package authn

import (
	stdx509 "crypto/x509"
	"net/http"
	"slices"
	"time"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/group"
	"k8s.io/apiserver/pkg/authentication/request/headerrequest"
	"k8s.io/apiserver/pkg/authentication/request/x509"
)

// FrontProxies says who may pass on requests in the name of others, and in which
// headers they tell the name. It is immutable.
type FrontProxies struct {
	// CAs returns the authorities of their certificates as they are now
	// (--requestheader-client-ca-file).
	CAs func() *stdx509.CertPool
	// Names are the common names that their certificates may have; empty for
	// any.
	Names []string
	// The headers of the user's name, uid and groups, and what those of the rest
	// begin with.
	UsernameHeaders, UIDHeaders, GroupHeaders, ExtraHeaderPrefixes []string
}

// authenticators believe front proxies: the first those that tell a name, as only
// they are worth the verification of a certificate. The second, after all others,
// says of the rest, who are nobody, whether their certificates are front
// proxies': upstream, which verifies each, refuses those that are not.
func (p *FrontProxies) authenticators(audiences authenticator.Audiences, now func() time.Time) (first, last authenticator.Request) {
	options := func() (stdx509.VerifyOptions, bool) {
		o := x509.DefaultVerifyOptions()
		o.Roots, o.CurrentTime = p.CAs(), now()
		return o, true
	}
	believe := headerrequest.NewDynamicVerifyOptionsSecure(options, headerrequest.StaticStringSlice(p.Names),
		headerrequest.StaticStringSlice(p.UsernameHeaders), headerrequest.StaticStringSlice(p.UIDHeaders),
		headerrequest.StaticStringSlice(p.GroupHeaders), headerrequest.StaticStringSlice(p.ExtraHeaderPrefixes))
	believe = group.NewAuthenticatedGroupAdder(authenticator.WrapAudienceAgnosticRequest(audiences, believe))
	named := func(r *http.Request) bool {
		return slices.ContainsFunc(p.UsernameHeaders, func(name string) bool { return r.Header.Get(name) != "" })
	}
	when := func(is bool) authenticator.Request {
		return authenticator.RequestFunc(func(r *http.Request) (*authenticator.Response, bool, error) {
			if named(r) != is {
				return nil, false, nil
			}
			return believe.AuthenticateRequest(r)
		})
	}
	return when(true), when(false)
}

// clear removes the headers that front proxies use.
func (p *FrontProxies) clear(h http.Header) {
	headerrequest.ClearAuthenticationHeaders(h,
		headerrequest.StaticStringSlice(p.UsernameHeaders), headerrequest.StaticStringSlice(p.UIDHeaders),
		headerrequest.StaticStringSlice(p.GroupHeaders), headerrequest.StaticStringSlice(p.ExtraHeaderPrefixes))
}
