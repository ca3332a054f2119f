package knarr_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/knarr-io/knarr"
	"github.com/knarr-io/knarr/internal/auth/authn/authntest"
	"github.com/knarr-io/knarr/knarrtest"
)

// Twenty servers in one process share nothing but code.
func TestTwentyServers(t *testing.T) {
	var clients []kubernetes.Interface
	for range 20 {
		server := knarrtest.Start(t)
		client, err := kubernetes.NewForConfig(server.ClientConfig())
		if err != nil {
			t.Fatal(err)
		}
		clients = append(clients, client)
	}
	for i, client := range clients {
		name := "only-" + string(rune('a'+i))
		if _, err := client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		for j, other := range clients {
			_, err := other.CoreV1().Namespaces().Get(t.Context(), name, metav1.GetOptions{})
			if (i == j) != (err == nil) {
				t.Fatalf("server %d, asked for the namespace of server %d: %v", j, i, err)
			}
		}
	}
}

// Stop is synchronous: no goroutine, port or lock is left.
func TestStopLeavesNothing(t *testing.T) {
	before := goleak.IgnoreCurrent()
	options := knarr.Options{DataDir: t.TempDir(), SecurePort: freePort(t)}
	for range 2 {
		server := start(t, options)
		client, err := kubernetes.NewForConfig(server.ClientConfig())
		if err != nil {
			t.Fatal(err)
		}
		watch, err := client.CoreV1().Pods("").Watch(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		stop(t, server)
		for range watch.ResultChan() { // ends, since the server ended it
		}
		if l, err := net.Listen("tcp", strings.TrimPrefix(server.URL(), "https://")); err != nil {
			t.Fatalf("the port is still taken: %v", err)
		} else {
			l.Close()
		}
	}
	goleak.VerifyNone(t, before)
}

// Nor is anything left of those who are asked who somebody is.
func TestStopLeavesNobody(t *testing.T) {
	p := pairs{t, t.TempDir()}
	provider := authntest.NewProvider(t)
	p.write("authentication.yaml", []byte("apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt:\n"+
		provider.JWT("  claimMappings: {username: {claim: sub, prefix: 'oidc:'}}")+
		"- {issuer: {url: 'https://127.0.0.1:1', audiences: [a]}, claimMappings: {username: {claim: sub, prefix: ''}}}\n"))
	p.write("webhook.kubeconfig", []byte(fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: k, user: u}}],
		clusters: [{name: k, cluster: {server: %q, insecure-skip-tls-verify: true}}], users: [{name: u, user: {}}]}`, provider.URL)))
	p.serving("serving", "127.0.0.1")
	client := p.bundle()
	p.write("clients.crt", client.CA.CertPEM())
	before := goleak.IgnoreCurrent()
	server := start(t, knarr.Options{
		AuthenticationConfigFile: p.path("authentication.yaml"), ClientCAFile: p.path("clients.crt"),
		AuthenticationTokenWebhook: knarr.WebhookTokenOptions{ConfigFile: p.path("webhook.kubeconfig"), Version: "v1"},
		TLSCertFile:                p.path("serving.crt"), TLSPrivateKeyFile: p.path("serving.key"),
	})
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	ask := func(token string) int {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL()+"/version", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+token)
		answer, err := transport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		return answer.StatusCode
	}
	token := provider.Token(nil)
	eventually(t, "the issuer's user", func() bool { return ask(token) == http.StatusOK })
	if code := ask("nobody's"); code != http.StatusUnauthorized { // the webhook is asked, and has no answer
		t.Error(code)
	}
	stop(t, server)
	transport.CloseIdleConnections()
	provider.CloseClientConnections() // its own ends
	goleak.VerifyNone(t, before)
}

// Everything is there again after a restart, and the certificates are the same.
func TestRestartKeepsEverything(t *testing.T) {
	options := knarr.Options{DataDir: t.TempDir()}
	server := start(t, options)
	client, err := kubernetes.NewForConfig(server.ClientConfig())
	if err != nil {
		t.Fatal(err)
	}
	made, err := client.CoreV1().ConfigMaps("default").Create(t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "kept"}, Data: map[string]string{"a": "b"},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	watchFrom := made.ResourceVersion
	if _, err := client.CoreV1().ConfigMaps("default").Patch(t.Context(), "kept", "application/merge-patch+json", []byte(`{"data":{"c":"d"}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	stop(t, server)

	server = start(t, options)
	defer stop(t, server)
	config, err := clientcmd.BuildConfigFromFlags("", filepath.Join(options.DataDir, "admin.kubeconfig"))
	if err != nil {
		t.Fatal(err)
	}
	if client, err = kubernetes.NewForConfig(config); err != nil {
		t.Fatal(err)
	}
	kept, err := client.CoreV1().ConfigMaps("default").Get(t.Context(), "kept", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if kept.UID != made.UID || kept.Data["c"] != "d" {
		t.Errorf("after the restart the object is %v", kept)
	}
	// A watch resumes from before the restart.
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	watch, err := client.CoreV1().ConfigMaps("default").Watch(ctx, metav1.ListOptions{ResourceVersion: watchFrom})
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Stop()
	event := <-watch.ResultChan()
	if cm, ok := event.Object.(*corev1.ConfigMap); !ok || event.Type != "MODIFIED" || cm.Data["c"] != "d" {
		t.Errorf("the watch goes on with %v", event)
	}
}

func TestDataDirectoryBelongsToOneServer(t *testing.T) {
	options := knarr.Options{DataDir: t.TempDir()}
	server := start(t, options)
	defer stop(t, server)
	began := time.Now()
	_, err := knarr.Start(t.Context(), options)
	if err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), options.DataDir) {
		t.Errorf("a second server in the directory gets: %v", err)
	}
	t.Logf("refused after %v", time.Since(began))
}

