package custom

import (
	"k8s.io/apiextensions-apiserver/pkg/crdserverscheme"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/runtime/serializer/versioning"
)

// codec is upstream's storage codec: JSON in the storage version. Defaults are
// those of the version that is stored, set before conversion.
type codec struct {
	runtime.Codec
	gvk schema.GroupVersionKind
	// stored decodes what is stored, as it is, and convertor makes it of the
	// codec's version.
	stored    runtime.Decoder
	defaulter runtime.ObjectDefaulter
	convertor coercingConverter
}

func newCodec(d *definition, gvk schema.GroupVersionKind) *codec {
	c := &codec{
		gvk:       gvk,
		stored:    coercingDecoder{unstructured.UnstructuredJSONScheme, coercion{schemas: d.schemas, stored: true}},
		defaulter: &defaulter{d.schemas, d.scheme},
		convertor: coercingConverter{d.converter, coercion{schemas: d.schemas}},
	}
	c.Codec = versioning.NewCodec(
		unstructured.UnstructuredJSONScheme, c.stored, c.convertor,
		creater{}, crdserverscheme.NewUnstructuredObjectTyper(), c.defaulter,
		d.gvk(d.stored).GroupVersion(), gvk.GroupVersion(), "custom",
	)
	return c
}

func (c *codec) Encode(obj runtime.Object) ([]byte, error) {
	return runtime.Encode(c.Codec, obj)
}

// Decode decodes into an object of the kind, so that one with a field "items"
// is not taken for a list.
func (c *codec) Decode(value []byte) (runtime.Object, error) {
	obj, _, err := c.Codec.Decode(value, nil, newObject(c.gvk))
	return obj, err
}

// creater makes empty objects that know their kind, whatever it is.
type creater struct{}

func (creater) New(gvk schema.GroupVersionKind) (runtime.Object, error) { return newObject(gvk), nil }

// bodyCreater is creater for bodies, which may be Scales.
type bodyCreater struct{ answers *runtime.Scheme }

func (c bodyCreater) New(gvk schema.GroupVersionKind) (runtime.Object, error) {
	if gvk == scaleKind {
		return c.answers.New(gvk)
	}
	return newObject(gvk), nil
}

func newObject(gvk schema.GroupVersionKind) *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(gvk)
	return u
}

// typer knows the kinds of unstructured objects by what they say.
type typer struct{ others runtime.ObjectTyper }

func (t typer) ObjectKinds(obj runtime.Object) ([]schema.GroupVersionKind, bool, error) {
	if _, ok := obj.(runtime.Unstructured); ok {
		return crdserverscheme.NewUnstructuredObjectTyper().ObjectKinds(obj)
	}
	return t.others.ObjectKinds(obj)
}

func (t typer) Recognizes(schema.GroupVersionKind) bool { return true }

// serializer decodes and encodes bodies of objects and, typed, of Scales and
// Status.
type serializer struct {
	*definition
	media []runtime.SerializerInfo
}

func newSerializer(d *definition) *serializer {
	creater, typer := bodyCreater{d.answers}, typer{d.answers}
	text := func(o json.SerializerOptions) runtime.Serializer {
		return json.NewSerializerWithOptions(json.DefaultMetaFactory, creater, typer, o)
	}
	binary := protobuf.NewSerializerWithOptions(creater, typer, protobuf.SerializerOptions{StreamingCollectionsEncoding: true})
	return &serializer{d, []runtime.SerializerInfo{
		{
			MediaType: runtime.ContentTypeJSON, MediaTypeType: "application", MediaTypeSubType: "json", EncodesAsText: true,
			Serializer:       text(json.SerializerOptions{StreamingCollectionsEncoding: true}),
			PrettySerializer: text(json.SerializerOptions{Pretty: true}),
			StrictSerializer: text(json.SerializerOptions{Strict: true, StreamingCollectionsEncoding: true}),
			StreamSerializer: &runtime.StreamSerializerInfo{EncodesAsText: true, Serializer: text(json.SerializerOptions{}), Framer: json.Framer},
		},
		{
			MediaType: runtime.ContentTypeYAML, MediaTypeType: "application", MediaTypeSubType: "yaml", EncodesAsText: true,
			Serializer:       text(json.SerializerOptions{Yaml: true}),
			StrictSerializer: text(json.SerializerOptions{Yaml: true, Strict: true}),
		},
		{
			// Objects have none; what is said about them does. Upstream has nothing
			// strict here, and panics where fields are validated.
			MediaType: runtime.ContentTypeProtobuf, MediaTypeType: "application", MediaTypeSubType: "vnd.kubernetes.protobuf",
			Serializer: binary, StrictSerializer: binary,
			StreamSerializer: &runtime.StreamSerializerInfo{
				Serializer: protobuf.NewRawSerializer(creater, typer), Framer: protobuf.LengthDelimitedFramer,
			},
		},
	}}
}

func (s *serializer) SupportedMediaTypes() []runtime.SerializerInfo { return s.media }

func (s *serializer) EncoderForVersion(encoder runtime.Encoder, gv runtime.GroupVersioner) runtime.Encoder {
	return versioning.NewCodec(encoder, nil, s.converter, s.answers, s.answers, s.answers, gv, nil, "custom")
}

// DecoderToVersion coerces objects and sets defaults. Those that are decoded
// strictly tell their unknown fields.
func (s *serializer) DecoderToVersion(decoder runtime.Decoder, gv runtime.GroupVersioner) runtime.Decoder {
	strict, ok := decoder.(interface{ IsStrict() bool })
	coercing := coercingDecoder{decoder, coercion{schemas: s.schemas, track: ok && strict.IsStrict()}}
	return versioning.NewCodec(nil, coercing, runtime.UnsafeObjectConvertor(s.answers), s.answers, s.answers,
		&defaulter{s.schemas, s.answers}, nil, gv, "custom")
}
