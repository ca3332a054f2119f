package knarr_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/transport"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	aggregator "k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset"

	"github.com/knarr-io/knarr"
	"github.com/knarr-io/knarr/internal/pki"
	"github.com/knarr-io/knarr/knarrtest"
)

var (
	apples     = schema.GroupVersionResource{Group: "fruit.example.com", Version: "v1", Resource: "apples"}
	fruit      = apples.Version + "." + apples.Group
	fruitPaths = "/apis/" + apples.Group + "/" + apples.Version
)

// aggregating is a server and those who ask it.
type aggregating struct {
	*testing.T
	server   *knarr.Server
	client   kubernetes.Interface
	services aggregator.Interface
	http     *http.Client
}

func newAggregating(t *testing.T, server *knarr.Server) *aggregating {
	t.Helper()
	services, err := aggregator.NewForConfig(server.ClientConfig())
	if err != nil {
		t.Fatal(err)
	}
	client, err := rest.HTTPClientFor(server.ClientConfig())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	return &aggregating{t, server, newClient(t, server), services, client}
}

// authorities are those that the server tells others to believe.
func (a *aggregating) authorities() *x509.CertPool {
	a.Helper()
	told, err := a.client.CoreV1().ConfigMaps("kube-system").Get(a.Context(), "extension-apiserver-authentication", metav1.GetOptions{})
	if err != nil {
		a.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(told.Data["requestheader-client-ca-file"])) {
		a.Fatalf("it tells of none: %v", told.Data)
	}
	return pool
}

// serveElsewhere has the fruit served at a port of this machine.
func (a *aggregating) serveElsewhere(port int32, authority []byte) {
	a.Helper()
	_, err := a.client.CoreV1().Services("default").Create(a.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "fruit"},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "localhost"},
	}, metav1.CreateOptions{})
	if err != nil {
		a.Fatal(err)
	}
	_, err = a.services.ApiregistrationV1().APIServices().Create(a.Context(), &apiregistrationv1.APIService{
		ObjectMeta: metav1.ObjectMeta{Name: fruit}, Spec: elsewhere(port, authority),
	}, metav1.CreateOptions{})
	if err != nil {
		a.Fatal(err)
	}
}

func elsewhere(port int32, authority []byte) apiregistrationv1.APIServiceSpec {
	return apiregistrationv1.APIServiceSpec{
		Group: apples.Group, Version: apples.Version, GroupPriorityMinimum: 1000, VersionPriority: 15,
		CABundle: authority, InsecureSkipTLSVerify: authority == nil,
		Service: &apiregistrationv1.ServiceReference{Namespace: "default", Name: "fruit", Port: &port},
	}
}

// becomes waits for the APIService to say it.
func (a *aggregating) becomes(status apiregistrationv1.ConditionStatus, reason string) {
	a.Helper()
	var is *apiregistrationv1.APIService
	a.eventually(reason, func() bool {
		var err error
		is, err = a.services.ApiregistrationV1().APIServices().Get(a.Context(), fruit, metav1.GetOptions{})
		if err != nil {
			a.Fatal(err)
		}
		for _, c := range is.Status.Conditions {
			if c.Type == apiregistrationv1.Available && c.Status == status && c.Reason == reason {
				return true
			}
		}
		return false
	}, func() string { return fmt.Sprint(is.Status.Conditions) })
}

func (a *aggregating) eventually(what string, done func() bool, is func() string) {
	a.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			a.Fatalf("%s has not happened: %s", what, is())
		}
	}
}

