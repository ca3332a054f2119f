package apiservice_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/kube-aggregator/pkg/apis/apiregistration"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/knarr-io/knarr/internal/controller"
	"github.com/knarr-io/knarr/internal/controller/apiservice"
	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/kind/native"
	"github.com/knarr-io/knarr/internal/ownership"
	"github.com/knarr-io/knarr/internal/service"
	"github.com/knarr-io/knarr/internal/state/statetest"
	"github.com/knarr-io/knarr/internal/verb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	apiServices = apiregistrationv1.SchemeGroupVersion.WithResource("apiservices")
	services    = corev1.SchemeGroupVersion.WithResource("services")
	slices      = discoveryv1.SchemeGroupVersion.WithResource("endpointslices")
	admin       = &user.DefaultInfo{Name: "admin", Groups: []string{user.SystemPrivilegedGroup}}
)

// cluster is a server without its HTTP side whose APIServices are looked at.
// Their servers answer as answers says.
type cluster struct {
	t         *testing.T
	verbs     *verb.Verbs
	catalogue *kind.Catalogue
	clock     *clocktesting.FakeClock
	answers   atomic.Pointer[answers]
	asked     atomic.Int64
	stop      func()
}

type answers func(*http.Request) (*http.Response, error)

func (c *cluster) RoundTrip(r *http.Request) (*http.Response, error) {
	c.asked.Add(1)
	return (*c.answers.Load())(r)
}

// settles waits until nothing is asked or written any more: what was written has
// the APIService looked at once more.
func (c *cluster) settles() {
	did := func() uint64 { return uint64(c.asked.Load()) + c.verbs.State.Rev() }
	for before, quiet := did(), 0; quiet < 10; quiet++ {
		time.Sleep(5 * time.Millisecond)
		if now := did(); now != before {
			before, quiet = now, 0
		}
	}
}

func (c *cluster) CloseIdleConnections() {}

func (c *cluster) answer(a answers) { c.answers.Store(&a) }

// status answers with a status code.
func status(code int) answers {
	return func(r *http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(code)
		answer := w.Result()
		answer.Request = r
		return answer, nil
	}
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	st := statetest.Start(t)
	catalogue, err := native.Catalogue(native.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, catalogue: catalogue, clock: clocktesting.NewFakeClock(time.Now().Truncate(time.Second))}
	c.answer(status(http.StatusOK))
	c.verbs = &verb.Verbs{
		State: st, Ownership: new(ownership.Managers).For,
		Companions: map[schema.GroupResource]verb.Companion{service.Resource: service.New(st, catalogue, service.Options{})},
	}
	looking := apiservice.New(c.verbs, catalogue, apiservice.Options{
		ResolveEndpoint: func(namespace, name string, port int32) (*url.URL, error) {
			if port == 1 {
				return nil, errors.New("it is nowhere")
			}
			return &url.URL{Scheme: "https", Host: fmt.Sprintf("%s.%s:%d", name, namespace, port)}, nil
		},
		Transport: func(spec *apiregistration.APIServiceSpec) (http.RoundTripper, error) {
			if string(spec.CABundle) == "damaged" {
				return nil, errors.New("the authority is none")
			}
			return c, nil
		},
		Clock: c.clock,
	})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { looking.Run(ctx) })
	c.stop = func() {
		cancel()
		running.Wait()
	}
	t.Cleanup(c.stop)
	return c
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

func (c *cluster) update(gvr schema.GroupVersionResource, obj runtime.Object) {
	c.t.Helper()
	t, hub := c.hub(gvr, obj)
	stored := c.verbs.State.Get(t.Version.Resource.Storage.Key(t.Namespace, t.Name))
	hub.(metav1.Object).SetResourceVersion(strconv.FormatUint(stored.Rev, 10))
	if _, err := c.verbs.Update(t.Context(context.Background(), "update", admin), t, hub, &metav1.UpdateOptions{}); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) delete(gvr schema.GroupVersionResource, namespace, name string) {
	c.t.Helper()
	t := verb.Target{Version: c.catalogue.Lookup(gvr), Namespace: namespace, Name: name}
	if _, err := c.verbs.Delete(t.Context(context.Background(), "delete", admin), t, &metav1.DeleteOptions{}); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) get(name string) *apiregistration.APIService {
	c.t.Helper()
	r := c.catalogue.Lookup(apiServices).Resource
	s, err := controller.Read[*apiregistration.APIService](r, c.verbs.State.Get(r.Storage.Key("", name)))
	if err != nil {
		c.t.Fatal(err)
	}
	return s
}

// says is what the status of an APIService says.
func (c *cluster) says(name string) string {
	var all []string
	for _, condition := range c.get(name).Status.Conditions {
		all = append(all, fmt.Sprintf("%s=%s %s: %s", condition.Type, condition.Status, condition.Reason, condition.Message))
	}
	return strings.Join(all, "; ")
}

