package service_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	api "k8s.io/kubernetes/pkg/apis/core"
	"k8s.io/kubernetes/pkg/apis/networking"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/service"
)

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

// TestStoredNodePorts compares the record of node ports with what
// kube-apiserver writes to etcd when none is taken, and when 30000 is.
func TestStoredNodePorts(t *testing.T) {
	c := newCluster(t, service.Options{}, "10.0.0.0/24")
	stored := func() string { return string(c.verbs.State.Get("/registry/ranges/servicenodeports").Value) }
	const head, meta = "k8s\x00\n\x15\n\x02v1\x12\x0fRangeAllocation\x12", "\n\x10\n\x00\x12\x00\x1a\x00\"\x00*\x002\x008\x00B\x00\x12\x0b30000-32767"
	svc := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "svc"},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort, Ports: []corev1.ServicePort{{Port: 80, NodePort: 30000}}},
	}
	c.must(c.create(services, svc, &metav1.CreateOptions{}))
	if got, want := stored(), head+"\x22"+meta+"\x1a\x01\x01\x1a\x00\"\x00"; got != want {
		t.Errorf("with one taken:\n%q, want\n%q", got, want)
	}
	c.must(c.delete(services, "svc", &metav1.DeleteOptions{}))
	if got, want := stored(), head+"\x21"+meta+"\x1a\x00\x1a\x00\"\x00"; got != want {
		t.Errorf("with none taken:\n%q, want\n%q", got, want)
	}
}

// TestOwner has the fields of new addresses owned.
func TestOwner(t *testing.T) {
	own := func(v *kind.Version, address runtime.Object) (runtime.Object, error) {
		if v.GVR() != addresses {
			t.Errorf("an address is written as %s", v.GVR())
		}
		address.(*networking.IPAddress).ManagedFields = []metav1.ManagedFieldsEntry{{
			Manager: "me", Operation: metav1.ManagedFieldsOperationUpdate, APIVersion: v.GroupVersion().String(),
			FieldsType: "FieldsV1", FieldsV1: &metav1.FieldsV1{Raw: []byte("{}")},
		}}
		return address, nil
	}
	c := newCluster(t, service.Options{Own: own}, "10.0.0.0/24")
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "svc"}, Spec: corev1.ServiceSpec{ClusterIP: "10.0.0.7", Ports: []corev1.ServicePort{{Port: 80}}}}
	c.must(c.create(services, svc, &metav1.CreateOptions{}))
	o := c.verbs.State.Get("/registry/ipaddresses/10.0.0.7")
	obj, err := c.catalogue.Lookup(addresses).Resource.Decode(o)
	if err != nil {
		t.Fatal(err)
	}
	if owners := obj.(*networking.IPAddress).ManagedFields; len(owners) != 1 || owners[0].Manager != "me" {
		t.Errorf("owners: %v", owners)
	}
}

func TestIPv6(t *testing.T) {
	c := newCluster(t, service.Options{Families: []api.IPFamily{api.IPv6Protocol}}, "fd00:1::/108", "10.0.0.0/24")
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

// TestNoAddress are refusals of addresses, in upstream's words.
func TestNoAddress(t *testing.T) {
	svc := func(name string) *corev1.Service {
		return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}}}
	}
	c := newCluster(t, service.Options{}, "10.0.0.0/24")
	_, err := c.create(services, svc("a%b"), &metav1.CreateOptions{})
	const wrapped = `Service "a%b" is invalid: spec.clusterIPs: Invalid value: [""]: failed to allocate IP: IPAddress.networking.k8s.io "10.0.0.`
	if code, message := answer(err); code != 422 || !strings.HasPrefix(message, wrapped) {
		t.Errorf("a name that is no path segment: %d %s", code, message)
	}
	c.must(c.delete(cidrs, "range-0", &metav1.DeleteOptions{}))
	_, err = c.create(services, svc("a"), createDry)
	const notReady = `Service "a" is invalid: spec.clusterIPs: Invalid value: [""]: failed to allocate IP: allocator not ready`
	if code, message := answer(err); code != 422 || message != notReady {
		t.Errorf("a dry run without a ServiceCIDR: %d %s", code, message)
	}
}
