package service_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	api "k8s.io/kubernetes/pkg/apis/core"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/kind/native"
	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/service"
	"github.com/knarr-io/knarr/internal/state"
	"github.com/knarr-io/knarr/internal/store/memory"
	"github.com/knarr-io/knarr/internal/verb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	services   = corev1.SchemeGroupVersion.WithResource("services")
	cidrs      = networkingv1.SchemeGroupVersion.WithResource("servicecidrs")
	addresses  = networkingv1.SchemeGroupVersion.WithResource("ipaddresses")
	createDry  = &metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}
	serviceNet = netip.MustParsePrefix("10.0.0.0/24")
)

// cluster is a server without its HTTP side.
type cluster struct {
	t         testing.TB
	verbs     *verb.Verbs
	catalogue *kind.Catalogue
}

// newCluster has a ServiceCIDR for each of ranges.
func newCluster(t testing.TB, o service.Options, ranges ...string) *cluster {
	t.Helper()
	st, err := state.Start(t.Context(), memory.New(memory.Options{}), state.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Stop(); err != nil {
			t.Error(err)
		}
	})
	catalogue, err := native.Catalogue(native.Options{IPFamily: corev1.IPFamily(o.Family)})
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t, &verb.Verbs{State: st, Companions: map[schema.GroupResource]verb.Companion{
		service.Resource: service.New(st, catalogue, o),
	}}, catalogue}
	for i, r := range ranges {
		c.must(c.create(cidrs, &networkingv1.ServiceCIDR{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("range-%d", i)},
			Spec:       networkingv1.ServiceCIDRSpec{CIDRs: []string{r}},
		}, &metav1.CreateOptions{}))
	}
	return c
}

func (c *cluster) must(_ *object.Object, err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) target(gvr schema.GroupVersionResource, name string) verb.Target {
	t := verb.Target{Version: c.catalogue.Lookup(gvr), Name: name}
	if t.Version.Resource.Namespaced {
		t.Namespace = "default"
	}
	return t
}

var admin = &user.DefaultInfo{Name: "admin", Groups: []string{user.SystemPrivilegedGroup}}

// hub is what the decoder makes of a body.
func (c *cluster) hub(gvr schema.GroupVersionResource, obj runtime.Object) runtime.Object {
	r := c.catalogue.Lookup(gvr).Resource
	obj = obj.DeepCopyObject()
	r.Scheme.Default(obj)
	hub, err := r.ToHub(obj)
	if err != nil {
		c.t.Fatal(err)
	}
	return hub
}

func (c *cluster) create(gvr schema.GroupVersionResource, obj runtime.Object, o *metav1.CreateOptions) (*object.Object, error) {
	t := c.target(gvr, "")
	result, err := c.verbs.Create(t.Context(context.Background(), "create", admin), t, c.hub(gvr, obj), o)
	if err != nil {
		return nil, err
	}
	return result.Object, nil
}

func (c *cluster) update(obj *corev1.Service, o *metav1.UpdateOptions) (*object.Object, error) {
	t := c.target(services, obj.Name)
	result, err := c.verbs.Update(t.Context(context.Background(), "update", admin), t, c.hub(services, obj), o)
	if err != nil {
		return nil, err
	}
	return result.Object, nil
}

func (c *cluster) delete(gvr schema.GroupVersionResource, name string, o *metav1.DeleteOptions) (*object.Object, error) {
	t := c.target(gvr, name)
	result, err := c.verbs.Delete(t.Context(context.Background(), "delete", admin), t, o)
	if err != nil {
		return nil, err
	}
	return result.Object, nil
}

// spec returns the spec of a Service as clients see it.
func (c *cluster) spec(o *object.Object) corev1.ServiceSpec {
	c.t.Helper()
	encoded, err := c.catalogue.Lookup(services).JSON.Encode(o)
	if err != nil {
		c.t.Fatal(err)
	}
	var svc corev1.Service
	if err := json.Unmarshal(encoded, &svc); err != nil {
		c.t.Fatal(err)
	}
	return svc.Spec
}

// holders returns who has which address, from the IPAddress objects.
func (c *cluster) holders() map[string]string {
	c.t.Helper()
	held := map[string]string{}
	version := c.catalogue.Lookup(addresses)
	c.verbs.State.Snapshot(version.Resource.Storage.Prefix).Each(state.Range{}, func(o *object.Object) bool {
		encoded, err := version.JSON.Encode(o)
		if err != nil {
			c.t.Fatal(err)
		}
		var address networkingv1.IPAddress
		if err := json.Unmarshal(encoded, &address); err != nil {
			c.t.Fatal(err)
		}
		held[address.Name] = address.Spec.ParentRef.Name
		return true
	})
	return held
}

