// Package custom makes kinds of CustomResourceDefinitions, which to those above
// look as native kinds do. Schemas, validation, CEL, defaults, pruning,
// conversion and columns are upstream's; what upstream has only inside its
// server (how bodies and stored objects are decoded, the scale subresource) is
// restated here.
//
// It must not know about HTTP or where objects are kept, nor whether a
// definition may be served: names, conditions and deletion are for its caller.
package custom

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/apiserver/pkg/util/webhook"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/knarr-io/knarr/internal/kind"
)

// keyRoot is where upstream keeps everything.
const keyRoot = "/registry/"

// Converter makes what converts the objects of a definition between its
// versions: safe leaves what it is given as it is, unsafe may return it changed.
// Upstream's conversion.CRConverterFactory is one, for both strategies.
type Converter interface {
	NewConverter(crd *apiextensionsv1.CustomResourceDefinition) (safe, unsafe runtime.ObjectConvertor, err error)
}

// Maker makes kinds of definitions, and keeps what all of them share.
type Maker struct {
	converter Converter
	// answers knows what is said about objects of any kind: Status and Scale.
	answers *runtime.Scheme
}

// NewMaker returns a maker whose kinds are converted by c: see NewConverter. If it
// is nil, webhooks are called as upstream calls them where nobody resolves
// services.
func NewMaker(c Converter) (*Maker, error) {
	if c == nil {
		var err error
		if c, err = NewConverter(webhook.NewDefaultServiceResolver(), nil); err != nil {
			return nil, err
		}
	}
	answers := runtime.NewScheme()
	v1 := schema.GroupVersion{Version: "v1"}
	metav1.AddToGroupVersion(answers, v1)
	answers.AddUnversionedTypes(v1, &metav1.Status{})
	if err := autoscalingv1.AddToScheme(answers); err != nil {
		return nil, err
	}
	return &Maker{c, answers}, nil
}

// Kind is a resource in one served version.
type Kind struct {
	*kind.Resource
	definition *definition
}

// Of returns the kind that a resource was made as; false if it is not custom.
func Of(r *kind.Resource) (Kind, bool) {
	s, ok := r.Serializer.(*serializer)
	if !ok {
		return Kind{}, false
	}
	return Kind{r, s.definition}, true
}

// DropUnused drops what takes much memory and was not used since the last call:
// schemas, validators and CEL programs. They are made anew when they are used.
// kinds are all of one definition. It returns whether it dropped something, is
// safe for concurrent use, and does not wait.
func DropUnused(kinds []Kind) (dropped bool) {
	for i, k := range kinds {
		if i == 0 {
			schemas, types := k.definition.all.dropUnused(), k.definition.types.dropUnused()
			dropped = schemas || types
		}
		if r, ok := k.Create.(*rules); ok {
			dropped = r.full.dropUnused() || dropped
		}
		if v, ok := k.Versions[0].JSON.(*verbatim); ok {
			dropped = v.shape.dropUnused() || dropped
		}
	}
	return dropped
}

// definition is what the versions of one definition share.
type definition struct {
	*schemas
	// crd need not have the schemas of its versions, which whole has. That takes
	// some time.
	crd   *apiextensionsv1.CustomResourceDefinition
	whole func() (*apiextensionsv1.CustomResourceDefinition, error)
	// converter converts between versions and leaves what it is given.
	converter runtime.ObjectConvertor
	scheme    *runtime.Scheme
	answers   *runtime.Scheme
	stored    string
	// types are the schemas by which owners of fields are told apart.
	types *lazy[types]
}

var (
	resourceVerbs = strings.Fields("delete deletecollection get list patch create update watch")
	partVerbs     = strings.Fields("get patch update")
)

// Kinds returns the kinds of crd, one for each served version, the most
// preferred first. Each has its version as hub, since the rules of custom
// resources are those of the version asked for; they share what is stored. The
// definition, which is kept, must have its accepted names and be structural.
func (m *Maker) Kinds(crd *apiextensionsv1.CustomResourceDefinition) ([]Kind, error) {
	kinds, err := m.Outlined(crd, func() (*apiextensionsv1.CustomResourceDefinition, error) { return crd, nil })
	if err != nil || len(kinds) == 0 {
		return nil, err
	}
	_, err = kinds[0].definition.all.get()
	return kinds, err
}

// Outlined is Kinds of a definition of which crd tells all but the schemas.
// whole returns it with these; what it returns is not kept. It is called when
// something is first done with an object and when the kind is described. If the
// schemas are not structural, nothing can be done with objects.
func (m *Maker) Outlined(crd *apiextensionsv1.CustomResourceDefinition, whole func() (*apiextensionsv1.CustomResourceDefinition, error)) ([]Kind, error) {
	if err := checkNames(crd); err != nil {
		return nil, err
	}
	stored, err := apihelpers.GetCRDStorageVersion(crd)
	if err != nil {
		return nil, err
	}
	schemas := newSchemas(crd, whole)
	safe, _, err := m.converter.NewConverter(crd)
	if err != nil {
		return nil, err
	}
	d := &definition{
		schemas: schemas, crd: crd, whole: whole, converter: sameVersion{safe, schemas.kind}, answers: m.answers, stored: stored,
		scheme: runtime.NewScheme(),
	}
	d.types = newLazy(d.buildTypes)
	for i := range crd.Spec.Versions {
		d.scheme.AddKnownTypeWithName(d.gvk(crd.Spec.Versions[i].Name), &unstructured.Unstructured{})
	}
	var kinds []Kind
	for i := range crd.Spec.Versions {
		if v := &crd.Spec.Versions[i]; v.Served {
			kinds = append(kinds, Kind{d.resource(v), d})
		}
	}
	slices.SortFunc(kinds, func(a, b Kind) int {
		return version.CompareKubeAwareVersionStrings(b.Hub.Version, a.Hub.Version)
	})
	for _, k := range kinds {
		for _, other := range kinds {
			if other.Resource != k.Resource {
				k.Cohabiting = append(k.Cohabiting, other.Versions...)
			}
		}
	}
	return kinds, nil
}

