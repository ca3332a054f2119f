package knarr_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"

	"github.com/knarr-io/knarr"
	"github.com/knarr-io/knarr/knarrtest"
)

// becomes waits until a namespace is as wanted; nil is one that is gone.
func becomes(t *testing.T, client kubernetes.Interface, name, what string, wanted func(*corev1.Namespace) bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		ns, err := client.CoreV1().Namespaces().Get(t.Context(), name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			ns = nil
		case err != nil:
			t.Fatal(err)
		}
		if wanted(ns) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s has never come about: %+v", what, ns)
		}
	}
}

func isGone(ns *corev1.Namespace) bool { return ns == nil }

// A namespace that is deleted goes with what is in it, custom resources too.
func TestNamespacesGo(t *testing.T) {
	server := start(t, knarr.Options{})
	defer stop(t, server)
	c := newCustom(t, server)
	c.define(widgetDefinition)
	client := newClient(t, server)
	createNamespace(t, client, "shop")
	widgets := c.dynamic.Resource(schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "widgets"}).Namespace("shop")
	held := widget("held", "{}")
	held.SetNamespace("shop")
	held.SetFinalizers([]string{"example.com/hold"})
	if _, err := widgets.Create(t.Context(), held, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := client.CoreV1().Namespaces().Delete(t.Context(), "shop", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	becomes(t, client, "shop", "that a widget is told of", func(ns *corev1.Namespace) bool {
		return ns != nil && strings.Contains(ns.String(), "widgets.example.com has 1 resource instances") && strings.Contains(ns.String(), "example.com/hold in 1 resource instances")
	})
	if _, err := widgets.Patch(t.Context(), "held", "application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	becomes(t, client, "shop", "its end", isGone)
	left, err := widgets.List(t.Context(), metav1.ListOptions{})
	if err != nil || len(left.Items) != 0 {
		t.Errorf("in a namespace that is gone there are %v, %v", left, err)
	}
}

// What another server has in a namespace goes, too. While that cannot be reached it is
// not known what it has, and the namespace stays, and says so.
func TestNamespacesElsewhere(t *testing.T) {
	a := newAggregating(t, knarrtest.Start(t))
	var asked, deleted atomic.Bool
	mux := http.NewServeMux()
	mux.HandleFunc(fruitPaths, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"fruit.example.com/v1","resources":[`+
			`{"name":"apples","singularName":"apple","namespaced":true,"kind":"Apple","verbs":["delete","deletecollection","list"]}]}`)
	})
	mux.HandleFunc(fruitPaths+"/namespaces/shop/apples", func(w http.ResponseWriter, r *http.Request) {
		if who := r.Header.Get("X-Remote-User"); who != "system:serviceaccount:kube-system:namespace-controller" {
			t.Errorf("%s asks to %s", who, r.Method)
		}
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.Method == http.MethodDelete:
			deleted.Store(true)
			fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Success"}`)
		case !deleted.Load():
			t.Error("it is looked at what there is before it is deleted")
			fallthrough
		default:
			asked.Store(true)
			fmt.Fprint(w, `{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1","metadata":{},"items":[]}`)
		}
	})
	backend := httptest.NewTLSServer(mux)
	defer backend.Close()
	a.serveElsewhere(int32(backend.Listener.Addr().(*net.TCPAddr).Port), nil)
	a.becomes(apiregistrationv1.ConditionTrue, "Passed")
	a.eventually("discovery of apples", func() bool {
		lists, err := a.client.Discovery().ServerPreferredNamespacedResources()
		return err == nil && slices.ContainsFunc(lists, func(l *metav1.APIResourceList) bool { return l.GroupVersion == "fruit.example.com/v1" })
	}, func() string { return "" })
	remove := func(name string) {
		t.Helper()
		createNamespace(t, a.client, name)
		if err := a.client.CoreV1().Namespaces().Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	remove("shop")
	becomes(t, a.client, "shop", "its end", isGone)
	if !deleted.Load() || !asked.Load() {
		t.Error("the namespace has gone before what is elsewhere")
	}

	backend.CloseClientConnections()
	backend.Close()
	a.eventually("that nothing can be discovered", func() bool {
		_, err := a.client.Discovery().ServerPreferredNamespacedResources()
		return err != nil
	}, func() string { return "" })
	remove("another")
	becomes(t, a.client, "another", "what could not be reached is told", func(ns *corev1.Namespace) bool {
		return ns != nil && strings.Contains(ns.String(), "Discovery failed for some groups, 1 failing: unable to retrieve the complete list of server APIs: fruit.example.com/v1: ")
	})
	if err := a.services.ApiregistrationV1().APIServices().Delete(t.Context(), fruit, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	becomes(t, a.client, "another", "its end", isGone)
}
