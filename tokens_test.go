package knarr_test

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/keyutil"
	"k8s.io/kubernetes/pkg/serviceaccount"

	"github.com/knarr-io/knarr"
	"github.com/knarr-io/knarr/internal/pki"
	"github.com/knarr-io/knarr/knarrtest"
)

func clientOf(t *testing.T, c *rest.Config) kubernetes.Interface {
	t.Helper()
	client, err := kubernetes.NewForConfig(c)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// newToken asks for a token of default/default.
func newToken(t *testing.T, server *knarr.Server, spec authenticationv1.TokenRequestSpec) string {
	t.Helper()
	answer, err := clientOf(t, server.ClientConfig()).CoreV1().ServiceAccounts("default").
		CreateToken(t.Context(), "default", &authenticationv1.TokenRequest{Spec: spec}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return answer.Status.Token
}

// knows reports whether the server knows who a token is of, by what it says to
// a request that nobody but members of system:masters may make.
func knows(t *testing.T, server *knarr.Server, token string) bool {
	t.Helper()
	config := rest.AnonymousClientConfig(server.ClientConfig())
	config.BearerToken = token
	_, err := clientOf(t, config).CoreV1().Secrets("default").List(t.Context(), metav1.ListOptions{})
	switch {
	case apierrors.IsUnauthorized(err):
		return false
	case apierrors.IsForbidden(err) && strings.Contains(err.Error(), `User "system:serviceaccount:default:default" cannot list resource "secrets"`):
		return true
	}
	t.Fatalf("with a token of a service account: %v", err)
	return false
}

// A token says who it is of for as long as there is what it is for and bound
// to, and not a moment longer.
func TestTokenAndItsObjects(t *testing.T) {
	server := knarrtest.Start(t)
	core := clientOf(t, server.ClientConfig()).CoreV1()
	bound := func(kind, name string) authenticationv1.TokenRequestSpec {
		return authenticationv1.TokenRequestSpec{BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: kind, Name: name}}
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "till"}, Spec: corev1.PodSpec{
		ServiceAccountName: "default", Containers: []corev1.Container{{Name: "c", Image: "i"}},
	}}
	must(t, func() (err error) {
		_, err = core.Pods("default").Create(t.Context(), pod, metav1.CreateOptions{})
		return
	})
	must(t, func() (err error) {
		_, err = core.Secrets("default").Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s"}}, metav1.CreateOptions{})
		return
	})
	must(t, func() (err error) {
		_, err = core.Nodes().Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n"}}, metav1.CreateOptions{})
		return
	})
	now, plain := metav1.DeleteOptions{GracePeriodSeconds: new(int64)}, newToken(t, server, authenticationv1.TokenRequestSpec{})
	for _, b := range []struct {
		kind, name string
		remove     func() error
	}{
		{"Pod", "till", func() error { return core.Pods("default").Delete(t.Context(), "till", now) }},
		{"Secret", "s", func() error { return core.Secrets("default").Delete(t.Context(), "s", now) }},
		{"Node", "n", func() error { return core.Nodes().Delete(t.Context(), "n", now) }},
	} {
		token := newToken(t, server, bound(b.kind, b.name))
		if !knows(t, server, token) {
			t.Errorf("a token bound to a %s is not accepted", b.kind)
		}
		must(t, b.remove)
		if knows(t, server, token) {
			t.Errorf("a token bound to a %s that is gone is accepted", b.kind)
		}
	}
	if !knows(t, server, plain) {
		t.Error("a token bound to nothing is not accepted any more")
	}
	// The account comes back, but as another of the same name.
	must(t, func() error { return core.ServiceAccounts("default").Delete(t.Context(), "default", now) })
	if knows(t, server, plain) {
		t.Error("a token of an account that is gone is accepted")
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		_, err := core.ServiceAccounts("default").Get(t.Context(), "default", metav1.GetOptions{})
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the account does not come back: %v", err)
		}
	}
	if knows(t, server, newToken(t, server, authenticationv1.TokenRequestSpec{Audiences: []string{"others"}})) {
		t.Error("a token for others is accepted")
	}
}

func must(t *testing.T, do func() error) {
	t.Helper()
	if err := do(); err != nil {
		t.Fatal(err)
	}
}

