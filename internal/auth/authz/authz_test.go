package authz

import (
	"bufio"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/kubernetes/pkg/registry/rbac/validation"
	"k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac"
	"k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac/bootstrappolicy"

	"github.com/knarr-io/knarr/internal/auth/node"
	realrbac "github.com/knarr-io/knarr/internal/auth/rbac"
	"github.com/knarr-io/knarr/internal/state/statetest"
)

var (
	anonymous = &user.DefaultInfo{Name: "system:anonymous", Groups: []string{"system:unauthenticated"}}
	jane      = &user.DefaultInfo{Name: "jane", Groups: []string{"dev", "system:authenticated"}}
	admin     = &user.DefaultInfo{Name: "kubernetes-admin", Groups: []string{"system:masters", "system:authenticated"}}
)

// bootstrap is RBAC by the default policy alone.
func bootstrap() Resolver {
	var roles []*rbacv1.ClusterRole
	for _, r := range bootstrappolicy.ClusterRoles() {
		roles = append(roles, &r)
	}
	var bindings []*rbacv1.ClusterRoleBinding
	for _, b := range bootstrappolicy.ClusterRoleBindings() {
		bindings = append(bindings, &b)
	}
	_, static := validation.NewTestRuleResolver(nil, nil, roles, bindings)
	return rbac.New(static, static, static, static)
}

func build(t *testing.T, o Options) *Authorizer {
	t.Helper()
	if err := o.Validate(); err != nil {
		t.Fatal(err)
	}
	o.RBAC = bootstrap()
	o.Node = o.RBAC
	a, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.dialer.CloseAll)
	return a
}

func file(t *testing.T, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func path(who user.Info, path string) authorizer.Attributes {
	return authorizer.AttributesRecord{User: who, Verb: "get", Path: path}
}

func pods(who user.Info, verb string) authorizer.Attributes {
	return authorizer.AttributesRecord{User: who, Verb: verb, Namespace: "default", APIVersion: "v1", Resource: "pods", ResourceRequest: true}
}

func expect(t *testing.T, a authorizer.Authorizer, question authorizer.Attributes, want authorizer.Decision, reason string) {
	t.Helper()
	decision, why, err := a.Authorize(t.Context(), question)
	if decision != want || why != reason || err != nil {
		t.Errorf("%s %s%s: %v %q %v, want %v %q", question.GetVerb(), question.GetResource(), question.GetPath(), decision, why, err, want, reason)
	}
}

// The paths that kube-apiserver answers 200 and 403 to anonymous clients.
func TestAnonymousCodes(t *testing.T) {
	a := build(t, Options{})
	f, err := os.Open("testdata/anonymous-codes.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := 0
	for scanner := bufio.NewScanner(f); scanner.Scan(); lines++ {
		name, code, _ := strings.Cut(scanner.Text(), " ")
		decision, _, err := a.Authorize(t.Context(), path(anonymous, name))
		if (decision == authorizer.DecisionAllow) != (code == "200") || err != nil {
			t.Errorf("get %s: %v, %v, want %s", name, decision, err, code)
		}
	}
	if lines == 0 {
		t.Error("no paths")
	}
}

func TestModes(t *testing.T) {
	policy := file(t, `{"apiVersion":"abac.authorization.kubernetes.io/v1beta1","kind":"Policy","spec":{"user":"jane","namespace":"default","resource":"pods","readonly":true}}`+"\n")
	const allow, none = authorizer.DecisionAllow, authorizer.DecisionNoOpinion
	for _, c := range []struct {
		name   string
		o      Options
		ask    authorizer.Attributes
		want   authorizer.Decision
		reason string
	}{
		{"admin", Options{}, pods(admin, "delete"), allow, ""},
		{"jane", Options{}, pods(jane, "list"), none, ""},
		{"everything", Options{Modes: []string{"AlwaysAllow"}}, pods(anonymous, "delete"), allow, ""},
		{"nothing", Options{Modes: []string{"AlwaysDeny"}}, pods(jane, "list"), none, "alwaysdeny: Everything is forbidden."},
		{"nothing but for admins", Options{Modes: []string{"AlwaysDeny"}}, pods(admin, "list"), allow, ""},
		{"policy", Options{Modes: []string{"ABAC"}, PolicyFile: policy}, pods(jane, "list"), allow, ""},
		{"policy that does not say so", Options{Modes: []string{"ABAC"}, PolicyFile: policy}, pods(jane, "delete"), none, "abac: No policy matched."},
		{"in order", Options{Modes: []string{"AlwaysDeny", "ABAC"}, PolicyFile: policy}, pods(jane, "list"), allow, ""},
		{"all reasons", Options{Modes: []string{"AlwaysDeny", "ABAC"}, PolicyFile: policy}, pods(jane, "delete"), none, "alwaysdeny: Everything is forbidden.\nabac: No policy matched."},
	} {
		t.Run(c.name, func(t *testing.T) { expect(t, build(t, c.o), c.ask, c.want, c.reason) })
	}
}

// What is wrong is said as kube-apiserver says it.
func TestRefuse(t *testing.T) {
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{Modes: []string{}}, "at least one authorization-mode must be passed"},
		{Options{Modes: []string{"Magic"}}, `authorization-mode "Magic" is not a valid mode`},
		{Options{Modes: []string{"ABAC"}}, "authorization-mode ABAC's authorization policy file not passed"},
		{Options{Modes: []string{"Webhook"}}, "authorization-mode Webhook's authorization config file not passed"},
		{Options{PolicyFile: "x"}, "cannot specify --authorization-policy-file without mode ABAC"},
		{Options{Webhook: Webhook{ConfigFile: "x"}}, "cannot specify --authorization-webhook-config-file without mode Webhook"},
		{Options{Modes: []string{"RBAC", "RBAC"}}, `authorization-mode ["RBAC" "RBAC"] has mode specified more than once`},
		{Options{Modes: []string{"Magic", "ABAC"}}, `[authorization-mode "Magic" is not a valid mode, authorization-mode ABAC's authorization policy file not passed]`},
		{Options{ConfigFile: "x", Modes: []string{"RBAC"}}, "--authorization-config can not be specified when --authorization-mode or --authorization-webhook-* flags are defined"},
		{Options{ConfigFile: "x", Webhook: Webhook{Version: "v1"}}, "--authorization-config can not be specified when --authorization-mode or --authorization-webhook-* flags are defined"},
		{Options{ConfigFile: "/nowhere"}, "open /nowhere: no such file or directory"},
		{Options{ConfigFile: file(t, config("authorizers: [{type: RBAC, name: mine}]"))}, "expected name rbac for authorizer RBAC instead of mine"},
		{Options{ConfigFile: file(t, config("authorizers: []"))}, "authorizers: Required value: at least one authorization mode must be defined"},
	} {
		if err := c.o.Validate(); err == nil || err.Error() != c.want {
			t.Errorf("%+v: error %v, want %s", c.o, err, c.want)
		}
	}
}

