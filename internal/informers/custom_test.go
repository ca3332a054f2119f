package informers

import (
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/kind/custom/customtest"
	"github.com/knarr-io/knarr/internal/state/statetest"
	"github.com/knarr-io/knarr/internal/store"
)

// Objects of a custom resource are those of the version that is asked for.
func TestCustomResources(t *testing.T) {
	st := statetest.Start(t)
	catalogue := kind.NewCatalogue(customtest.Groups(t, []*apiextensionsv1.CustomResourceDefinition{customtest.Gadgets("v1", "v2")}))
	f := New(st, func() *kind.Catalogue { return catalogue })
	group := schema.GroupVersion{Group: "wardle.example.com", Version: "v2"}
	read, err := f.ForResource(group.WithResource("gadgets"))
	if err != nil {
		t.Fatal(err)
	}
	lister := read.Lister().ByNamespace("a")
	if _, err := lister.Get("x"); !apierrors.IsNotFound(err) {
		t.Errorf("got %v, want not found", err)
	}
	value := []byte(`{"apiVersion":"wardle.example.com/v1","kind":"Gadget","metadata":{"name":"x","namespace":"a"},"spec":{"size":3}}`)
	key := catalogue.Lookup(group.WithResource("gadgets")).Resource.Storage.Key("a", "x")
	if _, err := st.Commit(t.Context(), store.Change{Key: key, Value: value}); err != nil {
		t.Fatal(err)
	}
	obj, err := lister.Get("x")
	if err != nil {
		t.Fatal(err)
	}
	u, ok := obj.(*unstructured.Unstructured)
	if !ok || u.GroupVersionKind() != group.WithKind("Gadget") || u.GetResourceVersion() == "" {
		t.Errorf("got %T %v", obj, obj)
	}
	for namespace, want := range map[string]int{"a": 1, "b": 0} {
		if all, err := read.Lister().ByNamespace(namespace).List(labels.Everything()); err != nil || len(all) != want {
			t.Errorf("%s: %d objects, %v", namespace, len(all), err)
		}
	}
}
