package cli

import (
	"time"

	"github.com/spf13/pflag"

	"github.com/knarr-io/knarr"
)

// authorizationFlags are those about who decides what users may do.
type authorizationFlags struct {
	modes                          []string
	policyFile, config             string
	webhookConfig, webhookVersion  string
	authorizedTTL, unauthorizedTTL time.Duration
	all                            *pflag.FlagSet
}

func (f *authorizationFlags) addTo(fs *pflag.FlagSet) {
	f.all = fs
	fs.StringSliceVar(&f.modes, "authorization-mode", []string{"Node", "RBAC"}, "who decides what users may do, one asked after another, of AlwaysAllow, AlwaysDeny, ABAC, Webhook, RBAC, Node")
	fs.StringVar(&f.policyFile, "authorization-policy-file", "", "policy of the mode ABAC: a JSON object a line")
	fs.StringVar(&f.webhookConfig, "authorization-webhook-config-file", "", "kubeconfig that says what server the mode Webhook asks")
	fs.StringVar(&f.webhookVersion, "authorization-webhook-version", "v1beta1", "version of the SubjectAccessReviews that the webhook is sent")
	fs.DurationVar(&f.authorizedTTL, "authorization-webhook-cache-authorized-ttl", 5*time.Minute, "how long what the webhook has allowed stays so; 0 asks every time")
	fs.DurationVar(&f.unauthorizedTTL, "authorization-webhook-cache-unauthorized-ttl", 30*time.Second, "how long what the webhook has not allowed stays so; 0 asks every time")
	fs.StringVar(&f.config, "authorization-config", "", "file that configures who decides, in place of --authorization-mode and --authorization-webhook-*; read again when it changes")
}

// apply puts those that were given into the options: a default must not count
// as given beside a file.
func (f *authorizationFlags) apply(o *knarr.Options) {
	o.AuthorizationPolicyFile, o.AuthorizationConfig, o.AuthorizationWebhookConfigFile = f.policyFile, f.config, f.webhookConfig
	if f.all.Changed("authorization-mode") {
		o.AuthorizationModes = f.modes
	}
	if f.all.Changed("authorization-webhook-version") {
		o.AuthorizationWebhookVersion = f.webhookVersion
	}
	if f.all.Changed("authorization-webhook-cache-authorized-ttl") {
		o.AuthorizationWebhookCacheAuthorizedTTL = never(f.authorizedTTL)
	}
	if f.all.Changed("authorization-webhook-cache-unauthorized-ttl") {
		o.AuthorizationWebhookCacheUnauthorizedTTL = never(f.unauthorizedTTL)
	}
}

// never turns the 0 of kube-apiserver's flags into what an option says for not
// at all, where 0 is the default.
func never(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}
