package endpoint

import (
	"fmt"
	"net/http"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/knarr-io/knarr/internal/verb"
)

// computed serves a resource whose objects are made when they are asked for.
func (q *query) computed(v string, objects verb.Computed) (func() error, error) {
	switch v {
	case "get":
		return func() error { return q.getComputed(objects) }, nil
	case "list":
		return func() error { return q.listComputed(objects) }, nil
	}
	return nil, errMethod()
}

func (q *query) getComputed(objects verb.Computed) error {
	form, err := q.negotiate()
	if err != nil {
		return err
	}
	opts, err := q.getOptions()
	if err != nil {
		return err
	}
	obj, err := objects.Get(q.r.Context(), q.target.Name, opts)
	if err != nil {
		return err
	}
	return q.writeHub(http.StatusOK, form, obj)
}

func (q *query) listComputed(objects verb.Computed) error {
	form, err := q.negotiate()
	if err != nil {
		return err
	}
	opts, err := q.listOptions()
	if err != nil {
		return err
	}
	list, err := objects.List(q.r.Context(), opts)
	if err != nil {
		return err
	}
	return q.writeHub(http.StatusOK, form, list)
}

// partialList is the metadata of a hub list's items. as is what was asked for:
// one object's metadata, which a list has not, or a list's.
func partialList(list runtime.Object, as *schema.GroupVersionKind) (runtime.Object, error) {
	if as.Kind == "PartialObjectMetadata" {
		return nil, notAcceptable(fmt.Sprintf("you requested PartialObjectMetadata, but the requested object is a list (%T)", list))
	}
	m, err := apimeta.ListAccessor(list)
	if err != nil {
		return nil, err
	}
	partials := &metav1.PartialObjectMetadataList{ListMeta: metav1.ListMeta{ResourceVersion: m.GetResourceVersion()}}
	err = apimeta.EachListItem(list, func(obj runtime.Object) error {
		p, err := partial(obj, as.GroupVersion())
		if err == nil {
			partials.Items = append(partials.Items, *p.(*metav1.PartialObjectMetadata))
		}
		return err
	})
	partials.SetGroupVersionKind(*as)
	return partials, err
}
