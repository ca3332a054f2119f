package knarr_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/knarr-io/knarr"
	"github.com/knarr-io/knarr/knarrtest"
)

// whoami is whom the server takes the owner of a token for; an error if it does not
// know.
func whoami(t *testing.T, server *knarr.Server, token string) (string, error) {
	t.Helper()
	config := rest.AnonymousClientConfig(server.ClientConfig())
	config.BearerToken = token
	review, err := clientOf(t, config).AuthenticationV1().SelfSubjectReviews().Create(t.Context(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	return fmt.Sprint(review.Status.UserInfo.Username, " ", review.Status.UserInfo.Groups), nil
}

func TestBootstrapToken(t *testing.T) {
	server := knarrtest.StartWith(t, knarr.Options{EnableBootstrapTokenAuth: true})
	secrets := clientOf(t, server.ClientConfig()).CoreV1().Secrets("kube-system")
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "bootstrap-token-abcdef"}, Type: corev1.SecretTypeBootstrapToken,
		StringData: map[string]string{
			"token-id": "abcdef", "token-secret": "0123456789abcdef", "usage-bootstrap-authentication": "true", "auth-extra-groups": "system:bootstrappers:x",
		},
	}
	const token = "abcdef.0123456789abcdef"
	if _, err := whoami(t, server, token); err == nil {
		t.Error("known before it is there")
	}
	must(t, func() error { _, err := secrets.Create(t.Context(), secret, metav1.CreateOptions{}); return err })
	is, err := whoami(t, server, token)
	if want := "system:bootstrap:abcdef [system:bootstrappers system:bootstrappers:x system:authenticated]"; err != nil || is != want {
		t.Errorf("is %q, %v", is, err)
	}
	must(t, func() error { return secrets.Delete(t.Context(), secret.Name, metav1.DeleteOptions{}) })
	if _, err := whoami(t, server, token); err == nil {
		t.Error("known after it has gone") // at once
	}
	if _, err := whoami(t, knarrtest.StartWith(t, knarr.Options{}), token); err == nil {
		t.Error("known where it is not enabled")
	}
}

// A token is void from the moment that what it is bound to has gone, though it was
// good just before.
func TestTokenIsVoidAtOnce(t *testing.T) {
	server := knarrtest.StartWith(t, knarr.Options{})
	client := clientOf(t, server.ClientConfig()).CoreV1()
	for i := range 5 {
		name := fmt.Sprint("bound-", i)
		must(t, func() error {
			_, err := client.Secrets("default").Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
			return err
		})
		token := newToken(t, server, authenticationv1.TokenRequestSpec{BoundObjectRef: &authenticationv1.BoundObjectReference{Kind: "Secret", APIVersion: "v1", Name: name}})
		for range 3 {
			if _, err := whoami(t, server, token); err != nil {
				t.Fatal(err)
			}
		}
		// Another's change is none of its, its own changes nothing about it.
		must(t, func() error {
			_, err := client.Secrets("default").Patch(t.Context(), name, "application/merge-patch+json", []byte(`{"metadata":{"labels":{"a":"b"}}}`), metav1.PatchOptions{})
			return err
		})
		if _, err := whoami(t, server, token); err != nil {
			t.Fatal(err)
		}
		must(t, func() error { return client.Secrets("default").Delete(t.Context(), name, metav1.DeleteOptions{}) })
		if _, err := whoami(t, server, token); err == nil {
			t.Fatal("known after its secret has gone")
		}
	}
}

func TestAnonymousAuthOptions(t *testing.T) {
	off := false
	file := filepath.Join(t.TempDir(), "authentication.yaml")
	text := "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\nanonymous: {enabled: true, conditions: [{path: /livez}]}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		options       knarr.Options
		livez, readyz int
	}{
		{knarr.Options{}, http.StatusOK, http.StatusOK},
		{knarr.Options{AnonymousAuth: &off}, http.StatusUnauthorized, http.StatusUnauthorized},
		{knarr.Options{AuthenticationConfigFile: file}, http.StatusOK, http.StatusUnauthorized},
	} {
		server := knarrtest.StartWith(t, c.options)
		transport, err := rest.TransportFor(rest.AnonymousClientConfig(server.ClientConfig()))
		if err != nil {
			t.Fatal(err)
		}
		for path, want := range map[string]int{"/livez": c.livez, "/readyz": c.readyz} {
			answer, err := (&http.Client{Transport: transport}).Get(server.URL() + path)
			if err != nil {
				t.Fatal(err)
			}
			answer.Body.Close()
			if answer.StatusCode != want {
				t.Errorf("%s: %d, want %d", path, answer.StatusCode, want)
			}
		}
	}
}

func TestAuthenticationOptionsRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "authentication.yaml")
	if err := os.WriteFile(file, []byte("apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\nanonymous: {enabled: true}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	on := true
	for _, c := range []struct {
		options knarr.Options
		want    string
	}{
		{knarr.Options{OIDC: knarr.OIDCOptions{IssuerURL: "https://a"}}, "oidc-issuer-url and oidc-client-id must be specified together"},
		{knarr.Options{OIDC: knarr.OIDCOptions{IssuerURL: "https://a", ClientID: "b"}, AuthenticationConfigFile: file}, "mutually exclusive"},
		{knarr.Options{AuthenticationConfigFile: file, AnonymousAuth: &on}, "--anonymous-auth flag cannot be set"},
		{knarr.Options{AuthenticationConfigFile: "/absent"}, "/absent"},
		{knarr.Options{AuthenticationTokenWebhook: knarr.WebhookTokenOptions{ConfigFile: "/absent"}}, "/absent"},
		{knarr.Options{OIDC: knarr.OIDCOptions{IssuerURL: "https://kubernetes.default.svc.cluster.local", ClientID: "b"}}, "must not overlap with disallowed issuers"},
	} {
		server, err := knarr.Start(t.Context(), c.options)
		if err == nil {
			_ = server.Stop(t.Context())
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v; want %q", err, c.want)
		}
	}
}
