package authn

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	tokencache "k8s.io/apiserver/pkg/authentication/token/cache"
	tokenunion "k8s.io/apiserver/pkg/authentication/token/union"
	"k8s.io/apiserver/plugin/pkg/authenticator/token/oidc"
	"k8s.io/client-go/util/cert"
)

// updateTimeout is how long new issuers have to be reached before those of
// before stay.
const updateTimeout = time.Minute

// issuers authenticates by JSON Web Tokens of the issuers that the configuration
// names. Each is asked for its keys in the background.
type issuers struct {
	audiences  authenticator.Audiences // of this API, which all of their tokens are for
	disallowed []string
	lifetime   context.Context

	updating sync.Mutex
	is       *Configuration // guarded by updating
	current  atomic.Pointer[issuerSet]
}

// issuerSet is the issuers of one configuration.
type issuerSet struct {
	authenticator.Token
	ready func() error
	end   func()
	using sync.RWMutex // held by those who authenticate
}

func newIssuers(ctx context.Context, c *Configuration, audiences authenticator.Audiences, disallowed []string) (*issuers, error) {
	i := &issuers{audiences: audiences, disallowed: disallowed, lifetime: ctx, is: c}
	set, err := i.newSet(c)
	if err != nil {
		return nil, err
	}
	i.current.Store(set)
	return i, nil
}

func (i *issuers) AuthenticateToken(ctx context.Context, token string) (*authenticator.Response, bool, error) {
	for {
		set := i.current.Load()
		set.using.RLock()
		if set == i.current.Load() { // or its keys may no longer be asked for
			defer set.using.RUnlock()
			return set.AuthenticateToken(ctx, token)
		}
		set.using.RUnlock()
	}
}

// newSet begins to ask the issuers for their keys, until its end.
func (i *issuers) newSet(c *Configuration) (*issuerSet, error) {
	ctx, cancel := context.WithCancel(i.lifetime)
	var tokens []authenticator.Token
	var checks []func() error
	var clients []*http.Client
	end := func() {
		cancel()
		for _, client := range clients {
			client.CloseIdleConnections()
		}
	}
	for _, jwt := range c.jwt {
		client, err := clientFor(jwt.Issuer)
		if err != nil {
			end()
			return nil, err
		}
		options := oidc.Options{JWTAuthenticator: jwt, SupportedSigningAlgs: c.algorithms, DisallowedIssuers: i.disallowed}
		if client != nil {
			clients = append(clients, client)
			options.Client = client
		}
		one, err := oidc.New(ctx, options)
		if err != nil {
			end()
			return nil, err
		}
		tokens, checks = append(tokens, one), append(checks, one.HealthCheck)
	}
	ready := func() error {
		var errs []error
		for _, check := range checks {
			errs = append(errs, check())
		}
		return errors.Join(errs...)
	}
	// Each set has a cache of its own, so that one of issuers that are gone goes
	// with them.
	all := authenticator.WrapAudienceAgnosticToken(i.audiences, tokenunion.NewFailOnError(tokens...))
	return &issuerSet{Token: tokencache.New(all, true, successTTL, 0), ready: ready, end: end}, nil
}

// clientFor is what an issuer is asked by, as upstream makes it; ours is told when
// it ends. It is nil if upstream is to say why there can be none.
func clientFor(issuer apiserver.Issuer) (*http.Client, error) {
	if issuer.EgressSelectorType != "" {
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca := issuer.CertificateAuthority; ca != "" {
		var err error
		if config.RootCAs, err = cert.NewPoolFromBytes([]byte(ca)); err != nil {
			return nil, fmt.Errorf("Failed to read the CA contents: %w", err) //nolint:staticcheck // upstream's words
		}
	}
	return &http.Client{Transport: utilnet.SetTransportDefaults(&http.Transport{TLSClientConfig: config}), Timeout: 30 * time.Second}, nil
}

// update puts the issuers of c in the place of those there are, once they have
// been reached. ctx is for this alone.
func (i *issuers) update(ctx context.Context, c *Configuration) error {
	i.updating.Lock()
	defer i.updating.Unlock()
	if !reflect.DeepEqual(c.Anonymous, i.is.Anonymous) {
		return errAnonymousChanged
	}
	set, err := i.newSet(c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, updateTimeout)
	defer cancel()
	if wait.PollUntilContextCancel(ctx, 100*time.Millisecond, true, func(context.Context) (bool, error) {
		return set.ready() == nil, nil
	}) != nil {
		set.end()
		return errors.Join(set.ready(), context.Cause(ctx))
	}
	i.is = c
	before := i.current.Swap(set)
	before.using.Lock() // until nobody is half way
	before.end()
	before.using.Unlock()
	return nil
}

// close ends the issuers' background.
func (i *issuers) close() { i.current.Load().end() }
