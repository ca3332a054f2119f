package native

import (
	"context"
	"errors"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/kubernetes/pkg/apis/admissionregistration"
	_ "k8s.io/kubernetes/pkg/apis/admissionregistration/install"
	"k8s.io/kubernetes/pkg/registry/admissionregistration/mutatingadmissionpolicy"
	"k8s.io/kubernetes/pkg/registry/admissionregistration/mutatingadmissionpolicybinding"
	"k8s.io/kubernetes/pkg/registry/admissionregistration/mutatingwebhookconfiguration"
	"k8s.io/kubernetes/pkg/registry/admissionregistration/validatingadmissionpolicy"
	"k8s.io/kubernetes/pkg/registry/admissionregistration/validatingadmissionpolicybinding"
	"k8s.io/kubernetes/pkg/registry/admissionregistration/validatingwebhookconfiguration"
)

func (b *builder) admissionregistration() *group {
	extensions := words("api-extensions")
	v1, olderToo := words("v1"), words("v1 v1beta1 v1alpha1")
	validating := validatingadmissionpolicy.NewStrategy(b.options.Authorizer, b.options.Resources)
	return &group{name: admissionregistration.GroupName, rows: []row{
		{
			name: "mutatingadmissionpolicies", categories: extensions,
			hub:      of[admissionregistration.MutatingAdmissionPolicy, admissionregistration.MutatingAdmissionPolicyList](),
			versions: olderToo,
			strategy: mutatingadmissionpolicy.NewStrategy(b.options.Authorizer, b.options.Resources),
		},
		{
			name: "mutatingadmissionpolicybindings", categories: extensions,
			hub:      of[admissionregistration.MutatingAdmissionPolicyBinding, admissionregistration.MutatingAdmissionPolicyBindingList](),
			versions: olderToo,
			strategy: mutatingadmissionpolicybinding.NewStrategy(b.options.Authorizer, b.options.Policies, b.options.Resources),
		},
		{
			name: "mutatingwebhookconfigurations", categories: extensions,
			hub:      of[admissionregistration.MutatingWebhookConfiguration, admissionregistration.MutatingWebhookConfigurationList](),
			versions: v1,
			strategy: mutatingwebhookconfiguration.Strategy,
		},
		{
			name: "validatingadmissionpolicies", categories: extensions,
			hub:      of[admissionregistration.ValidatingAdmissionPolicy, admissionregistration.ValidatingAdmissionPolicyList](),
			versions: words("v1 v1beta1"),
			strategy: validating, status: validatingadmissionpolicy.NewStatusStrategy(validating), statusCreates: true,
		},
		{
			name: "validatingadmissionpolicybindings", categories: extensions,
			hub:      of[admissionregistration.ValidatingAdmissionPolicyBinding, admissionregistration.ValidatingAdmissionPolicyBindingList](),
			versions: words("v1 v1beta1"),
			strategy: validatingadmissionpolicybinding.NewStrategy(b.options.Authorizer, b.options.Policies, b.options.Resources),
		},
		{
			name: "validatingwebhookconfigurations", categories: extensions,
			hub:      of[admissionregistration.ValidatingWebhookConfiguration, admissionregistration.ValidatingWebhookConfigurationList](),
			versions: v1,
			strategy: validatingwebhookconfiguration.Strategy,
		},
	}}
}

// Policies finds the policy that a binding is of.
type Policies interface {
	validatingadmissionpolicybinding.PolicyGetter
	mutatingadmissionpolicybinding.PolicyGetter
}

// noResources and noPolicies find nothing, for a catalogue without a server. The
// strategies then ask about every resource of a version.
type noResources struct{}

func (noResources) Resolve(schema.GroupVersionKind) (schema.GroupVersionResource, error) {
	return schema.GroupVersionResource{}, errors.New("not found")
}

type noPolicies struct{}

func (noPolicies) GetValidatingAdmissionPolicy(context.Context, string) (*admissionregistration.ValidatingAdmissionPolicy, error) {
	return nil, errors.New("not found")
}

func (noPolicies) GetMutatingAdmissionPolicy(context.Context, string) (*admissionregistration.MutatingAdmissionPolicy, error) {
	return nil, errors.New("not found")
}
