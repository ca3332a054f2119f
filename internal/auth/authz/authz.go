// Package authz says whether a user may do what a request asks for, and words
// the refusal. It must not know how the user was authenticated, nor what the
// request would do.
package authz

import (
	"context"
	"errors"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/endpoints/handlers/responsewriters"
	"k8s.io/apiserver/pkg/endpoints/request"
)

// publicPaths is what upstream's role system:public-info-viewer lets everyone
// get: these paths, not what is below them.
var publicPaths = []string{"/healthz", "/livez", "/readyz", "/version", "/version/"}

// discoveryPaths is what upstream's role system:discovery lets all who are
// authenticated get. A star stands for what is below.
var discoveryPaths = []string{
	"/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*", "/readyz", "/version", "/version/",
}

// selfReviews is what upstream's role system:basic-user lets them create: what they
// are and may do.
var selfReviews = []schema.GroupResource{
	{Group: "authorization.k8s.io", Resource: "selfsubjectaccessreviews"},
	{Group: "authorization.k8s.io", Resource: "selfsubjectrulesreviews"},
	{Group: "authentication.k8s.io", Resource: "selfsubjectreviews"},
}

// New returns the authorizer of a server without RBAC: the group system:masters
// may do everything, all others may get the public paths, and those who are
// authenticated look at what there is and ask about themselves. It is safe for
// concurrent use. A request without a user is an error.
//
// A caller allows what is allowed whatever the error, answers 500 to an error
// and Forbidden to all the rest.
func New() authorizer.Authorizer {
	return authorizer.AuthorizerFunc(authorize)
}

func authorize(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	if a.GetUser() == nil {
		return authorizer.DecisionNoOpinion, "", errors.New("no user on the request")
	}
	groups := a.GetUser().GetGroups()
	if slices.Contains(groups, user.SystemPrivilegedGroup) {
		return authorizer.DecisionAllow, "", nil
	}
	// Upstream grants the role to these two groups. Someone may be in neither:
	// a token file can name the user system:anonymous.
	anyone := slices.Contains(groups, user.AllAuthenticated) || slices.Contains(groups, user.AllUnauthenticated)
	if anyone && !a.IsResourceRequest() && a.GetVerb() == "get" && slices.Contains(publicPaths, a.GetPath()) {
		return authorizer.DecisionAllow, "", nil
	}
	if slices.Contains(groups, user.AllAuthenticated) && (discovers(a) || reviewsSelf(a)) {
		return authorizer.DecisionAllow, "", nil
	}
	return authorizer.DecisionNoOpinion, "", nil
}

func discovers(a authorizer.Attributes) bool {
	return !a.IsResourceRequest() && a.GetVerb() == "get" && slices.ContainsFunc(discoveryPaths, func(path string) bool {
		below, all := strings.CutSuffix(path, "*")
		return a.GetPath() == path || all && strings.HasPrefix(a.GetPath(), below)
	})
}

func reviewsSelf(a authorizer.Attributes) bool {
	return a.IsResourceRequest() && a.GetVerb() == "create" && a.GetSubresource() == "" &&
		slices.Contains(selfReviews, schema.GroupResource{Group: a.GetAPIGroup(), Resource: a.GetResource()})
}

// Attributes is what an authorizer looks at: who (nil if nobody was
// authenticated) asks for what. The selectors of a list or watch are in it, or
// the error of one that does not parse (KEP-4601); it is up to the authorizer
// what that means.
func Attributes(who user.Info, info *request.RequestInfo) authorizer.Attributes {
	a := &authorizer.AttributesRecord{
		User:            who,
		Verb:            info.Verb,
		Namespace:       info.Namespace,
		APIGroup:        info.APIGroup,
		APIVersion:      info.APIVersion,
		Resource:        info.Resource,
		Subresource:     info.Subresource,
		Name:            info.Name,
		ResourceRequest: info.IsResourceRequest,
		Path:            info.Path,
	}
	if info.FieldSelector != "" {
		selector, err := fields.ParseSelector(info.FieldSelector)
		if err != nil {
			a.FieldSelectorParsingErr = err
		} else if requirements := selector.Requirements(); len(requirements) > 0 {
			a.FieldSelectorRequirements = requirements
		}
	}
	if info.LabelSelector != "" {
		selector, err := labels.Parse(info.LabelSelector)
		if err != nil {
			a.LabelSelectorParsingErr = err
		} else if requirements, _ := selector.Requirements(); len(requirements) > 0 {
			a.LabelSelectorRequirements = requirements
		}
	}
	return a
}

// Forbidden is what a client gets who may not do what it asked for, in
// upstream's words. The reason is the authorizer's, often empty.
func Forbidden(a authorizer.Attributes, reason string) *apierrors.StatusError {
	return responsewriters.ForbiddenStatusError(a, reason)
}
