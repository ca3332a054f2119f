package resourcequota

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	quota "k8s.io/apiserver/pkg/quota/v1"
	"k8s.io/apiserver/pkg/quota/v1/generic"
	"k8s.io/client-go/tools/cache"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/state"
)

// counted is a resource that quotas can limit.
type counted struct {
	resource  *kind.Resource
	evaluator quota.Evaluator
}

// counted returns all of them, as they are served now.
func (c *Controller) counted() map[schema.GroupResource]counted {
	all := map[schema.GroupResource]counted{}
	for _, g := range c.Catalogue().Groups {
		for _, r := range g.Resources {
			gr := schema.GroupResource{Group: r.Group, Resource: r.Name}
			_, ignored := c.ignored[gr]
			if !r.Namespaced || r.Storage == nil || ignored || !slices.Contains(r.Verbs, "create") {
				continue
			}
			if i := slices.IndexFunc(c.evaluators, func(e quota.Evaluator) bool { return e.GroupResource() == gr }); i >= 0 {
				all[gr] = counted{r, c.evaluators[i]}
				continue
			}
			all[gr] = counted{r, generic.NewObjectCountEvaluator(gr, c.counting(r), "")}
		}
	}
	return all
}

// registry is upstream's, of all that is counted now.
func (c *Controller) registry() quota.Registry {
	r := generic.NewRegistry(nil)
	for _, one := range c.counted() {
		r.Add(one.evaluator)
	}
	return r
}

// measured are the resources of which more counts than how many there are.
func measured(gvr schema.GroupVersionResource) bool {
	switch gvr.GroupResource() {
	case corev1.Resource("pods"), corev1.Resource("services"), corev1.Resource("persistentvolumeclaims"),
		schema.GroupResource{Group: "resource.k8s.io", Resource: "resourceclaims"}:
		return true
	}
	return false
}

// lister is how upstream's evaluators list a resource.
func (c *Controller) lister(gvr schema.GroupVersionResource) (cache.GenericLister, error) {
	if measured(gvr) {
		informer, err := c.Informers.ForResource(gvr)
		if err != nil {
			return nil, err
		}
		return informer.Lister(), nil
	}
	v := c.Catalogue().Lookup(gvr)
	if v == nil || v.Resource.Storage == nil {
		return numbers(func(string) ([]runtime.Object, error) { return nil, nil }), nil
	}
	return numbers(c.counting(v.Resource)), nil
}

// counting lists a resource as if all its objects were one and the same: nobody
// who only counts them need decode any.
func (c *Controller) counting(r *kind.Resource) generic.ListFuncByNamespace {
	one := []runtime.Object{&metav1.PartialObjectMetadata{}}
	return func(namespace string) ([]runtime.Object, error) {
		return slices.Repeat(one, c.state.Snapshot(r.Storage.Prefix).Len(namespace)), nil
	}
}

// numbers is a GenericLister of namespaces alone.
type numbers generic.ListFuncByNamespace

func (n numbers) ByNamespace(namespace string) cache.GenericNamespaceLister {
	return numbers(func(string) ([]runtime.Object, error) { return n(namespace) })
}

func (n numbers) List(labels.Selector) ([]runtime.Object, error) { return n("") }

// Get finds nothing: numbers have no names.
func (n numbers) Get(name string) (runtime.Object, error) {
	return nil, apierrors.NewNotFound(schema.GroupResource{}, name)
}

// needsLess reports whether an update has made an object need less, as upstream's
// filter says.
func (c counted) needsLess(filter func(schema.GroupVersionResource, any, any) bool, e *state.Event) bool {
	gvr := corev1.SchemeGroupVersion.WithResource(c.resource.Name)
	if c.resource.Group != "" || !measured(gvr) {
		return false
	}
	before, err := c.read(e.Prev)
	if err != nil {
		return true
	}
	after, err := c.read(e.Object)
	return err != nil || filter(gvr, before, after)
}

// read returns an object as clients of v1 see it.
func (c counted) read(o *object.Object) (runtime.Object, error) {
	hub, err := c.resource.Decode(o)
	if err != nil {
		return nil, err
	}
	return c.resource.Convertor.ConvertToVersion(hub, corev1.SchemeGroupVersion)
}
