package admission

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/admission"
	validatingpolicy "k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/features"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	featuregatetesting "k8s.io/component-base/featuregate/testing"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	"k8s.io/kubernetes/pkg/apis/admissionregistration"
	api "k8s.io/kubernetes/pkg/apis/core"

	"github.com/knarr-io/knarr/internal/store"
)

// policyWorld is a server whose validating policies are written directly.
type policyWorld struct {
	t     testing.TB
	chain *Chain
	env   *Environment
}

func newPolicyWorld(t testing.TB, s ...Settings) *policyWorld {
	w := &policyWorld{t: t}
	var err error
	w.chain, w.env, err = newWith(t, append(s, Settings{Control: []string{"ValidatingAdmissionPolicy"}})[0])
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// put writes an object, or deletes the one of that name if obj is nil.
func (w *policyWorld) put(resource, name string, obj runtime.Object) {
	w.t.Helper()
	r := w.env.Catalogue().Resource(admissionregistration.Resource(resource))
	change := store.Change{Key: r.Storage.Key("", name)}
	if o := w.env.State.Get(change.Key); o != nil {
		change.If = o.Rev
	}
	if obj != nil {
		value, err := r.Storage.Codec.Encode(obj)
		if err != nil {
			w.t.Fatal(err)
		}
		change.Value = value
	}
	if _, err := w.env.State.Commit(w.t.Context(), change); err != nil {
		w.t.Fatal(err)
	}
}

func (w *policyWorld) policy(name string, generation int64, expressions ...string) {
	w.t.Helper()
	fail := admissionregistration.Fail
	equivalent := admissionregistration.Equivalent
	p := &admissionregistration.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID("uid-" + name), Generation: generation},
		Spec: admissionregistration.ValidatingAdmissionPolicySpec{
			FailurePolicy: &fail,
			MatchConstraints: &admissionregistration.MatchResources{
				MatchPolicy: &equivalent, NamespaceSelector: &metav1.LabelSelector{}, ObjectSelector: &metav1.LabelSelector{},
				ResourceRules: []admissionregistration.NamedRuleWithOperations{{RuleWithOperations: admissionregistration.RuleWithOperations{
					Operations: []admissionregistration.OperationType{admissionregistration.Create},
					Rule:       admissionregistration.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
				}}},
			},
		},
	}
	for _, e := range expressions {
		p.Spec.Validations = append(p.Spec.Validations, admissionregistration.Validation{Expression: e})
	}
	w.put("validatingadmissionpolicies", name, p)
}

func (w *policyWorld) bind(name string) {
	w.t.Helper()
	w.put("validatingadmissionpolicybindings", name, &admissionregistration.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: admissionregistration.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: name, ValidationActions: []admissionregistration.ValidationAction{admissionregistration.Deny},
		},
	})
}

func creating(resource string) admission.Attributes {
	pod := &api.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "here"}, Spec: api.PodSpec{Containers: []api.Container{{Name: "c", Image: "i"}}}}
	return admission.NewAttributesRecord(pod, nil, corev1.SchemeGroupVersion.WithKind("Pod"), "here", "p",
		corev1.SchemeGroupVersion.WithResource(resource), "", admission.Create, &metav1.CreateOptions{}, false, &user.DefaultInfo{Name: "u"})
}

// decides tells whether the creation of a pod is looked at, and allowed.
func (w *policyWorld) decides() string {
	w.t.Helper()
	a := creating("pods")
	if !w.chain.Validates(a) {
		return "not looked at"
	}
	err := w.chain.Validate(w.t.Context(), a, admission.NewObjectInterfacesFromScheme(legacyscheme.Scheme))
	if err == nil {
		return "allowed"
	}
	var status *apierrors.StatusError
	if !errors.As(err, &status) {
		w.t.Fatal(err)
	}
	return string(status.ErrStatus.Reason)
}

func (w *policyWorld) want(want, when string) {
	w.t.Helper()
	if got := w.decides(); got != want {
		w.t.Errorf("%s: a pod is %s, not %s", when, got, want)
	}
}

func (w *policyWorld) plugin() validatingPolicies {
	return w.chain.others.validating[0].Interface.(validatingPolicies)
}

// What was written before a request decides about it, and nothing is looked at
// by what is not there.
func TestPoliciesAreThoseOfTheState(t *testing.T) {
	w := newPolicyWorld(t)
	w.want("not looked at", "without policies")
	w.bind("a")
	w.want("not looked at", "without the policy of a binding")
	w.policy("a", 1, "object.metadata.name != 'p'")
	w.want("Invalid", "with a policy")
	if w.chain.Validates(creating("secrets")) {
		t.Error("a policy of pods has secrets looked at")
	}
	w.policy("a", 2, "object.metadata.name == 'p'")
	w.want("allowed", "with another rule")
	w.policy("b", 1, "false")
	w.want("allowed", "with a policy that is not bound")
	w.bind("b")
	w.want("Invalid", "with its binding")
	w.put("validatingadmissionpolicybindings", "b", nil)
	w.want("allowed", "without it")
	w.put("validatingadmissionpolicies", "a", nil)
	w.want("not looked at", "without a policy that is bound")
}

