package authn

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1listers "k8s.io/client-go/listers/core/v1"
)

func TestWebhook(t *testing.T) {
	var asked atomic.Int32
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		var review authenticationv1.TokenReview
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil || review.APIVersion != "authentication.k8s.io/v1" {
			http.Error(w, "no review", http.StatusBadRequest)
			return
		}
		switch token := review.Spec.Token; {
		case strings.HasPrefix(token, "known-"):
			review.Status = authenticationv1.TokenReviewStatus{Authenticated: true, User: authenticationv1.UserInfo{
				Username: token, UID: "7", Groups: []string{"dev"}, Extra: map[string]authenticationv1.ExtraValue{"a": {"b"}},
			}}
		case token == "other":
			review.Status = authenticationv1.TokenReviewStatus{Authenticated: true, Audiences: []string{"elsewhere"}}
		case token == "broken":
			http.Error(w, "broken", http.StatusNotAcceptable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(review)
	}))
	t.Cleanup(server.Close)
	ca := base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	file := filepath.Join(t.TempDir(), "webhook.kubeconfig")
	text := fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: k, user: u}}],
		clusters: [{name: k, cluster: {server: %q, certificate-authority-data: %s}}], users: [{name: u, user: {}}]}`, server.URL, ca)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := New(Options{Webhook: Webhook{ConfigFile: file, Version: "v1", CacheTTL: time.Hour}, APIAudiences: []string{"api"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	for _, c := range []struct {
		token string
		good  bool
		asked int32
	}{
		{"known-a", true, 1}, {"known-a", true, 0}, {"known-b", true, 1},
		{"stranger", false, 1}, {"stranger", false, 0}, // it knows that it does not
		{"other", false, 1}, {"broken", false, 1}, {"broken", false, 1}, // an error is not an answer
	} {
		before := asked.Load()
		got, err := who(a, c.token)
		if (err == nil) != c.good {
			t.Errorf("%s: %v", c.token, err)
		}
		if c.good && (got.GetName() != c.token || got.GetUID() != "7" || fmt.Sprint(got.GetGroups(), got.GetExtra()) != "[dev system:authenticated] map[a:[b]]") {
			t.Errorf("%s is %v", c.token, got)
		}
		if n := asked.Load() - before; n != c.asked {
			t.Errorf("%s: asked %d times, want %d", c.token, n, c.asked)
		}
	}
	if _, err := New(Options{Webhook: Webhook{ConfigFile: "/absent"}}); err == nil || !strings.Contains(err.Error(), "/absent") {
		t.Error(err)
	}
	if _, err := New(Options{Webhook: Webhook{ConfigFile: file, Version: "v7"}}); err == nil || !strings.Contains(err.Error(), "v7") {
		t.Error(err)
	}
}

// secrets are those of kube-system.
type secrets struct {
	corev1listers.SecretNamespaceLister
	all map[string]*corev1.Secret
}

func (s secrets) Get(name string) (*corev1.Secret, error) {
	if found := s.all[name]; found != nil {
		return found, nil
	}
	return nil, apierrors.NewNotFound(corev1.Resource("secrets"), name)
}

func TestBootstrapTokens(t *testing.T) {
	all := secrets{all: map[string]*corev1.Secret{}}
	add := func(id string, change func(*corev1.Secret)) {
		s := &corev1.Secret{Type: "bootstrap.kubernetes.io/token", Data: map[string][]byte{
			"token-id": []byte(id), "token-secret": []byte("0123456789abcdef"), "usage-bootstrap-authentication": []byte("true"),
		}}
		s.Name = "bootstrap-token-" + id
		if change != nil {
			change(s)
		}
		all.all[s.Name] = s
	}
	data := func(name, value string) func(*corev1.Secret) {
		return func(s *corev1.Secret) { s.Data[name] = []byte(value) }
	}
	add("aaaaaa", nil)
	add("bbbbbb", data("auth-extra-groups", "system:bootstrappers:kubeadm:default-node-token,system:bootstrappers:x"))
	add("cccccc", data("expiration", time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)))
	add("dddddd", data("usage-bootstrap-authentication", "false"))
	add("eeeeee", data("token-id", "ffffff"))
	add("gggggg", func(s *corev1.Secret) { s.Type = corev1.SecretTypeOpaque })
	add("hhhhhh", data("auth-extra-groups", "system:masters"))
	add("iiiiii", func(s *corev1.Secret) { s.DeletionTimestamp = &metav1.Time{Time: time.Now()} })
	a, err := New(Options{Bootstrap: all, APIAudiences: []string{"api"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	for token, want := range map[string]string{
		"aaaaaa.0123456789abcdef": "system:bootstrap:aaaaaa [system:bootstrappers system:authenticated]",
		"bbbbbb.0123456789abcdef": "system:bootstrap:bbbbbb [system:bootstrappers system:bootstrappers:kubeadm:default-node-token system:bootstrappers:x system:authenticated]",
		"aaaaaa.0123456789abcdeX": "", "aaaaaa.0123456789abcde0": "", "zzzzzz.0123456789abcdef": "", "aaaaaa": "", "aaaaaa.": "",
		"cccccc.0123456789abcdef": "", "dddddd.0123456789abcdef": "", "eeeeee.0123456789abcdef": "", "gggggg.0123456789abcdef": "",
		"hhhhhh.0123456789abcdef": "", "iiiiii.0123456789abcdef": "",
	} {
		got, err := who(a, token)
		is := ""
		if err == nil {
			is = fmt.Sprint(got.GetName(), " ", got.GetGroups())
		}
		if is != want {
			t.Errorf("%s: %q (%v), want %q", token, is, err, want)
		}
	}
	delete(all.all, "bootstrap-token-aaaaaa")
	if _, ok, _ := a.AuthenticateRequest(bearer("aaaaaa.0123456789abcdef").WithContext(context.Background())); ok {
		t.Error("accepted after its end")
	}
}
