package serviceaccount

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	auditinternal "k8s.io/apiserver/pkg/apis/audit"
	"k8s.io/apiserver/pkg/audit"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/apiserver/pkg/warning"
	featuregatetesting "k8s.io/component-base/featuregate/testing"
	"k8s.io/kubernetes/pkg/apis/admissionregistration"
	"k8s.io/kubernetes/pkg/apis/authentication"
	api "k8s.io/kubernetes/pkg/apis/core"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/kind/native"
	"github.com/knarr-io/knarr/internal/pki"
	"github.com/knarr-io/knarr/internal/state"
	"github.com/knarr-io/knarr/internal/state/statetest"
	"github.com/knarr-io/knarr/internal/store"
	"github.com/knarr-io/knarr/internal/verb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cluster is a server's objects and its issuer of tokens.
type cluster struct {
	*testing.T
	state     *state.State
	catalogue *kind.Catalogue
	objects   *Objects
	issuer    *Issuer
	requests  *TokenRequests
	// allow has the authorizer allow everything.
	allow    bool
	ctx      context.Context // of the last request
	warnings []string
}

func (c *cluster) AddWarning(_, text string) { c.warnings = append(c.warnings, text) }

func (c *cluster) authorize(context.Context, authorizer.Attributes) (authorizer.Decision, string, error) {
	if c.allow {
		return authorizer.DecisionAllow, "", nil
	}
	return authorizer.DecisionNoOpinion, "not today", nil
}

func newCluster(t *testing.T, s Settings) *cluster {
	t.Helper()
	st := statetest.Start(t)
	catalogue, err := native.Catalogue(native.Options{})
	if err != nil {
		t.Fatal(err)
	}
	key, err := pki.NewSigningKey()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Complete(); err != nil {
		t.Fatal(err)
	}
	issuer, err := NewIssuer(s, Keys{Signing: key})
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{T: t, state: st, catalogue: catalogue, issuer: issuer}
	c.objects = NewObjects(&verb.Verbs{State: st}, func() *kind.Catalogue { return catalogue })
	c.requests = NewTokenRequests(issuer, c.objects, authorizer.AuthorizerFunc(c.authorize))
	return c
}

// put stores an object, over one that is there.
func (c *cluster) put(gvr schema.GroupVersionResource, obj runtime.Object) {
	c.Helper()
	m, err := meta.Accessor(obj)
	if err != nil {
		c.Fatal(err)
	}
	storage := c.catalogue.Lookup(gvr).Resource.Storage
	value, err := storage.Codec.Encode(obj)
	if err != nil {
		c.Fatal(err)
	}
	change := store.Change{Key: storage.Key(m.GetNamespace(), m.GetName()), Value: value}
	if o := c.state.Get(change.Key); o != nil {
		change.If = o.Rev
	}
	if _, err := c.state.Commit(c.Context(), change); err != nil {
		c.Fatal(err)
	}
}

func named(namespace, name, uid string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(uid)}
}

// furnish puts the objects that the tests are about.
func (c *cluster) furnish() {
	c.Helper()
	c.put(serviceAccounts, &api.ServiceAccount{ObjectMeta: named("shop", "seller", "uid-seller")})
	pod := func(name, account, node string) {
		c.put(pods, &api.Pod{ObjectMeta: named("shop", name, "uid-"+name), Spec: api.PodSpec{ServiceAccountName: account, NodeName: node}})
	}
	pod("till", "seller", "")
	pod("till-on-node", "seller", "node")
	pod("till-on-lost-node", "seller", "lost")
	pod("other", "buyer", "node")
	c.put(secrets, &api.Secret{ObjectMeta: named("shop", "secret", "uid-secret")})
	c.put(nodes, &api.Node{ObjectMeta: named("", "node", "uid-node")})
	url, port, path := "https://hooks.example/x", int32(8443), "review"
	hook := func(group string, config admissionregistration.WebhookClientConfig) admissionregistration.ValidatingWebhook {
		return admissionregistration.ValidatingWebhook{ClientConfig: config, Rules: []admissionregistration.RuleWithOperations{
			{Rule: admissionregistration.Rule{APIGroups: []string{group}}},
		}}
	}
	c.put(validatingWebhooks, &admissionregistration.ValidatingWebhookConfiguration{
		ObjectMeta: named("", "hooks", "uid-hooks"),
		Webhooks: []admissionregistration.ValidatingWebhook{
			hook("apps", admissionregistration.WebhookClientConfig{URL: &url}),
			hook("batch", admissionregistration.WebhookClientConfig{Service: &admissionregistration.ServiceReference{Namespace: "ns", Name: "svc", Port: port, Path: &path}}),
		},
	})
}

