package custom

import (
	"fmt"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/controller/openapi/builder"
	"k8s.io/kube-openapi/pkg/handler"
	"k8s.io/kube-openapi/pkg/spec3"
	"k8s.io/kube-openapi/pkg/validation/spec"
)

// published is what clients are told of a version, by upstream's builders.
type published struct {
	crd     *apiextensionsv1.CustomResourceDefinition
	version string
	whole   func() (*apiextensionsv1.CustomResourceDefinition, error)
}

// ID changes with the definition's generation: nothing else is told.
func (p published) ID() string {
	return fmt.Sprintf("%s,%s,%d,%s", p.crd.Name, p.crd.UID, p.crd.Generation, p.version)
}

func (p published) OpenAPIV3() (*spec3.OpenAPI, error) {
	crd, err := p.whole()
	if err != nil {
		return nil, err
	}
	return builder.BuildOpenAPIV3(crd, p.version, builder.Options{IncludeSelectableFields: true})
}

// OpenAPIV2 has no defaults, as nothing of version 2 has.
func (p published) OpenAPIV2() (*spec.Swagger, error) {
	crd, err := p.whole()
	if err != nil {
		return nil, err
	}
	s, err := builder.BuildOpenAPIV2(crd, p.version, builder.Options{V2: true, IncludeSelectableFields: true})
	if err != nil {
		return nil, err
	}
	s.Definitions = handler.PruneDefaults(s.Definitions)
	return s, nil
}
