package authz

import (
	"bufio"
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/endpoints/filters"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac/bootstrappolicy"
)

var (
	anonymous = &user.DefaultInfo{Name: "system:anonymous", Groups: []string{"system:unauthenticated"}}
	jane      = &user.DefaultInfo{Name: "jane", Groups: []string{"dev", "system:authenticated"}}
	admin     = &user.DefaultInfo{Name: "kubernetes-admin", Groups: []string{"system:masters", "system:authenticated"}}
	nobody    = &user.DefaultInfo{Name: "system:anonymous"}
)

// The paths that kube-apiserver answers 200 and 403 to anonymous clients.
func TestAnonymousCodes(t *testing.T) {
	f, err := os.Open("testdata/anonymous-codes.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := 0
	for scanner := bufio.NewScanner(f); scanner.Scan(); lines++ {
		path, code, _ := strings.Cut(scanner.Text(), " ")
		want := authorizer.DecisionNoOpinion
		if code == "200" {
			want = authorizer.DecisionAllow
		}
		if got := decide(t, anonymous, &request.RequestInfo{Verb: "get", Path: path}); got != want {
			t.Errorf("get %s: %v, want %v", path, got, want)
		}
	}
	if lines == 0 {
		t.Error("no paths")
	}
}

// What everyone may is upstream's, whatever release it is.
func TestRolesAreUpstreams(t *testing.T) {
	roles := map[string][]rbacv1.PolicyRule{}
	for _, role := range bootstrappolicy.ClusterRoles() {
		roles[role.Name] = role.Rules
	}
	for name, paths := range map[string][]string{"system:public-info-viewer": publicPaths, "system:discovery": discoveryPaths} {
		rules := roles[name]
		if len(rules) != 1 || !slices.Equal(rules[0].Verbs, []string{"get"}) {
			t.Fatalf("%s: rules %v, want one for get", name, rules)
		}
		if want := slices.Sorted(slices.Values(rules[0].NonResourceURLs)); !slices.Equal(paths, want) {
			t.Errorf("%s: %q, upstream has %q", name, paths, want)
		}
	}
	var reviews []schema.GroupResource
	for _, rule := range roles["system:basic-user"] {
		if !slices.Equal(rule.Verbs, []string{"create"}) || len(rule.APIGroups) != 1 {
			t.Fatalf("system:basic-user: rule %v, want one to create", rule)
		}
		for _, resource := range rule.Resources {
			reviews = append(reviews, schema.GroupResource{Group: rule.APIGroups[0], Resource: resource})
		}
	}
	if !slices.Equal(reviews, selfReviews) {
		t.Errorf("reviews %q, upstream has %q", selfReviews, reviews)
	}
}

func TestAuthorize(t *testing.T) {
	pods := &request.RequestInfo{IsResourceRequest: true, Verb: "list", APIVersion: "v1", Resource: "pods", Namespace: "default", Path: "/api/v1/namespaces/default/pods"}
	for _, c := range []struct {
		name string
		who  user.Info
		info *request.RequestInfo
		want authorizer.Decision
	}{
		{"admin lists", admin, pods, authorizer.DecisionAllow},
		{"admin deletes a path", admin, &request.RequestInfo{Verb: "delete", Path: "/x"}, authorizer.DecisionAllow},
		{"jane lists", jane, pods, authorizer.DecisionNoOpinion},
		{"anonymous lists", anonymous, pods, authorizer.DecisionNoOpinion},
		{"version with a slash", anonymous, &request.RequestInfo{Verb: "get", Path: "/version/"}, authorizer.DecisionAllow},
		{"below a public path", anonymous, &request.RequestInfo{Verb: "get", Path: "/healthz/ping"}, authorizer.DecisionNoOpinion},
		{"public path, slash", anonymous, &request.RequestInfo{Verb: "get", Path: "/healthz/"}, authorizer.DecisionNoOpinion},
		{"public path, head", anonymous, &request.RequestInfo{Verb: "head", Path: "/healthz"}, authorizer.DecisionNoOpinion},
		{"public path, post", jane, &request.RequestInfo{Verb: "post", Path: "/version"}, authorizer.DecisionNoOpinion},
		{"a resource at a public path", anonymous, &request.RequestInfo{IsResourceRequest: true, Verb: "get", Path: "/version"}, authorizer.DecisionNoOpinion},
		{"jane discovers", jane, &request.RequestInfo{Verb: "get", Path: "/apis/apps/v1"}, authorizer.DecisionAllow},
		{"jane discovers all", jane, &request.RequestInfo{Verb: "get", Path: "/openapi"}, authorizer.DecisionAllow},
		{"jane looks elsewhere", jane, &request.RequestInfo{Verb: "get", Path: "/metrics"}, authorizer.DecisionNoOpinion},
		{"beside discovery", jane, &request.RequestInfo{Verb: "get", Path: "/apisx"}, authorizer.DecisionNoOpinion},
		{"anonymous discovers", anonymous, &request.RequestInfo{Verb: "get", Path: "/apis"}, authorizer.DecisionNoOpinion},
		{"jane asks about herself", jane, &request.RequestInfo{IsResourceRequest: true, Verb: "create", APIGroup: "authorization.k8s.io", Resource: "selfsubjectaccessreviews"}, authorizer.DecisionAllow},
		{"jane asks about others", jane, &request.RequestInfo{IsResourceRequest: true, Verb: "create", APIGroup: "authorization.k8s.io", Resource: "subjectaccessreviews"}, authorizer.DecisionNoOpinion},
		{"anonymous asks about itself", anonymous, &request.RequestInfo{IsResourceRequest: true, Verb: "create", APIGroup: "authentication.k8s.io", Resource: "selfsubjectreviews"}, authorizer.DecisionNoOpinion},
		{"in no group", nobody, &request.RequestInfo{Verb: "get", Path: "/version"}, authorizer.DecisionNoOpinion},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := decide(t, c.who, c.info); got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
	decision, _, err := New().Authorize(t.Context(), Attributes(nil, pods))
	if decision == authorizer.DecisionAllow || err == nil {
		t.Errorf("without a user: %v, %v; want an error", decision, err)
	}
}

func decide(t *testing.T, who user.Info, info *request.RequestInfo) authorizer.Decision {
	t.Helper()
	decision, reason, err := New().Authorize(t.Context(), Attributes(who, info))
	if reason != "" || err != nil {
		t.Errorf("reason %q, error %v; want neither", reason, err)
	}
	return decision
}

func TestAttributesAreUpstreams(t *testing.T) {
	for _, c := range []struct {
		name string
		who  user.Info
		info request.RequestInfo
	}{
		{"path", anonymous, request.RequestInfo{Verb: "get", Path: "/apis"}},
		{"nobody", nil, request.RequestInfo{Verb: "get", Path: "/apis"}},
		{"everything", jane, request.RequestInfo{
			IsResourceRequest: true, Path: "/apis/apps/v1/namespaces/a/deployments/b/scale", Verb: "update", APIPrefix: "apis",
			APIGroup: "apps", APIVersion: "v1", Namespace: "a", Resource: "deployments", Subresource: "scale", Name: "b",
			Parts: []string{"deployments", "b", "scale"},
		}},
		{"selectors", jane, request.RequestInfo{
			IsResourceRequest: true, Verb: "list", Resource: "pods", APIVersion: "v1",
			FieldSelector: "spec.nodeName=a,status.phase!=Failed", LabelSelector: "app in (a, b),!x",
		}},
		{"selectors that do not parse", jane, request.RequestInfo{
			IsResourceRequest: true, Verb: "list", Resource: "pods", APIVersion: "v1",
			FieldSelector: "x", LabelSelector: "a in",
		}},
		{"selectors that select everything", jane, request.RequestInfo{
			IsResourceRequest: true, Verb: "list", Resource: "pods", APIVersion: "v1",
			FieldSelector: ",", LabelSelector: " ",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx := request.WithRequestInfo(t.Context(), &c.info)
			if c.who != nil {
				ctx = request.WithUser(ctx, c.who)
			}
			want, err := filters.GetAuthorizerAttributes(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if got := Attributes(c.who, &c.info); !reflect.DeepEqual(got, want) {
				t.Errorf("got  %#v\nwant %#v", got, want)
			}
		})
	}
}

func TestForbidden(t *testing.T) {
	golden, err := os.ReadFile("testdata/anonymous-apis.json")
	if err != nil {
		t.Fatal(err)
	}
	resource := func(verb, group, resource, subresource, namespace, name string) *request.RequestInfo {
		return &request.RequestInfo{
			IsResourceRequest: true, Verb: verb, APIGroup: group, APIVersion: "v1",
			Resource: resource, Subresource: subresource, Namespace: namespace, Name: name,
		}
	}
	for _, c := range []struct {
		name   string
		who    user.Info
		info   *request.RequestInfo
		reason string
		want   string
	}{
		{
			name: "path",
			who:  anonymous,
			info: &request.RequestInfo{Verb: "get", Path: "/apis"},
			want: string(golden),
		},
		{
			name: "list in a namespace",
			who:  jane,
			info: resource("list", "", "pods", "", "default", ""),
			want: `{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure",
				"message":"pods is forbidden: User \"jane\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\"",
				"reason":"Forbidden","details":{"kind":"pods"},"code":403}`,
		},
		{
			name: "subresource of one in a group",
			who:  jane,
			info: resource("update", "apps", "deployments", "scale", "a", "b"),
			want: `{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure",
				"message":"deployments.apps \"b\" is forbidden: User \"jane\" cannot update resource \"deployments/scale\" in API group \"apps\" in the namespace \"a\"",
				"reason":"Forbidden","details":{"name":"b","group":"apps","kind":"deployments"},"code":403}`,
		},
		{
			name:   "cluster scope, with a reason and a name like markup",
			who:    &user.DefaultInfo{Name: "<b>&"},
			info:   resource("get", "", "nodes", "", "", "n"),
			reason: "because",
			want: `{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure",
				"message":"nodes \"n\" is forbidden: User \"&lt;b&gt;&amp;\" cannot get resource \"nodes\" in API group \"\" at the cluster scope: because",
				"reason":"Forbidden","details":{"name":"n","kind":"nodes"},"code":403}`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := Forbidden(Attributes(c.who, c.info), c.reason).Status()
			got.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
			var want metav1.Status
			if err := json.Unmarshal([]byte(c.want), &want); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
}

func BenchmarkAuthorize(b *testing.B) {
	auth := New()
	info := &request.RequestInfo{IsResourceRequest: true, Verb: "get", APIVersion: "v1", Resource: "pods", Namespace: "default", Name: "a"}
	b.ReportAllocs()
	for b.Loop() {
		if decision, _, _ := auth.Authorize(b.Context(), Attributes(admin, info)); decision != authorizer.DecisionAllow {
			b.Fatal(decision)
		}
	}
}
