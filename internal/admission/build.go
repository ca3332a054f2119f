package admission

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/initializer"
	"k8s.io/apiserver/pkg/admission/plugin/namespace/lifecycle"
	mutatingpolicy "k8s.io/apiserver/pkg/admission/plugin/policy/mutating"
	validatingpolicy "k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	"k8s.io/apiserver/pkg/admission/plugin/resourcequota"
	mutatingwebhook "k8s.io/apiserver/pkg/admission/plugin/webhook/mutating"
	validatingwebhook "k8s.io/apiserver/pkg/admission/plugin/webhook/validating"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/apiserver/pkg/util/webhook"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/component-base/compatibility"
	baseversion "k8s.io/component-base/version"
	"k8s.io/kubernetes/pkg/kubeapiserver/admission/exclusion"
	"k8s.io/kubernetes/plugin/pkg/admission/defaulttolerationseconds"
	"k8s.io/kubernetes/plugin/pkg/admission/limitranger"
	"k8s.io/kubernetes/plugin/pkg/admission/noderestriction"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/state"
)

// Environment is what plugins get to work with.
type Environment struct {
	State *state.State
	// Catalogue tells what is served now; it is called for every write.
	Catalogue func() *kind.Catalogue
	// Informers read the state, and Client and Dynamic ask the server itself.
	Informers  informers.SharedInformerFactory
	Client     kubernetes.Interface
	Dynamic    dynamic.Interface
	Authorizer authorizer.Authorizer
	// OwnStatus returns a quota's status as written by the server itself: with
	// the owners of its fields.
	OwnStatus OwnStatus
	// Types returns the schemas of a kind, by which policies merge; nil if its
	// version is not served.
	Types func(schema.GroupVersionKind) managedfields.TypeConverter
	// Services finds the addresses of Services, and Dial connects to webhooks.
	Services webhook.ServiceResolver
	Dial     Dial
	// Stopped is closed when no write is admitted any more.
	Stopped <-chan struct{}
	// First are plugins that come before all others.
	First []admission.Interface
}

// New returns the chain of the plugins that the settings ask for. What they
// cannot do is an error.
func New(s Settings, e *Environment) (*Chain, error) {
	run := s.enabled()
	configs, err := s.configuration(run)
	if err != nil {
		return nil, err
	}
	b := builder{Environment: e, settings: s, configs: configs, initializers: e.initializers()}
	var members []*member
	for _, p := range e.First {
		members = append(members, &member{Interface: p, plugin: plugin{resources: []string{""}}})
	}
	for _, p := range run {
		m, err := b.build(p)
		if err != nil {
			return nil, err
		}
		if m != nil {
			members = append(members, m)
		}
	}
	return newChain(members), nil
}

// builder makes the plugins of one chain.
type builder struct {
	*Environment
	settings     Settings
	configs      admission.ConfigProvider
	initializers admission.PluginInitializers
}

// build makes a plugin; nil if it never looks at anything.
func (b builder) build(p plugin) (*member, error) {
	switch {
	case len(p.resources) == 0:
		return nil, nil
	case p.name == mutatingpolicy.PluginName:
		w, err := b.newMutatingPolicies(p)
		return &member{Interface: w, plugin: p, concerns: w.concerns}, err
	case p.name == validatingpolicy.PluginName:
		w, err := b.newValidatingPolicies(p)
		return &member{Interface: w, plugin: p, concerns: w.concerns}, err
	case p.name == mutatingwebhook.PluginName:
		w, err := b.newWebhooks(p, "mutatingwebhookconfigurations")
		return &member{Interface: mutatingWebhooks{w}, plugin: p, concerns: w.concerns}, err
	case p.name == validatingwebhook.PluginName:
		w, err := b.newWebhooks(p, "validatingwebhookconfigurations")
		return &member{Interface: validatingWebhooks{w}, plugin: p, concerns: w.concerns}, err
	case p.name == lifecycle.PluginName:
		l := newNamespaceLifecycle(b.State, b.Catalogue)
		return &member{Interface: l, plugin: p, concerns: l.concerns}, nil
	case p.name == resourcequota.PluginName:
		config, err := b.configs.ConfigFor(p.name)
		if err != nil {
			return nil, err
		}
		q, err := newQuotas(b.Environment, config)
		if err != nil {
			return nil, fmt.Errorf("couldn't init admission plugin %q: %w", p.name, err)
		}
		return &member{Interface: q, plugin: p, concerns: q.concerns}, nil
	}
	made, err := b.upstream(p)
	if err != nil {
		return nil, err
	}
	// What they read is always ready: to be asked would cost a timer each time.
	if waits, ok := made.(interface{ SetReadyFunc(admission.ReadyFunc) }); ok {
		waits.SetReadyFunc(nil)
	}
	m := &member{Interface: made, plugin: p}
	switch p.name {
	case limitranger.PluginName:
		m.concerns = b.hasLimits()
	case noderestriction.PluginName:
		m.concerns = ofNode
	case defaulttolerationseconds.PluginName:
		m.Interface = newTolerations(made.(*defaulttolerationseconds.Plugin), b.settings)
	}
	return m, nil
}

// upstream makes a plugin as upstream does.
func (b builder) upstream(p plugin) (admission.Interface, error) {
	config, err := b.configs.ConfigFor(p.name)
	if err != nil {
		return nil, err
	}
	registry := admission.NewPlugins()
	p.register(registry)
	return registry.InitPlugin(p.name, config, b.initializers)
}

// initializers are upstream's, in its order.
func (e *Environment) initializers() admission.PluginInitializers {
	current := version.MustParse(baseversion.DefaultKubeBinaryVersion)
	none := version.MustParse("0.0")
	generic := initializer.New(e.Client, e.Dynamic, e.Informers, e.Authorizer, utilfeature.DefaultFeatureGate,
		compatibility.NewEffectiveVersion(current, false, none, none), e.Stopped, &kind.Mapper{Catalogue: e.Catalogue})
	return admission.PluginInitializers{generic, e.asking(), excluding{}, manifests{}}
}

// excluding tells plugins which resources they must leave alone.
type excluding struct{}

func (excluding) Initialize(p admission.Interface) {
	if wants, ok := p.(initializer.WantsExcludedAdmissionResources); ok {
		wants.SetExcludedAdmissionResources(exclusion.Excluded())
	}
}

// hasLimits returns what tells whether there is a LimitRange in the namespace of
// a write. Upstream's plugin would ask for them again and remember, for a while,
// that there are none.
func (b builder) hasLimits() func(admission.Attributes) bool {
	prefix := b.prefix(schema.GroupResource{Resource: "limitranges"})
	return func(a admission.Attributes) bool {
		return prefix != "" && b.State.Snapshot(prefix).Len(a.GetNamespace()) > 0
	}
}

// prefix is where the objects of a native resource are kept; empty if it is not
// served.
func (e *Environment) prefix(gr schema.GroupResource) string {
	if r := e.Catalogue().Resource(gr); r != nil && r.Storage != nil {
		return r.Storage.Prefix
	}
	return ""
}

// ofNode reports whether a node writes, or one who may say that he is one.
func ofNode(a admission.Attributes) bool {
	u := a.GetUserInfo()
	return u != nil && strings.HasPrefix(u.GetName(), "system:node:")
}
