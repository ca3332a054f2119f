package serviceaccount

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/audit"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/apiserver/pkg/authentication/token/jwt"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	genericfeatures "k8s.io/apiserver/pkg/features"
	"k8s.io/apiserver/pkg/registry/rest"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/apiserver/pkg/warning"
	"k8s.io/kubernetes/pkg/apis/authentication"
	"k8s.io/kubernetes/pkg/apis/authentication/validation"
	api "k8s.io/kubernetes/pkg/apis/core"
	"k8s.io/kubernetes/pkg/features"
	token "k8s.io/kubernetes/pkg/serviceaccount"

	"github.com/knarr-io/knarr/internal/verb"
)

// Key is the subresource whose action TokenRequests is.
var Key = verb.ActionKey{GroupResource: serviceAccounts.GroupResource(), Subresource: "token"}

var (
	requestKind = authenticationv1.SchemeGroupVersion.WithKind("TokenRequest")
	// requestResource is how upstream's conflicts name it.
	requestResource = schema.GroupResource{Group: requestKind.Group, Resource: requestKind.Kind}
)

// TokenRequests is the action of the subresource token: it answers a
// TokenRequest with a token. Nothing is stored, so a dry run gets one too.
type TokenRequests struct {
	issuer     *Issuer
	audiences  sets.Set[string] // of this API
	objects    *Objects
	authorizer authorizer.Authorizer
}

var (
	_ verb.Action                         = &TokenRequests{}
	_ rest.SubresourceObjectMetaPreserver = &TokenRequests{}
)

// NewTokenRequests returns the action. a is asked whether a service account
// may attest to webhooks on which API group they are asked.
func NewTokenRequests(issuer *Issuer, objects *Objects, a authorizer.Authorizer) *TokenRequests {
	return &TokenRequests{issuer: issuer, audiences: sets.New(issuer.APIAudiences...), objects: objects, authorizer: a}
}

// New returns an empty TokenRequest.
func (r *TokenRequests) New() runtime.Object { return &authentication.TokenRequest{} }

// PreserveRequestObjectMetaSystemFieldsOnSubresourceCreate has the uid of a
// request kept, as it may be the service account's.
func (r *TokenRequests) PreserveRequestObjectMetaSystemFieldsOnSubresourceCreate() bool { return true }

// Do answers body, a TokenRequest for the service account t.
func (r *TokenRequests) Do(ctx context.Context, t verb.Target, body runtime.Object, _ *metav1.CreateOptions, validate rest.ValidateObjectFunc) (runtime.Object, error) {
	req, err := as[*authentication.TokenRequest](body)
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	if err := matchesURL(req, t); err != nil {
		return nil, err
	}
	account, err := hub[*api.ServiceAccount](ctx, r.objects, serviceAccounts, t.Namespace, t.Name)
	if err != nil {
		return nil, err
	}
	if err := r.complete(ctx, req, account); err != nil {
		return nil, err
	}
	// The expiration that is told is never later than the token's own.
	now := time.Now()
	req.CreationTimestamp = metav1.NewTime(now)
	req.Status = authentication.TokenRequestStatus{}

	if errs := validation.ValidateTokenRequest(req); len(errs) != 0 {
		return nil, apierrors.NewInvalid(requestKind.GroupKind(), "", errs)
	}
	if validate != nil {
		if err := validate(ctx, req.DeepCopyObject()); err != nil {
			return nil, err
		}
	}
	to, err := r.bind(ctx, req, account, now)
	if err != nil {
		return nil, err
	}
	return r.issue(ctx, req, account, to, now)
}

// matchesURL refuses a request whose body is for another service account than
// its path.
func matchesURL(req *authentication.TokenRequest, t verb.Target) error {
	refuse := func(part, value string) error {
		return apierrors.NewInvalid(requestKind.GroupKind(), t.Name, field.ErrorList{
			field.Invalid(field.NewPath("metadata").Child(part), value, "must match the service account "+part+" if specified"),
		})
	}
	if req.Name != "" && req.Name != t.Name {
		return refuse("name", req.Name)
	}
	if req.Namespace != "" && req.Namespace != t.Namespace {
		return refuse("namespace", req.Namespace)
	}
	return nil
}

// complete fills in what the request leaves out. A uid that it has must be the
// service account's.
func (r *TokenRequests) complete(ctx context.Context, req *authentication.TokenRequest, account *api.ServiceAccount) error {
	if req.UID != "" && req.UID != account.UID {
		mismatch := fmt.Sprintf("the UID in the token request (%s) does not match the UID of the service account (%s)", req.UID, account.UID)
		if utilfeature.DefaultFeatureGate.Enabled(genericfeatures.TokenRequestServiceAccountUIDValidation) {
			return apierrors.NewConflict(requestResource, account.Name, errors.New(mismatch))
		}
		audit.AddAuditAnnotation(ctx, "authentication.k8s.io/token-request-uid-mismatch", mismatch)
		warning.AddWarning(ctx, "", mismatch+" but TokenRequestServiceAccountUIDValidation is not enabled. In the future, this will return a conflict error")
	}
	if len(req.Spec.Audiences) == 0 {
		req.Spec.Audiences = slices.Clone(r.issuer.APIAudiences)
	}
	if req.Name == "" {
		req.Name = account.Name
	}
	if req.Namespace == "" {
		req.Namespace = account.Namespace
	}
	if req.UID == "" {
		req.UID = account.UID
	}
	return nil
}

