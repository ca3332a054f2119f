package knarr_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/knarr-io/knarr"
	"github.com/knarr-io/knarr/internal/store"
	"github.com/knarr-io/knarr/internal/store/disk"
)

// peerBinary is a server that knarr is compared with; the test is skipped if it
// has not been built, which takes many minutes (make twin).
func peerBinary(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("twin", ".peers", name))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Skipf("%s has not been built: %v", name, err)
	}
	return path
}

// runPeer starts a process that ends with the test, or before.
func runPeer(t *testing.T, path string, args ...string) (stop func()) {
	t.Helper()
	var output bytes.Buffer
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := false
	stop = func() {
		if done {
			return
		}
		done = true
		_ = cmd.Process.Signal(os.Interrupt) // it may have ended
		_ = cmd.Wait()
		if t.Failed() {
			said := output.String()
			t.Logf("%s: %s", filepath.Base(path), said[max(0, len(said)-4000):])
		}
	}
	t.Cleanup(stop)
	return stop
}

// etcd is one with nothing in it, reached by its JSON gateway.
type etcd struct{ url string }

func startEtcd(t *testing.T) etcd {
	client, peer := fmt.Sprintf("http://127.0.0.1:%d", freePort(t)), fmt.Sprintf("http://127.0.0.1:%d", freePort(t))
	runPeer(t, peerBinary(t, "etcd"), "--data-dir="+t.TempDir(), "--listen-client-urls="+client, "--advertise-client-urls="+client,
		"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer, "--initial-cluster=default="+peer, "--log-level=warn")
	e := etcd{client}
	await(t, "etcd", func() error { _, err := e.call("range", map[string][]byte{"key": []byte("/")}); return err })
	return e
}

type pair struct{ Key, Value []byte }

func (e etcd) call(what string, body any) ([]pair, error) {
	b, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	r, err := http.Post(e.url+"/v3/kv/"+what, "application/json", bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	var answer struct{ Kvs []pair }
	if r.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(r.Body) // for the message
		return nil, fmt.Errorf("etcd: %s %s", r.Status, text)
	}
	err = json.NewDecoder(r.Body).Decode(&answer)
	return answer.Kvs, err
}

func await(t *testing.T, what string, try func() error) {
	t.Helper()
	var err error
	for range 600 {
		if err = try(); err == nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("%s does not come up: %v", what, err)
}

// startAPIServer starts kube-apiserver on an etcd.
func startAPIServer(t *testing.T, e etcd, encryption string) (config *rest.Config, stop func()) {
	dir := t.TempDir()
	signing, tokens := filepath.Join(dir, "sa.key"), filepath.Join(dir, "tokens.csv")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, signing, string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})))
	writeFile(t, tokens, "letmein,admin,admin,system:masters\n")
	port := freePort(t)
	stop = runPeer(t, peerBinary(t, "kube-apiserver"), "--etcd-servers="+e.url, "--bind-address=127.0.0.1", "--advertise-address=192.0.2.1",
		fmt.Sprintf("--secure-port=%d", port), "--cert-dir="+dir, "--token-auth-file="+tokens, "--authorization-mode=RBAC",
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file="+signing, "--service-account-signing-key-file="+signing,
		"--service-cluster-ip-range=10.0.0.0/24", "--disable-admission-plugins=ServiceAccount", "--encryption-provider-config="+encryption)
	config = &rest.Config{Host: fmt.Sprintf("https://127.0.0.1:%d", port), BearerToken: "letmein", QPS: -1, TLSClientConfig: rest.TLSClientConfig{Insecure: true}}
	client := clientOf(t, config)
	await(t, "kube-apiserver", func() error {
		return client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(t.Context()).Error()
	})
	return config, stop
}

var widgets = schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "widgets"}

// fill makes objects of many kinds, named after who made them.
func fill(t *testing.T, config *rest.Config, by string) {
	t.Helper()
	ctx, client := t.Context(), clientOf(t, config)
	dynamicClient, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	definitions := dynamicClient.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	if _, err := definitions.Get(ctx, "widgets.example.com", metav1.GetOptions{}); err != nil {
		definition := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": map[string]any{"name": "widgets.example.com"},
			"spec": map[string]any{
				"group": "example.com", "scope": "Namespaced", "names": map[string]any{"plural": "widgets", "kind": "Widget"},
				"versions": []any{map[string]any{"name": "v1", "served": true, "storage": true, "schema": map[string]any{
					"openAPIV3Schema": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true},
				}}},
			},
		}}
		if _, err := definitions.Create(ctx, definition, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	await(t, "the custom resource", func() error {
		_, err := dynamicClient.Resource(widgets).Namespace("default").Create(ctx, &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "example.com/v1", "kind": "Widget", "metadata": map[string]any{"name": by}, "hidden": "hunter2",
		}}, metav1.CreateOptions{})
		return err
	})
	object := metav1.ObjectMeta{Name: by}
	_, err1 := client.CoreV1().Secrets("default").Create(ctx, newSecret(by), metav1.CreateOptions{})
	_, err2 := client.CoreV1().ConfigMaps("default").Create(ctx, &corev1.ConfigMap{ObjectMeta: object, Data: map[string]string{"k": "hunter2"}}, metav1.CreateOptions{})
	_, err3 := client.CoreV1().Services("default").Create(ctx, &corev1.Service{ObjectMeta: object, Spec: corev1.ServiceSpec{
		Type: corev1.ServiceTypeNodePort, Ports: []corev1.ServicePort{{Port: 80}},
	}}, metav1.CreateOptions{})
	_, err4 := client.CoreV1().Events("default").Create(ctx, &corev1.Event{ObjectMeta: object, InvolvedObject: corev1.ObjectReference{Namespace: "default"}}, metav1.CreateOptions{})
	_, err5 := client.CoreV1().Nodes().Create(ctx, &corev1.Node{ObjectMeta: object}, metav1.CreateOptions{})
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		t.Fatal(err)
	}
}

