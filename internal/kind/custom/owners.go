package custom

import (
	"encoding/json"

	"k8s.io/apiextensions-apiserver/pkg/controller/openapi/builder"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/kube-openapi/pkg/schemaconv"
	"k8s.io/kube-openapi/pkg/spec3"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	smdschema "sigs.k8s.io/structured-merge-diff/v6/schema"
	"sigs.k8s.io/structured-merge-diff/v6/typed"

	"github.com/knarr-io/knarr/internal/kind"
)

// Owned is what the owners of an object's fields are kept by. It is
// ownership.Custom field by field, so that one converts to the other: this
// package is below that one.
type Owned struct {
	GVK         schema.GroupVersionKind
	Hub         schema.GroupVersion
	Subresource string
	Types       map[schema.GroupVersionKind]typed.ParseableType
	Convertor   runtime.ObjectConvertor
	Defaulter   runtime.ObjectDefaulter
	Creater     runtime.ObjectCreater
	ResetFields func() map[fieldpath.APIVersion]*fieldpath.Set
}

// Owned tells what is owned in the kind's objects or, if sub is not nil, in what
// it has under that subresource. It may have to make the schemas.
func (k Kind) Owned(sub *kind.Subresource) Owned {
	types, _ := k.definition.types.get() // nil without
	o := Owned{
		GVK: k.Versions[0].GVK(), Hub: k.Hub, Types: types,
		Convertor: k.Convertor, Defaulter: k.Defaulter, Creater: k.Creater, ResetFields: k.ResetFields,
	}
	if sub != nil {
		o.GVK, o.Subresource, o.ResetFields = sub.GVK(k.Versions[0]), sub.Name, sub.ResetFields
	}
	return o
}

// types are the schemas of all versions, and of Scale; nil if upstream cannot
// publish the definition, which has types be deduced.
type types = map[schema.GroupVersionKind]typed.ParseableType

func (d *definition) buildTypes() (types, error) {
	crd, err := d.whole()
	if err != nil {
		return nil, err
	}
	published := make([]*spec3.OpenAPI, len(crd.Spec.Versions))
	for i := range crd.Spec.Versions {
		if published[i], err = builder.BuildOpenAPIV3(crd, crd.Spec.Versions[i].Name, builder.Options{}); err != nil {
			return nil, err
		}
	}
	merged, err := builder.MergeSpecsV3(published...)
	if err != nil {
		return nil, err
	}
	models := merged.Components.Schemas
	converted, err := schemaconv.ToSchemaFromOpenAPI(models, d.preserve)
	if err != nil {
		return nil, err
	}
	parser := &typed.Parser{Schema: smdschema.Schema{Types: converted.Types}}
	result := types{}
	for name, model := range models {
		for _, gvk := range kindsOf(model) {
			if gvk.GroupKind() == d.kind || gvk == scaleKind {
				result[gvk] = parser.Type(name)
			}
		}
	}
	return result, nil
}

// kindsOf returns the kinds that a published schema says it is of.
func kindsOf(model *spec.Schema) []schema.GroupVersionKind {
	// The value is of one Go type or another, depending on who made it.
	raw, err := json.Marshal(model.Extensions["x-kubernetes-group-version-kind"])
	if err != nil {
		return nil
	}
	var kinds []schema.GroupVersionKind
	if err := json.Unmarshal(raw, &kinds); err != nil {
		return nil
	}
	return kinds
}
