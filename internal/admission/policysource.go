package admission

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/admission/plugin/policy/generic"
	mutatingpolicy "k8s.io/apiserver/pkg/admission/plugin/policy/mutating"
	validatingpolicy "k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/state"
)

// policyObject is a policy or a binding.
type policyObject interface {
	runtime.Object
	metav1.Object
}

// policySource gives upstream's plugin the policies as they are when it asks.
// Compiled ones are kept while there is the policy that they are of.
type policySource[P, B policyObject, E any] struct {
	env                *Environment
	mapper             meta.RESTMapper
	policies, bindings stored
	accessPolicy       func(P) generic.PolicyAccessor
	accessBinding      func(B) generic.BindingAccessor
	compile            func(P) E

	mu   sync.Mutex // is held while policies are compiled
	last atomic.Pointer[inForce[P, B, E]]
}

func validatingSource(e *Environment) *policySource[*validatingpolicy.Policy, *validatingpolicy.PolicyBinding, validatingpolicy.Validator] {
	read := e.Informers.Admissionregistration().V1()
	return &policySource[*validatingpolicy.Policy, *validatingpolicy.PolicyBinding, validatingpolicy.Validator]{
		env: e, mapper: &kind.Mapper{Catalogue: e.Catalogue},
		policies:      e.stored("validatingadmissionpolicies", read.ValidatingAdmissionPolicies().Informer()),
		bindings:      e.stored("validatingadmissionpolicybindings", read.ValidatingAdmissionPolicyBindings().Informer()),
		accessPolicy:  validatingpolicy.NewValidatingAdmissionPolicyAccessor,
		accessBinding: validatingpolicy.NewValidatingAdmissionPolicyBindingAccessor,
		compile:       compileValidating,
	}
}

func mutatingSource(e *Environment) *policySource[*mutatingpolicy.Policy, *mutatingpolicy.PolicyBinding, mutatingpolicy.PolicyEvaluator] {
	read := e.Informers.Admissionregistration().V1()
	return &policySource[*mutatingpolicy.Policy, *mutatingpolicy.PolicyBinding, mutatingpolicy.PolicyEvaluator]{
		env: e, mapper: &kind.Mapper{Catalogue: e.Catalogue},
		policies:      e.stored("mutatingadmissionpolicies", read.MutatingAdmissionPolicies().Informer()),
		bindings:      e.stored("mutatingadmissionpolicybindings", read.MutatingAdmissionPolicyBindings().Informer()),
		accessPolicy:  mutatingpolicy.NewMutatingAdmissionPolicyAccessor,
		accessBinding: mutatingpolicy.NewMutatingAdmissionPolicyBindingAccessor,
		compile:       compileMutating,
	}
}

// stored is where objects of a resource are, and how they are read.
type stored struct {
	prefix string
	cache.Indexer
}

func (e *Environment) stored(resource string, read cache.SharedIndexInformer) stored {
	return stored{e.prefix(admissionregistrationv1.Resource(resource)), read.GetIndexer()}
}

// inForce is the policies with bindings at one time.
type inForce[P, B policyObject, E any] struct {
	policies, bindings state.Snapshot
	catalogue          *kind.Catalogue
	hooks              []generic.PolicyHook[P, B, E]
	compiled           map[types.UID]compiled[E]
	// resources are the names of those that policies look at, or "*".
	resources map[string]bool
}

// compiled is what a policy has become, by the generation of what it says.
type compiled[E any] struct {
	generation int64
	evaluator  E
}

// Run has nothing to wait for.
func (s *policySource[P, B, E]) Run(context.Context) error { return nil }

// HasSynced is always so.
func (s *policySource[P, B, E]) HasSynced() bool { return true }

// Hooks returns the policies that have bindings, by name.
func (s *policySource[P, B, E]) Hooks() []generic.PolicyHook[P, B, E] { return s.now().hooks }