// becomes waits for what the status says.
func (c *cluster) becomes(name, want string) {
	c.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); c.says(name) != want; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			c.t.Fatalf("%s says\n%s, want\n%s", name, c.says(name), want)
		}
	}
}

// stays checks that the status goes on to say it, whatever the time.
func (c *cluster) stays(name, want string) {
	c.t.Helper()
	for range 20 {
		time.Sleep(time.Millisecond)
		if got := c.says(name); got != want {
			c.t.Fatalf("%s says %s, want %s", name, got, want)
		}
	}
}

const (
	fruit  = "v1.fruit.example.com"
	passed = "Available=True Passed: all checks passed"
	local  = "Available=True Local: Local APIServices are always available"
)

// apiService is served by the Service "fruit" in "shop".
func apiService(name string, port int32) *apiregistrationv1.APIService {
	version, group, _ := strings.Cut(name, ".")
	return &apiregistrationv1.APIService{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: apiregistrationv1.APIServiceSpec{
			Group: group, Version: version, GroupPriorityMinimum: 1000, VersionPriority: 10, InsecureSkipTLSVerify: true,
			Service: &apiregistrationv1.ServiceReference{Namespace: "shop", Name: "fruit", Port: &port},
		},
	}
}

func external() *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "fruit", Namespace: "shop"},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "fruit.example.com"},
	}
}

func inside(port int32) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "fruit", Namespace: "shop"},
		Spec:       corev1.ServiceSpec{ClusterIP: corev1.ClusterIPNone, Ports: []corev1.ServicePort{{Name: "https", Port: port}}},
	}
}

// slice is of the Service's endpoints, one.
func slice(portName string, ready *bool) *discoveryv1.EndpointSlice {
	port := int32(8443)
	return &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: "fruit-1", Namespace: "shop", Labels: map[string]string{discoveryv1.LabelServiceName: "fruit"}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{"192.0.2.1"}, Conditions: discoveryv1.EndpointConditions{Ready: ready}}},
		Ports:       []discoveryv1.EndpointPort{{Name: &portName, Port: &port}},
	}
}

// Everything that can be wrong, in the order in which it is looked at. No time
// passes: what happens to one of the objects has the APIService looked at.
func TestReasons(t *testing.T) {
	c := newCluster(t)
	yes, no := true, false
	c.create(apiServices, apiService(fruit, 443))
	c.becomes(fruit, `Available=False ServiceNotFound: service/fruit in "shop" is not present`)
	c.create(services, inside(80))
	c.becomes(fruit, `Available=False ServicePortError: service/fruit in "shop" is not listening on port 443`)
	c.update(services, inside(443))
	c.becomes(fruit, `Available=False EndpointsNotFound: cannot find endpointslices for service/fruit in "shop"`)
	const missing = `Available=False MissingEndpoints: endpointslices for service/fruit in "shop" have no addresses with port name "https"`
	c.create(slices, slice("https", &no))
	c.becomes(fruit, missing)
	c.update(slices, slice("http", &yes))
	c.stays(fruit, missing)
	c.update(slices, slice("https", &yes))
	c.becomes(fruit, passed)
	c.update(slices, slice("https", &no))
	c.becomes(fruit, missing)
	c.update(slices, slice("https", nil))
	c.becomes(fruit, passed)
	c.delete(slices, "shop", "fruit-1")
	c.becomes(fruit, `Available=False EndpointsNotFound: cannot find endpointslices for service/fruit in "shop"`)
	c.delete(services, "shop", "fruit")
	c.becomes(fruit, `Available=False ServiceNotFound: service/fruit in "shop" is not present`)

	// A name elsewhere has neither ports nor endpoints.
	c.create(services, external())
	c.becomes(fruit, passed)
	touch := func(a answers, want string) {
		t.Helper()
		c.settles()
		c.answer(a)
		s := external()
		s.Labels = map[string]string{"now": fmt.Sprint(time.Now().UnixNano())}
		c.update(services, s)
		c.becomes(fruit, want)
	}
	const location = "https://fruit.shop:443/apis/fruit.example.com/v1"
	touch(func(*http.Request) (*http.Response, error) { return nil, errors.New("nobody is there") },
		fmt.Sprintf(`Available=False FailedDiscoveryCheck: failing or missing response from %[1]s: Get "%[1]s": nobody is there`, location))
	touch(status(http.StatusForbidden), fmt.Sprintf(`Available=False FailedDiscoveryCheck: failing or missing response from %[1]s: bad status from %[1]s: 403`, location))
	touch(status(http.StatusFound), fmt.Sprintf(`Available=False FailedDiscoveryCheck: failing or missing response from %[1]s: bad status from %[1]s: 302`, location))
	// One answer is enough.
	var asked atomic.Int32
	touch(func(r *http.Request) (*http.Response, error) {
		if asked.Add(1)%5 != 0 {
			return nil, errors.New("not now")
		}
		return status(http.StatusNoContent)(r)
	}, passed)
	if n := asked.Load(); n < 5 {
		t.Errorf("it was asked %d times", n)
	}
	c.settles()
	nowhere := apiService(fruit, 1)
	c.update(apiServices, nowhere)
	c.becomes(fruit, "Available=False FailedDiscoveryCheck: it is nowhere")

	// One that is served here, and was not, can be reached.
	here := apiService(fruit, 443)
	here.Spec.Service, here.Spec.InsecureSkipTLSVerify = nil, false
	c.update(apiServices, here)
	c.becomes(fruit, local)
	c.settles()
	c.update(apiServices, apiService(fruit, 443))
	c.becomes(fruit, passed)
}

