package certificates

import (
	"context"
	"crypto/x509"
	"fmt"

	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/kubernetes/pkg/apis/authorization"
	"k8s.io/kubernetes/pkg/apis/certificates"
	api "k8s.io/kubernetes/pkg/apis/core"
	authorizationutil "k8s.io/kubernetes/pkg/registry/authorization/util"
)

// approving approves what kubelets ask for to be clients by, if who asks may: for
// itself or for any node, as a subresource of requests that roles name.
type approving struct {
	*Controller
	authorizer authorizer.UnconditionalAuthorizer
}

func (a *approving) approve(ctx context.Context, csr *certificates.CertificateSigningRequest) error {
	if has(csr, certificates.CertificateApproved) || has(csr, certificates.CertificateDenied) {
		return nil
	}
	asked, err := certificates.ParseCSR(csr.Spec.Request)
	if err != nil {
		return fmt.Errorf("unable to parse csr %q: %w", csr.Name, err)
	}
	if csr.Spec.SignerName != certificatesv1.KubeAPIServerClientKubeletSignerName || !certificates.IsKubeletClientCSR(asked, usageSet(csr)) {
		return nil
	}
	grounds := groundsOf(csr, asked)
	for _, g := range grounds {
		if !a.may(ctx, csr, g.subresource) {
			continue
		}
		csr.Status.Conditions = append(csr.Status.Conditions, certificates.CertificateSigningRequestCondition{
			Type: certificates.CertificateApproved, Status: api.ConditionTrue, Reason: "AutoApproved", Message: g.message,
		})
		return a.client.Update(ctx, requests, "approval", csr)
	}
	// As upstream does, it is tried again: roles may be about to be bound.
	return &notApproved{csr.Name, grounds}
}

// notApproved is what the user who asks may be to blame for, and no trouble of ours.
type notApproved struct {
	name    string
	grounds []ground
}

func (e *notApproved) Error() string {
	return fmt.Sprintf("recognized csr %q as %v but subject access review was not approved", e.name, e.grounds)
}

// ground is why a request may be approved.
type ground struct{ subresource, message string }

func (g ground) String() string { return g.subresource }

// groundsOf returns those for a kubelet's request, in the order in which they are tried.
func groundsOf(csr *certificates.CertificateSigningRequest, asked *x509.CertificateRequest) []ground {
	any := ground{"nodeclient", "Auto approving kubelet client certificate after SubjectAccessReview."}
	if csr.Spec.Username != asked.Subject.CommonName {
		return []ground{any}
	}
	return []ground{{"selfnodeclient", "Auto approving self kubelet client certificate after SubjectAccessReview."}, any}
}

// may reports whether who asked may do so on a ground: what a SubjectAccessReview
// would answer.
func (a *approving) may(ctx context.Context, csr *certificates.CertificateSigningRequest, subresource string) bool {
	extra := map[string]authorization.ExtraValue{}
	for name, values := range csr.Spec.Extra {
		extra[name] = authorization.ExtraValue(values)
	}
	decision, _, _ := a.authorizer.Authorize(ctx, authorizationutil.AuthorizationAttributesFrom(authorization.SubjectAccessReviewSpec{
		User: csr.Spec.Username, UID: csr.Spec.UID, Groups: csr.Spec.Groups, Extra: extra,
		ResourceAttributes: &authorization.ResourceAttributes{
			Group: certificates.GroupName, Version: "*", Resource: requests.Resource, Subresource: subresource, Verb: "create",
		},
	}))
	return decision == authorizer.DecisionAllow // whatever else went wrong
}
