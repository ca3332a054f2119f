// Package reviews answers those who ask who somebody is and what he may do:
// TokenReview, SelfSubjectReview, SelfSubjectRulesReview, and SubjectAccessReview
// for all, for a namespace and for oneself. They are actions: nothing is stored. Rules, words and
// answers are upstream's own.
//
// It must not know how users are authenticated, nor what decides on what they may
// do: it is given both.
package reviews

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/kubernetes/pkg/apis/authentication"
	"k8s.io/kubernetes/pkg/apis/authorization"
	"k8s.io/kubernetes/pkg/registry/authentication/selfsubjectreview"
	"k8s.io/kubernetes/pkg/registry/authentication/tokenreview"
	"k8s.io/kubernetes/pkg/registry/authorization/localsubjectaccessreview"
	"k8s.io/kubernetes/pkg/registry/authorization/selfsubjectaccessreview"
	"k8s.io/kubernetes/pkg/registry/authorization/selfsubjectrulesreview"
	"k8s.io/kubernetes/pkg/registry/authorization/subjectaccessreview"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/verb"
)

// Options are who decides.
type Options struct {
	Authenticator authenticator.Request
	// APIAudiences are those of a token for which no other are asked.
	APIAudiences authenticator.Audiences
	Authorizer   authorizer.Authorizer
	Rules        authorizer.RuleResolver
}

// Actions returns the reviews, by resource.
func Actions(catalogue *kind.Catalogue, o Options) map[verb.ActionKey]verb.Action {
	all := map[verb.ActionKey]verb.Action{
		{GroupResource: authentication.Resource("tokenreviews")}:           action{tokenreview.NewREST(o.Authenticator, o.APIAudiences)},
		{GroupResource: authentication.Resource("selfsubjectreviews")}:     action{selfsubjectreview.NewREST()},
		{GroupResource: authorization.Resource("selfsubjectrulesreviews")}: action{selfsubjectrulesreview.NewREST(o.Rules)},
	}
	for name, review := range map[string]func(*runtime.Scheme) rest.Creater{
		"subjectaccessreviews":      func(s *runtime.Scheme) rest.Creater { return subjectaccessreview.NewREST(o.Authorizer, s) },
		"selfsubjectaccessreviews":  func(s *runtime.Scheme) rest.Creater { return selfsubjectaccessreview.NewREST(o.Authorizer, s) },
		"localsubjectaccessreviews": func(s *runtime.Scheme) rest.Creater { return localsubjectaccessreview.NewREST(o.Authorizer, s) },
	} {
		if r := catalogue.Resource(authorization.Resource(name)); r != nil {
			all[verb.ActionKey{GroupResource: authorization.Resource(name)}] = action{review(r.Scheme)}
		}
	}
	return all
}

// action is one of upstream's reviews.
type action struct{ rest.Creater }

// Do answers a review. Its object is the review itself, with a status.
func (a action) Do(ctx context.Context, _ verb.Target, body runtime.Object, opts *metav1.CreateOptions, validate rest.ValidateObjectFunc) (runtime.Object, error) {
	return a.Create(ctx, body, validate, opts)
}