// request asks for a token of shop/seller.
func (c *cluster) request(change func(*authentication.TokenRequest)) (*authentication.TokenRequest, error) {
	return c.requestFor("seller", change, nil)
}

func (c *cluster) requestFor(name string, change func(*authentication.TokenRequest), validate func(context.Context, runtime.Object) error) (*authentication.TokenRequest, error) {
	c.Helper()
	c.warnings = nil
	req := &authentication.TokenRequest{Spec: authentication.TokenRequestSpec{ExpirationSeconds: 3600}}
	if change != nil {
		change(req)
	}
	t := verb.Target{Version: c.catalogue.Lookup(serviceAccounts), Namespace: "shop", Name: name}
	c.ctx = audit.WithAuditContext(warning.WithWarningRecorder(c.Context(), c))
	if err := audit.AuditContextFrom(c.ctx).Init(audit.RequestAuditConfig{Level: auditinternal.LevelMetadata}, nil); err != nil {
		c.Fatal(err)
	}
	answer, err := c.requests.Do(c.ctx, t, req, &metav1.CreateOptions{}, validate)
	if err != nil {
		return nil, err
	}
	return answer.(*authentication.TokenRequest), nil
}

func bind(apiVersion, kind, name, uid string) func(*authentication.TokenRequest) {
	return func(r *authentication.TokenRequest) {
		r.Spec.BoundObjectRef = &authentication.BoundObjectReference{APIVersion: apiVersion, Kind: kind, Name: name, UID: types.UID(uid)}
	}
}

// attest binds to the webhooks "hooks".
func attest(group, audience string) func(*authentication.TokenRequest) {
	return func(r *authentication.TokenRequest) {
		bind("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", "hooks", "")(r)
		r.Spec.Audiences = []string{audience}
		r.Spec.Attestations = map[string]authentication.AttestationValue{"admissionReviewAPIGroups": {group}}
	}
}

