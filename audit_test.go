package knarr_test

import (
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/knarr-io/knarr"
)

// collector is a server that audit events are posted to.
type collector struct {
	*httptest.Server
	mu     sync.Mutex
	events []auditv1.Event
}

func newCollector(t *testing.T) *collector {
	c := &collector{}
	c.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var list auditv1.EventList
		b, err := io.ReadAll(r.Body)
		if err == nil {
			err = json.Unmarshal(b, &list)
		}
		if err != nil || r.Header.Get("Authorization") != "Bearer letmein" {
			http.Error(w, "no events", http.StatusBadRequest)
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.events = append(c.events, list.Items...)
	}))
	t.Cleanup(c.Close)
	return c
}

// config is how to reach it.
func (c *collector) config(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "webhook.kubeconfig")
	authority := filepath.Join(t.TempDir(), "ca.crt")
	writeFile(t, authority, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate().Raw})))
	err := clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"c": {Server: c.URL, CertificateAuthority: authority}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"c": {Token: "letmein"}},
		Contexts:       map[string]*clientcmdapi.Context{"c": {Cluster: "c", AuthInfo: "c"}},
		CurrentContext: "c",
	}, path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Requests are recorded in a file and by a server, in full when knarr has
// stopped. What the server does by itself is no request.
func TestAudit(t *testing.T) {
	webhook := newCollector(t)
	a := knarr.DefaultAudit()
	a.PolicyFile = filepath.Join(t.TempDir(), "policy.yaml")
	writeFile(t, a.PolicyFile, `
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: RequestResponse, resources: [{resources: [configmaps]}]}
- {level: Metadata, resources: [{resources: [secrets]}]}
- {level: None}
`)
	a.Log.Path = filepath.Join(t.TempDir(), "audit.log")
	a.Webhook.ConfigFile = webhook.config(t)
	server := start(t, knarr.Options{Audit: a})
	client := clientOf(t, server.ClientConfig())
	ctx := t.Context()
	if _, err := client.CoreV1().ConfigMaps("default").Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "c"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s"}, Data: map[string][]byte{"k": []byte("hunter2")}}
	if _, err := client.CoreV1().Secrets("default").Create(ctx, secret, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	watch, err := client.CoreV1().Secrets("default").Watch(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.CoreV1().Pods("").List(ctx, metav1.ListOptions{}); err != nil {
		t.Fatal(err)
	}
	stop(t, server)
	for range watch.ResultChan() { // until the server has ended it
	}

	b, err := os.ReadFile(a.Log.Path)
	if err != nil {
		t.Fatal(err)
	}
	var logged []auditv1.Event
	for line := range strings.Lines(string(b)) {
		var e auditv1.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		logged = append(logged, e)
	}
	if strings.Contains(string(b), "aHVudGVyMg") || strings.Contains(string(b), "hunter2") {
		t.Errorf("the secret is in the log: %s", b)
	}
	for where, events := range map[string][]auditv1.Event{"the log": logged, "the webhook": webhook.events} {
		var told []string
		for _, e := range events {
			told = append(told, e.Verb+" "+e.ObjectRef.Resource+" "+string(e.Stage))
			if with := e.ResponseObject != nil; with != (e.ObjectRef.Resource == "configmaps") {
				t.Errorf("%s: %s: the answer is told: %v", where, told[len(told)-1], with)
			}
		}
		got := strings.Join(told, ", ")
		want := "create configmaps ResponseComplete, create secrets ResponseComplete, watch secrets ResponseStarted, watch secrets ResponseComplete"
		if got != want {
			t.Errorf("%s: %s", where, got)
		}
	}
}
