package native

import (
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	extensionsserver "k8s.io/apiextensions-apiserver/pkg/apiserver"
	crd "k8s.io/apiextensions-apiserver/pkg/registry/customresourcedefinition"
	crdtable "k8s.io/apiextensions-apiserver/pkg/registry/customresourcedefinition/tableconvertor"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// extensions is the family of definitions of custom resources.
var extensions = family{
	scheme:     extensionsserver.Scheme,
	codecs:     extensionsserver.Codecs,
	parameters: metav1.ParameterCodec,
	mediaType:  runtime.ContentTypeJSON,
	groupInKey: true,
}

func (b *builder) apiextensions() *group {
	strategy := crd.NewStrategy(extensions.scheme)
	return &group{name: apiextensions.GroupName, family: &extensions, rows: []row{
		{
			name: "customresourcedefinitions", short: words("crd crds"), categories: words("api-extensions"),
			hub:      of[apiextensions.CustomResourceDefinition, apiextensions.CustomResourceDefinitionList](),
			versions: words("v1"),
			// The older version is kept because it is the more compact.
			stored:   schema.GroupVersion{Group: apiextensions.GroupName, Version: "v1beta1"},
			strategy: strategy, status: crd.NewStatusStrategy(extensions.scheme), statusPlain: true,
			attributes: crd.GetAttrs, table: crdtable.New(),
		},
	}}
}
