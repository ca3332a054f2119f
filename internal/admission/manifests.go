package admission

import (
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/initializer"
	"k8s.io/apiserver/pkg/features"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	policies "k8s.io/kubernetes/pkg/admission/plugin/policy/manifest/loader"
	webhooksloader "k8s.io/kubernetes/pkg/admission/plugin/webhook/manifest/loader"
)

// manifests lets plugins read their objects from files beside those of the API.
type manifests struct{}

func (manifests) Initialize(p admission.Interface) {
	wants, ok := p.(initializer.WantsManifestLoaders)
	if !ok {
		return
	}
	if !utilfeature.DefaultFeatureGate.Enabled(features.ManifestBasedAdmissionControlConfig) {
		wants.SetManifestLoaders(&initializer.ManifestLoaders{})
		return
	}
	wants.SetManifestLoaders(&initializer.ManifestLoaders{
		LoadValidatingWebhookManifests: func(dir string) ([]*admissionregistrationv1.ValidatingWebhookConfiguration, string, error) {
			loaded, err := webhooksloader.LoadValidatingManifests(dir)
			if err != nil {
				return nil, "", err
			}
			return loaded.Configurations, loaded.Hash, nil
		},
		LoadMutatingWebhookManifests: func(dir string) ([]*admissionregistrationv1.MutatingWebhookConfiguration, string, error) {
			loaded, err := webhooksloader.LoadMutatingManifests(dir)
			if err != nil {
				return nil, "", err
			}
			return loaded.Configurations, loaded.Hash, nil
		},
		LoadValidatingPolicyManifests: func(dir string) ([]*admissionregistrationv1.ValidatingAdmissionPolicy, []*admissionregistrationv1.ValidatingAdmissionPolicyBinding, string, error) {
			loaded, err := policies.LoadValidatingManifestsFromDirectory(dir)
			if err != nil {
				return nil, nil, "", err
			}
			return loaded.Policies, loaded.Bindings, loaded.Hash, nil
		},
		LoadMutatingPolicyManifests: func(dir string) ([]*admissionregistrationv1.MutatingAdmissionPolicy, []*admissionregistrationv1.MutatingAdmissionPolicyBinding, string, error) {
			loaded, err := policies.LoadMutatingManifestsFromDirectory(dir)
			if err != nil {
				return nil, nil, "", err
			}
			return loaded.Policies, loaded.Bindings, loaded.Hash, nil
		},
	})
}
