package authn

import (
	"errors"
	"fmt"
	"os"
	"reflect"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/apis/apiserver/install"
	"k8s.io/apiserver/pkg/apis/apiserver/validation"
	authenticationcel "k8s.io/apiserver/pkg/authentication/cel"
	"k8s.io/apiserver/plugin/pkg/authenticator/token/oidc"
)

// Configuration says whose JSON Web Tokens are accepted beside those of service
// accounts, and who may ask without credentials. It is valid, and immutable.
type Configuration struct {
	jwt        []apiserver.JWTAuthenticator
	algorithms []string // of signatures
	// Anonymous is nil if nothing is said about requests without credentials.
	Anonymous *apiserver.AnonymousAuthConfig
}

// OIDC is an issuer of tokens as the flags --oidc-* tell.
type OIDC struct {
	IssuerURL, ClientID, CAFile                              string
	UsernameClaim, UsernamePrefix, GroupsClaim, GroupsPrefix string
	SigningAlgs                                              []string
	RequiredClaims                                           map[string]string
}

// IsSet reports whether anything is told.
func (o *OIDC) IsSet() bool { return !reflect.DeepEqual(*o, OIDC{}) }

// Check reports what is missing, in upstream's words.
func (o *OIDC) Check() error {
	if o.IsSet() && (o.IssuerURL == "" || o.ClientID == "") {
		return errors.New("oidc-issuer-url and oidc-client-id must be specified together when any oidc-* flags are set")
	}
	return nil
}

// Configuration returns the same as a file would tell it. The issuers are those
// of tokens of service accounts, which no one else may be.
func (o *OIDC) Configuration(issuers []string) (*Configuration, error) {
	claim, prefix := o.UsernameClaim, o.UsernamePrefix
	if claim == "" {
		claim = "sub"
	}
	switch {
	case prefix == "-":
		prefix = "" // that is how to ask for none
	case prefix == "" && claim != "email":
		prefix = o.IssuerURL + "#"
	}
	jwt := apiserver.JWTAuthenticator{
		Issuer:        apiserver.Issuer{URL: o.IssuerURL, Audiences: []string{o.ClientID}},
		ClaimMappings: apiserver.ClaimMappings{Username: apiserver.PrefixedClaimOrExpression{Prefix: &prefix, Claim: claim}},
	}
	if o.GroupsClaim != "" {
		groups := o.GroupsPrefix
		jwt.ClaimMappings.Groups = apiserver.PrefixedClaimOrExpression{Prefix: &groups, Claim: o.GroupsClaim}
	}
	if o.CAFile != "" {
		authority, err := os.ReadFile(o.CAFile)
		if err != nil {
			return nil, err
		}
		jwt.Issuer.CertificateAuthority = string(authority)
	}
	for claim, value := range o.RequiredClaims {
		jwt.ClaimValidationRules = append(jwt.ClaimValidationRules, apiserver.ClaimValidationRule{Claim: claim, RequiredValue: value})
	}
	algorithms := o.SigningAlgs
	if len(algorithms) == 0 {
		algorithms = []string{"RS256"}
	}
	return newConfiguration(&apiserver.AuthenticationConfiguration{JWT: []apiserver.JWTAuthenticator{jwt}}, algorithms, issuers)
}

// ReadConfiguration reads a file as --authentication-config names it.
func ReadConfiguration(file string, issuers []string) (*Configuration, error) {
	c, err := readConfiguration(file)
	if err != nil {
		return nil, fmt.Errorf("failed to load authentication configuration from file %q: %w", file, err)
	}
	return newConfiguration(c, oidc.AllValidSigningAlgorithms(), issuers)
}

func readConfiguration(file string) (*apiserver.AuthenticationConfiguration, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if len(data) == 0 {
		return nil, errors.New("empty config data")
	}
	scheme := runtime.NewScheme()
	install.Install(scheme)
	obj, err := runtime.Decode(serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDecoder(), data)
	if err != nil {
		return nil, err
	}
	c, ok := obj.(*apiserver.AuthenticationConfiguration)
	if !ok {
		return nil, fmt.Errorf("expected AuthenticationConfiguration, got %T", obj)
	}
	return c, nil
}

func newConfiguration(c *apiserver.AuthenticationConfiguration, algorithms, issuers []string) (*Configuration, error) {
	errs := validation.ValidateAuthenticationConfiguration(authenticationcel.NewDefaultCompiler(), c, issuers)
	if err := errs.ToAggregate(); err != nil {
		return nil, fmt.Errorf("invalid authentication configuration: %w", err)
	}
	return &Configuration{jwt: c.JWT, algorithms: algorithms, Anonymous: c.Anonymous}, nil
}

// WhoMayBeAnonymous decides between what the flag says, if it is given, and the
// configuration, if there is one.
func WhoMayBeAnonymous(flag *bool, c *Configuration) (apiserver.AnonymousAuthConfig, error) {
	switch {
	case c == nil || c.Anonymous == nil:
		return apiserver.AnonymousAuthConfig{Enabled: flag == nil || *flag}, nil
	case flag != nil:
		return apiserver.AnonymousAuthConfig{}, field.Forbidden(field.NewPath("anonymous"),
			"--anonymous-auth flag cannot be set when anonymous field is configured in authentication configuration file")
	}
	return *c.Anonymous, nil
}

// errAnonymousChanged refuses a changed file: who may be anonymous is for the
// server's whole life.
var errAnonymousChanged = field.Forbidden(field.NewPath("anonymous"), "changed from initial configuration file")
