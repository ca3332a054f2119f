package knarr

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"k8s.io/kubernetes/pkg/apis/admissionregistration"
	"k8s.io/kubernetes/pkg/registry/admissionregistration/resolver"
	"k8s.io/kubernetes/pkg/registry/rbac/validation"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/state"
)

// references is what the rules of kinds ask of their server: who may do what, and
// what objects refer to. The rules are made first, so all of it is set later,
// before the first request.
type references struct {
	authorizer.UnconditionalAuthorizer
	validation.AuthorizationRuleResolver
	state *state.State
	// native and current are the catalogues of what is native and of all that is
	// served now.
	native  *kind.Catalogue
	current func() *kind.Catalogue
	// elsewhere reaches the server's own discovery, which tells of what others
	// serve too.
	elsewhere func() *rest.Config
}

// find returns a native object of cluster scope as it is now.
func (r *references) find(gr schema.GroupResource, name string) (*kind.Resource, runtime.Object, error) {
	missing := apierrors.NewNotFound(gr, name)
	resource := r.native.Resource(gr)
	if resource == nil {
		return nil, nil, missing
	}
	stored := r.state.Get(resource.Storage.Key("", name))
	if stored == nil {
		return nil, nil, missing
	}
	hub, err := resource.Decode(stored)
	return resource, hub, err
}

// Namespace returns a namespace.
func (r *references) Namespace(_ context.Context, name string) (*corev1.Namespace, error) {
	resource, hub, err := r.find(corev1.Resource("namespaces"), name)
	if err != nil {
		return nil, err
	}
	obj, err := resource.Versions[0].FromHub(hub)
	if err != nil {
		return nil, err
	}
	return obj.(*corev1.Namespace), nil
}

// GetValidatingAdmissionPolicy returns the policy that a binding names.
func (r *references) GetValidatingAdmissionPolicy(_ context.Context, name string) (*admissionregistration.ValidatingAdmissionPolicy, error) {
	_, hub, err := r.find(admissionregistration.Resource("validatingadmissionpolicies"), name)
	if err != nil {
		return nil, err
	}
	return hub.(*admissionregistration.ValidatingAdmissionPolicy), nil
}

// GetMutatingAdmissionPolicy returns the policy that a binding names.
func (r *references) GetMutatingAdmissionPolicy(_ context.Context, name string) (*admissionregistration.MutatingAdmissionPolicy, error) {
	_, hub, err := r.find(admissionregistration.Resource("mutatingadmissionpolicies"), name)
	if err != nil {
		return nil, err
	}
	return hub.(*admissionregistration.MutatingAdmissionPolicy), nil
}

// Resolve returns the resource of a kind that is served, here or elsewhere.
func (r *references) Resolve(gvk schema.GroupVersionKind) (schema.GroupVersionResource, error) {
	if group := r.current().Group(gvk.Group); group != nil {
		for _, resource := range group.Resources {
			if resource.Kind != gvk.Kind {
				continue
			}
			if v := r.current().Lookup(gvk.GroupVersion().WithResource(resource.Name)); v != nil {
				return v.GVR(), nil
			}
		}
	}
	client, err := discovery.NewDiscoveryClientForConfig(r.elsewhere())
	if err != nil {
		return schema.GroupVersionResource{}, err
	}
	upstream, err := resolver.NewDiscoveryResourceResolver(client)
	if err != nil {
		return schema.GroupVersionResource{}, err
	}
	return upstream.Resolve(gvk)
}