// nodePorts returns how many node ports are recorded as taken.
func (c *cluster) nodePorts() int {
	c.t.Helper()
	o := c.verbs.State.Get("/registry/ranges/servicenodeports")
	if o == nil {
		return 0
	}
	var taken api.RangeAllocation
	if err := runtime.DecodeInto(legacyscheme.Codecs.UniversalDecoder(), o.Value, &taken); err != nil {
		c.t.Fatal(err)
	}
	n := 0
	for _, b := range taken.Data {
		for ; b > 0; b &= b - 1 {
			n++
		}
	}
	return n
}

func (c *cluster) services() map[string]corev1.ServiceSpec {
	specs := map[string]corev1.ServiceSpec{}
	c.verbs.State.Snapshot("/registry/services/specs").Each(state.Range{}, func(o *object.Object) bool {
		specs[o.Name] = c.spec(o)
		return true
	})
	return specs
}

// step is a request and what kube-apiserver v1.37.2 answered to it, all in
// testdata/services.json. Values that it chose are "<address>" and "<port>".
type step struct {
	Note, Verb, Name string
	DryRun           bool
	Object           *corev1.Service
	Want             struct {
		Code    int
		Message string
		Spec    map[string]any
	}
}

// TestAsUpstream does to a cluster what was done to kube-apiserver, one step
// after the other, and expects the same answers.
func TestAsUpstream(t *testing.T) {
	file, err := os.ReadFile("testdata/services.json")
	if err != nil {
		t.Fatal(err)
	}
	var story struct {
		Steps   []step
		Holders []string
	}
	if err := json.Unmarshal(file, &story); err != nil {
		t.Fatal(err)
	}
	given := given(t, file)
	c := newCluster(t, service.Options{}, serviceNet.String())
	for _, s := range story.Steps {
		t.Run(s.Note, func(t *testing.T) {
			before := c.verbs.State.Rev()
			o, err := c.do(s)
			if code, message := answer(err); code != s.Want.Code && !(err == nil && s.Want.Code < 300) || message != s.Want.Message {
				t.Fatalf("got  %d %s\nwant %d %s", code, message, s.Want.Code, s.Want.Message)
			}
			if (err != nil || s.DryRun) && c.verbs.State.Rev() != before {
				t.Error("a request that was refused, or tried only, has changed something")
			}
			if s.Want.Spec != nil {
				if diff := cmp.Diff(s.Want.Spec, masked(t, c.spec(o), given)); diff != "" {
					t.Errorf("spec (-want +got):\n%s", diff)
				}
			}
		})
	}
	var holders []string
	for _, name := range c.holders() {
		holders = append(holders, name)
	}
	slices.Sort(holders)
	if diff := cmp.Diff(story.Holders, holders); diff != "" {
		t.Errorf("who holds an address in the end (-want +got):\n%s", diff)
	}
	c.checkBooks()
}

func (c *cluster) do(s step) (*object.Object, error) {
	var dry []string
	if s.DryRun {
		dry = []string{metav1.DryRunAll}
	}
	switch s.Verb {
	case "create":
		return c.create(services, s.Object, &metav1.CreateOptions{DryRun: dry})
	case "update":
		return c.update(s.Object, &metav1.UpdateOptions{DryRun: dry})
	default:
		return c.delete(services, s.Name, &metav1.DeleteOptions{DryRun: dry})
	}
}

func answer(err error) (int, string) {
	if err == nil {
		return 200, ""
	}
	if status := apierrors.APIStatus(nil); errors.As(err, &status) {
		return int(status.Status().Code), status.Status().Message
	}
	return 500, err.Error()
}

// given returns what occurs in the requests of a story.
func given(t *testing.T, file []byte) map[any]bool {
	t.Helper()
	var story struct{ Steps []struct{ Object any } }
	if err := json.Unmarshal(file, &story); err != nil {
		t.Fatal(err)
	}
	values := map[any]bool{}
	var collect func(any)
	collect = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for _, e := range v {
				collect(e)
			}
		case []any:
			for _, e := range v {
				collect(e)
			}
		default:
			values[v] = true
		}
	}
	for _, s := range story.Steps {
		collect(s.Object)
	}
	return values
}

