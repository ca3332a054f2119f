package authn

import (
	"context"
	"crypto"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	typedv1core "k8s.io/client-go/kubernetes/typed/core/v1"
	api "k8s.io/kubernetes/pkg/apis/core"
	"k8s.io/kubernetes/pkg/serviceaccount"

	"github.com/knarr-io/knarr/internal/pki"
)

// objects are those there are, by kind, namespace and name. They take patches
// of Secrets.
type objects struct {
	typedv1core.SecretInterface
	all     map[string]metav1.Object
	patches []string
}

func find[T metav1.Object](o *objects, kind, namespace, name string) (none T, _ error) {
	if found, ok := o.all[kind+" "+namespace+"/"+name]; ok {
		return found.(T), nil
	}
	return none, apierrors.NewNotFound(corev1.Resource(kind), name)
}

func (o *objects) GetServiceAccount(_ context.Context, namespace, name string) (*corev1.ServiceAccount, error) {
	return find[*corev1.ServiceAccount](o, "serviceaccount", namespace, name)
}
func (o *objects) GetPod(_ context.Context, namespace, name string) (*corev1.Pod, error) {
	return find[*corev1.Pod](o, "pod", namespace, name)
}
func (o *objects) GetSecret(_ context.Context, namespace, name string) (*corev1.Secret, error) {
	return find[*corev1.Secret](o, "secret", namespace, name)
}
func (o *objects) GetNode(_ context.Context, name string) (*corev1.Node, error) {
	return find[*corev1.Node](o, "node", "", name)
}
func (o *objects) GetValidatingWebhookConfiguration(context.Context, string) (*admissionregistrationv1.ValidatingWebhookConfiguration, error) {
	return nil, apierrors.NewNotFound(admissionregistrationv1.Resource("x"), "")
}
func (o *objects) GetMutatingWebhookConfiguration(context.Context, string) (*admissionregistrationv1.MutatingWebhookConfiguration, error) {
	return nil, apierrors.NewNotFound(admissionregistrationv1.Resource("x"), "")
}
func (o *objects) Secrets(string) typedv1core.SecretInterface { return o }
func (o *objects) Patch(_ context.Context, name string, _ types.PatchType, data []byte, _ metav1.PatchOptions, _ ...string) (*corev1.Secret, error) {
	o.patches = append(o.patches, name+" "+string(data))
	return nil, nil
}

func meta(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID("uid-" + name)}
}

// issued are tokens and what verifies them.
type issued struct {
	testing.TB
	objects *objects
	keys    []any
	issuers []string
}

func newIssued(t testing.TB) *issued {
	return &issued{TB: t, issuers: []string{"https://issuer", "old-issuer"}, objects: &objects{all: map[string]metav1.Object{
		"serviceaccount shop/seller": &corev1.ServiceAccount{ObjectMeta: meta("shop", "seller")},
		"pod shop/till":              &corev1.Pod{ObjectMeta: meta("shop", "till")},
		"secret shop/old":            &corev1.Secret{ObjectMeta: meta("shop", "old")},
		"node /node":                 &corev1.Node{ObjectMeta: meta("", "node")},
	}}}
}

// key makes a key; its tokens are accepted if it is known.
func (i *issued) key(known bool) crypto.Signer {
	i.Helper()
	key, err := pki.NewSigningKey()
	if err != nil {
		i.Fatal(err)
	}
	if known {
		i.keys = append(i.keys, key.Public())
	}
	return key
}

func (i *issued) generator(key crypto.Signer, issuer string) serviceaccount.TokenGenerator {
	i.Helper()
	generator, err := serviceaccount.JWTTokenGenerator(issuer, key)
	if err != nil {
		i.Fatal(err)
	}
	return generator
}

