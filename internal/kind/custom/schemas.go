package custom

import (
	"fmt"

	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/objectmeta"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// schemas are the structural schemas of a definition.
type schemas struct {
	kind schema.GroupKind
	// all are by version; nil where there is none.
	all *lazy[map[string]*structuralschema.Structural]
	// preserve keeps all fields, as definitions could say before they had to be
	// structural.
	preserve bool
}

func newSchemas(crd *apiextensionsv1.CustomResourceDefinition, whole func() (*apiextensionsv1.CustomResourceDefinition, error)) *schemas {
	s := &schemas{
		kind:     schema.GroupKind{Group: crd.Spec.Group, Kind: crd.Status.AcceptedNames.Kind},
		preserve: crd.Spec.PreserveUnknownFields,
	}
	s.all = newLazy(func() (map[string]*structuralschema.Structural, error) {
		crd, err := whole()
		if err != nil {
			return nil, err
		}
		return structurals(crd, s.preserve)
	})
	return s
}

// of returns the schema of a version; nil if there is none.
func (s *schemas) of(version string) (*structuralschema.Structural, error) {
	all, err := s.all.get()
	return all[version], err
}

func structurals(crd *apiextensionsv1.CustomResourceDefinition, preserve bool) (map[string]*structuralschema.Structural, error) {
	all := map[string]*structuralschema.Structural{}
	for _, v := range crd.Spec.Versions {
		validation, err := internalValidation(crd, v.Name)
		if err != nil {
			return nil, err
		}
		if validation == nil {
			continue
		}
		structural, err := structuralschema.NewStructural(validation.OpenAPIV3Schema)
		switch {
		case preserve:
			if err != nil {
				structural = nil
			}
		case err != nil:
			return nil, fmt.Errorf("%s: the schema of %s is not structural: %w", crd.Name, v.Name, err)
		default:
			structural = structural.DeepCopy() // defaults belong to the definition
			if err := defaulting.PruneDefaults(structural); err != nil {
				return nil, fmt.Errorf("%s: the defaults of %s: %w", crd.Name, v.Name, err)
			}
		}
		all[v.Name] = structural
	}
	return all, nil
}

// internalValidation is the schema of a version as upstream's libraries take
// it; nil if there is none.
func internalValidation(crd *apiextensionsv1.CustomResourceDefinition, version string) (*apiextensions.CustomResourceValidation, error) {
	v1, err := apihelpers.GetSchemaForVersion(crd, version)
	if err != nil || v1 == nil {
		return nil, err
	}
	internal := &apiextensions.CustomResourceValidation{}
	err = apiextensionsv1.Convert_v1_CustomResourceValidation_To_apiextensions_CustomResourceValidation(v1, internal, nil)
	return internal, err
}

// coercion makes content what it would be had it been decoded to a struct of
// its schema: unknown fields go, as do nulls where there may be none, and
// metadata, the object's own and that of embedded ones, is of its types.
type coercion struct {
	*schemas
	// stored tells content from the store: metadata that is wrong is dropped,
	// not an error, and a missing generation is made up for.
	stored bool
	// track has the paths of unknown fields told.
	track bool
}

// apply coerces u and returns the paths of its unknown fields.
func (c coercion) apply(u *unstructured.Unstructured) (unknown []string, err error) {
	name, hasKind, err := unstructured.NestedString(u.Object, "kind")
	if err != nil {
		return nil, err
	}
	apiVersion, hasVersion, err := unstructured.NestedString(u.Object, "apiVersion")
	if err != nil {
		return nil, err
	}
	metadata, unknown, err := c.metadataOf(u)
	if err != nil {
		return nil, err
	}
	gv, err := schema.ParseGroupVersion(apiVersion)
	if err != nil {
		return nil, err
	}
	if gv.Group == c.kind.Group && name == c.kind.Kind {
		structural, err := c.of(gv.Version)
		if err != nil {
			return nil, err
		}
		if restrictsMetadata(structural) {
			metadata = metadata.copied()
		}
		if !c.preserve {
			unknown = append(unknown, pruning.PruneWithOptions(u.Object, structural, true,
				structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: c.track})...)
			defaulting.PruneNonNullableNullsWithoutDefaults(u.Object, structural)
		}
		fieldErr, embedded := objectmeta.CoerceWithOptions(nil, u.Object, structural, false, objectmeta.CoerceOptions{
			DropInvalidFields: c.stored, ReturnUnknownFieldPaths: c.track,
		})
		if fieldErr != nil {
			return nil, fieldErr
		}
		unknown = append(unknown, embedded...)
		if c.stored {
			metadata.repairGeneration()
		}
	}
	// The schema need not name these, so that pruning may have touched them.
	if hasKind {
		u.SetKind(name)
	}
	if hasVersion {
		u.SetAPIVersion(apiVersion)
	}
	return unknown, metadata.set(u)
}

