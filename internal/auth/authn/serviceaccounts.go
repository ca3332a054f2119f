package authn

import (
	"context"
	"time"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	tokenunion "k8s.io/apiserver/pkg/authentication/token/union"
	typedv1core "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/kubernetes/pkg/serviceaccount"
)

// ServiceAccounts is what tokens of service accounts are verified by. All but
// NoLookup is required.
type ServiceAccounts struct {
	// Issuers are the names of those whose tokens are accepted.
	Issuers []string
	// Keys verify their signatures.
	Keys serviceaccount.PublicKeysGetter
	// NoLookup accepts old tokens without looking whether their Secrets are there
	// (--service-account-lookup=false).
	NoLookup bool
	// Objects are the service accounts and what tokens are bound to, as they
	// are now. What is not there any more makes the token void.
	Objects serviceaccount.ServiceAccountTokenGetter
	// Secrets notes in a Secret when the token in it was last used. Only such
	// old tokens are noted.
	Secrets typedv1core.SecretsGetter
	// Noting returns a context in which it is noted what Objects are read, and
	// what reports whether all that were read are still the same.
	Noting func(context.Context) (context.Context, func() bool)
}

// authenticators returns those of old tokens, which live in Secrets, and of
// those that were requested, as upstream's pkg/kubeapiserver/authenticator.
func (s *ServiceAccounts) authenticators(audiences authenticator.Audiences, now func() time.Time) (authenticator.Token, error) {
	old, err := serviceaccount.NewLegacyValidator(!s.NoLookup, s.Objects, s.Secrets)
	if err != nil {
		return nil, err
	}
	both := &remembered{Token: tokenunion.New(
		serviceaccount.JWTTokenAuthenticator([]string{serviceaccount.LegacyIssuer}, s.Keys, audiences, old),
		serviceaccount.JWTTokenAuthenticator(s.Issuers, s.Keys, audiences, serviceaccount.NewValidator(s.Objects)),
	), accepted: successTTL, noting: s.Noting, now: now}
	s.Keys.AddListener(both)
	return both, nil
}
