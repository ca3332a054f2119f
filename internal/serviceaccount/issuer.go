// Package serviceaccount issues the tokens of service accounts and has what
// others need to verify them: keys, documents, and the objects that tokens are
// bound to. Tokens are made and read by upstream's k8s.io/kubernetes/pkg/serviceaccount;
// what may be asked for, and in which words it is refused, is as in upstream's
// pkg/registry/core/serviceaccount/storage.
//
// It must not know about HTTP, nor who accepts a token.
package serviceaccount

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/klog/v2"
	token "k8s.io/kubernetes/pkg/serviceaccount"
)

// DefaultIssuer is who issues tokens where nothing else is said.
const DefaultIssuer = "https://kubernetes.default.svc.cluster.local"

// Settings are what kube-apiserver's flags of the same names say.
type Settings struct {
	// Issuers are the names under which tokens are accepted; the first issues
	// them. Empty means DefaultIssuer.
	Issuers []string
	// JWKSURI is where keys are to be had, as the configuration document
	// tells; empty means at this server.
	JWKSURI string
	// MaxTokenExpiration is the longest that a token may be valid; 0 for no
	// bound but that of the API.
	MaxTokenExpiration time.Duration
	// KeepTokenExpiration turns off that tokens which pods have by themselves
	// last a year in place of the hour they ask for.
	KeepTokenExpiration bool
	// APIAudiences are the names of this API, one of which tokens must be for.
	// Empty means Issuers.
	APIAudiences []string
}

// Complete checks the settings and fills in defaults. An error is one line in
// kube-apiserver's words.
func (s *Settings) Complete() error {
	if len(s.Issuers) == 0 {
		s.Issuers = []string{DefaultIssuer}
	}
	for i, issuer := range s.Issuers {
		if strings.Contains(issuer, ":") {
			if _, err := url.Parse(issuer); err != nil {
				return fmt.Errorf("service-account-issuer %q contained a ':' but was not a valid URL: %w", issuer, err)
			}
		}
		if issuer == "" {
			return errors.New("service-account-issuer should not be an empty string")
		}
		if slices.Contains(s.Issuers[:i], issuer) {
			return fmt.Errorf("service-account-issuer %q is already specified", issuer)
		}
	}
	if s.JWKSURI != "" {
		if u, err := url.Parse(s.JWKSURI); err != nil {
			return fmt.Errorf("service-account-jwks-uri must be a valid URL: %w", err)
		} else if u.Scheme != "https" {
			return fmt.Errorf("service-account-jwks-uri requires https scheme, parsed as: %v", u)
		}
	}
	if m := s.MaxTokenExpiration; m != 0 && (m < time.Hour || m > time.Second<<32) {
		return errors.New("the service-account-max-token-expiration must be between 1 hour and 2^32 seconds")
	}
	if len(s.APIAudiences) == 0 {
		s.APIAudiences = s.Issuers
	}
	return nil
}

// Keys are what tokens are signed with and verified by.
type Keys struct {
	// Signing is an RSA or ECDSA private key.
	Signing crypto.Signer
	// Others are further public keys that tokens may have been signed for.
	Others []any
}

// Issuer issues tokens. But for its keys it is immutable, and it is safe for
// concurrent use.
type Issuer struct {
	Settings
	keys atomic.Pointer[keys]

	mu        sync.Mutex
	listeners []token.Listener // told when keys change; guarded by mu
}

// keys are what Keys were made into.
type keys struct {
	public    token.PublicKeysGetter
	generator token.TokenGenerator
	legacy    token.TokenGenerator // of tokens that are kept in Secrets
}

// NewIssuer returns the issuer of settings that are complete.
func NewIssuer(s Settings, k Keys) (*Issuer, error) {
	i := &Issuer{Settings: s}
	if err := i.SetKeys(k); err != nil {
		return nil, err
	}
	s.warn()
	return i, nil
}

// SetKeys has tokens signed with and verified by k from now on. If it fails, all is
// as before.
func (i *Issuer) SetKeys(k Keys) error {
	generator, err := token.JWTTokenGenerator(i.Issuers[0], k.Signing)
	if err != nil {
		return fmt.Errorf("failed to build token generator: %w", err)
	}
	legacy, err := token.JWTTokenGenerator(token.LegacyIssuer, k.Signing)
	if err != nil {
		return fmt.Errorf("failed to build token generator: %w", err)
	}
	all := slices.Clone(k.Others)
	if !slices.ContainsFunc(all, func(other any) bool { return samePublic(k.Signing.Public(), other) }) {
		all = append(all, k.Signing.Public())
	}
	public, err := token.StaticPublicKeysGetter(all)
	if err != nil {
		return fmt.Errorf("failed to set up public service account keys: %w", err)
	}
	i.keys.Store(&keys{public, generator, legacy})
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, l := range i.listeners {
		l.Enqueue()
	}
	return nil
}

// PublicKeys returns what verifies tokens: the keys of the files first, then the
// signing key's own, if it is not among them.
func (i *Issuer) PublicKeys() token.PublicKeysGetter { return publicKeys{i} }

// Legacy returns what makes, by the keys of now, the tokens that are kept in Secrets
// and do not expire.
func (i *Issuer) Legacy() token.TokenGenerator { return i.keys.Load().legacy }

type publicKeys struct{ *Issuer }

func (p publicKeys) AddListener(l token.Listener) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.listeners = append(p.listeners, l)
}

func (p publicKeys) GetCacheAgeMaxSeconds() int { return p.keys.Load().public.GetCacheAgeMaxSeconds() }

func (p publicKeys) GetPublicKeys(ctx context.Context, id string) []token.PublicKey {
	return p.keys.Load().public.GetPublicKeys(ctx, id)
}

func samePublic(key crypto.PublicKey, other any) bool {
	k, ok := key.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(other)
}

// warn tells the log of settings that do not go well together.
func (s *Settings) warn() {
	most := s.MaxTokenExpiration
	if s.KeepTokenExpiration || most == 0 {
		return
	}
	if most < token.WarnOnlyBoundTokenExpirationSeconds*time.Second {
		klog.InfoS("Tokens of pods are not extended, since service-account-max-token-expiration is shorter than they ask for", "maximum", most)
	}
	if most < token.ExpirationExtensionSeconds*time.Second {
		klog.InfoS("Tokens of pods are valid for longer than service-account-max-token-expiration, since service-account-extend-token-expiration is true", "maximum", most)
	}
}

// Audiences returns the names of this API.
func (s *Settings) Audiences() authenticator.Audiences { return s.APIAudiences }

// Documents returns what OpenID Connect asks of an issuer, for a server that
// is reached at address (host and port). The first issuer must be an https URL
// for that, as upstream demands.
func (i *Issuer) Documents(address string) (token.OpenIDMetadataProvider, error) {
	return token.NewOpenIDMetadataProvider(i.Issuers[0], i.JWKSURI, address, i.PublicKeys())
}
