// Package authn says who asks: it builds the authenticator of requests from
// client certificates, bearer tokens and anonymous access, in kube-apiserver's
// order. It must not know what a user may do, nor how a refusal is written.
package authn

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/group"
	"k8s.io/apiserver/pkg/authentication/request/anonymous"
	"k8s.io/apiserver/pkg/authentication/request/bearertoken"
	"k8s.io/apiserver/pkg/authentication/request/union"
	"k8s.io/apiserver/pkg/authentication/request/websocket"
	"k8s.io/apiserver/pkg/authentication/token/tokenfile"
	tokenunion "k8s.io/apiserver/pkg/authentication/token/union"
	corev1listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/kubernetes/plugin/pkg/auth/authenticator/token/bootstrap"
)

// Options say which credentials count.
type Options struct {
	// ClientCAs returns the authorities whose client certificates are accepted
	// now (--client-ca-file); nil means none ever. Chains are verified here, not
	// in the handshake: a listener must ask for certificates
	// (tls.RequestClientCert) without verifying them, so that a bad one is
	// answered 401.
	ClientCAs func() *x509.CertPool
	// FrontProxies are believed who asks; nil means none are.
	FrontProxies *FrontProxies
	// TokenFile is the path of a CSV file (--token-auth-file) of lines
	// token,user,uid[,"group1,group2"], read once; empty means none.
	TokenFile string
	// ServiceAccounts has the tokens of service accounts accepted; nil means
	// none.
	ServiceAccounts *ServiceAccounts
	// Bootstrap are the Secrets of kube-system, whose tokens for new nodes are
	// accepted (--enable-bootstrap-token-auth); nil means none.
	Bootstrap corev1listers.SecretNamespaceLister
	// Configuration names further issuers; nil means none.
	Configuration *Configuration
	// Webhook is asked about tokens that nobody else knows.
	Webhook Webhook
	// APIAudiences are the names of this API (--api-audiences). A request whose
	// context asks for audiences (authenticator.WithAudiences) is authenticated
	// for those of them that its credentials are for.
	APIAudiences authenticator.Audiences
	// Anonymous says which requests without credentials are let in as
	// system:anonymous.
	Anonymous apiserver.AnonymousAuthConfig
	// Now is the current time; nil means time.Now.
	Now func() time.Time
}

// Authenticator says who asks. It is safe for concurrent use, and its responses
// are shared between requests: callers must not modify them. For a request it
// returns, as kube-apiserver does:
//
//   - the user, and true. The request's credentials are removed from its
//     headers, so that nothing behind can see or forward them;
//   - false and an error for credentials that are there and wrong, and no others
//     that are right. The error is for the log: the client gets Unauthorized();
//   - false and no error for a request without credentials where anonymous ones
//     are not let in.
type Authenticator struct {
	authenticator.Request
	issuers *issuers // nil if there is no configuration
	closing []func()
}

// New returns the authenticator that o describes. It has to be closed.
//
// The order is that of upstream's pkg/kubeapiserver/authenticator: request
// headers of a front proxy, client certificates, tokens (those that need no call
// to others first), anonymous.
func New(o Options) (*Authenticator, error) {
	a := &Authenticator{}
	if o.Now == nil {
		o.Now = time.Now
	}
	token, known, err := a.tokens(o)
	if err != nil {
		a.Close()
		return nil, err
	}
	if o.ClientCAs == nil && !known && !o.Anonymous.Enabled {
		return nil, errors.New("no one could reach this server: it needs a client CA, a token file or anonymous access")
	}
	// kube-apiserver first looks for the token that it has for itself, which no
	// other is: reviews of tokens tell so.
	requests := []authenticator.Request{bearertoken.New(tokenunion.New())}
	var last authenticator.Request
	if o.FrontProxies != nil {
		var first authenticator.Request
		first, last = o.FrontProxies.authenticators(o.APIAudiences, o.Now)
		requests = append(requests, first)
	}
	if o.ClientCAs != nil {
		requests = append(requests, newCertificates(o.ClientCAs, o.Now))
	}
	requests = append(requests,
		group.NewAuthenticatedGroupAdder(bearertoken.New(token)),
		group.NewAuthenticatedGroupAdder(websocket.NewProtocolAuthenticator(token)),
	)
	if last != nil {
		requests = append(requests, last)
	}
	all := []authenticator.Request{union.New(requests...)}
	if o.Anonymous.Enabled {
		all = append(all, anonymous.NewAuthenticator(o.Anonymous.Conditions))
	}
	// An error ends it: wrong credentials are not anonymous.
	a.Request = withoutCredentials{union.NewFailOnError(all...), o.FrontProxies}
	return a, nil
}

// tokens returns who knows tokens, and whether there is anyone. A token that nobody
// knows is refused also where no one does: kube-apiserver, which always knows those
// of service accounts, does so.
func (a *Authenticator) tokens(o Options) (token authenticator.Token, known bool, err error) {
	var tokens []authenticator.Token
	if o.TokenFile != "" {
		file, err := tokenfile.NewCSV(o.TokenFile)
		if err != nil {
			return nil, false, fmt.Errorf("token file %s: %w", o.TokenFile, err)
		}
		tokens = append(tokens, authenticator.WrapAudienceAgnosticToken(o.APIAudiences, file))
	}
	var ours []string
	if o.ServiceAccounts != nil {
		accounts, err := o.ServiceAccounts.authenticators(o.APIAudiences, o.Now)
		if err != nil {
			return nil, false, err
		}
		tokens = append(tokens, accounts)
		ours = o.ServiceAccounts.Issuers
	}
	if o.Bootstrap != nil {
		tokens = append(tokens, authenticator.WrapAudienceAgnosticToken(o.APIAudiences, bootstrap.NewTokenAuthenticator(o.Bootstrap)))
	}
	if o.Configuration != nil {
		ctx, cancel := context.WithCancel(context.Background())
		a.closing = append(a.closing, cancel)
		if a.issuers, err = newIssuers(ctx, o.Configuration, o.APIAudiences, ours); err != nil {
			return nil, false, err
		}
		a.closing = append(a.closing, a.issuers.close)
		tokens = append(tokens, a.issuers)
	}
	if o.Webhook.ConfigFile != "" {
		ask, disconnect, err := o.Webhook.authenticator(o.APIAudiences, o.Now)
		if err != nil {
			return nil, false, err
		}
		a.closing = append(a.closing, disconnect)
		tokens = append(tokens, ask)
	}
	return tokenunion.New(tokens...), len(tokens) > 0, nil
}

// Update puts the issuers of c in the place of those there were, once they have
// been reached, which may take a minute. If it fails, all is as before. There has
// to be a configuration from the start; what it says about anonymous requests has
// to be the same.
func (a *Authenticator) Update(ctx context.Context, c *Configuration) error {
	return a.issuers.update(ctx, c)
}

// Close ends what the authenticator does by itself, and its connections. Nobody
// may use it any more.
func (a *Authenticator) Close() {
	for _, close := range a.closing {
		close()
	}
}

// Unauthorized is what a client whose request was not authenticated gets.
func Unauthorized() *apierrors.StatusError {
	return apierrors.NewUnauthorized("Unauthorized")
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
