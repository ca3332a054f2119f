package knarr_test

import (
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/knarr-io/knarr/knarrtest"
)

// TestReviews asks who somebody is and what he may do, as other servers do.
func TestReviews(t *testing.T) {
	server := knarrtest.Start(t)
	admin := newClient(t, server)
	token, err := admin.CoreV1().ServiceAccounts("default").CreateToken(t.Context(), "default", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	const name = "system:serviceaccount:default:default"
	of := func(token string) authenticationv1.TokenReviewStatus {
		t.Helper()
		review, err := admin.AuthenticationV1().TokenReviews().Create(t.Context(), &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return review.Status
	}
	if s := of(token.Status.Token); !s.Authenticated || s.User.Username != name || len(s.Audiences) != 1 || s.Error != "" {
		t.Errorf("its token: %+v", s)
	}
	if s := of("nonsense"); s.Authenticated || s.User.Username != "" || s.Error == "" {
		t.Errorf("nonsense: %+v", s)
	}
	may := func(user string, groups ...string) authorizationv1.SubjectAccessReviewStatus {
		t.Helper()
		review, err := admin.AuthorizationV1().SubjectAccessReviews().Create(t.Context(), &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
			User: user, Groups: groups, ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "list", Resource: "pods"},
		}}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return review.Status
	}
	if s := may("someone", "system:masters"); !s.Allowed {
		t.Errorf("a master: %+v", s)
	}
	if s := may(name, "system:authenticated"); s.Allowed || s.Denied {
		t.Errorf("another: %+v", s)
	}
	_, err = admin.AuthorizationV1().LocalSubjectAccessReviews("default").Create(t.Context(), &authorizationv1.LocalSubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: name, ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: "kube-system", Verb: "list", Resource: "pods"},
	}}, metav1.CreateOptions{})
	if !apierrors.IsInvalid(err) {
		t.Errorf("about another namespace: %v", err)
	}

	// Those who may do nothing else may ask about themselves, and look at what there is.
	config := rest.AnonymousClientConfig(server.ClientConfig())
	config.BearerToken = token.Status.Token
	account, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	who, err := account.AuthenticationV1().SelfSubjectReviews().Create(t.Context(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil || who.Status.UserInfo.Username != name {
		t.Errorf("who it is: %+v, %v", who, err)
	}
	self, err := account.AuthorizationV1().SelfSubjectAccessReviews().Create(t.Context(), &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		NonResourceAttributes: &authorizationv1.NonResourceAttributes{Verb: "get", Path: "/openapi/v2"},
	}}, metav1.CreateOptions{})
	if err != nil || !self.Status.Allowed {
		t.Errorf("what it may: %+v, %v", self, err)
	}
	if _, err := account.Discovery().ServerGroups(); err != nil {
		t.Errorf("what there is: %v", err)
	}
	// Who may do everything may act for others, and then do no more than they may.
	config = server.ClientConfig()
	config.Impersonate = rest.ImpersonationConfig{UserName: "jane", Groups: []string{"dev"}}
	jane, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	if who, err := jane.AuthenticationV1().SelfSubjectReviews().Create(t.Context(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{}); err != nil ||
		who.Status.UserInfo.Username != "jane" {
		t.Errorf("acting for jane: %+v, %v", who, err)
	}
	if _, err := jane.CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("listing for jane: %v", err)
	}
	config = rest.CopyConfig(config)
	config.TLSClientConfig.CertData, config.TLSClientConfig.KeyData, config.BearerToken = nil, nil, token.Status.Token
	other, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Discovery().ServerGroups(); !apierrors.IsForbidden(err) {
		t.Errorf("who may not act for jane: %v", err)
	}
	_, err = account.AuthenticationV1().TokenReviews().Create(t.Context(), &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: "x"}}, metav1.CreateOptions{})
	if !apierrors.IsForbidden(err) {
		t.Errorf("who others are: %v", err)
	}
}