func config(rest string) string {
	return "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\n" + rest + "\n"
}

// startWebhook starts a server that allows jane what she asks for by a label of its own,
// refuses deletes, and has no opinion on the rest.
func startWebhook(t *testing.T, asked chan<- string) (kubeconfig string) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		review := authorizationv1.SubjectAccessReview{}
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			t.Error(err)
		}
		what := review.Spec.ResourceAttributes
		asked <- fmt.Sprintf("%s %s %s %s", review.APIVersion, review.Spec.User, what.Verb, what.Resource)
		switch {
		case what.Verb == "delete":
			review.Status.Denied, review.Status.Reason = true, "nobody deletes"
		case review.Spec.User == "jane" && what.Verb == "list":
			review.Status.Allowed = true
		default:
			review.Status.Reason = "not known here"
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(review)
	}))
	t.Cleanup(server.Close)
	name := filepath.Join(t.TempDir(), "webhook.kubeconfig")
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"w": {Server: server.URL, CertificateAuthorityData: authority}},
		Contexts:       map[string]*clientcmdapi.Context{"w": {Cluster: "w"}},
		CurrentContext: "w",
	}, name); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestWebhook(t *testing.T) {
	asked := make(chan string, 1)
	a := build(t, Options{Modes: []string{"Webhook", "RBAC"}, Webhook: Webhook{ConfigFile: startWebhook(t, asked), Version: "v1", UnauthorizedTTL: -1}})
	expect(t, a, pods(jane, "list"), authorizer.DecisionAllow, "")
	if got := <-asked; got != "authorization.k8s.io/v1 jane list pods" {
		t.Errorf("asked %q", got)
	}
	expect(t, a, pods(jane, "list"), authorizer.DecisionAllow, "") // remembered: nobody takes what is asked
	for range 2 {
		expect(t, a, pods(jane, "delete"), authorizer.DecisionDeny, "nobody deletes")
		<-asked
	}
	expect(t, a, pods(jane, "get"), authorizer.DecisionNoOpinion, "default: not known here")
	<-asked
	expect(t, a, pods(admin, "delete"), authorizer.DecisionAllow, "") // not asked
	if _, _, incomplete, err := a.RulesFor(t.Context(), jane, "default"); !incomplete || err == nil {
		t.Error("what a webhook allows is told as if it were known")
	}
}

