package native

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/rand"
	"reflect"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	extensionsfuzzer "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/fuzzer"
	"k8s.io/apimachinery/pkg/api/apitesting/fuzzer"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metafuzzer "k8s.io/apimachinery/pkg/apis/meta/fuzzer"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	genericregistry "k8s.io/apiserver/pkg/registry/generic/registry"
	apitesting "k8s.io/kubernetes/pkg/api/testing"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/object"
)

const rounds = 20

// eachKind calls f for every stored kind that can be switched on, with the
// store that kube-apiserver has for it and objects of random content.
func eachKind(t *testing.T, f func(t *testing.T, r *kind.Resource, store *genericregistry.Store, objects []runtime.Object)) {
	t.Helper()
	moreFeatures(t)
	want := newUpstream(t, allOn())
	for _, g := range catalogue(t, Options{RuntimeConfig: allOn()}).Groups {
		for _, r := range g.Resources {
			if r.Storage == nil {
				continue
			}
			store := storeOf(want[g.Name+"/"+r.Versions[0].Name+"/"+r.Name])
			t.Run(r.Name+"."+g.Name, func(t *testing.T) { f(t, r, store, randomObjects(r)) })
		}
	}
}

// randomObjects makes hub objects, the same on each call.
func randomObjects(r *kind.Resource) []runtime.Object {
	codecs := r.Serializer.(serializer.CodecFactory)
	funcs := apitesting.FuzzerFuncs
	if r.Scheme != kubernetes.scheme {
		funcs = fuzzer.MergeFuzzerFuncs(metafuzzer.Funcs, extensionsfuzzer.Funcs)
	}
	filler := fuzzer.FuzzerFor(funcs, rand.NewSource(1), codecs)
	var objects []runtime.Object
	for range rounds {
		obj := r.New()
		filler.Fill(obj)
		m, err := meta.Accessor(obj)
		if err != nil {
			panic(err)
		}
		m.SetResourceVersion("")
		obj.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
		objects = append(objects, obj)
	}
	return objects
}

// TestCodec checks that the storage form is byte for byte kube-apiserver's, and
// is read back as it would read it.
func TestCodec(t *testing.T) {
	eachKind(t, func(t *testing.T, r *kind.Resource, store *genericregistry.Store, objects []runtime.Object) {
		back := store.Storage.Storage.(*backend)
		for _, obj := range objects {
			before := obj.DeepCopyObject()
			value, err := r.Storage.Codec.Encode(obj)
			if err != nil {
				t.Fatal(err)
			}
			if !equality.Semantic.DeepEqual(before, obj) {
				t.Fatalf("encoding changed the object:\n%s", cmp.Diff(before, obj))
			}
			want, err := runtime.Encode(back.codec, obj)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(value, want) {
				t.Fatalf("storage form differs from upstream's:\n%q\nwant\n%q", value, want)
			}
			wantObj, _, err := back.codec.Decode(want, nil, store.NewFunc())
			if err != nil {
				t.Fatal(err)
			}
			got, err := r.Storage.Codec.Decode(value)
			if err != nil {
				t.Fatal(err)
			}
			// Decoded objects must not depend on the value's memory.
			for i := range value {
				value[i] = 0xff
			}
			if !reflect.DeepEqual(got, wantObj) {
				t.Fatalf("decoded object differs from upstream's (-want +got):\n%s", cmp.Diff(wantObj, got))
			}
			compareAttributes(t, r, back, got)
		}
	})
}

func compareAttributes(t *testing.T, r *kind.Resource, back *backend, obj runtime.Object) {
	t.Helper()
	labels, fields, err := back.attributes(obj)
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.Attributes(obj)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(object.Attributes{Labels: labels, Fields: fields}, got); diff != "" {
		t.Fatalf("attributes differ from upstream's (-want +got):\n%s", diff)
	}
}

// TestForms checks that every form of every version is what kube-apiserver
// would send.
func TestForms(t *testing.T) {
	eachKind(t, func(t *testing.T, r *kind.Resource, store *genericregistry.Store, objects []runtime.Object) {
		for i, obj := range objects {
			value, err := r.Storage.Codec.Encode(obj)
			if err != nil {
				t.Fatal(err)
			}
			o := object.New(r.Storage.Prefix, r.Storage.Prefix+"/ns/name", value, uint64(1000+i), nil)
			for _, v := range r.Versions {
				compareForms(t, v, store, o)
			}
		}
	})
}