// claims are what a token says.
func claims(t *testing.T, token string) map[string]any {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("%q is no token", token)
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

func TestAnswer(t *testing.T) {
	c := newCluster(t, Settings{})
	c.furnish()
	before := time.Now().Truncate(time.Second)
	got, err := c.request(nil)
	if err != nil {
		t.Fatal(err)
	}
	said := claims(t, got.Status.Token)
	if id, _ := audit.AuditContextFrom(c.ctx).GetEventAnnotation("authentication.kubernetes.io/issued-credential-id"); id != "JTI="+fmt.Sprint(said["jti"]) {
		t.Errorf("the audit is told of %q, the token says %v", id, said["jti"])
	}
	expires := time.Unix(int64(said["exp"].(float64)), 0)
	if said["jti"] == "" || expires.Before(before.Add(time.Hour)) || expires.After(time.Now().Add(time.Hour)) {
		t.Errorf("the token says %v", said)
	}
	if told := got.Status.ExpirationTimestamp.Time; told.After(expires.Add(time.Second)) || got.CreationTimestamp.Add(time.Hour) != told {
		t.Errorf("made at %v, expires as told at %v, as the token says at %v", got.CreationTimestamp, told, expires)
	}
	for _, varies := range []string{"exp", "iat", "nbf", "jti"} {
		delete(said, varies)
	}
	if diff := cmp.Diff(map[string]any{
		"iss": DefaultIssuer, "aud": []any{DefaultIssuer}, "sub": "system:serviceaccount:shop:seller",
		"kubernetes.io": map[string]any{"namespace": "shop", "serviceaccount": map[string]any{"name": "seller", "uid": "uid-seller"}},
	}, said); diff != "" {
		t.Errorf("claims (-want +got)\n%s", diff)
	}
	got.Status, got.CreationTimestamp = authentication.TokenRequestStatus{}, metav1.Time{}
	if diff := cmp.Diff(&authentication.TokenRequest{
		ObjectMeta: named("shop", "seller", "uid-seller"),
		Spec:       authentication.TokenRequestSpec{Audiences: []string{DefaultIssuer}, ExpirationSeconds: 3600},
	}, got); diff != "" {
		t.Errorf("answer (-want +got)\n%s", diff)
	}
}

// What a token is bound to is in it.
func TestBound(t *testing.T) {
	featuregatetesting.SetFeatureGateDuringTest(t, utilfeature.DefaultFeatureGate, "APIServerWebhookAuthenticationToken", true)
	c := newCluster(t, Settings{})
	c.furnish()
	c.allow = true
	ref := func(name, uid string) map[string]any { return map[string]any{"name": name, "uid": uid} }
	for _, test := range []struct {
		name   string
		change func(*authentication.TokenRequest)
		want   map[string]any
	}{
		{"pod", bind("v1", "Pod", "till", ""), map[string]any{"pod": ref("till", "uid-till")}},
		{"pod with uid", bind("v1", "Pod", "till", "uid-till"), map[string]any{"pod": ref("till", "uid-till")}},
		{"pod of whatever version", bind("v9", "Pod", "till", ""), map[string]any{"pod": ref("till", "uid-till")}},
		{"pod on a node", bind("v1", "Pod", "till-on-node", ""), map[string]any{"pod": ref("till-on-node", "uid-till-on-node"), "node": ref("node", "uid-node")}},
		{"pod on a node that is not there", bind("v1", "Pod", "till-on-lost-node", ""), map[string]any{"pod": ref("till-on-lost-node", "uid-till-on-lost-node"), "node": map[string]any{"name": "lost"}}},
		{"secret", bind("v1", "Secret", "secret", ""), map[string]any{"secret": ref("secret", "uid-secret")}},
		{"node", bind("v1", "Node", "node", "uid-node"), map[string]any{"node": ref("node", "uid-node")}},
		{"webhooks by URL", attest("apps", "https://hooks.example/x"), map[string]any{
			"validatingwebhookconfiguration": ref("hooks", "uid-hooks"), "attestations": map[string]any{"admissionReviewAPIGroups": []any{"apps"}},
		}},
		{"webhooks by service", attest("batch", "https://svc.ns.svc:8443/review"), map[string]any{
			"validatingwebhookconfiguration": ref("hooks", "uid-hooks"), "attestations": map[string]any{"admissionReviewAPIGroups": []any{"batch"}},
		}},
		{"webhooks for all groups", attest("*", "anything"), map[string]any{
			"validatingwebhookconfiguration": ref("hooks", "uid-hooks"), "attestations": map[string]any{"admissionReviewAPIGroups": []any{"*"}},
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := c.request(test.change)
			if err != nil {
				t.Fatal(err)
			}
			private := claims(t, got.Status.Token)["kubernetes.io"].(map[string]any)
			test.want["namespace"], test.want["serviceaccount"] = "shop", ref("seller", "uid-seller")
			if diff := cmp.Diff(test.want, private); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if test.want["attestations"] != nil && got.Spec.ExpirationSeconds != 600 {
				t.Errorf("a token for webhooks lasts %d seconds", got.Spec.ExpirationSeconds)
			}
		})
	}
}

// Refusals in the words of kube-apiserver v1.37.2.
func TestRefused(t *testing.T) {
	c := newCluster(t, Settings{APIAudiences: []string{"api"}})
	c.furnish()
	const mustBeRecreated = ". The object might have been deleted and then recreated"
	for _, test := range []struct {
		name    string
		account string
		change  func(*authentication.TokenRequest)
		code    int32
		want    string
	}{
		{"another name", "seller", func(r *authentication.TokenRequest) { r.Name = "buyer" }, 422,
			`TokenRequest.authentication.k8s.io "seller" is invalid: metadata.name: Invalid value: "buyer": must match the service account name if specified`},
		{"another namespace", "seller", func(r *authentication.TokenRequest) { r.Namespace = "mall" }, 422,
			`TokenRequest.authentication.k8s.io "seller" is invalid: metadata.namespace: Invalid value: "mall": must match the service account namespace if specified`},
		{"no account", "none", nil, 404, `serviceaccounts "none" not found`},
		{"another name, no account", "none", func(r *authentication.TokenRequest) { r.Name = "buyer" }, 422,
			`TokenRequest.authentication.k8s.io "none" is invalid: metadata.name: Invalid value: "buyer": must match the service account name if specified`},
		{"another uid", "seller", func(r *authentication.TokenRequest) { r.UID, r.Spec.ExpirationSeconds = "uid-old", 1 }, 409,
			`Operation cannot be fulfilled on TokenRequest.authentication.k8s.io "seller": the UID in the token request (uid-old) does not match the UID of the service account (uid-seller)`},
		{"short", "seller", func(r *authentication.TokenRequest) { r.Spec.ExpirationSeconds = 599 }, 422,
			`TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes`},
		{"long", "seller", func(r *authentication.TokenRequest) { r.Spec.ExpirationSeconds = 1<<32 + 1 }, 422,
			`TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: 4294967297: may not specify a duration larger than 2^32 seconds`},
		{"attestation for nobody", "seller", func(r *authentication.TokenRequest) {
			r.Spec.Attestations = map[string]authentication.AttestationValue{"a": {"b"}}
		}, 422, `TokenRequest.authentication.k8s.io "" is invalid: spec.attestations: Invalid value: {"a":["b"]}: attestations may only be specified with a webhook bound object reference`},
		{"no such pod", "seller", bind("v1", "Pod", "none", ""), 404, `pods "none" not found`},
		{"a pod without a name", "seller", bind("v1", "Pod", "", ""), 400, `Name parameter required.`},
		{"another account's pod", "seller", bind("v1", "Pod", "other", ""), 400,
			`cannot bind token for serviceaccount "seller" to pod running with different serviceaccount name.`},
		{"an earlier pod", "seller", bind("v1", "Pod", "till", "uid-old"), 409,
			`Operation cannot be fulfilled on Pod "till": the UID in the bound object reference (uid-old) does not match the UID in record` + mustBeRecreated},
		{"no such secret", "seller", bind("v1", "Secret", "none", ""), 404, `secrets "none" not found`},
		{"an earlier secret", "seller", bind("v1", "Secret", "secret", "uid-old"), 409,
			`Operation cannot be fulfilled on Secret "secret": the UID in the bound object reference (uid-old) does not match the UID in record` + mustBeRecreated},
		{"no such node", "seller", bind("v1", "Node", "none", ""), 404, `nodes "none" not found`},
		{"an earlier node", "seller", bind("v1", "Node", "node", "uid-old"), 409,
			`Operation cannot be fulfilled on Node "node": the UID in the bound object reference (uid-old) does not match the UID in record` + mustBeRecreated},
		{"another kind", "seller", bind("v1", "ConfigMap", "x", ""), 400, `cannot bind token to object of type /v1, Kind=ConfigMap`},
		{"another group", "seller", bind("apps/v1", "Pod", "till", ""), 400, `cannot bind token to object of type apps/v1, Kind=Pod`},
		{"webhooks, which are switched off", "seller", attest("apps", "x"), 400,
			`cannot bind token to object of type admissionregistration.k8s.io/v1, Kind=ValidatingWebhookConfiguration (feature gate APIServerWebhookAuthenticationToken is disabled)`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := c.requestFor(test.account, test.change, nil)
			refused(t, err, test.code, test.want)
		})
	}
	t.Run("by admission", func(t *testing.T) {
		no := errors.New("no")
		_, err := c.requestFor("seller", bind("v1", "Pod", "none", ""), func(_ context.Context, obj runtime.Object) error {
			if r := obj.(*authentication.TokenRequest); r.Name != "seller" || len(r.Spec.Audiences) != 1 {
				t.Errorf("admission sees %v", r)
			}
			return no
		})
		if !errors.Is(err, no) {
			t.Errorf("%v: admission is not asked before the pod is looked for", err)
		}
	})
}

