package knarr

import (
	"errors"
	"time"

	"github.com/knarr-io/knarr/internal/auth/authn"
	"github.com/knarr-io/knarr/internal/serviceaccount"
)

// OIDCOptions are an OpenID Connect provider whose tokens are accepted, as
// kube-apiserver's flags --oidc-* tell it. Its tokens are those of its IssuerURL
// for its ClientID; UsernameClaim is sub by default, SigningAlgs RS256.
type OIDCOptions struct {
	IssuerURL, ClientID, CAFile                              string
	UsernameClaim, UsernamePrefix, GroupsClaim, GroupsPrefix string
	SigningAlgs                                              []string
	RequiredClaims                                           map[string]string
}

// WebhookTokenOptions are a server that is asked about bearer tokens that nobody
// else knows. It gets TokenReviews of Version, v1beta1 by default.
type WebhookTokenOptions struct {
	ConfigFile, Version string
	// CacheTTL is how long its answers hold; default two minutes, negative not
	// at all.
	CacheTTL time.Duration
}

// checkAuthentication checks the options about who asks that need no file.
func (o *Options) checkAuthentication() error {
	oidc := authn.OIDC(o.OIDC)
	if o.AuthenticationConfigFile == "" {
		return oidc.Check()
	}
	if oidc.IsSet() {
		return errors.New("authentication-config file and oidc-* flags are mutually exclusive")
	}
	return nil
}

// authenticationConfiguration returns the issuers of tokens beside this server; nil
// if there is nothing about them. The process has its feature gates.
func (o *Options) authenticationConfiguration(issuers []string) (*authn.Configuration, error) {
	oidc := authn.OIDC(o.OIDC)
	switch {
	case o.AuthenticationConfigFile != "":
		return authn.ReadConfiguration(o.AuthenticationConfigFile, issuers)
	case oidc.IsSet():
		return oidc.Configuration(issuers)
	}
	return nil, nil
}

// newAuthenticator returns who knows who asks.
func (s *Server) newAuthenticator(certs *certificates, objects *serviceaccount.Objects) (*authn.Authenticator, error) {
	o, issuer := &s.options, certs.issuer
	config, err := o.authenticationConfiguration(issuer.Issuers)
	if err != nil {
		return nil, err
	}
	anonymous, err := authn.WhoMayBeAnonymous(o.AnonymousAuth, config)
	if err != nil {
		return nil, err
	}
	options := authn.Options{
		ClientCAs: certs.clients.pool, FrontProxies: certs.proxies.believed, TokenFile: o.TokenAuthFile,
		ServiceAccounts: &authn.ServiceAccounts{
			Issuers: issuer.Issuers, Keys: issuer.PublicKeys(), NoLookup: isFalse(o.ServiceAccountLookup),
			Objects: objects, Secrets: objects, Noting: objects.Noting,
		},
		Configuration: config,
		Webhook:       authn.Webhook(o.AuthenticationTokenWebhook),
		APIAudiences:  issuer.Audiences(),
		Anonymous:     anonymous,
	}
	if o.EnableBootstrapTokenAuth {
		options.Bootstrap = objects.SystemSecrets()
	}
	return authn.New(options)
}

// isFalse reports whether an option that is true by default is false.
func isFalse(option *bool) bool { return option != nil && !*option }