// token makes a token of shop/seller, bound to what is not nil.
func (i *issued) token(key crypto.Signer, issuer string, seconds int64, audience string, pod *api.Pod, secret *api.Secret, node *api.Node) string {
	i.Helper()
	claims, private, err := serviceaccount.Claims(api.ServiceAccount{ObjectMeta: meta("shop", "seller")}, pod, secret, node, nil, nil, seconds, 0, []string{audience}, nil)
	if err != nil {
		i.Fatal(err)
	}
	claims.ID = "id"
	signed, err := i.generator(key, issuer).GenerateToken(i.Context(), claims, private)
	if err != nil {
		i.Fatal(err)
	}
	return signed
}

// never is for tokens that are verified each time.
func never(ctx context.Context) (context.Context, func() bool) {
	return ctx, func() bool { return false }
}

func (i *issued) authenticator(audiences ...string) authenticator.Request {
	i.Helper()
	return i.noting(never, audiences...)
}

func (i *issued) noting(noting func(context.Context) (context.Context, func() bool), audiences ...string) authenticator.Request {
	i.Helper()
	keys, err := serviceaccount.StaticPublicKeysGetter(i.keys)
	if err != nil {
		i.Fatal(err)
	}
	auth, err := New(Options{
		Anonymous: anyone, APIAudiences: audiences, TokenFile: tokenFile(i, tokens),
		ServiceAccounts: &ServiceAccounts{Issuers: i.issuers, Keys: keys, Objects: i.objects, Secrets: i.objects, Noting: noting},
	})
	if err != nil {
		i.Fatal(err)
	}
	return auth
}

// bearer is a request with a token, as the endpoint hands it on.
func bearer(token string, audiences ...string) *http.Request {
	req := request(nil, "Authorization", "Bearer "+token)
	return req.WithContext(authenticator.WithAudiences(req.Context(), audiences))
}

func TestServiceAccountTokens(t *testing.T) {
	i := newIssued(t)
	first, second, stranger := i.key(true), i.key(true), i.key(false)
	pod, secret, node := &api.Pod{ObjectMeta: meta("shop", "till")}, &api.Secret{ObjectMeta: meta("shop", "old")}, &api.Node{ObjectMeta: meta("", "node")}
	const hour = 3600
	auth := i.authenticator("api", "other-name")
	tampered := i.token(first, "https://issuer", hour, "api", nil, nil, nil)
	tampered = tampered[:len(tampered)-8] + "AAAAAAAA"

	for _, c := range []struct {
		name    string
		token   string
		extra   map[string][]string // nil: refused
		wantErr string
	}{
		{"plain", i.token(first, "https://issuer", hour, "api", nil, nil, nil), map[string][]string{"authentication.kubernetes.io/credential-id": {"JTI=id"}}, ""},
		{"for another of its names", i.token(first, "https://issuer", hour, "other-name", nil, nil, nil), map[string][]string{"authentication.kubernetes.io/credential-id": {"JTI=id"}}, ""},
		{"by another key", i.token(second, "https://issuer", hour, "api", nil, nil, nil), map[string][]string{"authentication.kubernetes.io/credential-id": {"JTI=id"}}, ""},
		{"by a further issuer", i.token(first, "old-issuer", hour, "api", nil, nil, nil), map[string][]string{"authentication.kubernetes.io/credential-id": {"JTI=id"}}, ""},
		{"bound to a pod", i.token(first, "https://issuer", hour, "api", pod, nil, node), map[string][]string{
			"authentication.kubernetes.io/credential-id": {"JTI=id"},
			"authentication.kubernetes.io/pod-name":      {"till"}, "authentication.kubernetes.io/pod-uid": {"uid-till"},
			"authentication.kubernetes.io/node-name": {"node"}, "authentication.kubernetes.io/node-uid": {"uid-node"},
		}, ""},
		{"bound to a secret", i.token(first, "https://issuer", hour, "api", nil, secret, nil), map[string][]string{"authentication.kubernetes.io/credential-id": {"JTI=id"}}, ""},
		{"bound to a node", i.token(first, "https://issuer", hour, "api", nil, nil, node), map[string][]string{
			"authentication.kubernetes.io/credential-id": {"JTI=id"},
			"authentication.kubernetes.io/node-name":     {"node"}, "authentication.kubernetes.io/node-uid": {"uid-node"},
		}, ""},
		{"by a stranger's key", i.token(stranger, "https://issuer", hour, "api", nil, nil, nil), nil, "invalid signature, no keys found"},
		{"by a stranger", i.token(first, "stranger", hour, "api", nil, nil, nil), nil, "invalid bearer token"},
		{"tampered with", tampered, nil, "error in cryptographic primitive"},
		{"for another API", i.token(first, "https://issuer", hour, "vault", nil, nil, nil), nil, `token audiences ["vault"] is invalid for the target audiences ["api" "other-name"]`},
		{"expired", i.token(first, "https://issuer", -hour, "api", nil, nil, nil), nil, "service account token has expired"},
	} {
		t.Run(c.name, func(t *testing.T) {
			resp, ok, err := auth.AuthenticateRequest(bearer(c.token, "api", "other-name"))
			if c.extra == nil {
				if ok || err == nil || !strings.Contains(err.Error(), c.wantErr) {
					t.Fatalf("%v, %v, %v; want error %q", resp, ok, err, c.wantErr)
				}
				if strings.Contains(err.Error(), c.token) {
					t.Error("the error tells the token")
				}
				return
			}
			if err != nil || !ok {
				t.Fatalf("%v, %v", ok, err)
			}
			u := resp.User
			groups := []string{"system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated"}
			if u.GetName() != "system:serviceaccount:shop:seller" || u.GetUID() != "uid-seller" || !slices.Equal(u.GetGroups(), groups) {
				t.Errorf("got %q %q %q", u.GetName(), u.GetUID(), u.GetGroups())
			}
			got, _ := json.Marshal(u.GetExtra())
			if want, _ := json.Marshal(c.extra); string(got) != string(want) {
				t.Errorf("extra %s, want %s", got, want)
			}
		})
	}

	// The token file still works, for every name of the API.
	if resp, ok, err := auth.AuthenticateRequest(bearer("secret-1", "api")); !ok || err != nil || resp.User.GetName() != "ann" {
		t.Errorf("a token of the file: %v, %v, %v", resp, ok, err)
	}
}