// The file says who is asked and when, and another holds as soon as it was read.
func TestConfiguration(t *testing.T) {
	asked := make(chan string, 10)
	hook := startWebhook(t, asked)
	one := func(condition string) string {
		return config(fmt.Sprintf(`authorizers:
- type: Webhook
  name: w
  webhook:
    unauthorizedTTL: 30s
    cacheUnauthorizedRequests: false
    timeout: 3s
    subjectAccessReviewVersion: v1
    matchConditionSubjectAccessReviewVersion: v1
    failurePolicy: Deny
    connectionInfo: {type: KubeConfigFile, kubeConfigFile: %s}
    matchConditions:
    - expression: %s
- type: RBAC
  name: rbac
`, hook, condition))
	}
	name := file(t, one("request.user == 'jane'"))
	a := build(t, Options{ConfigFile: name})
	expect(t, a, pods(jane, "delete"), authorizer.DecisionDeny, "nobody deletes")
	expect(t, a, pods(anonymous, "delete"), authorizer.DecisionNoOpinion, "") // does not match
	rewrite := func(content string) error {
		t.Helper()
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return a.reload()
	}
	if err := rewrite(one("request.user == 'bob'")); err != nil {
		t.Fatal(err)
	}
	expect(t, a, pods(jane, "delete"), authorizer.DecisionNoOpinion, "")
	for _, c := range []struct{ content, want string }{
		{one("request.user =="), "Syntax error"},
		{config("authorizers: [{type: AlwaysAllow, name: alwaysallow}]"), "missing required types: [RBAC]"},
		{config("authorizers: [{type: RBAC, name: rbac}, {type: Node, name: node}]"), "authorizer type Node is not allowed if it was not enabled at initial server startup"},
	} {
		if err := rewrite(c.content); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %s", err, c.want)
		}
		expect(t, a, pods(jane, "delete"), authorizer.DecisionNoOpinion, "") // the last that was right
	}
	if err := rewrite(config("authorizers: [{type: RBAC, name: rbac}, {type: AlwaysAllow, name: alwaysallow}]")); err != nil {
		t.Fatal(err)
	}
	expect(t, a, pods(jane, "delete"), authorizer.DecisionAllow, "")
	if n := len(asked); n != 1 {
		t.Errorf("asked %d times, want once", n)
	}
}

func TestDefaultsOfWebhook(t *testing.T) {
	config := Webhook{ConfigFile: "x"}.configuration()
	if config.AuthorizedTTL.Duration != 5*time.Minute || config.UnauthorizedTTL.Duration != 30*time.Second || !config.CacheAuthorizedRequests || !config.CacheUnauthorizedRequests || config.SubjectAccessReviewVersion != "v1beta1" {
		t.Errorf("%+v", config)
	}
	config = Webhook{AuthorizedTTL: -1, UnauthorizedTTL: -1}.configuration()
	if config.AuthorizedTTL.Duration != 0 || config.CacheAuthorizedRequests || config.CacheUnauthorizedRequests {
		t.Errorf("%+v", config)
	}
}

// BenchmarkAuthorize is what a request pays by default: what is remembered, by all
// that are asked.
func BenchmarkAuthorize(b *testing.B) {
	st := statetest.Start(b)
	a, err := New(Options{RBAC: realrbac.New(st), Node: node.New(st)})
	if err != nil {
		b.Fatal(err)
	}
	for name, who := range map[string]user.Info{"admin": admin, "jane": jane} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			question := pods(who, "list")
			for b.Loop() {
				if decision, _, _ := a.Authorize(b.Context(), question); (decision == authorizer.DecisionAllow) != (who == admin) {
					b.Fatal(decision)
				}
			}
		})
	}
}
