package native

import (
	"slices"

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
			terminate: terminateDefinition, terminated: func(runtime.Object) bool { return true },
		},
	}}
}

// terminateDefinition marks a definition whose objects are to be deleted before
// it. What else the options ask to be done before, upstream does not heed.
func terminateDefinition(obj runtime.Object, options *metav1.DeleteOptions) {
	definition := obj.(*apiextensions.CustomResourceDefinition)
	if definition.DeletionTimestamp.IsZero() {
		now := metav1.Now()
		definition.DeletionTimestamp = &now
	}
	//nolint:staticcheck // the deprecated field is still part of the API
	if options.OrphanDependents != nil || options.PropagationPolicy != nil {
		definition.Finalizers = slices.DeleteFunc(definition.Finalizers, func(f string) bool {
			return f == metav1.FinalizerOrphanDependents || f == metav1.FinalizerDeleteDependents
		})
	}
	if !apiextensions.CRDHasFinalizer(definition, apiextensions.CustomResourceCleanupFinalizer) {
		definition.Finalizers = append(definition.Finalizers, apiextensions.CustomResourceCleanupFinalizer)
	}
	apiextensions.SetCRDCondition(definition, apiextensions.CustomResourceDefinitionCondition{
		Type: apiextensions.Terminating, Status: apiextensions.ConditionTrue, Reason: "InstanceDeletionPending",
		Message: "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
	})
}
