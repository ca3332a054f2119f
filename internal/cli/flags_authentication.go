package cli

import (
	"strconv"
	"time"

	"github.com/spf13/pflag"
	cliflag "k8s.io/component-base/cli/flag"

	"github.com/knarr-io/knarr"
)

// authenticationFlags are the flags about who asks where they differ in form from
// the options that they become.
type authenticationFlags struct {
	extendExpiration, lookup bool
	anonymous                *bool // nil unless it is given
	webhookTTL               time.Duration
}

func (f *authenticationFlags) addTo(fs *pflag.FlagSet, o *knarr.Options) {
	fs.StringVar(&o.ClientCAFile, "client-ca-file", o.ClientCAFile, "further authorities of client certificates")
	fs.StringVar(&o.RequestHeaderClientCAFile, "requestheader-client-ca-file", o.RequestHeaderClientCAFile, "authorities of front proxies, which tell by headers who asks, instead of one that is made")
	fs.StringSliceVar(&o.RequestHeaderAllowedNames, "requestheader-allowed-names", o.RequestHeaderAllowedNames, "common names that certificates of front proxies may have (default front-proxy-client if the authority is made, any if not)")
	fs.StringSliceVar(&o.RequestHeaderUsernameHeaders, "requestheader-username-headers", o.RequestHeaderUsernameHeaders, "headers of the user's name (default X-Remote-User if the authority is made)")
	fs.StringSliceVar(&o.RequestHeaderUIDHeaders, "requestheader-uid-headers", o.RequestHeaderUIDHeaders, "headers of the user's uid, such as X-Remote-Uid")
	fs.StringSliceVar(&o.RequestHeaderGroupHeaders, "requestheader-group-headers", o.RequestHeaderGroupHeaders, "headers of the user's groups (default X-Remote-Group if the authority is made)")
	fs.StringSliceVar(&o.RequestHeaderExtraHeadersPrefix, "requestheader-extra-headers-prefix", o.RequestHeaderExtraHeadersPrefix, "what the headers of the rest about the user begin with (default X-Remote-Extra- if the authority is made)")
	fs.StringVar(&o.TokenAuthFile, "token-auth-file", o.TokenAuthFile, "static bearer tokens: lines of token,user,uid[,\"group,group\"]")
	fs.BoolVar(&o.EnableBootstrapTokenAuth, "enable-bootstrap-token-auth", o.EnableBootstrapTokenAuth, "accept the tokens for new nodes that Secrets of kube-system hold")
	fs.BoolFunc("anonymous-auth", "let requests without credentials in as system:anonymous (default true)", func(value string) error {
		given, err := strconv.ParseBool(value)
		f.anonymous = &given
		return err
	})
	fs.StringVar(&o.AuthenticationConfigFile, "authentication-config", o.AuthenticationConfigFile, "AuthenticationConfiguration: issuers of JSON Web Tokens, and who may be anonymous; read again when it changes")
	fs.StringVar(&o.OIDC.IssuerURL, "oidc-issuer-url", o.OIDC.IssuerURL, "https URL of an OpenID Connect provider whose tokens are accepted")
	fs.StringVar(&o.OIDC.ClientID, "oidc-client-id", o.OIDC.ClientID, "who the provider's tokens must be for")
	fs.StringVar(&o.OIDC.CAFile, "oidc-ca-file", o.OIDC.CAFile, "authorities of the provider's certificate (default the host's)")
	fs.StringVar(&o.OIDC.UsernameClaim, "oidc-username-claim", o.OIDC.UsernameClaim, "claim that is the user's name (default sub)")
	fs.StringVar(&o.OIDC.UsernamePrefix, "oidc-username-prefix", o.OIDC.UsernamePrefix, "what users' names begin with, - for nothing (default the provider's URL and #, but nothing for the claim email)")
	fs.StringVar(&o.OIDC.GroupsClaim, "oidc-groups-claim", o.OIDC.GroupsClaim, "claim that is the user's groups")
	fs.StringVar(&o.OIDC.GroupsPrefix, "oidc-groups-prefix", o.OIDC.GroupsPrefix, "what groups' names begin with")
	fs.StringSliceVar(&o.OIDC.SigningAlgs, "oidc-signing-algs", o.OIDC.SigningAlgs, "algorithms that the provider's tokens may be signed by (default RS256)")
	fs.Var(cliflag.NewMapStringStringNoSplit(&o.OIDC.RequiredClaims), "oidc-required-claim", "claim=value that the provider's tokens must have; may be given again")
	fs.StringVar(&o.AuthenticationTokenWebhook.ConfigFile, "authentication-token-webhook-config-file", o.AuthenticationTokenWebhook.ConfigFile, "kubeconfig of a server that is asked about tokens that nobody else knows")
	fs.StringVar(&o.AuthenticationTokenWebhook.Version, "authentication-token-webhook-version", "v1beta1", "version of the TokenReviews that it is sent")
	fs.DurationVar(&f.webhookTTL, "authentication-token-webhook-cache-ttl", 2*time.Minute, "how long its answers hold")

	fs.StringArrayVar(&o.ServiceAccountIssuers, "service-account-issuer", o.ServiceAccountIssuers, "who issues tokens of service accounts; further ones, by the flag again, are accepted too")
	fs.StringVar(&o.ServiceAccountSigningKeyFile, "service-account-signing-key-file", o.ServiceAccountSigningKeyFile, "private key to sign tokens with instead of one that is made")
	fs.StringArrayVar(&o.ServiceAccountKeyFiles, "service-account-key-file", o.ServiceAccountKeyFiles, "keys to verify tokens by, besides that of --service-account-signing-key-file; may be given again")
	fs.BoolVar(&f.lookup, "service-account-lookup", true, "have a token that lives in a Secret void when that is gone")
	fs.StringVar(&o.ServiceAccountJWKSURI, "service-account-jwks-uri", o.ServiceAccountJWKSURI, "where others get the keys to verify tokens by (default at this server)")
	fs.DurationVar(&o.ServiceAccountMaxTokenExpiration, "service-account-max-token-expiration", o.ServiceAccountMaxTokenExpiration, "how long a token is valid at most; 0 for as long as is asked for")
	fs.BoolVar(&f.extendExpiration, "service-account-extend-token-expiration", true, "let the tokens that pods have by themselves last a year")
	fs.StringSliceVar(&o.APIAudiences, "api-audiences", o.APIAudiences, "names of this API that tokens may be for (default the issuers)")
}

// complete turns the flags into options.
func (f *authenticationFlags) complete(o *knarr.Options) {
	o.ServiceAccountExtendTokenExpiration, o.ServiceAccountLookup = &f.extendExpiration, &f.lookup
	o.AnonymousAuth = f.anonymous
	if o.AuthenticationTokenWebhook.CacheTTL = f.webhookTTL; f.webhookTTL == 0 {
		o.AuthenticationTokenWebhook.CacheTTL = -1 // where 0 is the default
	}
}
