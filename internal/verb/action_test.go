package verb_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/registry/rest"
	api "k8s.io/kubernetes/pkg/apis/core"

	"github.com/knarr-io/knarr/internal/verb"
)

// plugin is admission that tells what it sees, and labels what is written.
type plugin struct{ seen []string }

func (*plugin) Handles(admission.Operation) bool { return true }

func (p *plugin) Admit(_ context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	p.note("admit", a)
	if m, err := meta.Accessor(a.GetObject()); err == nil {
		m.SetLabels(map[string]string{"admitted": "yes"})
	}
	return nil
}

func (p *plugin) Validate(_ context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	p.note("validate", a)
	return nil
}

func (p *plugin) note(step string, a admission.Attributes) {
	p.seen = append(p.seen, fmt.Sprintf("%s %s %s of %s/%s: %T, %T", step, a.GetOperation(), a.GetKind().Kind, a.GetResource().Resource, a.GetSubresource(), a.GetObject(), a.GetOldObject()))
}

// binder is an action that notes what it is given.
type binder struct {
	keepsUID bool
	answer   runtime.Object
	got      *api.Binding
	target   verb.Target
}

func (*binder) New() runtime.Object { return &api.Binding{} }

func (b *binder) PreserveRequestObjectMetaSystemFieldsOnSubresourceCreate() bool { return b.keepsUID }

func (b *binder) Do(ctx context.Context, t verb.Target, body runtime.Object, _ *metav1.CreateOptions, validate rest.ValidateObjectFunc) (runtime.Object, error) {
	b.got, b.target = body.(*api.Binding), t
	return b.answer, validate(ctx, body)
}

func TestAct(t *testing.T) {
	c := newCluster(t)
	for _, tt := range []struct {
		name, resource, subresource, path string
		keepsUID                          bool
		uid                               string
	}{
		{"subresource", "pods", "binding", "p", false, ""},
		{"subresource that keeps the uid", "pods", "binding", "p", true, "u"},
		{"resource, which never does", "bindings", "", "", true, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			version := c.catalogue.Lookup(schema.GroupVersionResource{Version: "v1", Resource: tt.resource})
			action := &binder{keepsUID: tt.keepsUID, answer: &metav1.Status{Status: metav1.StatusSuccess}}
			p := &plugin{}
			c.verbs.Admission = p
			c.verbs.Actions = map[verb.ActionKey]verb.Action{
				{GroupResource: schema.GroupResource{Resource: tt.resource}, Subresource: tt.subresource}: action,
			}
			target := verb.Target{Version: version, Subresource: version.Subresource(tt.subresource), Namespace: "default", Name: tt.path, Agent: "tool/v1"}
			ctx := target.Context(t.Context(), "create", &user.DefaultInfo{Name: "tester"})
			body := &api.Binding{ObjectMeta: metav1.ObjectMeta{Name: "p", UID: "u"}, Target: api.ObjectReference{Name: "n"}}
			answer, err := c.verbs.Act(ctx, target, body, &metav1.CreateOptions{})
			if err != nil || answer != action.answer {
				t.Fatalf("%v, %v", answer, err)
			}
			if got := action.got; got.Namespace != "default" || string(got.UID) != tt.uid || got.Labels["admitted"] != "yes" {
				t.Errorf("the action was given %+v", got)
			}
			if owners := action.got.ManagedFields; len(owners) != 1 || owners[0].Manager != "tool" || owners[0].Subresource != tt.subresource {
				t.Errorf("owners are %+v", owners)
			}
			if action.target.Name != "p" {
				t.Errorf("the target's name is %q", action.target.Name)
			}
			place := fmt.Sprintf("CREATE Binding of %s/%s: *core.Binding, <nil>", tt.resource, tt.subresource)
			if diff := cmp.Diff([]string{"admit " + place, "validate " + place}, p.seen); diff != "" {
				t.Errorf("admission has seen (-want +got):\n%s", diff)
			}

			action.answer = &metav1.Status{Status: metav1.StatusFailure, Code: http.StatusTeapot, Message: "no"}
			if _, err := c.verbs.Act(ctx, target, body, &metav1.CreateOptions{}); err == nil || apierrors.ReasonForError(err) != "" || err.Error() != "no" {
				t.Errorf("a failure that is told as an answer: %v", err)
			}
			elsewhere := &api.Binding{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "else"}}
			action.got = nil
			if _, err := c.verbs.Act(ctx, target, elsewhere, &metav1.CreateOptions{}); !apierrors.IsBadRequest(err) || action.got != nil {
				t.Errorf("a body of another namespace: %v", err)
			}
		})
	}
}

// Admission sees what a client has changed: the Scale, and not the Deployment
// behind it.
func TestAdmissionSeesTheView(t *testing.T) {
	c := newCluster(t)
	c.must(write{"create", "deployments", `{"metadata":{"name":"d"},"spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}`, "tester", nil})
	for _, w := range []write{
		{merge, "deployments/d/scale", `{"spec":{"replicas":2}}`, "tester", nil},
		{"update", "deployments/d/scale", `{"metadata":{"name":"d"},"spec":{"replicas":3}}`, "tester", nil},
		{apply, "deployments/d/scale", `{"apiVersion":"autoscaling/v1","kind":"Scale","metadata":{"name":"d"},"spec":{"replicas":4}}`, "applier", force},
	} {
		p := &plugin{}
		c.verbs.Admission = p
		c.must(w)
		const place = "UPDATE Scale of deployments/scale: *autoscaling.Scale, *autoscaling.Scale"
		if diff := cmp.Diff([]string{"admit " + place, "validate " + place}, p.seen); diff != "" {
			t.Errorf("%s: admission has seen (-want +got):\n%s", w.verb, diff)
		}
	}
	c.verbs.Admission = nil
	_, err := c.do(write{merge, "deployments/d/scale", `{"metadata":{"uid":"u"},"spec":{"replicas":-2}}`, "tester", nil})
	if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "spec.replicas") {
		t.Errorf("a Scale that is not valid is refused for that before all else: %v", err)
	}
}
