package serviceaccount

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/endpoints/handlers/responsewriters"
	genericfeatures "k8s.io/apiserver/pkg/features"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/apis/authentication"
	api "k8s.io/kubernetes/pkg/apis/core"
)

const (
	validatingKind = "ValidatingWebhookConfiguration"
	mutatingKind   = "MutatingWebhookConfiguration"
	// anyGroup stands for all API groups, in attestations and in rules.
	anyGroup = "*"
	// maxWebhookExpiration is the longest that a token for webhooks is valid,
	// in seconds.
	maxWebhookExpiration = 10 * 60
)

// isWebhook reports whether gvk is a configuration of admission webhooks. For
// them alone the version counts, too.
func isWebhook(gvk schema.GroupVersionKind) bool {
	return gvk.GroupVersion() == admissionregistrationv1.SchemeGroupVersion && (gvk.Kind == validatingKind || gvk.Kind == mutatingKind)
}

// findWebhook returns the configuration of webhooks to which a token is to be
// bound that proves to them who asks, and on which API group. The request has
// one audience and one attestation of one value: validation made sure of it.
func (r *TokenRequests) findWebhook(ctx context.Context, gvk schema.GroupVersionKind, req *authentication.TokenRequest, account *api.ServiceAccount, now time.Time) (to bound, err error) {
	if !utilfeature.DefaultFeatureGate.Enabled(genericfeatures.APIServerWebhookAuthenticationToken) {
		return to, apierrors.NewBadRequest(fmt.Sprintf("cannot bind token to object of type %s (feature gate %s is disabled)", gvk.String(), genericfeatures.APIServerWebhookAuthenticationToken))
	}
	if r.audiences.HasAny(req.Spec.Audiences...) {
		return to, apierrors.NewBadRequest("api server audiences are invalid for webhook token requests")
	}
	group, audience := req.Spec.Attestations[authentication.AttestationAdmissionReviewAPIGroups][0], req.Spec.Audiences[0]
	req.Spec.ExpirationSeconds = min(req.Spec.ExpirationSeconds, maxWebhookExpiration)
	if err := r.mayAttest(ctx, account, group); err != nil {
		return to, err
	}
	name := req.Spec.BoundObjectRef.Name
	if gvk.Kind == validatingKind {
		to.validating, err = r.validatingFor(ctx, name, group, audience, now)
	} else {
		to.mutating, err = r.mutatingFor(ctx, name, group, audience, now)
	}
	if err != nil {
		klog.V(4).ErrorS(err, "A token for webhooks was refused", "kind", gvk.Kind, "name", name)
		return to, apierrors.NewForbidden(schema.GroupResource{Resource: "serviceaccounts/token"}, account.Name, errors.New("token request denied"))
	}
	return to, nil
}

func (b *bound) webhookUID() types.UID {
	if b.validating != nil {
		return b.validating.UID
	}
	return b.mutating.UID
}

// mayAttest refuses what the service account may not attest.
func (r *TokenRequests) mayAttest(ctx context.Context, account *api.ServiceAccount, group string) error {
	who := serviceaccount.ServiceAccountInfo{Name: account.Name, Namespace: account.Namespace, UID: string(account.UID)}
	attributes := authorizer.AttributesRecord{
		User:            who.UserInfo(),
		Verb:            "attest",
		APIGroup:        "authentication.k8s.io",
		APIVersion:      "*",
		Resource:        authentication.AttestationAdmissionReviewAPIGroups,
		Name:            group,
		ResourceRequest: true,
	}
	decision, reason, err := r.authorizer.Authorize(ctx, attributes)
	if decision == authorizer.DecisionAllow {
		return nil
	}
	if err != nil {
		reason = strings.TrimSuffix(fmt.Sprintf("%v: %s", err, reason), ": ")
	}
	return responsewriters.ForbiddenStatusError(attributes, reason)
}

func (r *TokenRequests) validatingFor(ctx context.Context, name, group, audience string, now time.Time) (*admissionregistrationv1.ValidatingWebhookConfiguration, error) {
	config, err := r.objects.GetValidatingWebhookConfiguration(ctx, name)
	if err != nil {
		return nil, err
	}
	matches := slices.ContainsFunc(config.Webhooks, func(w admissionregistrationv1.ValidatingWebhook) bool {
		return concerns(w.Rules, group) && reachedAs(w.ClientConfig, audience)
	})
	return config, checkWebhook(config, group, matches, now)
}

func (r *TokenRequests) mutatingFor(ctx context.Context, name, group, audience string, now time.Time) (*admissionregistrationv1.MutatingWebhookConfiguration, error) {
	config, err := r.objects.GetMutatingWebhookConfiguration(ctx, name)
	if err != nil {
		return nil, err
	}
	matches := slices.ContainsFunc(config.Webhooks, func(w admissionregistrationv1.MutatingWebhook) bool {
		return concerns(w.Rules, group) && reachedAs(w.ClientConfig, audience)
	})
	return config, checkWebhook(config, group, matches, now)
}

// checkWebhook says why a configuration cannot be bound to. matches tells that
// one of its webhooks is for the group and has the audience; for all groups
// none has to be.
func checkWebhook(config metav1.Object, group string, matches bool, now time.Time) error {
	if deleted := config.GetDeletionTimestamp(); deleted != nil && now.After(deleted.Time) {
		return fmt.Errorf("deletion timestamp has passed for webhook configuration %q", config.GetName())
	}
	if group != anyGroup && !matches {
		return fmt.Errorf("no matching webhook found in config %q", config.GetName())
	}
	return nil
}

// concerns reports whether rules are about the API group.
func concerns(rules []admissionregistrationv1.RuleWithOperations, group string) bool {
	return slices.ContainsFunc(rules, func(r admissionregistrationv1.RuleWithOperations) bool {
		return slices.Contains(r.APIGroups, anyGroup) || slices.Contains(r.APIGroups, group)
	})
}

// reachedAs reports whether audience is how the webhook is reached: its URL, or
// https://NAME.NAMESPACE.svc:PORT/PATH of its service.
func reachedAs(c admissionregistrationv1.WebhookClientConfig, audience string) bool {
	if c.URL != nil && audience == *c.URL {
		return true
	}
	if c.Service == nil {
		return false
	}
	port, path := int32(443), "/"
	if c.Service.Port != nil {
		port = *c.Service.Port
	}
	if c.Service.Path != nil {
		path = "/" + strings.TrimPrefix(*c.Service.Path, "/")
	}
	return audience == fmt.Sprintf("https://%s.%s.svc:%d%s", c.Service.Name, c.Service.Namespace, port, path)
}
