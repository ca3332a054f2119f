package servicecidr_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/knarr-io/knarr/internal/controller/servicecidr"
	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/kind/native"
	"github.com/knarr-io/knarr/internal/ownership"
	"github.com/knarr-io/knarr/internal/service"
	"github.com/knarr-io/knarr/internal/state/statetest"
	"github.com/knarr-io/knarr/internal/verb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	services = corev1.SchemeGroupVersion.WithResource("services")
	cidrs    = networkingv1.SchemeGroupVersion.WithResource("servicecidrs")
	admin    = &user.DefaultInfo{Name: "admin", Groups: []string{user.SystemPrivilegedGroup}}
)

type cluster struct {
	t         *testing.T
	verbs     *verb.Verbs
	catalogue *kind.Catalogue
	clock     *clocktesting.FakeClock
}

// newCluster is a server without its HTTP side whose ServiceCIDRs are kept.
func newCluster(t *testing.T) *cluster {
	t.Helper()
	st := statetest.Start(t)
	catalogue, err := native.Catalogue(native.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, catalogue: catalogue, clock: clocktesting.NewFakeClock(time.Now())}
	c.verbs = &verb.Verbs{
		State: st, Ownership: new(ownership.Managers).For,
		Companions: map[schema.GroupResource]verb.Companion{service.Resource: service.New(st, catalogue, service.Options{})},
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { servicecidr.New(c.verbs, c.catalogue, c.clock).Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return c
}

func (c *cluster) target(gvr schema.GroupVersionResource, name string) verb.Target {
	t := verb.Target{Version: c.catalogue.Lookup(gvr), Name: name, Agent: "tester"}
	if t.Version.Resource.Namespaced {
		t.Namespace = "default"
	}
	return t
}

func (c *cluster) create(gvr schema.GroupVersionResource, obj runtime.Object) {
	c.t.Helper()
	t := c.target(gvr, "")
	t.Version.Resource.Scheme.Default(obj)
	hub, err := t.Version.Resource.ToHub(obj)
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := c.verbs.Create(t.Context(context.Background(), "create", admin), t, hub, &metav1.CreateOptions{}); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) createRange(name string, networks ...string) {
	c.t.Helper()
	c.create(cidrs, &networkingv1.ServiceCIDR{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: networks}})
}

func (c *cluster) createService(name, ip string) {
	c.t.Helper()
	c.create(services, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.ServiceSpec{ClusterIP: ip, Ports: []corev1.ServicePort{{Port: 80}}},
	})
}

func (c *cluster) delete(gvr schema.GroupVersionResource, name string) {
	c.t.Helper()
	t := c.target(gvr, name)
	if _, err := c.verbs.Delete(t.Context(context.Background(), "delete", admin), t, &metav1.DeleteOptions{}); err != nil {
		c.t.Fatal(err)
	}
}

// get returns a ServiceCIDR as clients see it, or nil.
func (c *cluster) get(name string) *networkingv1.ServiceCIDR {
	c.t.Helper()
	v := c.catalogue.Lookup(cidrs)
	o := c.verbs.State.Get(v.Resource.Storage.Key("", name))
	if o == nil {
		return nil
	}
	encoded, err := v.JSON.Encode(o)
	if err != nil {
		c.t.Fatal(err)
	}
	cidr := &networkingv1.ServiceCIDR{}
	if err := json.Unmarshal(encoded, cidr); err != nil {
		c.t.Fatal(err)
	}
	return cidr
}

// says tells what is to be seen of a ServiceCIDR.
func (c *cluster) says(name string) string {
	cidr := c.get(name)
	if cidr == nil {
		return "gone"
	}
	s := fmt.Sprint(cidr.Finalizers)
	for _, condition := range cidr.Status.Conditions {
		s += fmt.Sprintf(" %s=%s %s: %s", condition.Type, condition.Status, condition.Reason, condition.Message)
	}
	return s
}

const (
	ready       = "[networking.k8s.io/service-cidr-finalizer] Ready=True : Kubernetes Service CIDR is ready"
	terminating = "[networking.k8s.io/service-cidr-finalizer] Ready=False Terminating: There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR"
)