// Who is asked, what, and in whose name.
func TestAsks(t *testing.T) {
	c := newCluster(t)
	asked := make(chan string, 100)
	c.answer(func(r *http.Request) (*http.Response, error) {
		asked <- fmt.Sprint(r.Method, " ", r.URL, " ", r.Header)
		return status(http.StatusOK)(r)
	})
	c.create(services, external())
	c.create(apiServices, apiService("v1.", 8443))
	c.becomes("v1.", passed)
	if got, want := <-asked, "GET https://fruit.shop:8443/api/v1 map[X-Remote-Group:[system:masters] X-Remote-User:[system:kube-aggregator]]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	s := c.get("v1.")
	for _, f := range s.ManagedFields {
		if f.Subresource == "status" && f.Manager == "kube-apiserver" && f.Operation == metav1.ManagedFieldsOperationUpdate {
			return
		}
	}
	t.Errorf("the status belongs to none: %v", s.ManagedFields)
}

// A server that is gone is noticed without anybody telling, and so is one that is
// back. A condition keeps its time while it says the same.
func TestLooksAgain(t *testing.T) {
	c := newCluster(t)
	c.create(services, external())
	c.create(apiServices, apiService(fruit, 443))
	c.becomes(fruit, passed)
	became := c.get(fruit).Status.Conditions[0].LastTransitionTime
	c.settles()
	c.waits()
	c.answer(status(http.StatusBadGateway))
	c.clock.Step(29 * time.Second)
	c.stays(fruit, passed)
	c.clock.Step(time.Second)
	const location = "https://fruit.shop:443/apis/fruit.example.com/v1"
	failed := fmt.Sprintf(`Available=False FailedDiscoveryCheck: failing or missing response from %[1]s: bad status from %[1]s: 502`, location)
	c.becomes(fruit, failed)
	since := c.get(fruit).Status.Conditions[0].LastTransitionTime
	if want := became.Add(30 * time.Second); !since.Time.Equal(want) {
		t.Errorf("it is so since %v, want %v", since, want)
	}
	// It is tried again, the later the more often it has failed, and half a
	// minute later at most.
	for range 20 {
		c.waits()
		c.clock.Step(30 * time.Second)
	}
	c.answer(status(http.StatusServiceUnavailable))
	c.waits()
	c.clock.Step(30 * time.Second)
	c.becomes(fruit, strings.Replace(failed, "502", "503", 1))
	if still := c.get(fruit).Status.Conditions[0].LastTransitionTime; !still.Equal(&since) {
		t.Errorf("it is so since %v, and was since %v", still, since)
	}
	c.waits()
	c.answer(status(http.StatusOK))
	c.clock.Step(30 * time.Second)
	c.becomes(fruit, passed)
}

// waits waits until the controller waits for a time to come, and for nothing
// else.
func (c *cluster) waits() {
	c.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !c.clock.HasWaiters(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			c.t.Fatal("it does not wait")
		}
	}
}

// An authority that is none says nothing of the server: nothing is told of it.
func TestDamagedAuthority(t *testing.T) {
	c := newCluster(t)
	c.create(services, external())
	s := apiService(fruit, 443)
	s.Spec.InsecureSkipTLSVerify, s.Spec.CABundle = false, []byte("damaged")
	c.create(apiServices, s)
	c.waits() // to try again
	c.stays(fruit, "")
	c.update(apiServices, apiService(fruit, 443))
	c.becomes(fruit, passed)
}

// One that does not answer does not keep others waiting, and is not told to be
// unavailable because the controller stops asking.
func TestStopsAsking(t *testing.T) {
	c := newCluster(t)
	asked := make(chan struct{}, 100)
	c.answer(func(r *http.Request) (*http.Response, error) {
		if strings.Contains(r.URL.Path, "fruit") {
			asked <- struct{}{}
			<-r.Context().Done()
			return nil, context.Cause(r.Context())
		}
		return status(http.StatusOK)(r)
	})
	c.create(services, external())
	c.create(apiServices, apiService(fruit, 443))
	for range 5 {
		<-asked
	}
	c.create(apiServices, apiService("v1.veg.example.com", 443))
	c.becomes("v1.veg.example.com", passed)
	c.stop()
	if got := c.says(fruit); got != "" {
		t.Errorf("it says %s", got)
	}
}
