// Package authz says whether a user may do what a request asks for, and what he
// may do at all, by those who decide as the configuration names them. It must not
// know how the user was authenticated, nor what the request would do, nor what
// roles there are.
package authz

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	"k8s.io/apiserver/pkg/authorization/cel"
	"k8s.io/apiserver/pkg/authorization/union"
	"k8s.io/apiserver/pkg/util/filesystem"
	webhookutil "k8s.io/apiserver/pkg/util/webhook"
	"k8s.io/apiserver/plugin/pkg/authorizer/webhook"
	webhookmetrics "k8s.io/apiserver/plugin/pkg/authorizer/webhook/metrics"
	"k8s.io/client-go/util/connrotation"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/auth/authorizer/abac"
	configuration "k8s.io/kubernetes/pkg/kubeapiserver/authorizer"
	"k8s.io/kubernetes/pkg/kubeapiserver/authorizer/modes"
)

// Resolver decides, and tells what somebody may do.
type Resolver interface {
	authorizer.Authorizer
	authorizer.RuleResolver
}

// Authorizer asks one after another of those that the options name, until one
// allows or refuses, as upstream's does: first of all, members of
// system:masters may do everything. It is safe for concurrent use.
type Authorizer struct {
	options Options
	// compiler makes what it makes conditions with, which takes megabytes, when
	// it is first needed.
	compiler func() cel.Compiler
	// abac is nil if it was not configured at the start. What is not a webhook
	// cannot be added later.
	abac abac.PolicyList
	// kept are the types that may not go from the file.
	kept sets.Set[apiserver.AuthorizerType]
	// dialer has the connections to webhooks.
	dialer  *connrotation.Dialer
	current atomic.Pointer[deciding]

	// What reload has read last.
	data   []byte
	config *apiserver.AuthorizationConfiguration
}

// deciding is those who decide by one configuration.
type deciding struct {
	authorizer.Authorizer
	authorizer.RuleResolver
}

var _ Resolver = (*Authorizer)(nil)

