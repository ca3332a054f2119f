package native

import (
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/kubernetes/pkg/api/legacyscheme"

	"github.com/knarr-io/knarr/internal/kind"
)

// keyRoot is where upstream keeps everything.
const keyRoot = "/registry/"

// family is a set of types with their own scheme, stored in their own way.
type family struct {
	scheme     *runtime.Scheme
	codecs     serializer.CodecFactory
	parameters runtime.ParameterCodec
	// mediaType of the storage form.
	mediaType string
	// groupInKey puts the group before the resource in keys.
	groupInKey bool
}

// kubernetes is the family of most groups.
var kubernetes = family{
	scheme:     legacyscheme.Scheme,
	codecs:     legacyscheme.Codecs,
	parameters: legacyscheme.ParameterCodec,
	mediaType:  runtime.ContentTypeProtobuf,
}

func families() []*family { return []*family{&kubernetes, &extensions, &aggregation} }

// versions returns what the family may serve.
func (f *family) versions() []schema.GroupVersion {
	var versions []schema.GroupVersion
	for _, gv := range f.scheme.PrioritizedVersionsAllGroups() {
		if _, ok := priorities[gv]; ok || f == &aggregation {
			versions = append(versions, gv)
		}
	}
	return versions
}

func (g *group) types() *family {
	if g.family == nil {
		return &kubernetes
	}
	return g.family
}

func (b *builder) types(g *group) kind.Types {
	f := g.types()
	return kind.Types{
		Scheme:         f.scheme,
		Convertor:      runtime.UnsafeObjectConvertor(f.scheme),
		Serializer:     f.codecs,
		ParameterCodec: f.parameters,
		Hub:            schema.GroupVersion{Group: g.name, Version: runtime.APIVersionInternal},
	}
}

// storage says how objects of a row are kept, as kube-apiserver does: under
// its keys, in its version and media type.
func (b *builder) storage(g *group, row *row) (*kind.Storage, error) {
	f := g.types()
	prefix := row.prefix
	if prefix == "" {
		prefix = row.name
		if f.groupInKey {
			prefix = g.name + "/" + row.name
		}
	}
	version := row.stored
	if version.Empty() {
		var err error
		gr := schema.GroupResource{Group: g.name, Resource: row.name}
		if version, err = b.encodings.BackwardCompatibileStorageEncodingFor(gr, row.hub.new()); err != nil {
			return nil, err
		}
	}
	info, ok := runtime.SerializerInfoForMediaType(f.codecs.SupportedMediaTypes(), f.mediaType)
	if !ok {
		return nil, fmt.Errorf("no serializer for %s", f.mediaType)
	}
	return &kind.Storage{
		Prefix:  keyRoot + prefix,
		Version: version,
		Codec: &codec{
			encoder: f.codecs.EncoderForVersion(info.Serializer, version),
			decoder: f.codecs.DecoderToVersion(f.codecs.UniversalDeserializer(), runtime.NewMultiGroupVersioner(
				schema.GroupVersion{Group: version.Group, Version: runtime.APIVersionInternal},
				schema.GroupKind{Group: version.Group}, schema.GroupKind{Group: g.name})),
		},
	}, nil
}

// codec is upstream's storage codec: it encodes to one version in one media
// type, and decodes any that the scheme knows.
type codec struct {
	encoder runtime.Encoder
	decoder runtime.Decoder
}

func (c *codec) Encode(obj runtime.Object) ([]byte, error) {
	return runtime.Encode(c.encoder, obj)
}

func (c *codec) Decode(value []byte) (runtime.Object, error) {
	obj, _, err := c.decoder.Decode(value, nil, nil)
	return obj, err
}