// The answer is as kube-apiserver's, owners of its fields included.
func TestTokenAnswer(t *testing.T) {
	server := knarrtest.Start(t)
	post := func(dryRun string) map[string]any {
		request := clientOf(t, server.ClientConfig()).CoreV1().RESTClient().Post().AbsPath("/api/v1/namespaces/default/serviceaccounts/default/token").
			Param("fieldManager", "me").SetHeader("Accept", "application/json").SetHeader("Content-Type", "application/json").
			Body([]byte(`{"spec":{"expirationSeconds":700}}`))
		if dryRun != "" {
			request.Param("dryRun", dryRun)
		}
		body, err := request.DoRaw(t.Context())
		if err != nil {
			t.Fatalf("%v: %s", err, body)
		}
		var answer map[string]any
		if err := json.Unmarshal(body, &answer); err != nil {
			t.Fatal(err)
		}
		return answer
	}
	for _, dryRun := range []string{"", "All"} {
		answer := post(dryRun)
		metadata, spec, status := answer["metadata"].(map[string]any), answer["spec"].(map[string]any), answer["status"].(map[string]any)
		if answer["kind"] != "TokenRequest" || answer["apiVersion"] != "authentication.k8s.io/v1" || metadata["name"] != "default" || metadata["namespace"] != "default" || metadata["uid"] == nil {
			t.Errorf("the answer is %v", answer)
		}
		if spec["expirationSeconds"] != 700. || spec["boundObjectRef"] != nil || len(spec["audiences"].([]any)) != 1 {
			t.Errorf("spec %v", spec)
		}
		if !knows(t, server, status["token"].(string)) {
			t.Error("the token is not accepted")
		}
		owners, _ := json.Marshal(metadata["managedFields"])
		if !strings.Contains(string(owners), `"fieldsV1":{"f:spec":{"f:expirationSeconds":{}}}`) || !strings.Contains(string(owners), `"subresource":"token"`) {
			t.Errorf("owners %s", owners)
		}
	}
}

// Tokens that live in Secrets, as kube-controller-manager still makes them, are
// accepted, and their use is noted.
func TestTokenInASecret(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	key := newKeyFile(t, file)
	server := knarrtest.StartWith(t, knarr.Options{ServiceAccountSigningKeyFile: file})
	core := clientOf(t, server.ClientConfig()).CoreV1()
	account, err := core.ServiceAccounts("default").Get(t.Context(), "default", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "old", Annotations: map[string]string{"kubernetes.io/service-account.name": "default"}},
		Type:       corev1.SecretTypeServiceAccountToken,
	}
	claims, private := serviceaccount.LegacyClaims(*account, *secret)
	generator, err := serviceaccount.JWTTokenGenerator(serviceaccount.LegacyIssuer, key)
	if err != nil {
		t.Fatal(err)
	}
	token, err := generator.GenerateToken(t.Context(), claims, private)
	if err != nil {
		t.Fatal(err)
	}
	if knows(t, server, token) {
		t.Error("a token that is in no Secret is accepted")
	}
	secret.Data = map[string][]byte{"token": []byte(token)}
	must(t, func() (err error) {
		_, err = core.Secrets("default").Create(t.Context(), secret, metav1.CreateOptions{})
		return
	})
	if !knows(t, server, token) {
		t.Error("it is not accepted")
	}
	if secret, err = core.Secrets("default").Get(t.Context(), "old", metav1.GetOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := time.Parse(time.DateOnly, secret.Labels["kubernetes.io/legacy-token-last-used"]); err != nil {
		t.Errorf("its use is noted as %v", secret.Labels)
	}
	if !slices.ContainsFunc(secret.ManagedFields, func(f metav1.ManagedFieldsEntry) bool {
		return f.Manager == "kube-apiserver" && strings.Contains(f.FieldsV1.String(), "legacy-token-last-used")
	}) {
		t.Errorf("the note is owned by %v", secret.ManagedFields)
	}
	// One that is empty is filled in, with a token that the server accepts.
	secret = &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "new", Annotations: map[string]string{"kubernetes.io/service-account.name": "default"}},
		Type:       corev1.SecretTypeServiceAccountToken,
	}
	must(t, func() (err error) {
		_, err = core.Secrets("default").Create(t.Context(), secret, metav1.CreateOptions{})
		return
	})
	for end := time.Now().Add(time.Minute); len(secret.Data["token"]) == 0; time.Sleep(5 * time.Millisecond) {
		if secret, err = core.Secrets("default").Get(t.Context(), "new", metav1.GetOptions{}); err != nil || time.Now().After(end) {
			t.Fatalf("nothing is filled in: %v, %v", secret, err)
		}
	}
	if !knows(t, server, string(secret.Data["token"])) {
		t.Error("the token that was filled in is not accepted")
	}
}

// newKeyFile makes a private key and keeps it in a file.
func newKeyFile(t *testing.T, file string) crypto.Signer {
	t.Helper()
	key, err := pki.NewSigningKey()
	if err != nil {
		t.Fatal(err)
	}
	data, err := keyutil.MarshalPrivateKeyToPEM(key)
	if err != nil {
		t.Fatal(err)
	}
	must(t, func() error { return os.WriteFile(file, data, 0o600) })
	return key
}