// New returns the authorizer that valid options describe.
//
// A caller allows what is allowed whatever the error, answers 500 to an error
// and Forbidden to all the rest.
func New(o Options) (*Authorizer, error) {
	a := &Authorizer{
		options: o, compiler: sync.OnceValue(cel.NewDefaultCompiler), config: o.configuration(), kept: sets.New[apiserver.AuthorizerType](),
		dialer: connrotation.NewDialer((&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext),
	}
	if o.ConfigFile != "" {
		config, data, err := configuration.LoadAndValidateFile(o.ConfigFile, a.compiler(), nil)
		if err != nil {
			return nil, err
		}
		a.config, a.data = config, []byte(data)
	}
	for _, one := range a.config.Authorizers {
		if string(one.Type) == modes.ModeABAC {
			list, err := abac.NewFromFile(o.PolicyFile)
			if err != nil {
				return nil, err
			}
			a.abac = list
		}
		if one.Type != apiserver.TypeWebhook {
			a.kept.Insert(one.Type)
		}
	}
	decides, err := a.build(a.config)
	if err != nil {
		return nil, err
	}
	a.current.Store(decides)
	return a, nil
}

// Run reads the file again whenever it changes until ctx ends, then closes the
// connections to webhooks. What is wrong with it is logged, and the last that
// was right holds.
func (a *Authorizer) Run(ctx context.Context) {
	defer a.dialer.CloseAll()
	if a.options.ConfigFile == "" {
		<-ctx.Done()
		return
	}
	filesystem.WatchUntil(ctx, time.Minute, a.options.ConfigFile,
		func() {
			if err := a.reload(); err != nil {
				klog.ErrorS(err, "Reloading the authorization configuration", "file", a.options.ConfigFile)
			}
		},
		func(err error) {
			klog.ErrorS(err, "Watching the authorization configuration", "file", a.options.ConfigFile)
		})
}

// reload reads the file, and makes what it says hold if it says something else.
func (a *Authorizer) reload() error {
	data, err := os.ReadFile(a.options.ConfigFile)
	if err != nil || bytes.Equal(data, a.data) {
		return err
	}
	a.data = data
	config, err := configuration.LoadAndValidateData(data, a.compiler(), a.kept)
	if err != nil || reflect.DeepEqual(config, a.config) {
		return err
	}
	decides, err := a.build(config)
	if err != nil {
		return err
	}
	a.config = config
	a.current.Store(decides)
	klog.InfoS("The authorization configuration has changed", "file", a.options.ConfigFile)
	return nil
}

// build makes those who decide.
func (a *Authorizer) build(config *apiserver.AuthorizationConfiguration) (*deciding, error) {
	all := []union.NamedAuthorizer{{
		AuthorizerName: "kubernetes.io/system-privileged-group", Authorizer: authorizerfactory.NewPrivilegedGroups(user.SystemPrivilegedGroup),
	}}
	var resolvers []authorizer.RuleResolver
	for _, one := range config.Authorizers {
		decides, err := a.one(&one)
		if err != nil {
			return nil, err
		}
		all = append(all, union.NamedAuthorizer{AuthorizerName: one.Name, Authorizer: decides})
		resolvers = append(resolvers, decides)
	}
	decides, err := union.New(all...)
	if err != nil {
		return nil, err
	}
	return &deciding{decides, union.NewRuleResolvers(resolvers...)}, nil
}

func (a *Authorizer) one(config *apiserver.AuthorizerConfiguration) (Resolver, error) {
	switch string(config.Type) {
	case modes.ModeWebhook:
		return a.webhook(config)
	case modes.ModeAlwaysAllow:
		return authorizerfactory.NewAlwaysAllowAuthorizer(), nil
	case modes.ModeAlwaysDeny:
		return authorizerfactory.NewAlwaysDenyAuthorizer(), nil
	}
	if !a.kept.Has(config.Type) {
		return nil, fmt.Errorf("authorizer type %s is not allowed if it was not enabled at initial server startup", config.Type)
	}
	switch string(config.Type) {
	case modes.ModeNode:
		return a.options.Node, nil
	case modes.ModeRBAC:
		return a.options.RBAC, nil
	case modes.ModeABAC:
		return a.abac, nil
	}
	return nil, fmt.Errorf("unknown authorization mode %s specified", config.Type)
}

// retries are how often, and after what time, a webhook that does not answer is
// asked again.
func retries() wait.Backoff {
	return wait.Backoff{Duration: 500 * time.Millisecond, Factor: 1.5, Jitter: 0.2, Steps: 5}
}

func (a *Authorizer) webhook(config *apiserver.AuthorizerConfiguration) (Resolver, error) {
	w := config.Webhook
	if w == nil || w.ConnectionInfo.KubeConfigFile == nil {
		return nil, errors.New("a webhook needs a kubeconfig file")
	}
	client, err := webhookutil.LoadKubeconfig(*w.ConnectionInfo.KubeConfigFile, a.dialer.DialContext)
	if err != nil {
		return nil, err
	}
	if w.Timeout.Duration != 0 {
		client.Timeout = w.Timeout.Duration
	}
	onError := authorizer.DecisionNoOpinion
	if w.FailurePolicy == apiserver.FailurePolicyDeny {
		onError = authorizer.DecisionDeny
	}
	authorizedTTL, unauthorizedTTL := w.AuthorizedTTL.Duration, w.UnauthorizedTTL.Duration
	if !w.CacheAuthorizedRequests {
		authorizedTTL = 0
	}
	if !w.CacheUnauthorizedRequests {
		unauthorizedTTL = 0
	}
	return webhook.New(client, w.SubjectAccessReviewVersion, authorizedTTL, unauthorizedTTL, retries(), onError,
		w.MatchConditions, config.Name, webhookmetrics.NoopAuthorizerMetrics{}, a.compiler())
}

// Authorize asks those who decide.
func (a *Authorizer) Authorize(ctx context.Context, attributes authorizer.Attributes) (authorizer.Decision, string, error) {
	return a.current.Load().Authorize(ctx, attributes)
}

// ConditionsAwareAuthorize asks those who decide.
func (a *Authorizer) ConditionsAwareAuthorize(ctx context.Context, attributes authorizer.Attributes) authorizer.ConditionsAwareDecision {
	return a.current.Load().ConditionsAwareAuthorize(ctx, attributes)
}

// EvaluateConditions asks those who decide.
func (a *Authorizer) EvaluateConditions(ctx context.Context, decision authorizer.ConditionsAwareDecision, data authorizer.ConditionsData) (authorizer.Decision, string, error) {
	return a.current.Load().EvaluateConditions(ctx, decision, data)
}

// RulesFor asks those who decide what somebody may do in a namespace.
func (a *Authorizer) RulesFor(ctx context.Context, who user.Info, namespace string) ([]authorizer.ResourceRuleInfo, []authorizer.NonResourceRuleInfo, bool, error) {
	return a.current.Load().RulesFor(ctx, who, namespace)
}
