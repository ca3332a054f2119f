package custom

import (
	"bytes"
	"fmt"

	"k8s.io/apiextensions-apiserver/pkg/apiserver/conversion"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/util/webhook"
)

// NewConverter returns upstream's converter, which calls the webhooks of
// definitions that have one. It asks services where those are that are named as a
// Service, and auth, if not nil, what it shows them. It calls them with the
// timeout and the checks that upstream has, in as many goroutines as ask it.
func NewConverter(services webhook.ServiceResolver, auth webhook.AuthenticationInfoResolverWrapper) (Converter, error) {
	return conversion.NewCRConverterFactory(services, auth)
}

// remote is the codec of a resource in a version whose objects a webhook
// converts. Upstream's, which sends lists whole as any other, would be told one by
// one: its store decodes each item of a list by itself.
type remote struct {
	*codec
	listKind string
	// own is how objects begin that are stored in the resource's own version, as
	// the stored form has its fields in order.
	own []byte
}

func newRemote(c *codec, listKind string) *remote {
	return &remote{c, listKind, []byte(`{"apiVersion":"` + c.gvk.GroupVersion().String() + `",`)}
}

func (r *remote) Foreign(value []byte) bool { return !bytes.HasPrefix(value, r.own) }

func (r *remote) DecodeAll(values [][]byte) ([]runtime.Object, error) {
	list := &unstructured.UnstructuredList{Items: make([]unstructured.Unstructured, len(values))}
	list.SetGroupVersionKind(r.gvk.GroupVersion().WithKind(r.listKind))
	for i, value := range values {
		item := &list.Items[i]
		if _, _, err := r.stored.Decode(value, nil, item); err != nil {
			return nil, err
		}
		r.defaulter.Default(item)
	}
	out, err := r.convertor.ObjectConvertor.ConvertToVersion(list, r.gvk.GroupVersion())
	if err != nil {
		return nil, err
	}
	converted, ok := out.(*unstructured.UnstructuredList)
	if !ok || len(converted.Items) != len(values) {
		return nil, fmt.Errorf("%d objects were converted to a %T", len(values), out)
	}
	objects := make([]runtime.Object, len(values))
	for i := range converted.Items {
		if _, err := r.convertor.coercion.apply(&converted.Items[i]); err != nil {
			return nil, err
		}
		objects[i] = &converted.Items[i]
	}
	return objects, nil
}

func (r *remote) Restore(encoding []byte) (runtime.Object, error) {
	u := newObject(r.gvk)
	_, _, err := unstructured.UnstructuredJSONScheme.Decode(encoding, nil, u)
	return u, err
}