// metadataOf takes the metadata of u before its content is touched.
func (c coercion) metadataOf(u *unstructured.Unstructured) (m metadata, unknown []string, err error) {
	if hasPlainMetadata(u) {
		return metadata{plain: u.Object["metadata"].(map[string]any)}, nil, nil
	}
	m.typed, _, unknown, err = objectmeta.GetObjectMetaWithOptions(u.Object, objectmeta.ObjectMetaOptions{
		DropMalformedFields: c.stored, ReturnUnknownFieldPaths: c.track,
	})
	return m, unknown, err
}

// restrictsMetadata reports whether a schema says something of metadata, so
// that pruning may look into it. s is nil for a version that there is not.
func restrictsMetadata(s *structuralschema.Structural) bool {
	if s == nil {
		return false
	}
	_, named := s.Properties["metadata"]
	return named || s.AdditionalProperties != nil
}

// coercingDecoder coerces what it decodes, and has unknown fields be strict
// errors beside the delegate's own.
type coercingDecoder struct {
	runtime.Decoder
	coercion coercion
}

func (d coercingDecoder) Decode(data []byte, defaults *schema.GroupVersionKind, into runtime.Object) (runtime.Object, *schema.GroupVersionKind, error) {
	var strict []error
	obj, gvk, err := d.Decoder.Decode(data, defaults, into)
	if err != nil {
		found, ok := runtime.AsStrictDecodingError(err)
		if !ok || obj == nil {
			return nil, gvk, err
		}
		strict = found.Errors()
	}
	var unknown []string
	if u, ok := obj.(*unstructured.Unstructured); ok {
		if unknown, err = d.coercion.apply(u); err != nil {
			return nil, gvk, err
		}
	}
	if !d.coercion.track || len(strict)+len(unknown) == 0 {
		return obj, gvk, nil
	}
	for _, path := range unknown {
		strict = append(strict, fmt.Errorf(`unknown field "%s"`, path)) // upstream does not quote what is in it
	}
	return obj, gvk, runtime.NewStrictDecodingError(strict)
}

// coercingConverter coerces what it converts to another version.
type coercingConverter struct {
	runtime.ObjectConvertor
	coercion coercion
}

func (c coercingConverter) Convert(in, out, context any) error {
	from, ok := in.(*unstructured.Unstructured)
	to, also := out.(*unstructured.Unstructured)
	if ok && also && from.GroupVersionKind() == to.GroupVersionKind() {
		to.Object = from.Object // coerced as it was decoded
		return nil
	}
	if err := c.ObjectConvertor.Convert(in, out, context); err != nil || !also {
		return err
	}
	_, err := c.coercion.apply(to)
	return err
}

func (c coercingConverter) ConvertToVersion(in runtime.Object, gv runtime.GroupVersioner) (runtime.Object, error) {
	out, err := c.ObjectConvertor.ConvertToVersion(in, gv)
	if err != nil || out == in {
		return out, err
	}
	if u, ok := out.(*unstructured.Unstructured); ok {
		_, err = c.coercion.apply(u)
	}
	return out, err
}

// sameVersion does not have an object of the kind copied that is of the version
// asked for.
type sameVersion struct {
	runtime.ObjectConvertor
	kind schema.GroupKind
}

func (c sameVersion) ConvertToVersion(in runtime.Object, gv runtime.GroupVersioner) (runtime.Object, error) {
	if gvk := in.GetObjectKind().GroupVersionKind(); gvk.GroupKind() == c.kind {
		if to, ok := gv.KindForGroupVersionKinds([]schema.GroupVersionKind{gvk}); ok && to == gvk {
			return in, nil
		}
	}
	return c.ObjectConvertor.ConvertToVersion(in, gv)
}

// defaulter sets the defaults that schemas have.
type defaulter struct {
	*schemas
	others runtime.ObjectDefaulter
}

func (d *defaulter) Default(obj runtime.Object) {
	u, ok := obj.(runtime.Unstructured)
	if !ok || u.GetObjectKind().GroupVersionKind().GroupKind() != d.kind {
		d.others.Default(obj)
		return
	}
	if structural, err := d.of(u.GetObjectKind().GroupVersionKind().Version); err == nil { // else coercion tells
		defaulting.Default(u.UnstructuredContent(), structural)
	}
}