func compareForms(t *testing.T, v *kind.Version, store *genericregistry.Store, o *object.Object) {
	t.Helper()
	read := func() runtime.Object {
		back := store.Storage.Storage.(*backend)
		obj, _, err := back.codec.Decode(o.Value, nil, store.NewFunc())
		if err != nil {
			t.Fatal(err)
		}
		m, _ := meta.Accessor(obj)
		m.SetResourceVersion(strconv.FormatUint(o.Rev, 10))
		if store.Decorator != nil {
			store.Decorator(obj)
		}
		return obj
	}
	codecs := v.Resource.Serializer.(serializer.CodecFactory)
	jsonInfo, _ := runtime.SerializerInfoForMediaType(codecs.SupportedMediaTypes(), runtime.ContentTypeJSON)
	protobufInfo, _ := runtime.SerializerInfoForMediaType(codecs.SupportedMediaTypes(), runtime.ContentTypeProtobuf)
	encode := func(s runtime.Serializer) []byte {
		b, err := runtime.Encode(codecs.EncoderForVersion(s, v.GroupVersion()), read())
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	sameBytes(t, v, "JSON", append(encodeForm(t, v.JSON, o), '\n'), encode(jsonInfo.Serializer))
	if v.Protobuf != nil {
		sameBytes(t, v, "protobuf", kind.Envelope(v.GVK(), encodeForm(t, v.Protobuf, o)), encode(protobufInfo.Serializer))
	}

	m, err := meta.Accessor(read())
	if err != nil {
		t.Fatal(err)
	}
	partial := meta.AsPartialObjectMetadata(m)
	gvk := metav1.SchemeGroupVersion.WithKind("PartialObjectMetadata")
	partial.SetGroupVersionKind(gvk)
	var want bytes.Buffer
	if err := jsonInfo.Serializer.Encode(partial, &want); err != nil {
		t.Fatal(err)
	}
	sameBytes(t, v, "JSON metadata", append(encodeForm(t, v.MetadataJSON, o), '\n'), want.Bytes())
	want.Reset()
	if err := protobufInfo.Serializer.Encode(partial, &want); err != nil {
		t.Fatal(err)
	}
	sameBytes(t, v, "protobuf metadata", kind.Envelope(gvk, encodeForm(t, v.MetadataProtobuf, o)), want.Bytes())
}

func encodeForm(t *testing.T, f object.Form, o *object.Object) []byte {
	t.Helper()
	b, err := f.Encode(o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func sameBytes(t *testing.T, v *kind.Version, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Fatalf("%s of %s differs from upstream's:\n%q\nwant\n%q", what, v.GVK(), got, want)
	}
}

// TestJSONHead checks what those rely on who cut kind and apiVersion off, as
// items of lists have none.
func TestJSONHead(t *testing.T) {
	eachKind(t, func(t *testing.T, r *kind.Resource, _ *genericregistry.Store, objects []runtime.Object) {
		value, err := r.Storage.Codec.Encode(objects[0])
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range r.Versions {
			got := encodeForm(t, v.JSON, object.New(r.Storage.Prefix, r.Storage.Prefix+"/name", value, 7, nil))
			gv, _ := json.Marshal(v.GroupVersion().String())
			head := `{"kind":"` + r.Kind + `","apiVersion":` + string(gv) + `,`
			if !bytes.HasPrefix(got, []byte(head)) {
				t.Errorf("JSON begins %.80s, want %s", got, head)
			}
		}
	})
}

// TestUnreadable checks that a value which cannot be read is an error of every
// form, and that the error says which object it is.
func TestUnreadable(t *testing.T) {
	r := catalogue(t, Options{}).Resource(schema.GroupResource{Resource: "pods"})
	v := r.Versions[0]
	damaged := object.New(r.Storage.Prefix, r.Storage.Prefix+"/ns/web", []byte("k8s\x00rubbish"), 7, nil)
	locked := object.New(r.Storage.Prefix, r.Storage.Prefix+"/ns/web", nil, 7, errors.New("no key"))
	for _, o := range []*object.Object{damaged, locked} {
		for _, f := range []object.Form{v.JSON, v.Protobuf, v.MetadataJSON, v.MetadataProtobuf} {
			if _, err := f.Encode(o); err == nil || !bytes.Contains([]byte(err.Error()), []byte("pods ns/web cannot be")) {
				t.Errorf("error = %v, want one that names the pod", err)
			}
		}
		if _, err := o.Attributes(r.Selector()); err == nil {
			t.Error("no error from the selector")
		}
	}
}
