package custom

import (
	"context"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apiextensions-apiserver/pkg/crdserverscheme"
	"k8s.io/apiextensions-apiserver/pkg/registry/customresource"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/registry/rest"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/knarr-io/knarr/internal/object"
)

// strategy is upstream's for objects as a whole.
type strategy interface {
	rest.RESTCreateStrategy
	rest.RESTUpdateStrategy
	GetResetFields() map[fieldpath.APIVersion]*fieldpath.Set
	GetAttrs(obj runtime.Object) (labels.Set, fields.Set, error)
}

// rules are upstream's rules of a version. Validators and CEL programs cost
// time and memory and are made when something is first validated; all else is
// asked of a strategy that has none of them.
type rules struct {
	light
	full *lazy[full]
}

// light is a strategy without a schema. It knows all but Validate.
type light = strategy

// full are the strategies that validate: whole objects and their status.
type full struct {
	whole  strategy
	status rest.RESTUpdateStrategy
}

func newRules(d *definition, v *apiextensionsv1.CustomResourceDefinitionVersion) *rules {
	gvk, typer := d.gvk(v.Name), crdserverscheme.NewUnstructuredObjectTyper()
	var status *apiextensions.CustomResourceSubresourceStatus
	var scale *apiextensions.CustomResourceSubresourceScale
	if s := v.Subresources; s != nil && s.Status != nil {
		status = &apiextensions.CustomResourceSubresourceStatus{}
	}
	if s := v.Subresources; s != nil && s.Scale != nil {
		scale = &apiextensions.CustomResourceSubresourceScale{
			SpecReplicasPath: s.Scale.SpecReplicasPath, StatusReplicasPath: s.Scale.StatusReplicasPath, LabelSelectorPath: s.Scale.LabelSelectorPath,
		}
	}
	none, _, _ := validation.NewSchemaValidator(nil)
	return &rules{
		light: customresource.NewStrategy(typer, d.namespaced(), gvk, none, nil, nil, status, scale, v.SelectableFields),
		full: newLazy(func() (full, error) {
			structural, err := d.of(v.Name)
			if err != nil {
				return full{}, err
			}
			crd, err := d.whole()
			if err != nil {
				return full{}, err
			}
			whole, part, err := validators(crd, v.Name, status != nil)
			if err != nil {
				return full{}, err
			}
			s := customresource.NewStrategy(typer, d.namespaced(), gvk, whole, part, structural, status, scale, v.SelectableFields)
			return full{s, customresource.NewStatusStrategy(s)}, nil
		}),
	}
}

// validators are those of the schema and, for writes of the status, of that
// part of it; nil if it does not name the status.
func validators(crd *apiextensionsv1.CustomResourceDefinition, version string, status bool) (whole, part validation.SchemaValidator, err error) {
	internal, err := internalValidation(crd, version)
	if err != nil {
		return nil, nil, err
	}
	var props *apiextensions.JSONSchemaProps
	if internal != nil {
		props = internal.OpenAPIV3Schema
	}
	if whole, _, err = validation.NewSchemaValidator(props); err != nil || !status || props == nil {
		return whole, nil, err
	}
	if s, ok := props.Properties["status"]; ok {
		part, _, err = validation.NewSchemaValidator(&s)
	}
	return whole, part, err
}

func (r *rules) attributes(obj runtime.Object) (object.Attributes, error) {
	l, f, err := r.GetAttrs(obj)
	return object.Attributes{Labels: l, Fields: f}, err
}

func (r *rules) Validate(ctx context.Context, obj runtime.Object) field.ErrorList {
	f, err := r.full.get()
	if err != nil {
		return field.ErrorList{field.InternalError(nil, err)}
	}
	return f.whole.Validate(ctx, obj)
}

func (r *rules) ValidateUpdate(ctx context.Context, obj, old runtime.Object) field.ErrorList {
	f, err := r.full.get()
	if err != nil {
		return field.ErrorList{field.InternalError(nil, err)}
	}
	return f.whole.ValidateUpdate(ctx, obj, old)
}

// statusRules are those of writes of the status.
type statusRules struct{ *rules }

func (r *statusRules) PrepareForUpdate(ctx context.Context, obj, old runtime.Object) {
	if f, err := r.full.get(); err == nil { // else validation tells
		f.status.PrepareForUpdate(ctx, obj, old)
	}
}

func (r *statusRules) ValidateUpdate(ctx context.Context, obj, old runtime.Object) field.ErrorList {
	f, err := r.full.get()
	if err != nil {
		return field.ErrorList{field.InternalError(nil, err)}
	}
	return f.status.ValidateUpdate(ctx, obj, old)
}

func (r *statusRules) WarningsOnUpdate(context.Context, runtime.Object, runtime.Object) []string {
	return nil
}
