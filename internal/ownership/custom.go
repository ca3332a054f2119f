package ownership

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/typed"
)

// Custom is a kind whose objects are unstructured, as written in one version
// under one name of a subresource.
type Custom struct {
	GVK         schema.GroupVersionKind
	Hub         schema.GroupVersion // of the objects that a manager is given
	Subresource string              // empty for the whole object
	// Types are the schemas of the kind in its served versions; nil if the
	// kind has no schema, so that they are deduced.
	Types     map[schema.GroupVersionKind]typed.ParseableType
	Convertor runtime.ObjectConvertor
	Defaulter runtime.ObjectDefaulter
	Creater   runtime.ObjectCreater
	// ResetFields, if set, tells which fields a write leaves alone, by version.
	ResetFields func() map[fieldpath.APIVersion]*fieldpath.Set
}

// NewCustom makes a manager for the objects of c. It does not keep it: who
// changes a definition makes another.
func (m *Managers) NewCustom(c Custom) Manager {
	typeOf := typesOf(c.Types)
	var walked objects
	if t, err := typeOf(c.GVK); err == nil {
		if r, err := newRules(t.Schema, t.TypeRef); err == nil {
			walked = &contents{r}
		}
	}
	return newManager(config{
		convertor: c.Convertor, defaulter: c.Defaulter, creater: c.Creater, gvk: c.GVK, hub: c.Hub, subresource: c.Subresource,
		resets: c.ResetFields, objects: walked, walks: &m.walks,
		types: &converter{typeOf}, make: managedfields.NewDefaultCRDFieldManager,
	})
}

// typesOf returns the schemas of kinds; nil has them be deduced.
func typesOf(types map[schema.GroupVersionKind]typed.ParseableType) func(schema.GroupVersionKind) (typed.ParseableType, error) {
	return func(gvk schema.GroupVersionKind) (typed.ParseableType, error) {
		if types == nil {
			return typed.DeducedParseableType, nil
		}
		t, ok := types[gvk]
		if !ok {
			return typed.ParseableType{}, runtime.NewNotRegisteredErrForKind("the served kinds", gvk)
		}
		return t, nil
	}
}

// contents are unstructured objects.
type contents struct{ rule *rule }

func (c *contents) walk(w *walk, live, obj runtime.Object) {
	l, ok := live.(*unstructured.Unstructured)
	n, also := obj.(*unstructured.Unstructured)
	if !ok || !also {
		w.unclear = true
		return
	}
	w.any(c.rule, content{l.Object, true}, content{n.Object, true})
}

func (c *contents) schema() below { return c.rule }