// A token is void as soon as what it is for or bound to is gone, or is another
// of the same name.
func TestServiceAccountTokensOfThePast(t *testing.T) {
	long, now := metav1.NewTime(time.Now().Add(-time.Hour)), metav1.Now()
	for _, c := range []struct {
		key     string
		bound   string
		change  func(metav1.Object) // nil: removed
		wantErr string              // empty: still good
	}{
		{"serviceaccount shop/seller", "", nil, `serviceaccount "seller" not found`},
		{"serviceaccount shop/seller", "", func(o metav1.Object) { o.SetUID("new") }, "service account UID (new) does not match claim (uid-seller)"},
		{"serviceaccount shop/seller", "", func(o metav1.Object) { o.SetDeletionTimestamp(&long) }, "service account shop/seller has been deleted"},
		{"serviceaccount shop/seller", "", func(o metav1.Object) { o.SetDeletionTimestamp(&now) }, ""},
		{"pod shop/till", "pod", nil, "service account token has been invalidated"},
		{"pod shop/till", "pod", func(o metav1.Object) { o.SetUID("new") }, "pod UID (new) does not match service account pod ref claim (uid-till)"},
		{"pod shop/till", "pod", func(o metav1.Object) { o.SetDeletionTimestamp(&long) }, "service account token has been invalidated"},
		{"pod shop/till", "", nil, ""},
		{"secret shop/old", "secret", nil, "service account token has been invalidated"},
		{"secret shop/old", "secret", func(o metav1.Object) { o.SetUID("new") }, "secret UID (new) does not match service account secret ref claim (uid-old)"},
		{"node /node", "node", nil, "service account token has been invalidated"},
		{"node /node", "node", func(o metav1.Object) { o.SetUID("new") }, "node UID (new) does not match service account node ref claim (uid-node)"},
		{"node /node", "pod", nil, ""}, // a pod's node may change
	} {
		i := newIssued(t)
		key := i.key(true)
		var pod *api.Pod
		var secret *api.Secret
		var node *api.Node
		switch c.bound {
		case "pod":
			pod, node = &api.Pod{ObjectMeta: meta("shop", "till")}, &api.Node{ObjectMeta: meta("", "node")}
		case "secret":
			secret = &api.Secret{ObjectMeta: meta("shop", "old")}
		case "node":
			node = &api.Node{ObjectMeta: meta("", "node")}
		}
		token, auth := i.token(key, "https://issuer", 3600, "api", pod, secret, node), i.authenticator("api")
		if _, ok, err := auth.AuthenticateRequest(bearer(token, "api")); !ok || err != nil {
			t.Errorf("%s: at first %v, %v", c.key, ok, err)
		}
		if c.change == nil {
			delete(i.objects.all, c.key)
		} else {
			c.change(i.objects.all[c.key])
		}
		_, ok, err := auth.AuthenticateRequest(bearer(token, "api"))
		if good := c.wantErr == ""; ok != good || !good && (err == nil || !strings.Contains(err.Error(), c.wantErr)) {
			t.Errorf("%s changed, for a token bound to %q: %v, %v; want %q", c.key, c.bound, ok, err, c.wantErr)
		}
	}
}