// A policy is compiled once for what it says, and dropped with it.
func TestPoliciesAreCompiledOnce(t *testing.T) {
	w := newPolicyWorld(t)
	source := validatingSource(w.env)
	n := 0
	compile := source.compile
	source.compile = func(p *validatingpolicy.Policy) validatingpolicy.Validator {
		n++
		return compile(p)
	}
	counted := func(want int, when string) {
		t.Helper()
		if source.concerns("pods"); n != want {
			t.Errorf("%s: %d were compiled, not %d", when, n, want)
		}
	}
	counted(0, "nothing")
	w.policy("a", 1, "true")
	counted(0, "not bound")
	w.bind("a")
	counted(1, "bound")
	counted(1, "again")
	w.policy("a", 1, "true") // as its status changes
	w.bind("other")
	counted(1, "of the same generation")
	w.policy("a", 2, "false")
	counted(2, "of another")
	w.put("validatingadmissionpolicies", "a", nil)
	counted(2, "gone")
	if source.last.Load() != nil {
		t.Error("what was compiled is kept when all policies are gone")
	}
}

// Policies and what must not depend on them are not looked at.
func TestPoliciesLeaveAlone(t *testing.T) {
	w := newPolicyWorld(t)
	p := w.plugin()
	inForce := p.inForce
	p.inForce = func(string) bool { return true }
	defer func() { p.inForce = inForce }()
	for resource, want := range map[string]bool{
		"validatingadmissionpolicies.admissionregistration.k8s.io": false, "mutatingadmissionpolicybindings.admissionregistration.k8s.io": false,
		"subjectaccessreviews.authorization.k8s.io": false, "tokenreviews.authentication.k8s.io": false,
		"validatingwebhookconfigurations.admissionregistration.k8s.io": true, "pods": true,
	} {
		gr := schema.ParseGroupResource(resource)
		a := admission.NewAttributesRecord(nil, nil, gr.WithVersion("v1").GroupVersion().WithKind("X"), "", "x", gr.WithVersion("v1"), "", admission.Create, nil, false, nil)
		if got := p.concerns(a); got != want {
			t.Errorf("%s is looked at: %t", resource, got)
		}
	}
}

func BenchmarkPolicy(b *testing.B) {
	for _, n := range []int{0, 1, 10} {
		b.Run(fmt.Sprintf("%d policies of three expressions", n), func(b *testing.B) {
			w := newPolicyWorld(b)
			for i := range n {
				name := fmt.Sprint("p", i)
				w.policy(name, 1, "object.spec.containers.all(c, c.image.size() > 0)", "!has(object.spec.hostNetwork) || !object.spec.hostNetwork", "object.metadata.name.size() < 100")
				w.bind(name)
			}
			w.decides()
			b.ReportAllocs()
			for b.Loop() {
				w.decides()
			}
		})
	}
}

const staticPolicy = `apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: p.static.k8s.io}
spec:
  matchConstraints: {resourceRules: [{operations: ["*"], apiGroups: ["*"], apiVersions: ["*"], resources: ["*"]}]}
  validations: [{expression: "false"}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: b.static.k8s.io}
spec: {policyName: p.static.k8s.io, validationActions: [Deny]}
`

// Policies in files need the gate; they see what those of the API do not.
func TestPoliciesInFiles(t *testing.T) {
	dir := t.TempDir()
	manifests := filepath.Join(dir, "manifests")
	config := filepath.Join(dir, "config")
	text := fmt.Sprintf(`apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins: [{name: ValidatingAdmissionPolicy, configuration: {apiVersion: apiserver.config.k8s.io/v1, kind: ValidatingAdmissionPolicyConfiguration, staticManifestsDir: %s}}]
`, manifests)
	if err := errors.Join(os.Mkdir(manifests, 0o700), os.WriteFile(filepath.Join(manifests, "p.yaml"), []byte(staticPolicy), 0o600),
		os.WriteFile(config, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
	settings := Settings{Control: []string{"ValidatingAdmissionPolicy"}, ConfigFile: config}
	featuregatetesting.SetFeatureGateDuringTest(t, utilfeature.DefaultFeatureGate, features.ManifestBasedAdmissionControlConfig, false)
	if _, err := newOf(t, settings); err == nil || !strings.Contains(err.Error(), "requires the ManifestBasedAdmissionControlConfig feature gate") {
		t.Errorf("without the gate: %v", err)
	}
	featuregatetesting.SetFeatureGateDuringTest(t, utilfeature.DefaultFeatureGate, features.ManifestBasedAdmissionControlConfig, true)
	w := newPolicyWorld(t, settings)
	w.want("Invalid", "with a policy in a file")
	for resource, want := range map[string]bool{
		"validatingadmissionpolicies.admissionregistration.k8s.io": true, "subjectaccessreviews.authorization.k8s.io": false,
	} {
		gvr := schema.ParseGroupResource(resource).WithVersion("v1")
		a := admission.NewAttributesRecord(nil, nil, gvr.GroupVersion().WithKind("X"), "", "x", gvr, "", admission.Create, nil, false, nil)
		if got := w.chain.Validates(a); got != want {
			t.Errorf("%s is looked at: %t", resource, got)
		}
	}
}
