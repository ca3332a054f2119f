package admission

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	api "k8s.io/kubernetes/pkg/apis/core"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/kind/native"
	"github.com/knarr-io/knarr/internal/state"
	"github.com/knarr-io/knarr/internal/state/statetest"
	"github.com/knarr-io/knarr/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newLifecycle returns a chain of that plugin alone, of a server that has the
// given namespaces.
func newLifecycle(t testing.TB, phases map[string]corev1.NamespacePhase) (*Chain, *state.State) {
	t.Helper()
	st := statetest.Start(t)
	catalogue, err := native.Catalogue(native.Options{})
	if err != nil {
		t.Fatal(err)
	}
	storage := catalogue.Lookup(namespaces).Resource.Storage
	for name, phase := range phases {
		value, err := storage.Codec.Encode(&api.Namespace{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Status:     api.NamespaceStatus{Phase: api.NamespacePhase(phase)},
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := st.Commit(t.Context(), store.Change{Key: storage.Key("", name), Value: value}); err != nil {
			t.Fatal(err)
		}
	}
	p := newNamespaceLifecycle(st, func() *kind.Catalogue { return catalogue })
	return newChain([]*member{{Interface: p, plugin: plugin{resources: []string{""}}, concerns: p.concerns}}), st
}

func attributes(op admission.Operation, gvk schema.GroupVersionKind, resource, namespace, name string) admission.Attributes {
	var options runtime.Object
	obj := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace}}
	return admission.NewAttributesRecord(obj, nil, gvk, namespace, name, gvk.GroupVersion().WithResource(resource), "", op, options, false, nil)
}

// TestNamespaceLifecycle expects the statuses that kube-apiserver v1.37.2
// gives.
func TestNamespaceLifecycle(t *testing.T) {
	chain, _ := newLifecycle(t, map[string]corev1.NamespacePhase{"here": corev1.NamespaceActive, "dying": corev1.NamespaceTerminating})
	configMap := corev1.SchemeGroupVersion.WithKind("ConfigMap")
	namespace := corev1.SchemeGroupVersion.WithKind("Namespace")
	node := corev1.SchemeGroupVersion.WithKind("Node")
	review := schema.GroupVersionKind{Group: "authorization.k8s.io", Version: "v1", Kind: "LocalSubjectAccessReview"}
	immortal := func(name string) *metav1.Status {
		return &metav1.Status{
			Status: metav1.StatusFailure, Code: 403, Reason: metav1.StatusReasonForbidden,
			Message: `namespaces "` + name + `" is forbidden: this namespace may not be deleted`,
			Details: &metav1.StatusDetails{Name: name, Kind: "namespaces"},
		}
	}
	for _, test := range []struct {
		name       string
		attributes admission.Attributes
		want       *metav1.Status
	}{
		{"create", attributes(admission.Create, configMap, "configmaps", "here", "c"), nil},
		{"create in a missing namespace", attributes(admission.Create, configMap, "configmaps", "missing", "c"), &metav1.Status{
			Status: metav1.StatusFailure, Code: 404, Reason: metav1.StatusReasonNotFound,
			Message: `namespaces "missing" not found`,
			Details: &metav1.StatusDetails{Name: "missing", Kind: "namespaces"},
		}},
		{"update in a missing namespace", attributes(admission.Update, configMap, "configmaps", "missing", "c"), nil},
		{"delete in a missing namespace", attributes(admission.Delete, configMap, "configmaps", "missing", "c"), nil},
		{"review in a missing namespace", attributes(admission.Create, review, "localsubjectaccessreviews", "missing", ""), nil},
		{"create in a dying namespace", attributes(admission.Create, configMap, "configmaps", "dying", "d"), &metav1.Status{
			Status: metav1.StatusFailure, Code: 403, Reason: metav1.StatusReasonForbidden,
			Message: `configmaps "d" is forbidden: unable to create new content in namespace dying because it is being terminated`,
			Details: &metav1.StatusDetails{Name: "d", Kind: "configmaps", Causes: []metav1.StatusCause{{
				Type: "NamespaceTerminating", Message: "namespace dying is being terminated", Field: "metadata.namespace",
			}}},
		}},
		{"update in a dying namespace", attributes(admission.Update, configMap, "configmaps", "dying", "c"), nil},
		{"delete in a dying namespace", attributes(admission.Delete, configMap, "configmaps", "dying", "c"), nil},
		{"create without a namespace", attributes(admission.Create, node, "nodes", "", "n"), nil},
		{"create a namespace", attributes(admission.Create, namespace, "namespaces", "new", "new"), nil},
		{"update a dying namespace", attributes(admission.Update, namespace, "namespaces", "dying", "dying"), nil},
		{"delete a namespace", attributes(admission.Delete, namespace, "namespaces", "here", "here"), nil},
		{"delete default", attributes(admission.Delete, namespace, "namespaces", "default", "default"), immortal("default")},
		{"delete kube-system", attributes(admission.Delete, namespace, "namespaces", "kube-system", "kube-system"), immortal("kube-system")},
		{"delete kube-public", attributes(admission.Delete, namespace, "namespaces", "kube-public", "kube-public"), immortal("kube-public")},
		{"delete kube-node-lease", attributes(admission.Delete, namespace, "namespaces", "kube-node-lease", "kube-node-lease"), nil},
		{"update default", attributes(admission.Update, namespace, "namespaces", "default", "default"), nil},
		{"delete something called default", attributes(admission.Delete, configMap, "configmaps", "default", "default"), nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got *metav1.Status
			if err := chain.Admit(t.Context(), test.attributes, nil); err != nil {
				status, ok := err.(apierrors.APIStatus)
				if !ok {
					t.Fatalf("%v is no error of the API", err)
				}
				s := status.Status()
				got = &s
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("status (-want +got):\n%s", diff)
			}
		})
	}
	for _, unseen := range []admission.Attributes{
		attributes(admission.Connect, configMap, "configmaps", "here", "c"),
		attributes(admission.Update, configMap, "configmaps", "here", "c"),
		attributes(admission.Delete, configMap, "configmaps", "here", "c"),
	} {
		if chain.Mutates(unseen) {
			t.Errorf("%s is looked at", unseen.GetOperation())
		}
	}
}

// TestReadsItsWrites deletes a namespace between two creates.
func TestReadsItsWrites(t *testing.T) {
	chain, st := newLifecycle(t, map[string]corev1.NamespacePhase{"here": corev1.NamespaceActive})
	create := attributes(admission.Create, corev1.SchemeGroupVersion.WithKind("ConfigMap"), "configmaps", "here", "c")
	if err := chain.Admit(t.Context(), create, nil); err != nil {
		t.Fatal(err)
	}
	const key = "/registry/namespaces/here"
	if _, err := st.Commit(t.Context(), store.Change{Key: key, If: st.Get(key).Rev}); err != nil {
		t.Fatal(err)
	}
	if err := chain.Admit(t.Context(), create, nil); !apierrors.IsNotFound(err) {
		t.Errorf("after the namespace is gone: %v", err)
	}
}

func BenchmarkCreate(b *testing.B) {
	chain, _ := newLifecycle(b, map[string]corev1.NamespacePhase{"here": corev1.NamespaceActive})
	create := attributes(admission.Create, corev1.SchemeGroupVersion.WithKind("ConfigMap"), "configmaps", "here", "c")
	for b.Loop() {
		if err := chain.Admit(b.Context(), create, nil); err != nil {
			b.Fatal(err)
		}
	}
}
