package knarrtest_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/knarr-io/knarr"
	"github.com/knarr-io/knarr/knarrtest"
)

// t stands for a test's *testing.T in the examples, which have none.
var t = &exampleTest{}

type exampleTest struct {
	testing.TB
	cleanups []func()
}

func (*exampleTest) Helper()                      {}
func (*exampleTest) Context() context.Context     { return context.Background() }
func (e *exampleTest) Cleanup(f func())           { e.cleanups = append(e.cleanups, f) }
func (*exampleTest) Fatal(args ...any)            { panic(fmt.Sprint(args...)) }
func (*exampleTest) Fatalf(f string, args ...any) { panic(fmt.Sprintf(f, args...)) }
func (*exampleTest) Errorf(f string, args ...any) { panic(fmt.Sprintf(f, args...)) }
func (e *exampleTest) TempDir() string {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	e.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// end does what the end of a test does.
func (e *exampleTest) end() {
	for len(e.cleanups) > 0 {
		last := e.cleanups[len(e.cleanups)-1]
		e.cleanups = e.cleanups[:len(e.cleanups)-1]
		last()
	}
}

func Example() {
	defer t.end()
	server := knarrtest.Start(t)
	client := kubernetes.NewForConfigOrDie(server.ClientConfig())
	namespaces, err := client.CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range namespaces.Items {
		fmt.Println(n.Name)
	}
	// Output:
	// default
	// kube-node-lease
	// kube-public
	// kube-system
}

// What directories define is served when Start returns.
func ExampleCRDPaths() {
	defer t.end()
	server := knarrtest.Start(t, knarrtest.CRDPaths("testdata"))
	client := dynamic.NewForConfigOrDie(server.ClientConfig())
	all, err := client.Resource(boats).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(all.GetKind())
	// Output: BoatList
}

// Webhooks have an address and a certificate, to be served at by the test.
func ExampleNewWebhooks() {
	defer t.end()
	hooks := knarrtest.NewWebhooks(t)
	hooks.Paths = []string{"testdata"}
	server := knarrtest.Start(t, hooks, knarrtest.CRDPaths("testdata"))
	// A manager would serve: webhook.NewServer(webhook.Options{Host: hooks.Host, Port: hooks.Port, CertDir: hooks.CertDir})
	client := kubernetes.NewForConfigOrDie(server.ClientConfig())
	config, err := client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Get(t.Context(), "boats", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(*config.Webhooks[0].ClientConfig.URL == "https://"+hooks.Address()+"/validate")
	// Output: true
}

// A user may do what roles say.
func ExampleStart_users() {
	defer t.end()
	server := knarrtest.Start(t)
	jane, err := server.AddUser("jane", "dev")
	if err != nil {
		t.Fatal(err)
	}
	client := kubernetes.NewForConfigOrDie(jane.ClientConfig())
	_, err = client.CoreV1().Secrets("default").List(t.Context(), metav1.ListOptions{})
	fmt.Println(err)
	// Output: secrets is forbidden: User "jane" cannot list resource "secrets" in API group "" in the namespace "default"
}

// Tests that share a server leave nothing to each other.
func ExampleStart_reset() {
	defer t.end()
	server := knarrtest.Start(t)
	maps := kubernetes.NewForConfigOrDie(server.ClientConfig()).CoreV1().ConfigMaps("default")
	if _, err := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "left"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := server.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := maps.Get(t.Context(), "left", metav1.GetOptions{})
	fmt.Println(apierrors.IsNotFound(err))
	// Output: true
}

// Without controllers, a server does what kube-apiserver does alone.
func ExampleStartWith() {
	defer t.end()
	server := knarrtest.StartWith(t, knarr.Options{Controllers: []string{}})
	client := kubernetes.NewForConfigOrDie(server.ClientConfig())
	if _, err := client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "bare"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	accounts, err := client.CoreV1().ServiceAccounts("bare").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(len(accounts.Items), "service accounts")
	// Output: 0 service accounts
}