// concerns reports whether a policy in force may look at a resource.
func (s *policySource[P, B, E]) concerns(resource string) bool {
	if s.env.State.Snapshot(s.bindings.prefix).Len("") == 0 || s.env.State.Snapshot(s.policies.prefix).Len("") == 0 {
		if s.last.Load() != nil {
			s.last.Store(nil)
		}
		return false
	}
	looked := s.now().resources
	return looked[resource] || looked["*"]
}

// now returns what is in force.
func (s *policySource[P, B, E]) now() *inForce[P, B, E] {
	if last := s.last.Load(); last != nil && s.read().same(last) {
		return last
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	last, now := s.last.Load(), s.read()
	if last == nil {
		last = &inForce[P, B, E]{}
	} else if now.same(last) {
		return last
	}
	s.fill(&now, last.compiled)
	s.last.Store(&now)
	return &now
}

// read returns what there is, not made into hooks yet.
func (s *policySource[P, B, E]) read() inForce[P, B, E] {
	return inForce[P, B, E]{
		policies: s.env.State.Snapshot(s.policies.prefix), bindings: s.env.State.Snapshot(s.bindings.prefix), catalogue: s.env.Catalogue(),
	}
}

func (f inForce[P, B, E]) same(other *inForce[P, B, E]) bool {
	return f.policies.Same(other.policies) && f.bindings.Same(other.bindings) && f.catalogue == other.catalogue
}

// fill makes the hooks of what there is now, and compiles what is not.
func (s *policySource[P, B, E]) fill(now *inForce[P, B, E], before map[types.UID]compiled[E]) {
	now.compiled, now.resources = map[types.UID]compiled[E]{}, map[string]bool{}
	bindings := map[string][]B{}
	eachOf(s.bindings, now.bindings, func(b B) {
		name := s.accessBinding(b).GetPolicyName().Name
		bindings[name] = append(bindings[name], b)
	})
	eachOf(s.policies, now.policies, func(p P) {
		bound := bindings[p.GetName()]
		if len(bound) == 0 {
			return
		}
		hook := generic.PolicyHook[P, B, E]{Policy: p, Bindings: bound, RESTMapper: s.mapper}
		accessor := s.accessPolicy(p)
		if k := accessor.GetParamKind(); k != nil {
			gv, err := schema.ParseGroupVersion(k.APIVersion)
			if err != nil {
				return // which cannot be written
			}
			hook.ParamInformer, hook.ParamScope, hook.ConfigurationError = s.parameters(gv.WithKind(k.Kind))
		}
		c, ok := before[p.GetUID()]
		if !ok || c.generation != p.GetGeneration() {
			c = compiled[E]{p.GetGeneration(), s.compile(p)}
		}
		now.compiled[p.GetUID()] = c
		hook.Evaluator = c.evaluator
		now.hooks = append(now.hooks, hook)
		if m := accessor.GetMatchConstraints(); m != nil {
			for _, rule := range m.ResourceRules {
				for _, name := range rule.Resources {
					name, _, _ = strings.Cut(name, "/")
					now.resources[name] = true
				}
			}
		}
	})
}

// parameters returns what reads the objects of a kind, and where they are.
func (s *policySource[P, B, E]) parameters(gvk schema.GroupVersionKind) (informers.GenericInformer, meta.RESTScope, error) {
	mapping, err := s.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	var informer informers.GenericInformer
	if err == nil {
		informer, err = s.env.Informers.ForResource(mapping.Resource)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("failed to find resource referenced by paramKind: '%v'", gvk)
	}
	return informer, mapping.Scope, nil
}

// eachOf visits the objects of a snapshot as the state has them now: one that was
// changed since is visited again, since it is in another snapshot.
func eachOf[O policyObject](in stored, all state.Snapshot, visit func(O)) {
	all.Each(state.Range{}, func(o *object.Object) bool {
		if obj, ok, err := in.GetByKey(o.Name); ok && err == nil {
			if typed, ok := obj.(O); ok {
				visit(typed)
			}
		}
		return true
	})
}
