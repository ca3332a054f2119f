package policystatus

import (
	"fmt"
	"strings"
	"weak"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset/scheme"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/cel/openapi/resolver"
	"k8s.io/client-go/kubernetes/scheme"
	aggregation "k8s.io/kube-aggregator/pkg/apiserver/scheme"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"k8s.io/kubernetes/pkg/generated/openapi"

	"github.com/knarr-io/knarr/internal/kind"
)

// schemas finds the schemas of kinds. It is for one goroutine.
type schemas struct {
	catalogue func() *kind.Catalogue
	// native are those of native kinds, tens of megabytes that the collector may
	// take until somebody needs them again.
	native weak.Pointer[resolver.DefinitionsSchemaResolver]
}

var _ resolver.SchemaResolver = &schemas{}

// ResolveSchema returns the schema of a kind, with no references in it.
func (s *schemas) ResolveSchema(gvk schema.GroupVersionKind) (*spec.Schema, error) {
	if g := s.catalogue().Group(gvk.Group); g != nil {
		for _, r := range g.Resources {
			if r.Custom() && r.Versions[0].GVK() == gvk {
				return published(r, gvk)
			}
		}
	}
	native := s.native.Value()
	if native == nil {
		native = resolver.NewDefinitionsSchemaResolver(openapi.GetOpenAPIDefinitions, scheme.Scheme, apiextensions.Scheme, aggregation.Scheme)
		s.native = weak.Make(native)
	}
	return native.ResolveSchema(gvk)
}

// published returns the schema of a custom kind as its document has it.
func published(r *kind.Resource, gvk schema.GroupVersionKind) (*spec.Schema, error) {
	document, err := r.Published.OpenAPIV3()
	if err != nil {
		return nil, err
	}
	for name, s := range document.Components.Schemas {
		var kinds []schema.GroupVersionKind
		if err := s.Extensions.GetObject("x-kubernetes-group-version-kind", &kinds); err != nil {
			return nil, err
		}
		for _, of := range kinds {
			if of == gvk {
				return resolver.PopulateRefs(func(ref string) (*spec.Schema, bool) {
					s, ok := document.Components.Schemas[strings.TrimPrefix(ref, "#/components/schemas/")]
					return s, ok
				}, name)
			}
		}
	}
	return nil, fmt.Errorf("cannot resolve group version kind %q: %w", gvk, resolver.ErrSchemaNotFound)
}
