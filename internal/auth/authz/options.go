package authz

import (
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/authorization/cel"
	"k8s.io/kubernetes/pkg/kubeapiserver/authorizer"
	"k8s.io/kubernetes/pkg/kubeapiserver/authorizer/modes"
)

// Options say who decides, in kube-apiserver's terms: by flags, or by a file
// that is read again when it changes.
type Options struct {
	// Modes are those who decide, in this order; default Node and RBAC.
	Modes []string
	// PolicyFile is ABAC's.
	PolicyFile string
	Webhook    Webhook
	// ConfigFile is a structured configuration, in place of Modes and Webhook.
	ConfigFile string

	// Node and RBAC are what decides in those modes. They are needed by New alone.
	Node, RBAC Resolver
}

// Webhook is a server that is asked, by flags.
type Webhook struct {
	// ConfigFile is a kubeconfig that says where it is.
	ConfigFile string
	// Version is that of the reviews it is sent; default v1beta1.
	Version string
	// AuthorizedTTL and UnauthorizedTTL are how long its answers hold; default 5
	// minutes and 30 seconds, negative for not at all.
	AuthorizedTTL, UnauthorizedTTL time.Duration
}

// Validate says, in kube-apiserver's words, what options are wrong.
func (o *Options) Validate() error {
	if o.ConfigFile != "" {
		if o.Modes != nil || o.Webhook != (Webhook{}) {
			return fmt.Errorf("--authorization-config can not be specified when --authorization-mode or --authorization-webhook-* flags are defined")
		}
		_, _, err := authorizer.LoadAndValidateFile(o.ConfigFile, cel.NewDefaultCompiler(), nil)
		return err
	}
	var all []error
	wrong := func(format string, args ...any) { all = append(all, fmt.Errorf(format, args...)) }
	list := o.modes()
	if len(list) == 0 {
		wrong("at least one authorization-mode must be passed")
	}
	twice := false
	for i, mode := range list {
		twice = twice || slices.Contains(list[:i], mode)
		switch {
		case !modes.IsValidAuthorizationMode(mode):
			wrong("authorization-mode %q is not a valid mode", mode)
		case mode == modes.ModeABAC && o.PolicyFile == "":
			wrong("authorization-mode ABAC's authorization policy file not passed")
		case mode == modes.ModeWebhook && o.Webhook.ConfigFile == "":
			wrong("authorization-mode Webhook's authorization config file not passed")
		}
	}
	if o.PolicyFile != "" && !slices.Contains(list, modes.ModeABAC) {
		wrong("cannot specify --authorization-policy-file without mode ABAC")
	}
	if o.Webhook.ConfigFile != "" && !slices.Contains(list, modes.ModeWebhook) {
		wrong("cannot specify --authorization-webhook-config-file without mode Webhook")
	}
	if twice {
		wrong("authorization-mode %q has mode specified more than once", list)
	}
	return utilerrors.NewAggregate(all)
}

// DefaultModes are those of a server that is not told others.
func DefaultModes() []string { return []string{modes.ModeNode, modes.ModeRBAC} }

func (o *Options) modes() []string {
	if o.Modes == nil {
		return DefaultModes()
	}
	return o.Modes
}

// configuration is what the modes are in the terms of the file.
func (o *Options) configuration() *apiserver.AuthorizationConfiguration {
	config := &apiserver.AuthorizationConfiguration{}
	for _, mode := range o.modes() {
		one := apiserver.AuthorizerConfiguration{Type: apiserver.AuthorizerType(mode), Name: authorizer.GetNameForAuthorizerMode(mode)}
		if mode == modes.ModeWebhook {
			one.Name, one.Webhook = "default", o.Webhook.configuration()
		}
		config.Authorizers = append(config.Authorizers, one)
	}
	return config
}

func (w Webhook) configuration() *apiserver.WebhookConfiguration {
	if w.Version == "" {
		w.Version = "v1beta1"
	}
	ttl := func(given, otherwise time.Duration) (metav1.Duration, bool) {
		if given == 0 {
			given = otherwise
		}
		return metav1.Duration{Duration: max(given, 0)}, given > 0
	}
	config := &apiserver.WebhookConfiguration{
		Timeout:                    metav1.Duration{Duration: 30 * time.Second},
		FailurePolicy:              apiserver.FailurePolicyNoOpinion,
		SubjectAccessReviewVersion: w.Version,
		ConnectionInfo: apiserver.WebhookConnectionInfo{
			Type:           apiserver.AuthorizationWebhookConnectionInfoTypeKubeConfigFile,
			KubeConfigFile: &w.ConfigFile,
		},
	}
	config.AuthorizedTTL, config.CacheAuthorizedRequests = ttl(w.AuthorizedTTL, 5*time.Minute)
	config.UnauthorizedTTL, config.CacheUnauthorizedRequests = ttl(w.UnauthorizedTTL, 30*time.Second)
	return config
}
