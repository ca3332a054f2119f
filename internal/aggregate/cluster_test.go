package aggregate

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/kube-aggregator/pkg/apis/apiregistration"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"

	"github.com/knarr-io/knarr/internal/controller"
	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/kind/native"
	"github.com/knarr-io/knarr/internal/ownership"
	"github.com/knarr-io/knarr/internal/pki"
	"github.com/knarr-io/knarr/internal/service"
	"github.com/knarr-io/knarr/internal/state/statetest"
	"github.com/knarr-io/knarr/internal/verb"
)

var (
	apiServices    = apiregistrationv1.SchemeGroupVersion.WithResource("apiservices")
	coreServices   = corev1.SchemeGroupVersion.WithResource("services")
	endpointslices = discoveryv1.SchemeGroupVersion.WithResource("endpointslices")
	admin          = &user.DefaultInfo{Name: "admin", Groups: []string{user.SystemPrivilegedGroup}}
)

// cluster is what an aggregation reads.
type cluster struct {
	t         *testing.T
	verbs     *verb.Verbs
	catalogue *kind.Catalogue
	proxies   *pki.FrontProxies
	resolver  *Resolver
	connector *Connector
	table     *Table
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	st := statetest.Start(t)
	catalogue, err := native.Catalogue(native.Options{})
	if err != nil {
		t.Fatal(err)
	}
	proxies, err := pki.NewFrontProxies(pki.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, catalogue: catalogue, proxies: proxies, verbs: &verb.Verbs{
		State: st, Ownership: new(ownership.Managers).For,
		Companions: map[schema.GroupResource]verb.Companion{service.Resource: service.New(st, catalogue, service.Options{})},
	}}
	c.resolver = NewResolver(st, catalogue, false, &url.URL{Scheme: "https", Host: "127.0.0.1:6443"})
	c.connector = NewConnector(c.resolver, proxies.Client.CertPEM, proxies.Client.KeyPEM)
	t.Cleanup(c.connector.Close)
	c.table = NewTable(catalogue.Resource(apiregistration.Resource("apiservices")), c.connector)
	c.load()
	return c
}

// load has the table know what there is.
func (c *cluster) load() {
	c.table.Load(c.verbs.State.Snapshot(c.table.resource.Storage.Prefix))
}

func (c *cluster) hub(gvr schema.GroupVersionResource, obj runtime.Object) (verb.Target, runtime.Object) {
	c.t.Helper()
	v := c.catalogue.Lookup(gvr)
	v.Resource.Scheme.Default(obj)
	hub, err := v.Resource.ToHub(obj)
	if err != nil {
		c.t.Fatal(err)
	}
	m := obj.(metav1.Object)
	return verb.Target{Version: v, Namespace: m.GetNamespace(), Name: m.GetName()}, hub
}

func (c *cluster) create(gvr schema.GroupVersionResource, obj runtime.Object) {
	c.t.Helper()
	t, hub := c.hub(gvr, obj)
	t.Name = ""
	if _, err := c.verbs.Create(t.Context(context.Background(), "create", admin), t, hub, &metav1.CreateOptions{}); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) update(gvr schema.GroupVersionResource, obj runtime.Object, subresource string) {
	c.t.Helper()
	t, hub := c.hub(gvr, obj)
	t.Subresource = t.Version.Subresource(subresource)
	if _, err := c.verbs.Update(t.Context(context.Background(), "update", admin), t, hub, &metav1.UpdateOptions{}); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) delete(gvr schema.GroupVersionResource, name string) {
	c.t.Helper()
	t := verb.Target{Version: c.catalogue.Lookup(gvr), Name: name}
	if _, err := c.verbs.Delete(t.Context(context.Background(), "delete", admin), t, &metav1.DeleteOptions{}); err != nil {
		c.t.Fatal(err)
	}
}

// apiService is served elsewhere: at the Service "fruit" in "shop".
func apiService(group, version string, port int32, authority []byte) *apiregistrationv1.APIService {
	return &apiregistrationv1.APIService{
		ObjectMeta: metav1.ObjectMeta{Name: version + "." + group},
		Spec: apiregistrationv1.APIServiceSpec{
			Group: group, Version: version, GroupPriorityMinimum: 1000, VersionPriority: 10, CABundle: authority,
			Service: &apiregistrationv1.ServiceReference{Namespace: "shop", Name: "fruit", Port: &port},
		},
	}
}

// setAvailable has an APIService say whether it can be reached.
func (c *cluster) setAvailable(name string, status apiregistrationv1.ConditionStatus) {
	c.t.Helper()
	v := c.catalogue.Lookup(apiServices)
	stored, err := controller.Read[*apiregistration.APIService](v.Resource, c.verbs.State.Get(v.Resource.Storage.Key("", name)))
	if err != nil {
		c.t.Fatal(err)
	}
	obj, err := v.FromHub(stored)
	if err != nil {
		c.t.Fatal(err)
	}
	obj.(*apiregistrationv1.APIService).Status.Conditions = []apiregistrationv1.APIServiceCondition{{
		Type: apiregistrationv1.Available, Status: status, Reason: "Test", LastTransitionTime: metav1.Now(),
	}}
	c.update(apiServices, obj, "status")
}

// backend is a server that wants to know who passes requests on to it.
type testBackend struct {
	*httptest.Server
	port      int32
	authority []byte
}

func (c *cluster) newBackend(handler http.Handler) *testBackend {
	c.t.Helper()
	certs, err := pki.New(pki.Options{Hosts: []string{"fruit.shop.svc"}})
	if err != nil {
		c.t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(handler)
	s.EnableHTTP2 = true
	s.TLS = &tls.Config{
		Certificates: []tls.Certificate{certs.Serving.TLS()},
		ClientCAs:    c.proxies.CA.Pool(), ClientAuth: tls.RequireAndVerifyClientCert,
	}
	s.StartTLS()
	c.t.Cleanup(s.Close)
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		c.t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		c.t.Fatal(err)
	}
	return &testBackend{s, int32(n), certs.CA.CertPEM()}
}

// external is the Service "fruit", which is this machine.
func external() *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "fruit", Namespace: "shop"},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "localhost"},
	}
}

// serve has a backend serve fruit.example.com/v1.
func (c *cluster) serve(handler http.Handler) *testBackend {
	c.t.Helper()
	b := c.newBackend(handler)
	c.create(coreServices, external())
	c.create(apiServices, apiService("fruit.example.com", "v1", b.port, b.authority))
	c.setAvailable("v1.fruit.example.com", apiregistrationv1.ConditionTrue)
	c.load()
	return b
}

// front serves what a proxy handles, as who it is told to. Requests that are not
// watches have as long as it is told.
func (c *cluster) front(o ProxyOptions, who user.Info, timeout time.Duration) *httptest.Server {
	c.t.Helper()
	proxy := NewProxy(c.table, o)
	infos := &request.RequestInfoFactory{APIPrefixes: sets.NewString("api", "apis"), GrouplessAPIPrefixes: sets.NewString("api")}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		info, err := infos.NewRequestInfo(r)
		if err != nil {
			c.t.Error(err)
		}
		ctx := request.WithRequestInfo(r.Context(), info)
		if who != nil {
			ctx = request.WithUser(ctx, who)
		}
		if info.Verb != "watch" {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, timeout)
			defer cancel()
		}
		if !proxy.Handles(r.URL.Path) {
			http.Error(w, "it is not handled", http.StatusTeapot)
			return
		}
		proxy.ServeHTTP(w, r.WithContext(ctx))
	}))
	c.t.Cleanup(s.Close)
	return s
}
