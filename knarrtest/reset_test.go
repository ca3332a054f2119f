package knarrtest_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/knarr-io/knarr"
	"github.com/knarr-io/knarr/knarrtest"
)

// everything returns all objects of all resources, by resource and name, without what
// the server itself writes again as time goes by.
func everything(t *testing.T, config *rest.Config) map[string]string {
	t.Helper()
	_, lists, err := discovery.NewDiscoveryClientForConfigOrDie(config).ServerGroupsAndResources()
	if err != nil {
		t.Fatal(err)
	}
	client := dynamic.NewForConfigOrDie(config)
	all := map[string]string{}
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range list.APIResources {
			if !slices.Contains(r.Verbs, "list") || r.Name == "componentstatuses" {
				continue
			}
			gvr := gv.WithResource(r.Name)
			all[gvr.String()] = "served"
			found, err := client.Resource(gvr).List(t.Context(), metav1.ListOptions{})
			if err != nil {
				t.Fatalf("%s: %v", gvr, err)
			}
			for _, o := range found.Items {
				if gvr.Group == "coordination.k8s.io" {
					unstructured.RemoveNestedField(o.Object, "spec", "renewTime")
				}
				if gvr.Group == "flowcontrol.apiserver.k8s.io" { // who shares out requests tells anew what has come back
					conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
					for _, c := range conditions {
						delete(c.(map[string]any), "lastTransitionTime")
					}
					_ = unstructured.SetNestedSlice(o.Object, conditions, "status", "conditions") // there is a status
				}
				o.SetManagedFields(nil)
				o.SetResourceVersion("")
				content, err := o.MarshalJSON()
				if err != nil {
					t.Fatal(err)
				}
				all[fmt.Sprintf("%s %s/%s", gvr, o.GetNamespace(), o.GetName())] = string(content)
			}
		}
	}
	return all
}

// settled is everything, when the server has done by itself what it does.
func settled(t *testing.T, config *rest.Config) map[string]string {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		before := everything(t, config)
		time.Sleep(200 * time.Millisecond)
		if now := everything(t, config); cmp.Equal(before, now) || time.Now().After(deadline) {
			return now
		}
	}
}

// must returns what was made.
func must[T any](made T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
}

// mess changes what a server has: what is its own, what is defined, who may do what.
func mess(t *testing.T, client kubernetes.Interface, config *rest.Config) {
	t.Helper()
	ctx := t.Context()
	for i := range 20 {
		name := fmt.Sprint("mess-", i)
		must(client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}))(t)
		must(client.CoreV1().Services(name).Create(ctx, &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Name: "one"},
			Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort, Ports: []corev1.ServicePort{{Port: 80}}},
		}, metav1.CreateOptions{}))(t)
		must(client.CoreV1().Events(name).Create(ctx, &corev1.Event{
			ObjectMeta: metav1.ObjectMeta{Name: "one"}, InvolvedObject: corev1.ObjectReference{Namespace: name},
		}, metav1.CreateOptions{}))(t)
	}
	for _, err := range []error{
		client.RbacV1().ClusterRoles().Delete(ctx, "view", metav1.DeleteOptions{}),
		client.CoreV1().Namespaces().Delete(ctx, "mess-3", metav1.DeleteOptions{}),
		client.CoreV1().Services("default").Delete(ctx, "kubernetes", metav1.DeleteOptions{}),
		client.FlowcontrolV1().FlowSchemas().Delete(ctx, "global-default", metav1.DeleteOptions{}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	must(client.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "dev"},
		Subjects:   []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: "jane"}},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
	}, metav1.CreateOptions{}))(t)
	definitions := schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	must(dynamic.NewForConfigOrDie(config).Resource(definitions).Create(ctx, definition("gulls"), metav1.CreateOptions{}))(t)
	gulls := schema.GroupVersionResource{Group: "example.org", Version: "v1", Resource: "gulls"}
	for i := range 10 {
		must(dynamic.NewForConfigOrDie(config).Resource(gulls).Create(ctx, &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "example.org/v1", "kind": "Gulls", "metadata": map[string]any{"name": fmt.Sprint("jonathan-", i)},
		}}, metav1.CreateOptions{}))(t)
	}
}

func definition(plural string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": plural + ".example.org"},
		"spec": map[string]any{
			"group": "example.org", "scope": "Cluster",
			"names": map[string]any{"plural": plural, "kind": strings.ToUpper(plural[:1]) + plural[1:]},
			"versions": []any{map[string]any{
				"name": "v1", "served": true, "storage": true,
				"schema": map[string]any{"openAPIV3Schema": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
			}},
		},
	}}
}