// everything is what clients get to see of all objects, by resource and name,
// without what belongs to a revision.
func everything(t *testing.T, config *rest.Config) map[string]string {
	t.Helper()
	d, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	lists, err := d.ServerPreferredResources()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range list.APIResources {
			if !strings.Contains(strings.Join(r.Verbs, ","), "list") || r.Name == "componentstatuses" {
				continue
			}
			found, err := client.Resource(gv.WithResource(r.Name)).List(t.Context(), metav1.ListOptions{})
			if err != nil {
				t.Errorf("%s: %v", r.Name, err)
				continue
			}
			_ = meta.EachListItem(found, func(o runtime.Object) error {
				u := o.(*unstructured.Unstructured)
				u.SetResourceVersion("")
				b, err := json.Marshal(u.Object)
				if err != nil {
					t.Fatal(err)
				}
				all[gv.Group+"/"+r.Name+" "+u.GetNamespace()+"/"+u.GetName()] = string(b)
				return nil
			})
		}
	}
	return all
}

// made are the objects that somebody made, by name, and those that stay as they are.
func made(all map[string]string, by string) map[string]string {
	found := map[string]string{}
	for name, object := range all {
		if strings.HasSuffix(name, "/"+by) || strings.HasPrefix(name, "rbac.authorization.k8s.io/") {
			found[name] = object
		}
	}
	return found
}

// What kube-apiserver has in its etcd, everything encrypted, knarr can read in
// its own store, and what knarr has, kube-apiserver.
func TestEncryptedByAnother(t *testing.T) {
	encryption := filepath.Join(t.TempDir(), "encryption.yaml")
	writeFile(t, encryption, `
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [secrets, services, widgets.example.com]
  providers: [{aesgcm: {keys: [{name: a, secret: "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE="}]}}]
- resources: ['*.apiextensions.k8s.io']
  providers: [{aescbc: {keys: [{name: b, secret: "YmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmI="}]}}]
- resources: ['*.*']
  providers: [{aesgcm: {keys: [{name: c, secret: "Y2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2M="}]}}]
`)
	theirs := startEtcd(t)
	config, stopIt := startAPIServer(t, theirs, encryption)
	fill(t, config, "kube-apiserver")
	want := made(everything(t, config), "kube-apiserver")
	stopIt()

	kept, err := theirs.call("range", map[string][]byte{"key": []byte("/registry/"), "range_end": []byte("/registry0")})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	raw := openRaw(t, dir)
	for _, p := range kept {
		encrypted(t, string(p.Key), p.Value)
		if _, err := raw.Commit(t.Context(), []store.Change{{Key: string(p.Key), Value: p.Value}}); err != nil {
			t.Fatal(err)
		}
	}
	closeRaw(t, raw)

	server := start(t, knarr.Options{DataDir: dir, EncryptionProviderConfig: encryption, Controllers: []string{}})
	diff(t, "knarr reads", want, everything(t, server.ClientConfig()))
	fill(t, server.ClientConfig(), "knarr")
	all := everything(t, server.ClientConfig())
	stop(t, server)

	ours := startEtcd(t)
	v := openRaw(t, dir)
	for key, e := range v.now {
		encrypted(t, key, e.Value)
		if _, err := ours.call("put", map[string][]byte{"key": []byte(key), "value": e.Value}); err != nil {
			t.Fatal(err)
		}
	}
	closeRaw(t, v)
	t.Logf("%d values of kube-apiserver, %d of knarr", len(kept), len(v.now))
	config, _ = startAPIServer(t, ours, encryption)
	got := everything(t, config)
	diff(t, "kube-apiserver reads", want, got)
	diff(t, "kube-apiserver reads", made(all, "knarr"), got)
}

// encrypted checks that a value is, but for those that never are.
func encrypted(t *testing.T, key string, value []byte) {
	t.Helper()
	never := strings.HasPrefix(key, "/registry/ranges/") || strings.HasPrefix(key, "/registry/masterleases/")
	if bytes.HasPrefix(value, []byte("k8s:enc:")) == never {
		t.Errorf("%s is encrypted: %v", key, never)
	}
}

// diff reports what is not as it was.
func diff(t *testing.T, what string, want, got map[string]string) {
	t.Helper()
	if len(want) < 6 {
		t.Errorf("there are only %d objects", len(want))
	}
	for name, object := range want {
		if got[name] != object {
			t.Errorf("%s %s as %s, want %s", what, name, got[name], object)
		}
	}
}

// rawStore is a store as it is on disk.
type rawStore struct {
	store.Store
	now map[string]store.Event
}

func openRaw(t *testing.T, dir string) *rawStore {
	t.Helper()
	st, err := disk.Open(dir, disk.Options{})
	if err != nil {
		t.Fatal(err)
	}
	raw := &rawStore{st, map[string]store.Event{}}
	if err := st.Start(context.Background(), raw); err != nil {
		t.Fatal(err)
	}
	return raw
}

func closeRaw(t *testing.T, raw *rawStore) {
	t.Helper()
	if err := raw.Close(); err != nil {
		t.Fatal(err)
	}
}

func (r *rawStore) see(e store.Event) error {
	if r.now[e.Key] = e; e.Deleted() {
		delete(r.now, e.Key)
	}
	return nil
}

func (r *rawStore) Load(l store.Load) error { return errors.Join(l.Base(r.see), l.Events(r.see)) }
func (r *rawStore) Apply([]store.Event)     {}
func (r *rawStore) Progress(uint64)         {}
