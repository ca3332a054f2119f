package authn

import (
	"k8s.io/apiserver/pkg/authentication/authenticator"
	typedv1core "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/kubernetes/pkg/serviceaccount"
)

// ServiceAccounts is what tokens of service accounts are verified by. All of
// it is required.
type ServiceAccounts struct {
	// Issuers are the names of those whose tokens are accepted.
	Issuers []string
	// Keys verify their signatures.
	Keys serviceaccount.PublicKeysGetter
	// Objects are the service accounts and what tokens are bound to, as they
	// are now. What is not there any more makes the token void.
	Objects serviceaccount.ServiceAccountTokenGetter
	// Secrets notes in a Secret when the token in it was last used. Only such
	// old tokens are noted.
	Secrets typedv1core.SecretsGetter
}

// authenticators returns those of old tokens, which live in Secrets, and of
// those that were requested, as upstream's pkg/kubeapiserver/authenticator.
func (s *ServiceAccounts) authenticators(audiences authenticator.Audiences) ([]authenticator.Token, error) {
	const lookup = true // a token whose Secret is gone is void
	old, err := serviceaccount.NewLegacyValidator(lookup, s.Objects, s.Secrets)
	if err != nil {
		return nil, err
	}
	return []authenticator.Token{
		serviceaccount.JWTTokenAuthenticator([]string{serviceaccount.LegacyIssuer}, s.Keys, audiences, old),
		serviceaccount.JWTTokenAuthenticator(s.Issuers, s.Keys, audiences, serviceaccount.NewValidator(s.Objects)),
	}, nil
}