// After Reset every list of every resource is what it was, and everything works as it
// did, again and again.
func TestReset(t *testing.T) {
	server := knarrtest.Start(t)
	config := server.ClientConfig()
	client := kubernetes.NewForConfigOrDie(config)
	user := must(server.AddUser("jane"))(t)
	jane := kubernetes.NewForConfigOrDie(user.ClientConfig())
	settled(t, config)
	if err := server.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	was := settled(t, config)
	var rev int
	for round := range 3 {
		mess(t, client, config)
		must(jane.CoreV1().Secrets("").List(t.Context(), metav1.ListOptions{}))(t)
		listed := must(client.CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{}))(t)
		watching := must(client.CoreV1().Namespaces().Watch(t.Context(), metav1.ListOptions{ResourceVersion: listed.ResourceVersion}))(t)
		began := time.Now()
		if err := server.Reset(t.Context()); err != nil {
			t.Fatal(err)
		}
		t.Logf("Reset took %s", time.Since(began))

		if event := <-watching.ResultChan(); event.Type != watch.Error || !apierrors.IsResourceExpired(apierrors.FromObject(event.Object)) {
			t.Errorf("the watch was told %v", event)
		}
		if _, open := <-watching.ResultChan(); open {
			t.Error("the watch goes on")
		}
		_, err := client.CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{ResourceVersion: listed.ResourceVersion, ResourceVersionMatch: metav1.ResourceVersionMatchExact})
		if !apierrors.IsResourceExpired(err) {
			t.Errorf("a list at a revision from before: %v", err)
		}
		if _, err := jane.CoreV1().Secrets("").List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
			t.Errorf("who might do everything: %v", err)
		}
		if groups := must(discovery.NewDiscoveryClientForConfigOrDie(config).ServerGroups())(t); strings.Contains(fmt.Sprint(groups), "example.org") {
			t.Error("what was defined is told of")
		}
		now := must(client.CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{}))(t)
		var is int
		if _, err := fmt.Sscan(now.ResourceVersion, &is); err != nil || is <= rev {
			t.Errorf("revision %q after %d: %v", now.ResourceVersion, rev, err)
		}
		rev = is
		if diff := cmp.Diff(was, settled(t, config)); diff != "" {
			t.Fatalf("round %d (-was +is):\n%s", round, diff)
		}
	}
}

// Informers of clients come to know what is there, and go on.
func TestInformersAfterReset(t *testing.T) {
	server := knarrtest.Start(t)
	client := kubernetes.NewForConfigOrDie(server.ClientConfig())
	factory := informers.NewSharedInformerFactory(client, 0)
	lister := factory.Core().V1().ConfigMaps().Lister().ConfigMaps("default")
	informer := factory.Core().V1().ConfigMaps().Informer()
	ctx, cancel := context.WithCancel(t.Context())
	factory.Start(ctx.Done())
	defer factory.Shutdown()
	defer cancel()
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		t.Fatal("the informer is not in sync")
	}
	await := func(name string, there bool) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			if _, err := lister.Get(name); there == (err == nil) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: there should be %t", name, there)
			}
		}
	}
	create := func(name string) {
		t.Helper()
		must(client.CoreV1().ConfigMaps("default").Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}))(t)
	}
	create("before")
	await("before", true)
	if err := server.Reset(ctx); err != nil {
		t.Fatal(err)
	}
	await("before", false)
	create("after")
	await("after", true)
}

// Where objects are kept there is no way back, and that is said.
func TestResetOfWhatIsKept(t *testing.T) {
	server := knarrtest.StartWith(t, knarr.Options{DataDir: t.TempDir()})
	for _, err := range []error{server.Reset(t.Context()), server.Checkpoint(t.Context())} {
		if err == nil || !strings.Contains(err.Error(), "in memory") {
			t.Errorf("got %v", err)
		}
	}
}

func BenchmarkReset(b *testing.B) {
	server := knarrtest.Start(b)
	client := kubernetes.NewForConfigOrDie(server.ClientConfig())
	definitions := dynamic.NewForConfigOrDie(server.ClientConfig()).Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	for b.Loop() {
		b.StopTimer()
		for i := range 100 {
			if _, err := client.CoreV1().ConfigMaps("default").Create(b.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint(i)}}, metav1.CreateOptions{}); err != nil {
				b.Fatal(err)
			}
		}
		for _, plural := range []string{"gulls", "crabs", "seals"} {
			if _, err := definitions.Create(b.Context(), definition(plural), metav1.CreateOptions{}); err != nil {
				b.Fatal(err)
			}
		}
		b.StartTimer()
		if err := server.Reset(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