func refused(t *testing.T, err error, code int32, want string) {
	t.Helper()
	status, ok := err.(interface{ Status() metav1.Status })
	if !ok {
		t.Fatalf("%v is no error of the API", err)
	}
	if s := status.Status(); s.Code != code || s.Message != want {
		t.Errorf("%d %s\nwant %d %s", s.Code, s.Message, code, want)
	}
}

func TestWebhooksRefused(t *testing.T) {
	featuregatetesting.SetFeatureGateDuringTest(t, utilfeature.DefaultFeatureGate, "APIServerWebhookAuthenticationToken", true)
	c := newCluster(t, Settings{APIAudiences: []string{"api"}})
	c.furnish()
	const denied = `serviceaccounts/token "seller" is forbidden: token request denied`
	for _, test := range []struct {
		name   string
		change func(*authentication.TokenRequest)
		allow  bool
		code   int32
		want   string
	}{
		{"for this API", attest("apps", "api"), true, 400, `api server audiences are invalid for webhook token requests`},
		{"not authorized", attest("apps", "https://hooks.example/x"), false, 403,
			`admissionReviewAPIGroups.authentication.k8s.io "apps" is forbidden: User "system:serviceaccount:shop:seller" cannot attest resource "admissionReviewAPIGroups" in API group "authentication.k8s.io" at the cluster scope: not today`},
		{"another group", attest("batch", "https://hooks.example/x"), true, 403, denied},
		{"another audience", attest("apps", "https://hooks.example/y"), true, 403, denied},
		{"two audiences", func(r *authentication.TokenRequest) {
			attest("apps", "a")(r)
			r.Spec.Audiences = []string{"a", "b"}
		}, true, 422, `TokenRequest.authentication.k8s.io "" is invalid: spec.audiences: Invalid value: ["a","b"]: must be length 1 when bound to a webhook config`},
	} {
		t.Run(test.name, func(t *testing.T) {
			c.allow = test.allow
			_, err := c.request(test.change)
			refused(t, err, test.code, test.want)
		})
	}
}

