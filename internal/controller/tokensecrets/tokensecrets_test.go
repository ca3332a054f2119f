package tokensecrets

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	api "k8s.io/kubernetes/pkg/apis/core"
	token "k8s.io/kubernetes/pkg/serviceaccount"
	"k8s.io/utils/clock"
	testclock "k8s.io/utils/clock/testing"

	"github.com/knarr-io/knarr/internal/controller/controllertest"
	"github.com/knarr-io/knarr/internal/state/statetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const ca = "the authority"

func newCluster(t *testing.T) *controllertest.Cluster {
	return controllertest.New(t, statetest.Start(t), "NamespaceLifecycle")
}

func run(c *controllertest.Cluster) (stop func()) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	c.Must(err)
	generator, err := token.JWTTokenGenerator(token.LegacyIssuer, key)
	c.Must(err)
	controller := New(c.Verbs, c.Catalogue, Options{
		Generator: func() token.TokenGenerator { return generator }, RootCA: []byte(ca), Clock: clock.RealClock{},
	})
	return c.Run(controller.Run)
}

func account(c *controllertest.Cluster, name string, secrets ...string) {
	c.Helper()
	a := &api.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}
	for _, s := range secrets {
		a.Secrets = append(a.Secrets, api.ObjectReference{Name: s})
	}
	c.Create("serviceaccounts", "shop", a)
}

func secret(c *controllertest.Cluster, name, account string, change ...func(*api.Secret)) {
	c.Helper()
	s := &api.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{corev1.ServiceAccountNameKey: account}},
		Type:       api.SecretTypeServiceAccountToken,
	}
	for _, f := range change {
		f(s)
	}
	c.Create("secrets", "shop", s)
}

func get(c *controllertest.Cluster, name string) *api.Secret {
	return controllertest.Get[*api.Secret](c, "secrets", "shop", name)
}

func awaitToken(c *controllertest.Cluster, name string) *api.Secret {
	c.Helper()
	c.Await("secrets", name+" has a token", func() bool { s := get(c, name); return s != nil && len(s.Data["token"]) > 0 })
	return get(c, name)
}

func TestTokens(t *testing.T) {
	c := newCluster(t)
	c.Namespace("shop")
	account(c, "till")
	secret(c, "before", "till")
	stop := run(c)
	uid := controllertest.Get[*api.ServiceAccount](c, "serviceaccounts", "shop", "till").UID
	s := awaitToken(c, "before")
	if s.Annotations[corev1.ServiceAccountUIDKey] != string(uid) || string(s.Data["ca.crt"]) != ca || string(s.Data["namespace"]) != "shop" {
		t.Errorf("the Secret has %v and %q, %q", s.Annotations, s.Data["ca.crt"], s.Data["namespace"])
	}
	body, err := base64.RawURLEncoding.DecodeString(strings.Split(string(s.Data["token"]), ".")[1])
	c.Must(err)
	var claims map[string]any
	c.Must(json.Unmarshal(body, &claims))
	want := map[string]any{
		"iss": "kubernetes/serviceaccount", "sub": "system:serviceaccount:shop:till",
		"kubernetes.io/serviceaccount/namespace":            "shop",
		"kubernetes.io/serviceaccount/secret.name":          "before",
		"kubernetes.io/serviceaccount/service-account.name": "till",
		"kubernetes.io/serviceaccount/service-account.uid":  string(uid),
	}
	if diff := cmp.Diff(want, claims); diff != "" {
		t.Errorf("the token says (-want +got)\n%s", diff)
	}

	secret(c, "after", "till")
	awaitToken(c, "after")
	c.Patch("secrets", "shop", "after", `{"data":{"ca.crt":"Zm9yZ2Vk"}}`)
	c.Await("secrets", "the authority is what it was", func() bool { return string(get(c, "after").Data["ca.crt"]) == ca })
	secret(c, "another", "nobody", func(s *api.Secret) { s.Type = api.SecretTypeOpaque })
	secret(c, "bound", "till", func(s *api.Secret) { s.Annotations[corev1.ServiceAccountUIDKey] = "of an earlier account" })
	c.AwaitGone("secrets", "shop", "bound")
	secret(c, "nobodys", "nobody")
	c.AwaitGone("secrets", "shop", "nobodys")

	// The tokens of an account go with it, though it is made again.
	account(c, "other")
	secret(c, "others", "other")
	awaitToken(c, "others")
	c.Delete("serviceaccounts", "shop", "till")
	account(c, "till")
	c.AwaitGone("secrets", "shop", "before")
	c.AwaitGone("secrets", "shop", "after")
	if !c.There("secrets", "shop", "another") || !c.There("secrets", "shop", "others") {
		t.Error("a Secret has gone that is no token, or another account's")
	}

	// So they do if it goes while nobody looks.
	stop()
	c.Delete("serviceaccounts", "shop", "other")
	run(c)
	c.AwaitGone("secrets", "shop", "others")
}