func checkNames(crd *apiextensionsv1.CustomResourceDefinition) error {
	names := &crd.Status.AcceptedNames
	if names.Plural == "" || names.Singular == "" || names.Kind == "" || names.ListKind == "" {
		return fmt.Errorf("%s: not all of its names are accepted", crd.Name)
	}
	if crd.Spec.Conversion == nil {
		return errors.New(crd.Name + ": it does not say how objects are converted")
	}
	return nil
}

func (d *definition) gvk(version string) schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: d.kind.Group, Version: version, Kind: d.kind.Kind}
}

func (d *definition) namespaced() bool { return d.crd.Spec.Scope == apiextensionsv1.NamespaceScoped }

// resource is the resource in version v.
func (d *definition) resource(v *apiextensionsv1.CustomResourceDefinitionVersion) *kind.Resource {
	names := &d.crd.Status.AcceptedNames
	gvk := d.gvk(v.Name)
	rules := newRules(d, v)
	codec := newCodec(d, gvk)
	r := &kind.Resource{
		Group: gvk.Group, Name: names.Plural, Singular: names.Singular, Kind: names.Kind, ListKind: names.ListKind,
		ShortNames: names.ShortNames, Categories: names.Categories, Namespaced: d.namespaced(), Verbs: resourceVerbs,
		Storage: &kind.Storage{
			Prefix:  keyRoot + gvk.Group + "/" + names.Plural,
			Version: d.gvk(d.stored).GroupVersion(),
			Codec:   codec,
		},
		Published: published{d.crd, v.Name, d.whole},
		Types: kind.Types{
			Scheme: d.scheme, Convertor: d.converter, Serializer: newSerializer(d), ParameterCodec: runtime.NewParameterCodec(d.answers),
			Hub: gvk.GroupVersion(), Creater: creater{}, Defaulter: &defaulter{d.schemas, d.scheme},
		},
		Rules: kind.Rules{
			New: func() runtime.Object { return newObject(gvk) },
			NewList: func() runtime.Object {
				list := &unstructured.UnstructuredList{}
				list.SetGroupVersionKind(gvk.GroupVersion().WithKind(names.ListKind))
				return list
			},
			Create: rules, Update: rules, Delete: rules,
			Attributes: rules.attributes,
			Table:      newTable(v),
		},
	}
	if d.crd.Spec.Conversion.Strategy == apiextensionsv1.WebhookConverter {
		r.Storage.Remote = newRemote(codec, names.ListKind)
	}
	if s := v.Subresources; s != nil && s.Status != nil {
		r.ResetFields = rules.light.GetResetFields
		r.Subresources = append(r.Subresources, &kind.Subresource{
			Name: "status", Kind: schema.GroupVersionKind{Kind: r.Kind}, Verbs: partVerbs, Table: true,
			Update: &statusRules{rules}, ResetFields: d.statusResets,
		})
	}
	if s := v.Subresources; s != nil && s.Scale != nil {
		r.Subresources = append(r.Subresources, &kind.Subresource{
			Name: "scale", Kind: scaleKind, Verbs: partVerbs, Table: true, View: newScale(d.crd, s.Scale),
		})
	}
	served := &kind.Version{Resource: r, Name: v.Name, Deprecated: deprecation(&d.crd.Spec, v)}
	served.SetForms()
	served.JSON = newVerbatim(d, gvk, served.JSON)
	r.Versions = []*kind.Version{served}
	return r
}

// statusResets are the fields that writes of the status leave alone, in all
// versions that have one.
func (d *definition) statusResets() map[fieldpath.APIVersion]*fieldpath.Set {
	resets := map[fieldpath.APIVersion]*fieldpath.Set{}
	for i := range d.crd.Spec.Versions {
		v := &d.crd.Spec.Versions[i]
		if (v.Served || v.Storage) && v.Subresources != nil && v.Subresources.Status != nil {
			resets[fieldpath.APIVersion(d.gvk(v.Name).GroupVersion().String())] =
				fieldpath.NewSet(fieldpath.MakePathOrDie("metadata"), fieldpath.MakePathOrDie("spec"))
		}
	}
	return resets
}

// deprecation returns the warning of a deprecated version: the definition's own
// or one that names the newest version to use in its place.
func deprecation(spec *apiextensionsv1.CustomResourceDefinitionSpec, v *apiextensionsv1.CustomResourceDefinitionVersion) string {
	if !v.Deprecated {
		return ""
	}
	if v.DeprecationWarning != nil {
		return *v.DeprecationWarning
	}
	newest := ""
	for _, other := range spec.Versions {
		if other.Served && !other.Deprecated && version.CompareKubeAwareVersionStrings(v.Name, other.Name) < 0 &&
			(newest == "" || version.CompareKubeAwareVersionStrings(newest, other.Name) < 0) {
			newest = other.Name
		}
	}
	warning := fmt.Sprintf("%s/%s %s is deprecated", spec.Group, v.Name, spec.Names.Kind)
	if newest != "" {
		warning += fmt.Sprintf("; use %s/%s %s", spec.Group, newest, spec.Names.Kind)
	}
	return warning
}