// How long a token lasts, and what is told of it.
func TestExpiration(t *testing.T) {
	const hour, injected, year = 3600, 3607, 365 * 24 * 3600
	for _, test := range []struct {
		name     string
		settings Settings
		asked    int64
		change   func(*authentication.TokenRequest)
		told     int64
		lasts    int64
		warns    int64 // after so many seconds; 0 for never
		warning  string
	}{
		{name: "as asked", asked: hour, told: hour, lasts: hour},
		{name: "at most", settings: Settings{MaxTokenExpiration: 2 * time.Hour}, asked: 4 * hour, told: 2 * hour, lasts: 2 * hour,
			warning: "requested expiration of 14400 seconds shortened to 7200 seconds"},
		{name: "within the most", settings: Settings{MaxTokenExpiration: 2 * time.Hour}, asked: hour, told: hour, lasts: hour},
		{name: "a pod's own", asked: injected, change: bind("v1", "Pod", "till", ""), told: injected, lasts: year, warns: injected},
		{name: "a pod's own, whatever the most", settings: Settings{MaxTokenExpiration: 2 * time.Hour}, asked: injected, change: bind("v1", "Pod", "till", ""), told: injected, lasts: year, warns: injected},
		{name: "a pod's own, shortened", settings: Settings{MaxTokenExpiration: time.Hour}, asked: injected, change: bind("v1", "Pod", "till", ""), told: hour, lasts: hour,
			warning: "requested expiration of 3607 seconds shortened to 3600 seconds"},
		{name: "a pod's own, not extended", settings: Settings{KeepTokenExpiration: true}, asked: injected, change: bind("v1", "Pod", "till", ""), told: injected, lasts: injected},
		{name: "a pod's, for others", asked: injected, change: func(r *authentication.TokenRequest) {
			bind("v1", "Pod", "till", "")(r)
			r.Spec.Audiences = []string{DefaultIssuer, "vault"}
		}, told: injected, lasts: injected},
		{name: "a pod's, of another length", asked: injected + 1, change: bind("v1", "Pod", "till", ""), told: injected + 1, lasts: injected + 1},
		{name: "not a pod's", asked: injected, told: injected, lasts: injected},
		{name: "a secret's", asked: injected, change: bind("v1", "Secret", "secret", ""), told: injected, lasts: injected},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newCluster(t, test.settings)
			c.furnish()
			got, err := c.request(func(r *authentication.TokenRequest) {
				r.Spec.ExpirationSeconds = test.asked
				if test.change != nil {
					test.change(r)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			said := claims(t, got.Status.Token)
			since := func(v any) int64 {
				if v == nil {
					return 0
				}
				return int64(v.(float64) - said["iat"].(float64))
			}
			lasts, warns := since(said["exp"]), since(said["kubernetes.io"].(map[string]any)["warnafter"])
			told := int64(got.Status.ExpirationTimestamp.Sub(got.CreationTimestamp.Time).Seconds())
			if told != test.told || got.Spec.ExpirationSeconds != test.told || lasts != test.lasts || warns != test.warns {
				t.Errorf("told %d (%d), lasts %d, warns after %d; want %+v", told, got.Spec.ExpirationSeconds, lasts, warns, test)
			}
			if strings.Join(c.warnings, "\n") != test.warning {
				t.Errorf("warnings %q, want %q", c.warnings, test.warning)
			}
		})
	}
}

// The uid may be checked loosely, as it was in earlier releases.
func TestUIDOnlyWarned(t *testing.T) {
	featuregatetesting.SetFeatureGateDuringTest(t, utilfeature.DefaultFeatureGate, "TokenRequestServiceAccountUIDValidation", false)
	c := newCluster(t, Settings{})
	c.furnish()
	got, err := c.request(func(r *authentication.TokenRequest) { r.UID = "uid-old" })
	if err != nil {
		t.Fatal(err)
	}
	want := "the UID in the token request (uid-old) does not match the UID of the service account (uid-seller) but TokenRequestServiceAccountUIDValidation is not enabled. In the future, this will return a conflict error"
	if got.UID != "uid-old" || !slices.Equal(c.warnings, []string{want}) {
		t.Errorf("uid %s, warnings %q", got.UID, c.warnings)
	}
}