func TestReferences(t *testing.T) {
	c := newCluster(t)
	c.Namespace("shop")
	account(c, "till", "one", "two")
	secret(c, "one", "till")
	secret(c, "two", "till")
	run(c)
	awaitToken(c, "one")
	c.Delete("secrets", "shop", "one")
	c.Await("serviceaccounts", "the account lists one token", func() bool {
		a := controllertest.Get[*api.ServiceAccount](c, "serviceaccounts", "shop", "till")
		return len(a.Secrets) == 1 && a.Secrets[0].Name == "two"
	})
}

// tracked notes since when the use of tokens is noted.
func tracked(c *controllertest.Cluster, day string) {
	c.Helper()
	c.Namespace("kube-system")
	c.Create("configmaps", "kube-system", &api.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: tracking}, Data: map[string]string{since: day}})
}

func TestCleaner(t *testing.T) {
	const day = 24 * time.Hour
	now := time.Now()
	clock := testclock.NewFakeClock(now)
	on := func(after time.Duration) string { return now.Add(after).UTC().Format(time.DateOnly) }
	label := func(key, value string) func(*api.Secret) {
		return func(s *api.Secret) { s.Labels = map[string]string{key: value} }
	}
	c := newCluster(t)
	tracked(c, on(0))
	c.Namespace("shop")
	account(c, "till", "unused", "used", "mounted", "odd", "deleted")
	secret(c, "unused", "till")
	secret(c, "byhand", "till")
	secret(c, "used", "till", label(token.LastUsedLabelKey, on(8*day)))
	secret(c, "odd", "till", label(token.LastUsedLabelKey, "never"))
	secret(c, "mounted", "till")
	c.Create("pods", "shop", controllertest.Pod("web", "", func(p *api.Pod) {
		p.Spec.ImagePullSecrets = []api.LocalObjectReference{{Name: "mounted"}}
	}))
	step := func(d time.Duration) {
		for !clock.HasWaiters() {
			time.Sleep(time.Millisecond)
		}
		clock.Step(d)
	}
	invalid := func(name string) string { return get(c, name).Labels[token.InvalidSinceLabelKey] }
	c.Run(func(ctx context.Context) {
		NewCleaner(c.Verbs, c.Catalogue, 10*day, clock).Run(ctx)
	})
	step(10*day + time.Hour) // old enough, but what was used is not known for long enough
	for !clock.HasWaiters() {
		time.Sleep(time.Millisecond)
	}
	if got := invalid("unused"); got != "" {
		t.Fatalf("a token is invalid since %q though its use was not noted for long enough", got)
	}
	step(2 * day)
	c.Await("secrets", "the token that nobody uses is marked", func() bool { return invalid("unused") == on(12*day+time.Hour) })
	step(6 * day)
	step(day)
	c.Await("secrets", "the token that was used later is marked", func() bool { return invalid("used") != "" })
	step(4 * day)
	c.AwaitGone("secrets", "shop", "unused")
	for _, name := range []string{"byhand", "odd", "mounted"} {
		if got := invalid(name); got != "" {
			t.Errorf("%s is invalid since %q", name, got)
		}
	}
	if !c.There("secrets", "shop", "used") {
		t.Error("a token has gone that was marked only lately")
	}
}