func (c *cluster) eventually(name, want string) {
	c.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); c.says(name) != want; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			c.t.Fatalf("%s says %q, want %q", name, c.says(name), want)
		}
	}
}

// later has time pass once the controller waits for it.
func (c *cluster) later(d time.Duration) {
	c.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !c.clock.HasWaiters(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			c.t.Fatal("nothing waits for time to pass")
		}
	}
	c.clock.Step(d)
}

// TestReady makes a ServiceCIDR. What the controller wrote is its own.
func TestReady(t *testing.T) {
	c := newCluster(t)
	c.createRange("a", "10.1.0.0/24", "fd00::/112")
	c.eventually("a", ready)
	var owners []string
	for _, m := range c.get("a").ManagedFields {
		owners = append(owners, fmt.Sprintf("%s %s %s", m.Manager, m.Operation, m.Subresource))
	}
	slices.Sort(owners)
	want := []string{"kube-controller-manager Update ", "service-cidr-controller Apply status", "tester Update "}
	if !slices.Equal(owners, want) {
		t.Errorf("owners %q, want %q", owners, want)
	}
	if c.clock.HasWaiters() {
		t.Error("a timer runs though there is nothing to do")
	}
}

// TestUnused deletes one that nothing was taken from: it goes after the time
// that other servers have to learn of it.
func TestUnused(t *testing.T) {
	c := newCluster(t)
	c.createRange("a", "10.1.0.0/24")
	c.eventually("a", ready)
	c.delete(cidrs, "a")
	c.later(8 * time.Second)
	if got := c.says("a"); got != ready {
		t.Errorf("after 8 seconds it says %q", got)
	}
	c.later(3 * time.Second)
	c.eventually("a", "gone")
}

// TestInUse deletes one that an address was taken from, and gives that back.
func TestInUse(t *testing.T) {
	c := newCluster(t)
	c.createRange("a", "10.1.0.0/24")
	c.eventually("a", ready)
	c.createService("svc", "10.1.0.7")
	c.delete(cidrs, "a")
	c.eventually("a", terminating)
	c.delete(services, "svc")
	c.later(11 * time.Second)
	c.eventually("a", "gone")
}

// TestCovered deletes one whose address another has too, be it the same
// network or a larger one that is made later.
func TestCovered(t *testing.T) {
	for _, other := range []string{"10.1.0.0/24", "10.1.0.0/16"} {
		t.Run(other, func(t *testing.T) {
			c := newCluster(t)
			c.createRange("a", "10.1.0.0/24")
			c.eventually("a", ready)
			c.createService("svc", "10.1.0.7")
			c.delete(cidrs, "a")
			c.eventually("a", terminating)
			c.createRange("b", other)
			c.eventually("b", ready)
			c.later(11 * time.Second)
			c.eventually("a", "gone")
		})
	}
}

// TestPartlyCovered deletes one of which another has a part: whether it may go
// depends on where the address is.
func TestPartlyCovered(t *testing.T) {
	for ip, want := range map[string]string{"10.1.0.7": "gone", "10.1.0.200": terminating} {
		t.Run(ip, func(t *testing.T) {
			c := newCluster(t)
			c.createRange("a", "10.1.0.0/24")
			c.createRange("b", "10.1.0.0/25")
			c.eventually("a", ready)
			c.eventually("b", ready)
			c.createService("svc", ip)
			c.delete(cidrs, "a")
			if want == "gone" {
				c.later(11 * time.Second)
			}
			c.eventually("a", want)
		})
	}
}

// TestFinalizerRemoved takes the finalizer and the condition away.
func TestFinalizerRemoved(t *testing.T) {
	c := newCluster(t)
	c.createRange("a", "10.1.0.0/24")
	c.eventually("a", ready)
	target := c.target(cidrs, "a")
	patch := []byte(`{"metadata":{"finalizers":null}}`)
	if _, err := c.verbs.Patch(target.Context(t.Context(), "patch", admin), target, "application/merge-patch+json", patch, &metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	c.eventually("a", ready)
	target.Subresource = target.Version.Subresource("status")
	patch = []byte(`{"status":{"conditions":null}}`)
	if _, err := c.verbs.Patch(target.Context(t.Context(), "patch", admin), target, "application/merge-patch+json", patch, &metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	c.eventually("a", ready)
}
