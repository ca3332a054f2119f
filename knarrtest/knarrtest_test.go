package knarrtest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/knarr-io/knarr"
	"github.com/knarr-io/knarr/knarrtest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// net/http closes idle connections of clients in its own time.
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"),
		goleak.IgnoreAnyFunction("golang.org/x/net/http2.(*clientConnReadLoop).run"), goleak.IgnoreAnyFunction("net/http.(*http2clientConnReadLoop).run"),
	)
}

var boats = schema.GroupVersionResource{Group: "example.com", Version: "v2", Resource: "boats"}

func boat(name string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "example.com/v2", "kind": "Boat", "metadata": map[string]any{"name": name}, "length": int64(16),
	}}
}

// serveWebhooks refuses boats that are called leaky, and converts by changing nothing
// but the version.
func serveWebhooks(t *testing.T, hooks *knarrtest.Webhooks) {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/validate", func(w http.ResponseWriter, r *http.Request) {
		var review admissionv1.AdmissionReview
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: review.Request.Name != "leaky"}
		_ = json.NewEncoder(w).Encode(review)
	})
	mux.HandleFunc("/convert-boats", func(w http.ResponseWriter, r *http.Request) {
		var review apiextensionsv1.ConversionReview
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		review.Response = &apiextensionsv1.ConversionResponse{UID: review.Request.UID, Result: metav1.Status{Status: metav1.StatusSuccess}}
		for _, raw := range review.Request.Objects {
			var o map[string]any
			if err := json.Unmarshal(raw.Raw, &o); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			o["apiVersion"] = review.Request.DesiredAPIVersion
			changed, _ := json.Marshal(o)
			review.Response.ConvertedObjects = append(review.Response.ConvertedObjects, kruntime.RawExtension{Raw: changed})
		}
		_ = json.NewEncoder(w).Encode(review)
	})
	server := &http.Server{Addr: hooks.Address(), Handler: mux, ReadHeaderTimeout: time.Minute}
	ended := make(chan error)
	go func() { ended <- server.ListenAndServeTLS(hooks.CertDir+"/tls.crt", hooks.CertDir+"/tls.key") }()
	t.Cleanup(func() {
		_ = server.Close()
		if err := <-ended; err != http.ErrServerClosed {
			t.Error(err)
		}
	})
}

// What options say is there when the server is handed out, and webhooks are asked.
func TestDefinitionsAndWebhooks(t *testing.T) {
	hooks := knarrtest.NewWebhooks(t)
	hooks.Paths = []string{"testdata"}
	serveWebhooks(t, hooks)
	server := knarrtest.Start(t, hooks, knarrtest.CRDPaths("testdata"))
	client := dynamic.NewForConfigOrDie(server.ClientConfig()).Resource(boats).Namespace("default")
	ready := func() error {
		_, err := client.Create(t.Context(), boat("knorr"), metav1.CreateOptions{})
		return err
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) { // the webhooks' listener
		err := ready()
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	if _, err := client.Create(t.Context(), boat("leaky"), metav1.CreateOptions{}); err == nil || !strings.Contains(err.Error(), `admission webhook "boats.example.com" denied`) {
		t.Errorf("a boat that the webhook refuses: %v", err)
	}
	stored, err := dynamic.NewForConfigOrDie(server.ClientConfig()).Resource(boats.GroupResource().WithVersion("v1")).Namespace("default").Get(t.Context(), "knorr", metav1.GetOptions{})
	if err != nil || stored.GetAPIVersion() != "example.com/v1" {
		t.Errorf("the boat as v1: %v, %v", stored, err)
	}
	if _, err := kubernetes.NewForConfigOrDie(server.ClientConfig()).CoreV1().Namespaces().Get(t.Context(), "not-made", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("what is no definition was made: %v", err)
	}
	// Reset goes back to what the options have made, and no further.
	if err := server.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	all, err := client.List(t.Context(), metav1.ListOptions{})
	if err != nil || len(all.Items) != 0 {
		t.Errorf("after Reset there are %v, %v", all, err)
	}
	if err := ready(); err != nil {
		t.Error(err)
	}
}

// A user is who he is said to be, and may do what his groups may.
func TestAddUser(t *testing.T) {
	server := knarrtest.Start(t)
	user, err := server.AddUser("jane", "dev")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := server.AddUser(""); err == nil {
		t.Error("there is a user without a name")
	}
	content, err := user.Kubeconfig()
	if err != nil {
		t.Fatal(err)
	}
	byFile, err := clientcmd.RESTConfigFromKubeConfig(content)
	if err != nil {
		t.Fatal(err)
	}
	jane := kubernetes.NewForConfigOrDie(user.ClientConfig()).CoreV1().Namespaces()
	if _, err := jane.List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), `"jane"`) {
		t.Errorf("before she may: %v", err)
	}
	_, err = kubernetes.NewForConfigOrDie(server.ClientConfig()).RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "dev"},
		Subjects:   []rbacv1.Subject{{Kind: "Group", APIGroup: rbacv1.GroupName, Name: "dev"}},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := jane.List(t.Context(), metav1.ListOptions{}); err != nil {
		t.Errorf("when she may: %v", err)
	}
	if _, err := kubernetes.NewForConfigOrDie(byFile).CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{}); err != nil {
		t.Errorf("by the file: %v", err)
	}
}

// Fifty servers run at once in one process, each with objects of its own. What they
// cost is logged.
func TestFiftyServers(t *testing.T) {
	const servers = 50
	var memory runtime.MemStats
	heap := func() uint64 {
		runtime.GC()
		runtime.ReadMemStats(&memory)
		return memory.HeapAlloc
	}
	knarrtest.Start(t) // what all share is made by the first
	before, began := heap(), time.Now()
	all := make([]*knarr.Server, servers)
	for i := range all {
		all[i] = knarrtest.Start(t)
	}
	t.Logf("%d servers after %s, %d KB of heap each", servers, time.Since(began), (heap()-before)/servers>>10)
	t.Run("at once", func(t *testing.T) {
		for i, server := range all {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				maps := kubernetes.NewForConfigOrDie(server.ClientConfig()).CoreV1().ConfigMaps("default")
				name := fmt.Sprint("of-", i)
				if _, err := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
					t.Fatal(err)
				}
				found, err := maps.List(t.Context(), metav1.ListOptions{})
				if err != nil {
					t.Fatal(err)
				}
				for _, m := range found.Items {
					if strings.HasPrefix(m.Name, "of-") && m.Name != name {
						t.Errorf("%s is here", m.Name)
					}
				}
			})
		}
	})
}

func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		server, err := knarr.Start(context.Background(), knarr.Options{})
		if err != nil {
			b.Fatal(err)
		}
		if err := server.Stop(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}