// The process-wide settings of upstream's libraries hold for all servers.
func TestConflictingProcessSettings(t *testing.T) {
	knarrtest.Start(t)
	no := false
	if _, err := knarr.Start(t.Context(), knarr.Options{AllowPrivileged: &no}); err == nil {
		t.Error("a server with other capabilities starts")
	}
	if _, err := knarr.Start(t.Context(), knarr.Options{FeatureGates: map[string]bool{"NoSuchGate": true}}); err == nil {
		t.Error("a server with an unknown feature gate starts")
	}
}

// A client without credentials sees what upstream shows, and no more.
func TestAnonymous(t *testing.T) {
	server := knarrtest.Start(t)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(server.ClientConfig().CAData)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	defer client.CloseIdleConnections()
	codes, err := os.ReadFile(filepath.Join("testdata", "anonymous-codes.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(codes)) {
		path, want, _ := strings.Cut(strings.TrimSpace(line), " ")
		resp, err := client.Get(server.URL() + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if got := resp.Status[:3]; got != want {
			t.Errorf("%s: %s, want %s: %s", path, got, want, body)
		}
	}
}

// Errors that a client must understand keep their kind on the way.
func TestErrorsAreStatus(t *testing.T) {
	server := knarrtest.Start(t)
	client, err := kubernetes.NewForConfig(server.ClientConfig())
	if err != nil {
		t.Fatal(err)
	}
	maps := client.CoreV1().ConfigMaps("default")
	if _, err := maps.Get(t.Context(), "none", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("get: %v", err)
	}
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "one"}}
	if _, err := maps.Create(t.Context(), cm, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := maps.Create(t.Context(), cm, metav1.CreateOptions{}); !apierrors.IsAlreadyExists(err) {
		t.Errorf("create again: %v", err)
	}
	cm.ResourceVersion = "1"
	if _, err := maps.Update(t.Context(), cm, metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
		t.Errorf("update of an old version: %v", err)
	}
	cm.Name = "Not A Name"
	cm.ResourceVersion = ""
	if _, err := maps.Create(t.Context(), cm, metav1.CreateOptions{}); !apierrors.IsInvalid(err) {
		t.Errorf("create with a bad name: %v", err)
	}
	if _, err := client.CoreV1().ConfigMaps("nowhere").Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "x"}}, metav1.CreateOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("create in a missing namespace: %v", err)
	}
	// client-go would try again, as the answer tells it to.
	future := client.CoreV1().RESTClient().Get().AbsPath("/api/v1/configmaps").Param("resourceVersion", "999999").MaxRetries(0)
	if err := future.Do(t.Context()).Error(); !apierrors.IsTimeout(err) {
		t.Errorf("list from the future: %v", err)
	}
}