// get returns the code and the body of an answer.
func (a *aggregating) get(path string) (int, string) {
	a.Helper()
	r, err := http.NewRequestWithContext(a.Context(), http.MethodGet, a.server.URL()+path, nil)
	if err != nil {
		a.Fatal(err)
	}
	answer, err := a.http.Do(r)
	if err != nil {
		a.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		a.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

// routed waits for a path to be answered so: what an APIService says is noticed
// a moment after it is written.
func (a *aggregating) routed(path string, code int, text string) {
	a.Helper()
	var gotCode int
	var got string
	a.eventually(fmt.Sprint(code, " ", text), func() bool {
		gotCode, got = a.get(path)
		return gotCode == code && strings.Contains(got, text)
	}, func() string { return fmt.Sprint(gotCode, " ", got) })
}

// fruitServer tells who asks; it watches, and switches protocols.
func (a *aggregating) fruitServer() *fruitServer {
	a.Helper()
	s := &fruitServer{dead: make(chan struct{})}
	certs, err := pki.New(pki.Options{Hosts: []string{"fruit.default.svc"}})
	if err != nil {
		a.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc(fruitPaths, func(w http.ResponseWriter, _ *http.Request) {
		list := metav1.APIResourceList{TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}, GroupVersion: apples.GroupVersion().String(), APIResources: []metav1.APIResource{
			{Name: "apples", SingularName: "apple", Kind: "Apple", Namespaced: true, Verbs: metav1.Verbs{"get", "list", "watch"}},
		}}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(list)
	})
	who := func(r *http.Request) string {
		return fmt.Sprintf("%s of %q by %s", r.Header.Get("X-Remote-User"), r.Header.Values("X-Remote-Group"), r.TLS.PeerCertificates[0].Subject.CommonName)
	}
	mux.HandleFunc(fruitPaths+"/namespaces/default/apples", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Query().Get("watch") == "" {
			fmt.Fprintf(w, `{"who":%q}`, who(r))
			return
		}
		fmt.Fprintf(w, `{"type":"ADDED","object":{"apiVersion":%q,"kind":"Apple","metadata":{"name":"a","namespace":"default"}}}`+"\n", apples.GroupVersion())
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	mux.HandleFunc(fruitPaths+"/namespaces/default/apples/a/exec", func(w http.ResponseWriter, r *http.Request) {
		c, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			a.Error(err)
			return
		}
		defer c.Close()
		fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n%s\n", who(r))
		_ = rw.Flush()
		go func() {
			<-s.dead
			c.Close()
		}()
		_, _ = io.Copy(c, rw)
	})
	s.Server = httptest.NewUnstartedServer(mux)
	s.TLS = &tls.Config{
		Certificates: []tls.Certificate{certs.Serving.TLS()},
		ClientCAs:    a.authorities(), ClientAuth: tls.RequireAndVerifyClientCert,
	}
	s.StartTLS()
	s.port, s.authority = int32(s.Listener.Addr().(*net.TCPAddr).Port), certs.CA.CertPEM()
	a.Cleanup(s.die)
	return s
}

// fruitServer is a server of another.
type fruitServer struct {
	*httptest.Server
	port      int32
	authority []byte
	dead      chan struct{} // closed when it dies
	death     sync.Once
}

// die closes all connections, at once.
func (s *fruitServer) die() {
	s.death.Do(func() {
		close(s.dead)
		s.CloseClientConnections()
		s.Close()
	})
}

// exec switches to another protocol at the fruit's server and returns the
// connection, which says who asked.
func (a *aggregating) exec() (net.Conn, *bufio.Reader) {
	a.Helper()
	config, err := rest.TLSConfigFor(a.server.ClientConfig())
	if err != nil {
		a.Fatal(err)
	}
	config.NextProtos = []string{"http/1.1"}
	c, err := tls.Dial("tcp", strings.TrimPrefix(a.server.URL(), "https://"), config)
	if err != nil {
		a.Fatal(err)
	}
	a.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	fmt.Fprintf(c, "POST %s/namespaces/default/apples/a/exec HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n", fruitPaths)
	lines := bufio.NewReader(c)
	answer, err := http.ReadResponse(lines, nil)
	if err != nil || answer.StatusCode != http.StatusSwitchingProtocols {
		a.Fatalf("%v, %v", answer, err)
	}
	return c, lines
}

// A server joins, answers in place of this one, dies and leaves; and then this
// one stops while there are requests that would last.
func TestAggregation(t *testing.T) {
	leaks := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, leaks) }) // when all has ended that is begun below
	a := newAggregating(t, knarrtest.Start(t))
	backend := a.fruitServer()
	list := fruitPaths + "/namespaces/default/apples"
	if code, text := a.get(list); code != http.StatusNotFound {
		t.Fatalf("before there is any: %d %s", code, text)
	}
	a.serveElsewhere(backend.port, backend.authority)
	a.becomes(apiregistrationv1.ConditionTrue, "Passed")
	const who = `kubernetes-admin of ["system:masters" "system:authenticated"] by front-proxy-client`
	a.routed(list, http.StatusOK, fmt.Sprintf("%q", who))
	a.routed(fruitPaths, http.StatusOK, `"kind":"Apple"`)

	objects, err := dynamic.NewForConfig(a.server.ClientConfig())
	if err != nil {
		t.Fatal(err)
	}
	events, err := objects.Resource(apples).Namespace("default").Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer events.Stop()
	if e := <-events.ResultChan(); e.Type != watch.Added || e.Object.(*unstructured.Unstructured).GetName() != "a" {
		t.Errorf("the watch tells %v", e)
	}
	conn, lines := a.exec()
	fmt.Fprintln(conn, "ho")
	for _, want := range []string{who + "\n", "ho\n"} {
		if line, err := lines.ReadString('\n'); err != nil || line != want {
			t.Errorf("%q, %v; want %q", line, err, want)
		}
	}

	// The server dies. Whoever asks hears of it at once, and then all are told.
	backend.die()
	if code, text := a.get(list); code != http.StatusServiceUnavailable {
		t.Errorf("without a server: %d %s", code, text)
	}
	for e := range events.ResultChan() {
		if e.Type != watch.Error {
			t.Errorf("the watch goes on: %v", e)
		}
	}
	if _, err := lines.ReadString('\n'); err == nil {
		t.Error("the other protocol goes on")
	}
	_, err = a.client.CoreV1().Services("default").Patch(t.Context(), "fruit", types.MergePatchType, []byte(`{"metadata":{"labels":{"a":"b"}}}`), metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	a.becomes(apiregistrationv1.ConditionFalse, "FailedDiscoveryCheck")
	a.routed(list, http.StatusServiceUnavailable, "service unavailable\n")

	// It comes back at another port.
	backend = a.fruitServer()
	spec, err := json.Marshal(map[string]any{"spec": elsewhere(backend.port, backend.authority)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = a.services.ApiregistrationV1().APIServices().Patch(t.Context(), fruit, types.MergePatchType, spec, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	a.becomes(apiregistrationv1.ConditionTrue, "Passed")
	a.routed(list, http.StatusOK, fmt.Sprintf("%q", who))

	if events, err = objects.Resource(apples).Namespace("default").Watch(t.Context(), metav1.ListOptions{}); err != nil {
		t.Fatal(err)
	}
	<-events.ResultChan()
	_, lines = a.exec()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := a.server.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if e, ok := <-events.ResultChan(); ok {
		t.Errorf("the watch goes on when the server has stopped: %v", e)
	}
	if text, err := io.ReadAll(lines); err == nil && !strings.HasPrefix(string(text), who) {
		t.Errorf("the other protocol says %q", text)
	}
	events.Stop()
}

// What is served by another is not served here, until it leaves.
func TestAggregationComesFirst(t *testing.T) {
	a := newAggregating(t, knarrtest.Start(t))
	backend := a.fruitServer()
	list := fruitPaths + "/namespaces/default/apples"
	a.serveElsewhere(backend.port, backend.authority)
	a.becomes(apiregistrationv1.ConditionTrue, "Passed")
	define(t, a.server, apples)
	a.routed(list, http.StatusOK, `{"who":`)
	if err := a.services.ApiregistrationV1().APIServices().Delete(t.Context(), fruit, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	a.routed(list, http.StatusOK, `"kind":"AppleList"`)
	a.becomes(apiregistrationv1.ConditionTrue, "Local") // of the definition, made anew
}

// define has a server serve a resource of its own.
func define(t *testing.T, server *knarr.Server, of schema.GroupVersionResource) {
	t.Helper()
	singular := strings.TrimSuffix(of.Resource, "s")
	kind := strings.ToUpper(singular[:1]) + singular[1:]
	objects, err := dynamic.NewForConfig(server.ClientConfig())
	if err != nil {
		t.Fatal(err)
	}
	definitions := schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	_, err = objects.Resource(definitions).Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": of.GroupResource().String()},
		"spec": map[string]any{
			"group": of.Group, "scope": "Namespaced",
			"names": map[string]any{"plural": of.Resource, "singular": singular, "kind": kind, "listKind": kind + "List"},
			"versions": []any{map[string]any{
				"name": of.Version, "served": true, "storage": true,
				"schema": map[string]any{"openAPIV3Schema": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
			}},
		},
	}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// One server passes requests on to another, which believes it who asks.
func TestAggregationOfAnother(t *testing.T) {
	dir := t.TempDir()
	a := newAggregating(t, knarrtest.StartWith(t, knarr.Options{DataDir: dir}))
	other := knarrtest.StartWith(t, knarr.Options{
		RequestHeaderClientCAFile: filepath.Join(dir, "pki", "front-proxy-ca.crt"), RequestHeaderAllowedNames: []string{"front-proxy-client"},
		RequestHeaderUsernameHeaders: []string{"X-Remote-User"}, RequestHeaderGroupHeaders: []string{"X-Remote-Group"},
		RequestHeaderExtraHeadersPrefix: []string{"X-Remote-Extra-"},
	})
	define(t, other, apples)
	_, port, err := net.SplitHostPort(strings.TrimPrefix(other.URL(), "https://"))
	if err != nil {
		t.Fatal(err)
	}
	n, err := net.LookupPort("tcp", port)
	if err != nil {
		t.Fatal(err)
	}
	a.serveElsewhere(int32(n), nil)
	a.becomes(apiregistrationv1.ConditionTrue, "Passed")
	a.routed(fruitPaths+"/apples", http.StatusOK, `"kind":"AppleList"`)

	objects, err := dynamic.NewForConfig(a.server.ClientConfig())
	if err != nil {
		t.Fatal(err)
	}
	here := objects.Resource(apples).Namespace("default")
	events, err := here.Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer events.Stop()
	apple := &unstructured.Unstructured{Object: map[string]any{"apiVersion": apples.GroupVersion().String(), "kind": "Apple", "metadata": map[string]any{"name": "a"}, "sour": true}}
	if _, err := here.Create(t.Context(), apple, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if e := <-events.ResultChan(); e.Type != watch.Added {
		t.Errorf("the watch tells %v", e)
	}
	there, err := dynamic.NewForConfig(other.ClientConfig())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := there.Resource(apples).Namespace("default").Get(t.Context(), "a", metav1.GetOptions{}); err != nil {
		t.Errorf("it is not at the other: %v", err)
	}
	if err := here.Delete(t.Context(), "a", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if e := <-events.ResultChan(); e.Type != watch.Deleted {
		t.Errorf("the watch tells %v", e)
	}

	// Who is named by a front proxy is believed by both; who has another
	// certificate is believed by none.
	for name, test := range map[string]struct {
		server  *knarr.Server
		cert    string
		refused string // the user; none if it is allowed
	}{
		"the first":            {a.server, "front-proxy-client", "ann"},
		"the other":            {other, "front-proxy-client", "ann"},
		"an admin, who is not": {a.server, "admin", ""},
	} {
		config := rest.AnonymousClientConfig(test.server.ClientConfig())
		config.CertFile, config.KeyFile = filepath.Join(dir, "pki", test.cert+".crt"), filepath.Join(dir, "pki", test.cert+".key")
		config.Wrap(func(rt http.RoundTripper) http.RoundTripper {
			return transport.NewAuthProxyRoundTripper("ann", "", []string{"dev"}, nil, rt)
		})
		client, err := kubernetes.NewForConfig(config)
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.CoreV1().Secrets("default").List(t.Context(), metav1.ListOptions{})
		if refused := fmt.Sprintf(`User %q cannot list resource "secrets"`, test.refused); (err == nil) != (test.refused == "") || err != nil && !strings.Contains(err.Error(), refused) {
			t.Errorf("%s: %v, want %s", name, err, refused)
		}
	}
}

func TestFrontProxyOptions(t *testing.T) {
	for want, o := range map[string]knarr.Options{
		"needs both its file":                      {ProxyClientCertFile: "x"},
		`empty value in "requestheader-uid-`:       {RequestHeaderUIDHeaders: []string{"X-Remote-Uid", " "}},
		`empty value in "requestheader-allowed-`:   {RequestHeaderAllowedNames: []string{""}},
		"without specifying the standard X-Remote": {RequestHeaderUIDHeaders: []string{"X-Uid"}},
		"no such file":                             {RequestHeaderClientCAFile: filepath.Join(t.TempDir(), "none")},
	} {
		server, err := knarr.Start(t.Context(), o)
		if err == nil {
			_ = server.Stop(t.Context())
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
