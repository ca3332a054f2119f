package native

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/registry/generic"
	"k8s.io/kubernetes/pkg/apis/certificates"
	_ "k8s.io/kubernetes/pkg/apis/certificates/install"
	"k8s.io/kubernetes/pkg/features"
	csr "k8s.io/kubernetes/pkg/registry/certificates/certificates"
	"k8s.io/kubernetes/pkg/registry/certificates/clustertrustbundle"
	"k8s.io/kubernetes/pkg/registry/certificates/podcertificaterequest"
	"k8s.io/utils/clock"
)

func (b *builder) certificates() *group {
	v1beta1 := schema.GroupVersion{Group: certificates.GroupName, Version: "v1beta1"}
	podRequest := podcertificaterequest.NewStrategy()
	return &group{name: certificates.GroupName, rows: []row{
		{
			name: "certificatesigningrequests", short: words("csr"),
			hub:      of[certificates.CertificateSigningRequest, certificates.CertificateSigningRequestList](),
			versions: words("v1"),
			strategy: csr.Strategy, status: csr.StatusStrategy,
			parts:      []part{{name: "approval", verbs: statusVerbs, update: csr.ApprovalStrategy, resets: true}},
			attributes: csr.GetAttrs,
		},
		{
			name:     "clustertrustbundles",
			hub:      of[certificates.ClusterTrustBundle, certificates.ClusterTrustBundleList](),
			versions: words("v1 v1beta1 v1alpha1"), gate: features.ClusterTrustBundle, stored: v1beta1,
			strategy: clustertrustbundle.Strategy, attributes: trustBundleAttributes,
		},
		{
			name:       "podcertificaterequests",
			hub:        of[certificates.PodCertificateRequest, certificates.PodCertificateRequestList](),
			namespaced: true, versions: words("v1 v1beta1"), gate: features.PodCertificateRequest, stored: v1beta1,
			strategy:   podRequest,
			status:     podcertificaterequest.NewStatusStrategy(podRequest, b.authorizer(), clock.RealClock{}),
			attributes: podRequestAttributes,
		},
	}}
}

func trustBundleAttributes(obj runtime.Object) (labels.Set, fields.Set, error) {
	bundle, ok := obj.(*certificates.ClusterTrustBundle)
	if !ok {
		return nil, nil, fmt.Errorf("%T is no ClusterTrustBundle", obj)
	}
	set := generic.ObjectMetaFieldsSet(&bundle.ObjectMeta, false)
	set["spec.signerName"] = bundle.Spec.SignerName
	return bundle.Labels, set, nil
}

func podRequestAttributes(obj runtime.Object) (labels.Set, fields.Set, error) {
	request, ok := obj.(*certificates.PodCertificateRequest)
	if !ok {
		return nil, nil, fmt.Errorf("%T is no PodCertificateRequest", obj)
	}
	set := generic.ObjectMetaFieldsSet(&request.ObjectMeta, true)
	set["spec.signerName"] = request.Spec.SignerName
	set["spec.podName"] = request.Spec.PodName
	set["spec.nodeName"] = string(request.Spec.NodeName)
	return request.Labels, set, nil
}

// authorizer is that of the options; without one everything is allowed.
func (b *builder) authorizer() authorizer.UnconditionalAuthorizer {
	if b.options.Authorizer != nil {
		return b.options.Authorizer
	}
	return authorizer.AuthorizerFunc(func(context.Context, authorizer.Attributes) (authorizer.Decision, string, error) {
		return authorizer.DecisionAllow, "", nil
	})
}
