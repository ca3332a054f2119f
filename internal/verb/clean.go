package verb

import (
	"reflect"

	"github.com/go-json-experiment/json"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// cleanJSON decodes JSON that has nothing wrong with it in one pass and half
// the time, and leaves all else to upstream's serializer, whose errors clients
// know: unknown and duplicate fields, values of another type, invalid UTF-8,
// other kinds and versions.
type cleanJSON struct {
	runtime.Serializer
	target Target
}

// serializer is that of info for bodies of t.
func (t Target) serializer(info runtime.SerializerInfo, strict bool) runtime.Serializer {
	s := info.Serializer
	if strict {
		s = info.StrictSerializer
	}
	if info.MediaType != runtime.ContentTypeJSON || t.resource().Custom() {
		return s // custom resources have no type to decode to
	}
	return cleanJSON{s, t}
}

// Decode is that of the serializer.
func (c cleanJSON) Decode(data []byte, defaults *schema.GroupVersionKind, into runtime.Object) (runtime.Object, *schema.GroupVersionKind, error) {
	kind := c.target.bodyKind()
	if defaults == nil || *defaults == kind {
		if obj := c.decode(data, kind, defaults != nil, into); obj != nil {
			return obj, &kind, nil
		}
	}
	return c.Serializer.Decode(data, defaults, into)
}

// decode returns nil if data is not a clean object of that kind. If it may
// default, data need not say which kind it is of.
func (c cleanJSON) decode(data []byte, kind schema.GroupVersionKind, mayDefault bool, into runtime.Object) runtime.Object {
	obj, err := c.target.resource().Scheme.New(kind)
	if err != nil || reflect.TypeOf(obj) == reflect.TypeOf(into) {
		return nil // into is not of an internal type: the serializer would fill that
	}
	typeMeta := reflect.ValueOf(obj).Elem().FieldByName("TypeMeta")
	if !typeMeta.IsValid() {
		return nil // no struct of fields: unstructured
	}
	if err := json.Unmarshal(data, obj, json.RejectUnknownMembers(true)); err != nil {
		return nil
	}
	// Not GetObjectKind, which says nothing of an apiVersion that is none.
	said, ok := typeMeta.Interface().(metav1.TypeMeta)
	if !ok {
		return nil
	}
	is := func(said, expected string) bool { return said == expected || mayDefault && said == "" }
	if !is(said.APIVersion, kind.GroupVersion().String()) || !is(said.Kind, kind.Kind) {
		return nil
	}
	return obj
}