// masked returns spec as JSON has it, with "<address>" and "<port>" for what
// was chosen and not given. A chosen value must be one that may be.
func masked(t *testing.T, spec corev1.ServiceSpec, given map[any]bool) map[string]any {
	t.Helper()
	encoded, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	var masked map[string]any
	if err := json.Unmarshal(encoded, &masked); err != nil {
		t.Fatal(err)
	}
	address := func(v any) any {
		if ip, err := netip.ParseAddr(fmt.Sprint(v)); err == nil && !given[v] && ip != serviceNet.Addr() {
			if !serviceNet.Contains(ip) || ip.As4()[3] < 17 || ip.As4()[3] > 254 {
				t.Errorf("%v is not an address to be chosen", v)
			}
			return "<address>"
		}
		return v
	}
	port := func(m map[string]any, field string) {
		if n, ok := m[field].(float64); ok && !given[n] && n < 32768 {
			if n < 30086 {
				t.Errorf("%v is not a node port to be chosen", n)
			}
			m[field] = "<port>"
		}
	}
	if ip, ok := masked["clusterIP"]; ok {
		masked["clusterIP"] = address(ip)
	}
	if ips, ok := masked["clusterIPs"].([]any); ok {
		for i := range ips {
			ips[i] = address(ips[i])
		}
	}
	ports, _ := masked["ports"].([]any)
	for _, p := range ports {
		port(p.(map[string]any), "nodePort")
	}
	port(masked, "healthCheckNodePort")
	return masked
}

// checkBooks compares what Services have with what is recorded as taken.
func (c *cluster) checkBooks() {
	c.t.Helper()
	held := c.holders()
	ports := map[int32]string{}
	for name, spec := range c.services() {
		if ip := spec.ClusterIP; ip != "" && ip != corev1.ClusterIPNone {
			if held[ip] != name {
				c.t.Errorf("%s is the address of service %s, but recorded as that of %q", ip, name, held[ip])
			}
			delete(held, ip)
		}
		own := map[int32]bool{}
		for _, p := range spec.Ports {
			own[p.NodePort] = true
		}
		own[spec.HealthCheckNodePort] = true
		delete(own, 0)
		for n := range own {
			if other := ports[n]; other != "" {
				c.t.Errorf("node port %d is that of %s and of %s", n, name, other)
			}
			ports[n] = name
		}
	}
	for ip, name := range held {
		c.t.Errorf("%s is recorded as the address of service %s, which does not have it", ip, name)
	}
	if n := c.nodePorts(); n != len(ports) {
		c.t.Errorf("%d node ports are recorded as taken, %d are in use", n, len(ports))
	}
}

// TestConcurrent makes, changes and deletes Services from many sides at once.
func TestConcurrent(t *testing.T) {
	const clients, rounds = 16, 40
	c := newCluster(t, service.Options{}, "10.0.0.0/26") // 62 addresses
	var wg sync.WaitGroup
	for client := range clients {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(client)))
			for round := range rounds {
				name := fmt.Sprintf("svc-%d-%d", client, round%3)
				if err := c.anything(random, name); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
	wg.Wait()
	c.checkBooks()
	for name := range c.services() {
		c.must(c.delete(services, name, &metav1.DeleteOptions{}))
	}
	if held, ports := c.holders(), c.nodePorts(); len(held) > 0 || ports > 0 {
		t.Errorf("after all Services are gone, %v and %d node ports are taken", held, ports)
	}
}

// anything does one thing to a Service. Errors that may be are not returned.
func (c *cluster) anything(random *rand.Rand, name string) error {
	svc := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}},
	}
	switch random.IntN(5) {
	case 0:
		svc.Spec.Type = corev1.ServiceTypeNodePort
	case 1:
		svc.Spec.Type, svc.Spec.ExternalTrafficPolicy = corev1.ServiceTypeLoadBalancer, corev1.ServiceExternalTrafficPolicyLocal
	case 2:
		svc.Spec.Type, svc.Spec.ExternalName = corev1.ServiceTypeExternalName, "example.com"
	case 3:
		svc.Spec.ClusterIP = fmt.Sprintf("10.0.0.%d", 1+random.IntN(16))
	}
	var err error
	switch random.IntN(3) {
	case 0:
		_, err = c.create(services, svc, &metav1.CreateOptions{})
	case 1:
		_, err = c.update(svc, &metav1.UpdateOptions{})
	case 2:
		_, err = c.delete(services, name, &metav1.DeleteOptions{})
	}
	switch {
	case apierrors.IsAlreadyExists(err), apierrors.IsNotFound(err),
		err != nil && strings.Contains(err.Error(), "provided IP is already allocated"),
		err != nil && strings.Contains(err.Error(), "may not change once set"):
		return nil
	}
	return err
}

