package kind

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"sync"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/knarr-io/knarr/internal/object"
)

// Decode returns the hub object that o holds, as a reader sees it: with the
// defaults of the storage version, its resourceVersion, and completed by
// Decorate. It is the caller's own.
func (r *Resource) Decode(o *object.Object) (runtime.Object, error) {
	obj, err := r.DecodeStored(o)
	if err == nil && r.Decorate != nil {
		r.Decorate(obj)
	}
	return obj, err
}

// DecodeStored is Decode without Decorate: the object as a write starts from
// it. An object that was never stored (Rev 0) gets no resourceVersion.
func (r *Resource) DecodeStored(o *object.Object) (runtime.Object, error) {
	if o.Err != nil {
		return nil, fmt.Errorf("%s %s cannot be read: %w", r.Name, o.Key(), &Unreadable{Damaged: true, Err: o.Err})
	}
	if obj := r.converted(o); obj != nil {
		return obj, nil
	}
	obj, err := r.Storage.Codec.Decode(o.Value)
	if err != nil {
		return nil, fmt.Errorf("%s %s cannot be decoded: %w", r.Name, o.Key(), &Unreadable{Rev: o.Rev, Err: err})
	}
	m, err := meta.Accessor(obj)
	if err != nil {
		return nil, err
	}
	if o.Rev != 0 {
		m.SetResourceVersion(strconv.FormatUint(o.Rev, 10))
	}
	return obj, nil
}

// Unreadable is the error of an object that is there, but of which nothing can
// be told but its name.
type Unreadable struct {
	// Damaged tells that its value could not be had from the store; otherwise
	// it was, and does not decode.
	Damaged bool
	// Rev is the revision of a value that does not decode.
	Rev uint64
	Err error
}

// Error has the words of upstream.
func (e *Unreadable) Error() string {
	if e.Damaged {
		return fmt.Sprintf("data from the storage is not transformable revision=0: %v", e.Err)
	}
	return fmt.Sprintf("object not decodable revision=%d: %v", e.Rev, e.Err)
}

func (e *Unreadable) Unwrap() error { return e.Err }

// Selector tells the labels and selectable fields of r's objects. It is the
// same for each call.
func (r *Resource) Selector() object.Selector { return (*selector)(r) }

type selector Resource

func (s *selector) Attributes(o *object.Object) (object.Attributes, error) {
	r := (*Resource)(s)
	obj, err := r.DecodeStored(o)
	if err != nil {
		return object.Attributes{}, err
	}
	return r.Rules.Attributes(obj)
}

// FromHub converts a hub object to v. The result may share memory with obj,
// and its kind and apiVersion are set.
func (v *Version) FromHub(obj runtime.Object) (runtime.Object, error) {
	return v.Resource.Convertor.ConvertToVersion(obj, v.GroupVersion())
}

// ToHub converts an object of any version of r, with its defaults set already,
// to a hub object. The result may share memory with obj.
func (r *Resource) ToHub(obj runtime.Object) (runtime.Object, error) {
	return r.Convertor.ConvertToVersion(obj, r.Hub)
}

// ConvertFieldLabel translates a field selector's label and value, as clients
// of v write them, to those of Attributes. A label that v's objects cannot be
// selected by is an error.
func (v *Version) ConvertFieldLabel(label, value string) (string, string, error) {
	return v.Resource.Convertor.ConvertFieldLabel(v.GVK(), label, value)
}

// SetForms gives v the forms that its resource's types make: JSON always, and
// Protobuf if the types have it.
func (v *Version) SetForms() {
	v.JSON = &wholeForm{v, marshalJSON}
	v.MetadataJSON = &metadataForm{v, marshalJSON}
	v.MetadataProtobuf = &metadataForm{v, marshalProtobuf}
	if sample, err := v.Resource.Scheme.New(v.GVK()); err == nil {
		if _, ok := sample.(protobufMarshaler); ok {
			v.Protobuf = &wholeForm{v, marshalProtobuf}
		}
		if t := reflect.TypeOf(sample).Elem(); !v.Resource.Custom() {
			v.layout = sync.OnceValue(func() *Layout { return layoutOf(t) })
		}
	}
}

// Layout tells how v's objects are laid out in memory. It is made when it is
// first asked for.
func (v *Version) Layout() *Layout {
	if v.layout == nil {
		return &Layout{}
	}
	return v.layout()
}

// wholeForm is an object in a version.
type wholeForm struct {
	version *Version
	marshal func(runtime.Object) ([]byte, error)
}

func (f *wholeForm) Encode(o *object.Object) ([]byte, error) {
	obj, err := f.version.Resource.Decode(o)
	if err != nil {
		return nil, err
	}
	if obj, err = f.version.FromHub(obj); err != nil {
		return nil, err
	}
	return f.marshal(obj)
}

// metadataForm is an object's metadata as meta.k8s.io/v1. It is taken from the
// hub object, not from a version, as upstream does: what conversion keeps in
// annotations does not show.
type metadataForm struct {
	version *Version
	marshal func(runtime.Object) ([]byte, error)
}

func (f *metadataForm) Encode(o *object.Object) ([]byte, error) {
	obj, err := f.version.Resource.Decode(o)
	if err != nil {
		return nil, err
	}
	m, err := meta.Accessor(obj)
	if err != nil {
		return nil, err
	}
	partial := meta.AsPartialObjectMetadata(m)
	partial.SetGroupVersionKind(metav1.SchemeGroupVersion.WithKind("PartialObjectMetadata"))
	return f.marshal(partial)
}

// marshalJSON writes what upstream's serializer does, without its newline.
func marshalJSON(obj runtime.Object) ([]byte, error) { return json.Marshal(obj) }

type protobufMarshaler interface{ Marshal() ([]byte, error) }

func marshalProtobuf(obj runtime.Object) ([]byte, error) {
	m, ok := obj.(protobufMarshaler)
	if !ok {
		return nil, fmt.Errorf("%T has no protobuf form", obj)
	}
	return m.Marshal()
}
