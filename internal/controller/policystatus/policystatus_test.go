package policystatus_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/kubernetes/pkg/apis/admissionregistration"
	"k8s.io/utils/clock"

	"github.com/knarr-io/knarr/internal/controller"
	"github.com/knarr-io/knarr/internal/controller/policystatus"
	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/kind/custom/customtest"
	"github.com/knarr-io/knarr/internal/kind/native"
	"github.com/knarr-io/knarr/internal/ownership"
	"github.com/knarr-io/knarr/internal/state/statetest"
	"github.com/knarr-io/knarr/internal/verb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type cluster struct {
	t        *testing.T
	verbs    *verb.Verbs
	policies *kind.Version
}

func newCluster(t *testing.T) *cluster {
	catalogue, err := native.Catalogue(native.Options{})
	if err != nil {
		t.Fatal(err)
	}
	all := kind.NewCatalogue(append(catalogue.Groups, customtest.Groups(t, customtest.Definitions(t))...))
	c := &cluster{
		t: t, verbs: &verb.Verbs{State: statetest.Start(t), Ownership: new(ownership.Managers).For},
		policies: catalogue.Resource(admissionregistration.Resource("validatingadmissionpolicies")).Versions[0],
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		policystatus.New(c.verbs, func() *kind.Catalogue { return all }, clock.RealClock{}).Run(ctx)
	})
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return c
}

func (c *cluster) target(name string) (context.Context, verb.Target) {
	t := verb.Target{Version: c.policies, Name: name}
	return t.Context(context.Background(), "create", &user.DefaultInfo{Name: "admin", Groups: []string{user.SystemPrivilegedGroup}}), t
}

// create makes a policy about the objects of a resource.
func (c *cluster) create(name, group, version, resource, expression string) {
	c.t.Helper()
	fail, equivalent, scope := admissionregistration.Fail, admissionregistration.Equivalent, admissionregistration.AllScopes
	ctx, t := c.target("")
	_, err := c.verbs.Create(ctx, t, &admissionregistration.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: admissionregistration.ValidatingAdmissionPolicySpec{
			FailurePolicy: &fail,
			MatchConstraints: &admissionregistration.MatchResources{
				MatchPolicy: &equivalent, NamespaceSelector: &metav1.LabelSelector{}, ObjectSelector: &metav1.LabelSelector{},
				ResourceRules: []admissionregistration.NamedRuleWithOperations{{RuleWithOperations: admissionregistration.RuleWithOperations{
					Operations: []admissionregistration.OperationType{admissionregistration.Create},
					Rule:       admissionregistration.Rule{APIGroups: []string{group}, APIVersions: []string{version}, Resources: []string{resource}, Scope: &scope},
				}}},
			},
			Validations: []admissionregistration.Validation{{Expression: expression}},
		},
	}, &metav1.CreateOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
}

// checked waits for the status of a policy.
func (c *cluster) checked(name string, generation int64) *admissionregistration.ValidatingAdmissionPolicy {
	c.t.Helper()
	for {
		rev := c.verbs.State.Rev()
		p, err := controller.Read[*admissionregistration.ValidatingAdmissionPolicy](c.policies.Resource, c.verbs.State.Get(c.policies.Resource.Storage.Key("", name)))
		if err != nil {
			c.t.Fatal(err)
		}
		if p.Status.ObservedGeneration == generation {
			return p
		}
		if err := c.verbs.State.WaitFor(c.t.Context(), rev+1); err != nil {
			c.t.Fatalf("%s is not checked: %v", name, err)
		}
	}
}

func TestExpressionsAreChecked(t *testing.T) {
	c := newCluster(t)
	for _, test := range []struct{ name, group, version, resource, expression, want string }{
		{"right", "apps", "v1", "deployments", "object.spec.replicas > 1", ""},
		{"wrong-type", "apps", "v1", "deployments", "object.spec.replicas > '1'", "apps/v1, Kind=Deployment: ERROR: <input>:1:22: found no matching overload for '_>_' applied to '(int, string)'"},
		{"no-field", "", "v1", "configmaps", "object.spec.replicas > 1", "/v1, Kind=ConfigMap: ERROR: <input>:1:7: undefined field 'spec'"},
		{"custom", "example.com", "v1", "widgets", "object.spec.none == 1", "example.com/v1, Kind=Widget: ERROR: <input>:1:12: undefined field 'none'"},
		{"unknown", "none.example.com", "v1", "nones", "object.none > '1'", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			c.create(test.name, test.group, test.version, test.resource, test.expression)
			p := c.checked(test.name, 1)
			got := ""
			if p.Status.TypeChecking == nil {
				t.Fatal("nothing is told of types")
			}
			for _, w := range p.Status.TypeChecking.ExpressionWarnings {
				if w.FieldRef != "spec.validations[0].expression" {
					t.Errorf("what is wrong is %s", w.FieldRef)
				}
				got += strings.SplitN(w.Warning, "\n", 2)[0]
			}
			if got != test.want {
				t.Errorf("%q is wrong, not %q", got, test.want)
			}
			last := p.ManagedFields[len(p.ManagedFields)-1]
			for _, m := range p.ManagedFields {
				if m.Operation == metav1.ManagedFieldsOperationApply {
					last = m
				}
			}
			if last.Manager != "validatingadmissionpolicy-status" || last.Subresource != "status" {
				t.Errorf("the status is owned by %s of %q", last.Manager, last.Subresource)
			}
		})
	}
}