// A restart keeps tokens valid; a new data directory does not.
func TestTokensOutliveTheServer(t *testing.T) {
	options := knarr.Options{DataDir: t.TempDir()}
	server := start(t, options)
	token := newToken(t, server, authenticationv1.TokenRequestSpec{})
	stop(t, server)
	server = start(t, options)
	if !knows(t, server, token) {
		t.Error("after a restart a token is not accepted")
	}
	stop(t, server)
	server = start(t, knarr.Options{DataDir: t.TempDir()})
	defer stop(t, server)
	if knows(t, server, token) {
		t.Error("another server's token is accepted")
	}
}

// Keys are replaced in two steps, so that no token is refused before its time.
func TestKeyRotation(t *testing.T) {
	dir := t.TempDir()
	private, public := map[string]string{}, map[string]string{}
	for _, name := range []string{"old", "new"} {
		private[name], public[name] = filepath.Join(dir, name+".key"), filepath.Join(dir, name+".pub")
		key := newKeyFile(t, private[name])
		der, err := x509.MarshalPKIXPublicKey(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		must(t, func() error {
			return os.WriteFile(public[name], pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600)
		})
	}
	var tokens []string
	for _, step := range []struct {
		signing string
		keys    []string
		known   []bool // the tokens of the steps before
		shown   int    // keys in the document
	}{
		{private["old"], nil, []bool{}, 1},
		{private["old"], []string{public["old"], public["new"]}, []bool{true}, 2},
		{private["new"], []string{public["old"], public["new"]}, []bool{true, true}, 2},
		{private["new"], []string{public["new"]}, []bool{false, false, true}, 1},
		{"", []string{public["new"]}, []bool{false, false, true, true}, 2}, // its own
	} {
		server := start(t, knarr.Options{
			DataDir: filepath.Join(dir, "data"), ServiceAccountSigningKeyFile: step.signing, ServiceAccountKeyFiles: step.keys,
		})
		known := []bool{}
		for _, token := range tokens {
			known = append(known, knows(t, server, token))
		}
		if !slices.Equal(known, step.known) {
			t.Errorf("signing by %q, accepting %v: %v, want %v", step.signing, step.keys, known, step.known)
		}
		tokens = append(tokens, newToken(t, server, authenticationv1.TokenRequestSpec{}))
		var set struct{ Keys []map[string]any }
		must(t, func() error { return json.Unmarshal(raw(t, server, "/openid/v1/jwks"), &set) })
		kid := header(t, tokens[len(tokens)-1])["kid"]
		if len(set.Keys) != step.shown || !slices.ContainsFunc(set.Keys, func(key map[string]any) bool { return key["kid"] == kid }) {
			t.Errorf("the keys %v, want %d with %v", set.Keys, step.shown, kid)
		}
		stop(t, server)
	}
}

func raw(t *testing.T, server *knarr.Server, path string) []byte {
	t.Helper()
	body, err := clientOf(t, server.ClientConfig()).CoreV1().RESTClient().Get().AbsPath(path).DoRaw(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// header is what a token says about itself.
func header(t *testing.T, token string) (h map[string]any) {
	t.Helper()
	first, _, _ := strings.Cut(token, ".")
	data, err := base64.RawURLEncoding.DecodeString(first)
	if err != nil {
		t.Fatal(err)
	}
	must(t, func() error { return json.Unmarshal(data, &h) })
	return h
}

// What OpenID Connect asks of an issuer, as kube-apiserver answers it.
func TestIssuerDocuments(t *testing.T) {
	server := knarrtest.Start(t)
	transport, err := rest.TransportFor(server.ClientConfig())
	if err != nil {
		t.Fatal(err)
	}
	const configuration, keys = "/.well-known/openid-configuration", "/openid/v1/jwks"
	for _, test := range []struct {
		method, path, accept string
		code                 int
		media, body          string
	}{
		{"GET", configuration, "", 200, "application/json",
			`{"issuer":"https://kubernetes.default.svc.cluster.local","jwks_uri":"` + server.URL() + keys + `","response_types_supported":["id_token"],"subject_types_supported":["public"],"id_token_signing_alg_values_supported":["ES256"]}`},
		{"GET", configuration + "/", "application/json", 200, "application/json", `{"issuer":`},
		{"GET", keys, "*/*", 200, "application/jwk-set+json", `{"keys":[{"use":"sig","kty":"EC","kid":"`},
		{"GET", keys, "application/json", 406, "application/json", `406: Not Acceptable\n\nAvailable representations: application/jwk-set+json`},
		{"POST", keys, "", 405, "application/json", `the server does not allow this method on the requested resource`},
		{"GET", keys + "/more", "", 404, "application/json", `the server could not find the requested resource`},
	} {
		req, err := http.NewRequestWithContext(t.Context(), test.method, server.URL()+test.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if test.accept != "" {
			req.Header.Set("Accept", test.accept)
		}
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != test.code || resp.Header.Get("Content-Type") != test.media || !strings.Contains(string(body), test.body) {
			t.Errorf("%s %s: %d %s %s\nwant %d %s %s", test.method, test.path, resp.StatusCode, resp.Header.Get("Content-Type"), body, test.code, test.media, test.body)
		}
		cache := "no-cache, private"
		if test.code == 200 {
			cache = "public, max-age=3600"
		}
		if got := resp.Header.Get("Cache-Control"); got != cache {
			t.Errorf("%s %s: Cache-Control %q, want %q", test.method, test.path, got, cache)
		}
	}
	for path, text := range map[string]string{
		"/": `"` + configuration + `"`, "/openapi/v3": `".well-known/openid-configuration"`, "/openapi/v2": `"` + keys + `/"`,
	} {
		if !strings.Contains(string(raw(t, server, path)), text) {
			t.Errorf("%s does not list %s", path, text)
		}
	}
	// An issuer that is no https URL has none.
	other := knarrtest.StartWith(t, knarr.Options{ServiceAccountIssuers: []string{"somebody"}})
	if _, err := clientOf(t, other.ClientConfig()).CoreV1().RESTClient().Get().AbsPath(keys).DoRaw(t.Context()); !apierrors.IsNotFound(err) {
		t.Errorf("keys of an issuer that is no URL: %v", err)
	}
	if strings.Contains(string(raw(t, other, "/")), keys) {
		t.Error("they are listed")
	}
	if token := newToken(t, other, authenticationv1.TokenRequestSpec{}); !knows(t, other, token) {
		t.Error("its tokens are not accepted")
	}
}

// Tokens are for this API by its names, whoever issues them.
func TestAPIAudiences(t *testing.T) {
	server := knarrtest.StartWith(t, knarr.Options{APIAudiences: []string{"api", "other"}, ServiceAccountIssuers: []string{"https://a", "https://b"}})
	for audience, want := range map[string]bool{"": true, "api": true, "other": true, "https://a": false} {
		spec := authenticationv1.TokenRequestSpec{}
		if audience != "" {
			spec.Audiences = []string{audience}
		}
		if got := knows(t, server, newToken(t, server, spec)); got != want {
			t.Errorf("a token for %q is accepted: %v, want %v", audience, got, want)
		}
	}
}

// What keeps a server from starting is told in one line, and nothing is opened.
func TestTokenOptionsRefused(t *testing.T) {
	dir := t.TempDir()
	junk := filepath.Join(dir, "junk")
	must(t, func() error { return os.WriteFile(junk, []byte("top secret"), 0o600) })
	for want, o := range map[string]knarr.Options{
		`service-account-issuer "a" is already specified`:                                           {ServiceAccountIssuers: []string{"a", "a"}},
		"service-account-jwks-uri requires https scheme":                                            {ServiceAccountJWKSURI: "http://a"},
		"the service-account-max-token-expiration must be between 1 hour and 2^32 seconds":          {ServiceAccountMaxTokenExpiration: time.Minute},
		"failed to parse service-account-issuer-key-file: error reading private key file " + junk:   {ServiceAccountSigningKeyFile: junk},
		`failed to parse key file "` + junk + `": error reading public key file ` + junk:            {ServiceAccountKeyFiles: []string{junk}},
		`"x" is not in the list of known controllers: root-ca-certificate-publisher-controller`:     {Controllers: []string{"*", "-x"}},
		"failed to parse service-account-issuer-key-file: open " + filepath.Join(dir, "none") + ":": {ServiceAccountSigningKeyFile: filepath.Join(dir, "none")},
	} {
		_, err := knarr.Start(context.Background(), o)
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "secret") {
			t.Errorf("error %v\nwant  %s", err, want)
		}
	}
}

// What each namespace gets is what its pods need to verify the server.
func TestRootCAVerifiesTheServer(t *testing.T) {
	server := knarrtest.Start(t)
	core := clientOf(t, server.ClientConfig()).CoreV1()
	for _, namespace := range []string{"default", "kube-system", "kube-public", "kube-node-lease", "shop"} {
		if namespace == "shop" {
			must(t, func() (err error) {
				_, err = core.Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{})
				return
			})
		}
		if _, err := core.ServiceAccounts(namespace).Get(t.Context(), "default", metav1.GetOptions{}); err != nil {
			t.Error(err)
		}
		root, err := core.ConfigMaps(namespace).Get(t.Context(), "kube-root-ca.crt", metav1.GetOptions{})
		if err != nil {
			t.Error(err)
			continue
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM([]byte(root.Data["ca.crt"]))
		conn, err := tls.Dial("tcp", strings.TrimPrefix(server.URL(), "https://"), &tls.Config{RootCAs: pool})
		if err != nil {
			t.Errorf("with the root CA of %s: %v", namespace, err)
			continue
		}
		conn.Close()
	}
}
