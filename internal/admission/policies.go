package admission

import (
	"context"
	"fmt"
	"io"
	"sync"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/plugin/policy/config"
	"k8s.io/apiserver/pkg/admission/plugin/policy/generic"
	"k8s.io/apiserver/pkg/admission/plugin/policy/matching"
	mutatingpolicy "k8s.io/apiserver/pkg/admission/plugin/policy/mutating"
	validatingpolicy "k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/kubernetes/pkg/kubeapiserver/admission/exclusion"
)

// policyPlugin is one of upstream's plugins that decide by policies in CEL. It is
// made when there is the first policy, and reads them from the state.
type policyPlugin struct {
	*admission.Handler
	// make makes upstream's plugin.
	make func() (admission.Interface, error)
	// inForce tells whether a policy may look at a resource.
	inForce func(resource string) bool
	// files is set if there may be policies in files.
	files bool
	// excluded are resources that no policy looks at, and own those of policies,
	// at which only those in files do.
	excluded, own map[schema.GroupResource]bool
}

// mutatingPolicies and validatingPolicies are the two.
type (
	mutatingPolicies   struct{ *policyPlugin }
	validatingPolicies struct{ *policyPlugin }
)

var (
	_ admission.MutationInterface   = mutatingPolicies{}
	_ admission.ValidationInterface = validatingPolicies{}
)

// concerns reports whether there is any policy for a write.
func (p *policyPlugin) concerns(a admission.Attributes) bool {
	r := a.GetResource()
	if p.files {
		return !p.excluded[r.GroupResource()]
	}
	return p.inForce(r.Resource) && !p.excluded[r.GroupResource()] && !p.own[r.GroupResource()]
}

func (p mutatingPolicies) Admit(ctx context.Context, a admission.Attributes, o admission.ObjectInterfaces) error {
	made, err := p.make()
	if err != nil {
		return apierrors.NewInternalError(err)
	}
	return made.(admission.MutationInterface).Admit(ctx, a, o)
}

func (p validatingPolicies) Validate(ctx context.Context, a admission.Attributes, o admission.ObjectInterfaces) error {
	made, err := p.make()
	if err != nil {
		return apierrors.NewInternalError(err)
	}
	return made.(admission.ValidationInterface).Validate(ctx, a, o)
}

// newValidatingPolicies returns the plugin of ValidatingAdmissionPolicies.
func (b builder) newValidatingPolicies(p plugin) (validatingPolicies, error) {
	source := validatingSource(b.Environment)
	made := &validatingpolicy.Plugin{Plugin: generic.NewPlugin(
		admission.NewHandler(admission.Connect, admission.Create, admission.Delete, admission.Update),
		func(informers.SharedInformerFactory, kubernetes.Interface, dynamic.Interface, meta.RESTMapper) generic.Source[validatingpolicy.PolicyHook] {
			return source
		},
		func(a authorizer.UnconditionalAuthorizer, m *matching.Matcher, _ kubernetes.Interface) generic.Dispatcher[validatingpolicy.PolicyHook] {
			return validatingpolicy.NewDispatcher(a, generic.NewPolicyMatcher(m))
		},
	)}
	made.SetEnabled(true)
	run, err := newPolicies(b, p, made, made.Plugin, source.concerns, config.LoadValidatingConfig)
	return validatingPolicies{run}, err
}

// newMutatingPolicies returns the plugin of MutatingAdmissionPolicies.
func (b builder) newMutatingPolicies(p plugin) (mutatingPolicies, error) {
	source := mutatingSource(b.Environment)
	made := &mutatingpolicy.Plugin{Plugin: generic.NewPlugin(
		admission.NewHandler(admission.Create, admission.Update, admission.Connect), // nothing can be changed in a deletion
		func(informers.SharedInformerFactory, kubernetes.Interface, dynamic.Interface, meta.RESTMapper) generic.Source[mutatingpolicy.PolicyHook] {
			return source
		},
		func(a authorizer.UnconditionalAuthorizer, m *matching.Matcher, _ kubernetes.Interface) generic.Dispatcher[mutatingpolicy.PolicyHook] {
			return mutatingpolicy.NewDispatcher(a, m, schemas(b.Types))
		},
	)}
	run, err := newPolicies(b, p, made, made.Plugin, source.concerns, config.LoadMutatingConfig)
	return mutatingPolicies{run}, err
}

// newPolicies returns a plugin around upstream's, which is base in other words.
func newPolicies[H any](b builder, p plugin, upstream admission.Interface, base *generic.Plugin[H], inForce func(string) bool,
	load func(io.Reader) (config.PolicyConfig, error)) (*policyPlugin, error) {
	told, err := b.configs.ConfigFor(p.name)
	if err != nil {
		return nil, err
	}
	failed := func(err error) error { return fmt.Errorf("couldn't init admission plugin %q: %w", p.name, err) }
	settings, err := load(told)
	if err != nil {
		return nil, failed(err)
	}
	base.SetStaticManifestsDir(settings.StaticManifestsDir)
	run := &policyPlugin{
		Handler: base.Handler, inForce: inForce, files: settings.StaticManifestsDir != "",
		excluded: map[schema.GroupResource]bool{}, own: map[schema.GroupResource]bool{},
		make: sync.OnceValues(func() (admission.Interface, error) {
			b.initializers.Initialize(upstream)
			if err := admission.ValidateInitialization(upstream); err != nil {
				return nil, err
			}
			base.SetReadyFunc(nil) // what it reads is always ready
			return upstream, nil
		}),
	}
	for _, gr := range exclusion.Excluded() {
		run.excluded[gr] = true
	}
	for _, resource := range []string{"validatingadmissionpolicies", "validatingadmissionpolicybindings", "mutatingadmissionpolicies", "mutatingadmissionpolicybindings"} {
		run.own[admissionregistrationv1.Resource(resource)] = true
	}
	if run.files { // what is wrong with them is wrong at once
		if _, err := run.make(); err != nil {
			return nil, failed(err)
		}
	}
	return run, nil
}

// schemas tells upstream's plugin how objects of a kind are merged.
type schemas func(schema.GroupVersionKind) managedfields.TypeConverter

func (s schemas) GetTypeConverter(gvk schema.GroupVersionKind) managedfields.TypeConverter {
	return s(gvk)
}

// Run has nothing to do: schemas are those of what is served.
func (s schemas) Run(context.Context) {}