// TestFull takes every address there is.
func TestFull(t *testing.T) {
	c := newCluster(t, service.Options{}, "10.0.0.0/29", "10.1.0.0/30")
	svc := func(i int) *corev1.Service {
		return &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("svc-%d", i)},
			Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}},
		}
	}
	for i := range 6 + 2 {
		c.must(c.create(services, svc(i), &metav1.CreateOptions{}))
	}
	_, err := c.create(services, svc(8), &metav1.CreateOptions{})
	const full = `Internal error occurred: failed to allocate a serviceIP for Service "svc-8": range is full`
	if code, message := answer(err); code != 500 || message != full {
		t.Errorf("when all addresses are taken: %d %s", code, message)
	}
	c.checkBooks()

	c.must(c.delete(services, "svc-3", &metav1.DeleteOptions{}))
	c.must(c.create(services, svc(8), &metav1.CreateOptions{}))
	c.checkBooks()
}

// TestRangeGoes deletes a ServiceCIDR: from then on no address is taken from
// it, but those that were are given back.
func TestRangeGoes(t *testing.T) {
	c := newCluster(t, service.Options{}, "10.0.0.0/24")
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "svc"}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}}}
	c.must(c.create(services, svc, &metav1.CreateOptions{}))
	c.must(c.delete(cidrs, "range-0", &metav1.DeleteOptions{}))
	svc.Name = "svc2"
	if _, err := c.create(services, svc, &metav1.CreateOptions{}); err == nil || !strings.Contains(err.Error(), "range is full") {
		t.Errorf("a create without a ServiceCIDR: %v", err)
	}
	c.must(c.delete(services, "svc", &metav1.DeleteOptions{}))
	if held := c.holders(); len(held) > 0 {
		t.Errorf("%v are held by nobody", held)
	}
}

// TestForeignAddress deletes a Service whose address an administrator has
// given to another by hand: it stays the other's.
func TestForeignAddress(t *testing.T) {
	c := newCluster(t, service.Options{}, "10.0.0.0/24")
	svc := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "a"},
		Spec:       corev1.ServiceSpec{ClusterIP: "10.0.0.7", Ports: []corev1.ServicePort{{Port: 80}}},
	}
	c.must(c.create(services, svc, &metav1.CreateOptions{}))
	c.must(c.delete(addresses, "10.0.0.7", &metav1.DeleteOptions{}))
	svc.Name = "b"
	c.must(c.create(services, svc, &metav1.CreateOptions{}))
	c.must(c.delete(services, "a", &metav1.DeleteOptions{}))
	if diff := cmp.Diff(map[string]string{"10.0.0.7": "b"}, c.holders()); diff != "" {
		t.Error(diff)
	}
}

// TestFinalizer lets an update of the status take the last finalizer away.
func TestFinalizer(t *testing.T) {
	c := newCluster(t, service.Options{}, "10.0.0.0/24")
	svc := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "lb", Finalizers: []string{"example.com/lb"}},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, Ports: []corev1.ServicePort{{Port: 80}}},
	}
	c.must(c.create(services, svc, &metav1.CreateOptions{}))
	c.must(c.delete(services, "lb", &metav1.DeleteOptions{}))
	c.checkBooks() // it still has all
	svc.Finalizers = nil
	target := c.target(services, "lb")
	target.Subresource = target.Version.Subresource("status")
	_, err := c.verbs.Update(target.Context(t.Context(), "update", admin), target, c.hub(services, svc), &metav1.UpdateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if left := c.services(); len(left) > 0 {
		t.Fatalf("the Service is still there: %v", left)
	}
	if held, ports := c.holders(), c.nodePorts(); len(held) > 0 || ports > 0 {
		t.Errorf("after the Service is gone, %v and %d node ports are taken", held, ports)
	}
}

func TestIPv6(t *testing.T) {
	c := newCluster(t, service.Options{Family: api.IPv6Protocol}, "fd00:1::/108", "10.0.0.0/24")
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "six"}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}}}
	o, err := c.create(services, svc, &metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	spec := c.spec(o)
	if ip := netip.MustParseAddr(spec.ClusterIP); !netip.MustParsePrefix("fd00:1::/108").Contains(ip) || spec.IPFamilies[0] != corev1.IPv6Protocol {
		t.Errorf("%v %v", spec.ClusterIP, spec.IPFamilies)
	}
	svc.Name, svc.Spec.ClusterIP = "four", "10.0.0.7"
	if _, err := c.create(services, svc, createDry); err == nil || !strings.Contains(err.Error(), "IPv4 is not configured on this cluster") {
		t.Errorf("an IPv4 address: %v", err)
	}
	c.checkBooks()
}