// Tokens as they once were live in a Secret, which is told of their use.
func TestLegacyTokens(t *testing.T) {
	i := newIssued(t)
	account, secret := i.objects.all["serviceaccount shop/seller"].(*corev1.ServiceAccount), i.objects.all["secret shop/old"].(*corev1.Secret)
	claims, private := serviceaccount.LegacyClaims(*account, *secret)
	token, err := i.generator(i.key(true), serviceaccount.LegacyIssuer).GenerateToken(t.Context(), claims, private)
	if err != nil {
		t.Fatal(err)
	}
	auth := i.authenticator("api")
	refused := func(want string) {
		t.Helper()
		if _, ok, err := auth.AuthenticateRequest(bearer(token, "api")); ok || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, %v; want error %q", ok, err, want)
		}
	}
	refused("Token does not match server's copy")
	secret.Data = map[string][]byte{"token": []byte(token)}
	resp, ok, err := auth.AuthenticateRequest(bearer(token, "api"))
	if err != nil || !ok || resp.User.GetName() != "system:serviceaccount:shop:seller" || resp.User.GetUID() != "uid-seller" {
		t.Fatalf("%v, %v, %v", resp, ok, err)
	}
	today := time.Now().UTC().Format(time.DateOnly)
	if len(i.objects.patches) != 1 || !strings.Contains(i.objects.patches[0], `"kubernetes.io/legacy-token-last-used":"`+today[:8]) {
		t.Errorf("the Secret is told %q", i.objects.patches)
	}
	secret.Labels = map[string]string{"kubernetes.io/legacy-token-invalid-since": today}
	refused("has been marked invalid")
	delete(i.objects.all, "secret shop/old")
	refused("Token has been invalidated")
}

func BenchmarkServiceAccountToken(b *testing.B) {
	i := newIssued(b)
	token := i.token(i.key(true), "https://issuer", 3600, "api", nil, nil, nil)
	for name, noting := range map[string]func(context.Context) (context.Context, func() bool){
		"verified": never,
		"remembered": func(ctx context.Context) (context.Context, func() bool) {
			return ctx, func() bool { return true }
		},
	} {
		auth := i.noting(noting, "api")
		b.Run(name, func(b *testing.B) {
			req := bearer(token, "api")
			authorization := req.Header["Authorization"]
			b.ReportAllocs()
			for b.Loop() {
				req.Header["Authorization"] = authorization
				if _, ok, err := auth.AuthenticateRequest(req); !ok || err != nil {
					b.Fatal(ok, err)
				}
			}
		})
	}
}
