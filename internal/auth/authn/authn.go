// Package authn says who asks: it builds the authenticator of requests from
// client certificates, bearer tokens and anonymous access, in kube-apiserver's
// order. It must not know what a user may do, nor how a refusal is written.
package authn

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/group"
	"k8s.io/apiserver/pkg/authentication/request/anonymous"
	"k8s.io/apiserver/pkg/authentication/request/bearertoken"
	"k8s.io/apiserver/pkg/authentication/request/union"
	"k8s.io/apiserver/pkg/authentication/request/websocket"
	"k8s.io/apiserver/pkg/authentication/token/tokenfile"
	tokenunion "k8s.io/apiserver/pkg/authentication/token/union"
	"k8s.io/apiserver/pkg/authentication/user"
)

// Options say which credentials count.
type Options struct {
	// ClientCAs are the authorities whose client certificates are accepted
	// (--client-ca-file); nil means none. Chains are verified here, not in the
	// handshake: a listener must ask for certificates (tls.RequestClientCert)
	// without verifying them, so that a bad one is answered 401.
	ClientCAs *x509.CertPool
	// FrontProxies are believed who asks; nil means none are.
	FrontProxies *FrontProxies
	// TokenFile is the path of a CSV file (--token-auth-file) of lines
	// token,user,uid[,"group1,group2"], read once; empty means none.
	TokenFile string
	// ServiceAccounts has the tokens of service accounts accepted; nil means
	// none.
	ServiceAccounts *ServiceAccounts
	// APIAudiences are the names of this API (--api-audiences). A request whose
	// context asks for audiences (authenticator.WithAudiences) is authenticated
	// for those of them that its credentials are for.
	APIAudiences authenticator.Audiences
	// Anonymous lets a request without credentials in as system:anonymous
	// (--anonymous-auth).
	Anonymous bool
	// Now is the current time; nil means time.Now.
	Now func() time.Time
}

// New returns the authenticator that o describes. It is safe for concurrent
// use, and its responses are shared between requests: callers must not modify
// them. For a request it returns, as kube-apiserver does:
//
//   - the user, and true. The request's credentials are removed from its
//     headers, so that nothing behind can see or forward them;
//   - false and an error for credentials that are there and wrong, and no others
//     that are right. The error is for the log: the client gets Unauthorized();
//   - false and no error for a request without credentials where anonymous ones
//     are not let in.
//
// The order is that of upstream's pkg/kubeapiserver/authenticator: request
// headers of a front proxy, client certificates, tokens (file, service accounts,
// OpenID Connect, webhook: those that need no call to others first), anonymous.
// The ones that are not here yet take that place.
func New(o Options) (authenticator.Request, error) {
	var requests []authenticator.Request
	if o.FrontProxies != nil {
		requests = append(requests, o.FrontProxies.authenticator(o.APIAudiences, o.Now))
	}
	if o.ClientCAs != nil {
		requests = append(requests, newCertificates(o.ClientCAs, o.Now))
	}

	var tokens []authenticator.Token
	if o.TokenFile != "" {
		file, err := tokenfile.NewCSV(o.TokenFile)
		if err != nil {
			return nil, fmt.Errorf("token file %s: %w", o.TokenFile, err)
		}
		tokens = append(tokens, authenticator.WrapAudienceAgnosticToken(o.APIAudiences, file))
	}
	if o.ServiceAccounts != nil {
		accounts, err := o.ServiceAccounts.authenticators(o.APIAudiences)
		if err != nil {
			return nil, err
		}
		tokens = append(tokens, accounts...)
	}
	// A token that nobody knows is refused also where none are configured:
	// kube-apiserver, which always knows those of service accounts, does so.
	token := tokenunion.New(tokens...)
	requests = append(requests,
		group.NewAuthenticatedGroupAdder(bearertoken.New(token)),
		group.NewAuthenticatedGroupAdder(websocket.NewProtocolAuthenticator(token)),
	)

	if o.ClientCAs == nil && len(tokens) == 0 && !o.Anonymous {
		return nil, errors.New("no one could reach this server: it needs a client CA, a token file or anonymous access")
	}
	all := []authenticator.Request{union.New(requests...)}
	if o.Anonymous {
		all = append(all, anonymous.NewAuthenticator(nil))
	}
	// An error ends it: wrong credentials are not anonymous.
	return withoutCredentials{union.NewFailOnError(all...), o.FrontProxies}, nil
}

// Unauthorized is what a client whose request was not authenticated gets.
func Unauthorized() *apierrors.StatusError {
	return apierrors.NewUnauthorized("Unauthorized")
}

// IsAnonymous says whether the user is someone without credentials. HTTP/2
// connections of theirs are closed after a response, as upstream does since
// CVE-2023-44487.
func IsAnonymous(u user.Info) bool {
	return u.GetName() == user.Anonymous || slices.Contains(u.GetGroups(), user.AllUnauthenticated)
}

// withoutCredentials removes the headers that say who asks from authenticated
// requests: they have been used, or (a front proxy's) were not to be trusted.
type withoutCredentials struct {
	authenticator.Request
	proxies *FrontProxies // whose headers may have other names
}

func (a withoutCredentials) AuthenticateRequest(req *http.Request) (*authenticator.Response, bool, error) {
	resp, ok, err := a.Request.AuthenticateRequest(req)
	if err != nil || !ok {
		return nil, false, err
	}
	for name := range req.Header {
		switch name {
		case "Authorization", "X-Remote-User", "X-Remote-Uid", "X-Remote-Group":
			delete(req.Header, name)
		default:
			if strings.HasPrefix(name, "X-Remote-Extra-") {
				delete(req.Header, name)
			}
		}
	}
	if a.proxies != nil {
		a.proxies.clear(req.Header)
	}
	return resp, true, nil
}