// bound is what a token is bound to: nothing, or one of these. A pod may have
// its node with it.
type bound struct {
	pod        *api.Pod
	node       *api.Node
	secret     *api.Secret
	validating *admissionregistrationv1.ValidatingWebhookConfiguration
	mutating   *admissionregistrationv1.MutatingWebhookConfiguration
}

// bind finds what the token is to be bound to.
func (r *TokenRequests) bind(ctx context.Context, req *authentication.TokenRequest, account *api.ServiceAccount, now time.Time) (to bound, err error) {
	ref := req.Spec.BoundObjectRef
	if ref == nil {
		return to, nil
	}
	var uid types.UID
	gvk := schema.FromAPIVersionAndKind(ref.APIVersion, ref.Kind)
	switch {
	case gvk.Group == "" && gvk.Kind == "Pod":
		if to.pod, to.node, err = r.findPod(ctx, ref.Name, account); err != nil {
			return to, err
		}
		uid = to.pod.UID
	case gvk.Group == "" && gvk.Kind == "Node":
		if !utilfeature.DefaultFeatureGate.Enabled(features.ServiceAccountTokenNodeBinding) {
			return to, apierrors.NewBadRequest(fmt.Sprintf("cannot bind token to a Node object as the %q feature-gate is disabled", features.ServiceAccountTokenNodeBinding))
		}
		if to.node, err = hub[*api.Node](ctx, r.objects, nodes, "", ref.Name); err != nil {
			return to, err
		}
		uid = to.node.UID
	case gvk.Group == "" && gvk.Kind == "Secret":
		if to.secret, err = hub[*api.Secret](ctx, r.objects, secrets, account.Namespace, ref.Name); err != nil {
			return to, err
		}
		uid = to.secret.UID
	case isWebhook(gvk):
		if to, err = r.findWebhook(ctx, gvk, req, account, now); err != nil {
			return to, err
		}
		uid = to.webhookUID()
	default:
		return to, apierrors.NewBadRequest(fmt.Sprintf("cannot bind token to object of type %s", gvk.String()))
	}
	if ref.UID != "" && uid != ref.UID {
		return to, apierrors.NewConflict(schema.GroupResource{Group: gvk.Group, Resource: gvk.Kind}, ref.Name,
			fmt.Errorf("the UID in the bound object reference (%s) does not match the UID in record. The object might have been deleted and then recreated", ref.UID))
	}
	return to, nil
}

// findPod returns a pod that runs as the service account, and its node.
func (r *TokenRequests) findPod(ctx context.Context, name string, account *api.ServiceAccount) (*api.Pod, *api.Node, error) {
	pod, err := hub[*api.Pod](ctx, r.objects, pods, account.Namespace, name)
	if err != nil {
		return nil, nil, err
	}
	if pod.Spec.ServiceAccountName != account.Name {
		return nil, nil, apierrors.NewBadRequest(fmt.Sprintf("cannot bind token for serviceaccount %q to pod running with different serviceaccount name.", account.Name))
	}
	if pod.Spec.NodeName == "" || !utilfeature.DefaultFeatureGate.Enabled(features.ServiceAccountTokenPodNodeInfo) {
		return pod, nil, nil
	}
	node, err := hub[*api.Node](ctx, r.objects, nodes, "", pod.Spec.NodeName)
	switch {
	case apierrors.IsNotFound(err):
		// The name alone tells something of where the pod is to run.
		return pod, &api.Node{ObjectMeta: metav1.ObjectMeta{Name: pod.Spec.NodeName}}, nil
	case err != nil:
		return nil, nil, apierrors.NewInternalError(err)
	}
	return pod, node, nil
}

// issue makes the token and the answer.
func (r *TokenRequests) issue(ctx context.Context, req *authentication.TokenRequest, account *api.ServiceAccount, to bound, now time.Time) (runtime.Object, error) {
	if most := int64(r.issuer.MaxTokenExpiration.Seconds()); most > 0 && req.Spec.ExpirationSeconds > most {
		warning.AddWarning(ctx, "", fmt.Sprintf("requested expiration of %d seconds shortened to %d seconds", req.Spec.ExpirationSeconds, most))
		req.Spec.ExpirationSeconds = most
	}
	// What pods get by themselves lasts longer than is told, and its use after
	// the time that is told is noticed: clients that never read it anew go on
	// working for a while.
	expires, warnAfter := req.Spec.ExpirationSeconds, int64(0)
	if !r.issuer.KeepTokenExpiration && to.pod != nil && expires == token.WarnOnlyBoundTokenExpirationSeconds && r.audiences.HasAll(req.Spec.Audiences...) {
		expires, warnAfter = token.ExpirationExtensionSeconds, expires
	}
	claims, private, err := token.Claims(*account, to.pod, to.secret, to.node, to.validating, to.mutating, expires, warnAfter, req.Spec.Audiences, req.Spec.Attestations)
	if err != nil {
		return nil, err
	}
	signed, err := r.issuer.keys.Load().generator.GenerateToken(ctx, claims, private)
	if err != nil {
		return nil, apierrors.NewInternalError(fmt.Errorf("failed to generate token: %w", err))
	}
	req.Status = authentication.TokenRequestStatus{
		Token:               signed,
		ExpirationTimestamp: metav1.Time{Time: now.Add(time.Duration(req.Spec.ExpirationSeconds) * time.Second)},
	}
	if claims.ID != "" && utilfeature.DefaultFeatureGate.Enabled(features.ServiceAccountTokenJTI) {
		audit.AddAuditAnnotation(ctx, serviceaccount.IssuedCredentialIDAuditAnnotationKey, jwt.CredentialIDForJTI(claims.ID))
	}
	return req, nil
}
