package knarr_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/controller/certificates/rootcacertpublisher"
	"k8s.io/kubernetes/pkg/controller/serviceaccount"

	"github.com/knarr-io/knarr"
	"github.com/knarr-io/knarr/knarrtest"
)

// runUpstreams runs kube-controller-manager's controllers of what is in every
// namespace against a server, until the test ends.
func runUpstreams(t *testing.T, server *knarr.Server) {
	t.Helper()
	config := server.ClientConfig()
	config.UserAgent = "kube-controller-manager/v1.37.2 (linux/amd64)"
	client := clientOf(t, config)
	factory := informers.NewSharedInformerFactory(client, 0)
	core := factory.Core().V1()
	accounts, err := serviceaccount.NewServiceAccountsController(klog.Background(), core.ServiceAccounts(), core.Namespaces(), client, serviceaccount.DefaultServiceAccountsControllerOptions())
	if err != nil {
		t.Fatal(err)
	}
	publisher, err := rootcacertpublisher.NewPublisher(core.ConfigMaps(), core.Namespaces(), client, server.ClientConfig().CAData)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	factory.Start(ctx.Done())
	var running sync.WaitGroup
	running.Go(func() { accounts.Run(ctx, 1) })
	running.Go(func() { publisher.Run(ctx, 1) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
		factory.Shutdown()
	})
}

// content is what a namespace has by itself, once it is there.
func content(t *testing.T, client kubernetes.Interface, namespace string) (*corev1.ServiceAccount, *corev1.ConfigMap) {
	t.Helper()
	core := client.CoreV1()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		account, err := core.ServiceAccounts(namespace).Get(t.Context(), "default", metav1.GetOptions{})
		if err == nil {
			root, err := core.ConfigMaps(namespace).Get(t.Context(), "kube-root-ca.crt", metav1.GetOptions{})
			if err == nil {
				return account, root
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("namespace %s has nothing: %v", namespace, err)
		}
	}
}

func createNamespace(t *testing.T, client kubernetes.Interface, name string) {
	t.Helper()
	if _, err := client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// What a namespace gets is what kube-controller-manager would give it, to the
// owners of fields.
func TestNamespacesAreAsUpstreams(t *testing.T) {
	// plain removes what differs at every time.
	plain := func(m *metav1.ObjectMeta) {
		m.UID, m.ResourceVersion, m.CreationTimestamp = "", "", metav1.Time{}
		for i := range m.ManagedFields {
			m.ManagedFields[i].Time = nil
		}
	}
	var accounts []*corev1.ServiceAccount
	var roots []*corev1.ConfigMap
	for _, upstreams := range []bool{true, false} {
		options := knarr.Options{}
		if upstreams {
			options.Controllers = []string{}
		}
		server := knarrtest.StartWith(t, options)
		client := clientOf(t, server.ClientConfig())
		createNamespace(t, client, "shop")
		if upstreams {
			runUpstreams(t, server)
		}
		account, root := content(t, client, "shop")
		plain(&account.ObjectMeta)
		plain(&root.ObjectMeta)
		if root.Data["ca.crt"] != string(server.ClientConfig().CAData) {
			t.Errorf("with upstream's controllers %v, the root CA is %q", upstreams, root.Data)
		}
		root.Data = nil
		accounts, roots = append(accounts, account), append(roots, root)
	}
	if diff := cmp.Diff(accounts[0], accounts[1]); diff != "" {
		t.Errorf("the service account (-upstream's +ours)\n%s", diff)
	}
	if diff := cmp.Diff(roots[0], roots[1]); diff != "" {
		t.Errorf("the config map (-upstream's +ours)\n%s", diff)
	}
}

// Beside kube-controller-manager, everything still comes back, and is right.
func TestBesideUpstreamsControllers(t *testing.T) {
	server := knarrtest.Start(t)
	runUpstreams(t, server)
	client := clientOf(t, server.ClientConfig())
	createNamespace(t, client, "shop")
	for range 10 {
		account, root := content(t, client, "shop")
		if root.Data["ca.crt"] != string(server.ClientConfig().CAData) || root.Annotations["kubernetes.io/description"] == "" {
			t.Errorf("the config map is %v", root)
		}
		only := metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(account.UID))}
		if err := client.CoreV1().ServiceAccounts("shop").Delete(t.Context(), "default", only); err != nil {
			t.Fatal(err)
		}
		if err := client.CoreV1().ConfigMaps("shop").Delete(t.Context(), "kube-root-ca.crt", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	content(t, client, "shop")
}

// What was kept on disk without its content, or with what an earlier authority
// was, is put right by the next server.
func TestNamespacesOnDisk(t *testing.T) {
	dir := t.TempDir()
	server := start(t, knarr.Options{DataDir: dir, CertDir: dir + "/pki-1", Controllers: []string{"root-ca-certificate-publisher-controller"}})
	createNamespace(t, clientOf(t, server.ClientConfig()), "shop")
	before := server.ClientConfig().CAData
	stop(t, server)
	server = start(t, knarr.Options{DataDir: dir, CertDir: dir + "/pki-2"})
	defer stop(t, server)
	client := clientOf(t, server.ClientConfig())
	if cmp.Equal(before, server.ClientConfig().CAData) {
		t.Fatal("the servers have one authority")
	}
	for _, namespace := range []string{"shop", "default"} {
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
			_, root := content(t, client, namespace)
			if root.Data["ca.crt"] == string(server.ClientConfig().CAData) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s has an earlier server's root CA", namespace)
			}
		}
	}
}
