package serviceip_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apiserver/pkg/authentication/user"
	api "k8s.io/kubernetes/pkg/apis/core"
	"k8s.io/kubernetes/pkg/apis/networking"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/knarr-io/knarr/internal/controller/serviceip"
	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/kind/native"
	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/service"
	"github.com/knarr-io/knarr/internal/state"
	"github.com/knarr-io/knarr/internal/state/statetest"
	"github.com/knarr-io/knarr/internal/store"
	"github.com/knarr-io/knarr/internal/verb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	services  = corev1.SchemeGroupVersion.WithResource("services")
	cidrs     = networkingv1.SchemeGroupVersion.WithResource("servicecidrs")
	addresses = networkingv1.SchemeGroupVersion.WithResource("ipaddresses")

	admin = &user.DefaultInfo{Name: "admin", Groups: []string{user.SystemPrivilegedGroup}}
)

const ports = "/registry/ranges/servicenodeports"

// cluster is a server without its HTTP side, whose books are kept.
type cluster struct {
	t         *testing.T
	state     *state.State
	verbs     *verb.Verbs
	catalogue *kind.Catalogue
	clock     *clocktesting.FakeClock
	allocator *service.Allocator
}

// newCluster has a ServiceCIDR, and nobody who keeps the books yet.
func newCluster(t *testing.T, o service.Options) *cluster {
	t.Helper()
	st := statetest.Start(t)
	catalogue, err := native.Catalogue(native.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, state: st, catalogue: catalogue, clock: clocktesting.NewFakeClock(time.Now())}
	c.configure(o)
	c.create(cidrs, &networking.ServiceCIDR{
		ObjectMeta: metav1.ObjectMeta{Name: "kubernetes"},
		Spec:       networking.ServiceCIDRSpec{CIDRs: []string{"10.0.0.0/24"}},
	})
	return c
}

// configure has node ports and addresses given as o says.
func (c *cluster) configure(o service.Options) {
	c.allocator = service.New(c.state, c.catalogue, o)
	c.verbs = &verb.Verbs{State: c.state, Companions: map[schema.GroupResource]verb.Companion{service.Resource: c.allocator}}
}

// keep has the books kept from now on, until the function that it returns is
// called or the test ends.
func (c *cluster) keep() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { serviceip.New(c.verbs, c.catalogue, c.allocator, c.clock).Run(ctx) })
	stop = func() {
		cancel()
		running.Wait()
	}
	c.t.Cleanup(stop)
	return stop
}

func (c *cluster) target(gvr schema.GroupVersionResource, name string) verb.Target {
	t := verb.Target{Version: c.catalogue.Lookup(gvr), Name: name}
	if t.Version.Resource.Namespaced {
		t.Namespace = "default"
	}
	return t
}

func (c *cluster) create(gvr schema.GroupVersionResource, obj runtime.Object) {
	c.t.Helper()
	t := c.target(gvr, "")
	if _, err := c.verbs.Create(t.Context(context.Background(), "create", admin), t, obj, &metav1.CreateOptions{}); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) tryCreate(svc *api.Service) error {
	t := c.target(services, "")
	_, err := c.verbs.Create(t.Context(context.Background(), "create", admin), t, svc, &metav1.CreateOptions{})
	return err
}

func (c *cluster) delete(gvr schema.GroupVersionResource, name string) {
	c.t.Helper()
	t := c.target(gvr, name)
	if _, err := c.verbs.Delete(t.Context(context.Background(), "delete", admin), t, &metav1.DeleteOptions{}); err != nil {
		c.t.Fatal(err)
	}
}

// newService is one with an address, and with a node port if nodePort is not
// 0.
func newService(name, ip string, nodePort int32) *api.Service {
	affinity, cluster := api.ServiceAffinityNone, api.ServiceInternalTrafficPolicyCluster
	svc := &api.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: api.ServiceSpec{
			Type: api.ServiceTypeClusterIP, ClusterIP: ip, SessionAffinity: affinity, InternalTrafficPolicy: &cluster,
			Ports: []api.ServicePort{{Port: 80, Protocol: api.ProtocolTCP, NodePort: nodePort}},
		},
	}
	svc.Spec.Ports[0].TargetPort.IntVal = 80
	if nodePort != 0 {
		svc.Spec.Type, svc.Spec.ExternalTrafficPolicy = api.ServiceTypeNodePort, api.ServiceExternalTrafficPolicyCluster
	}
	return svc
}

// newAddress is an IPAddress as it is made for a Service of that name.
func newAddress(ip, parent string) *networking.IPAddress {
	return &networking.IPAddress{
		ObjectMeta: metav1.ObjectMeta{Name: ip, Labels: map[string]string{
			networkingv1.LabelManagedBy:       "ipallocator.k8s.io",
			networkingv1.LabelIPAddressFamily: "IPv4",
		}},
		Spec: networking.IPAddressSpec{ParentRef: &networking.ParentReference{Resource: "services", Namespace: "default", Name: parent}},
	}
}

// put stores an object as it is, past all rules.
func (c *cluster) put(gvr schema.GroupVersionResource, namespace string, obj runtime.Object) {
	c.t.Helper()
	m := obj.(metav1.Object)
	m.SetNamespace(namespace)
	m.SetUID("stored-as-it-is")
	if m.GetCreationTimestamp().Time.IsZero() {
		m.SetCreationTimestamp(metav1.NewTime(c.clock.Now()))
	}
	storage := c.catalogue.Lookup(gvr).Resource.Storage
	value, err := storage.Codec.Encode(obj)
	if err != nil {
		c.t.Fatal(err)
	}
	c.commit(storage.Key(namespace, m.GetName()), value)
}

// commit writes a key over whatever there is; a nil value removes it.
func (c *cluster) commit(key string, value []byte) {
	c.t.Helper()
	change := store.Change{Key: key, Value: value}
	if o := c.state.Get(key); o != nil {
		change.If = o.Rev
	}
	if _, err := c.state.Commit(context.Background(), change); err != nil {
		c.t.Fatal(err)
	}
}

// each calls visit for the hub objects of a resource.
func (c *cluster) each(gvr schema.GroupVersionResource, visit func(runtime.Object)) {
	c.t.Helper()
	r := c.catalogue.Lookup(gvr).Resource
	c.state.Snapshot(r.Storage.Prefix).Each(state.Range{}, func(o *object.Object) bool {
		obj, err := r.Decode(o)
		if err != nil {
			c.t.Fatal(err)
		}
		visit(obj)
		return true
	})
}

// holders returns who has which address.
func (c *cluster) holders() (all []string) {
	c.each(addresses, func(obj runtime.Object) {
		a := obj.(*networking.IPAddress)
		all = append(all, a.Name+" "+a.Spec.ParentRef.Resource+" "+a.Spec.ParentRef.Name+" "+a.Labels[networkingv1.LabelIPAddressFamily])
	})
	return all
}

// events returns what was told, sorted: the object, the reason, what was said
// and how often.
func (c *cluster) events() (all []string) {
	c.each(corev1.SchemeGroupVersion.WithResource("events"), func(obj runtime.Object) {
		e := obj.(*api.Event)
		count := int32(1)
		if e.Series != nil {
			count = e.Series.Count
		}
		if e.Type != "Warning" || e.ReportingController == "" || e.ReportingInstance == "" || e.EventTime.IsZero() || e.InvolvedObject.UID == "" {
			c.t.Errorf("an event lacks something: %+v", e)
		}
		all = append(all, fmt.Sprintf("%s %s %s %s: %s (%d)", e.InvolvedObject.Kind, e.InvolvedObject.Name, e.Action, e.Reason, e.Message, count))
	})
	slices.Sort(all)
	return all
}

// eventually waits for what the keeper of the books does.
func (c *cluster) eventually(what string, done func() bool) {
	c.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			c.t.Fatalf("%s has not happened; addresses %q, events %q", what, c.holders(), c.events())
		}
	}
}

func (c *cluster) eventuallyHolders(want ...string) {
	c.t.Helper()
	c.eventually(fmt.Sprintf("addresses of %q", want), func() bool { return slices.Equal(c.holders(), want) })
}

func (c *cluster) eventuallyEvents(want ...string) {
	c.t.Helper()
	c.eventually(fmt.Sprintf("events %q", want), func() bool { return slices.Equal(c.events(), want) })
}

// later has time pass once the keeper of the books waits for it.
func (c *cluster) later(d time.Duration) {
	c.t.Helper()
	c.eventually("a timer", c.clock.HasWaiters)
	c.clock.Step(d)
}

// TestAddressDeleted deletes an IPAddress by hand.
func TestAddressDeleted(t *testing.T) {
	c := newCluster(t, service.Options{})
	c.keep()
	c.create(services, newService("a", "10.0.0.7", 0))
	c.delete(addresses, "10.0.0.7")
	c.eventuallyEvents("Service a ClusterIPAllocation ClusterIPNotAllocated: Cluster IP [IPv4]: 10.0.0.7 is not allocated; repairing (1)")
	c.eventuallyHolders("10.0.0.7 services a IPv4")
	c.delete(services, "a")
	c.eventuallyHolders()
}

// TestAtStart begins to keep books that are wrong.
func TestAtStart(t *testing.T) {
	c := newCluster(t, service.Options{})
	old := metav1.NewTime(c.clock.Now().Add(-2 * time.Minute))
	lost := newAddress("10.0.0.1", "gone")
	lost.CreationTimestamp = old
	c.put(addresses, "", lost)

	c.create(services, newService("missing", "10.0.0.2", 0))
	c.commit("/registry/ipaddresses/10.0.0.2", nil)

	c.create(services, newService("labels", "10.0.0.3", 0))
	wrong := newAddress("10.0.0.3", "labels")
	wrong.Labels[networkingv1.LabelIPAddressFamily] = "IPv6"
	c.put(addresses, "", wrong)

	c.create(services, newService("gateway", "10.0.0.4", 0))
	other := newAddress("10.0.0.4", "x")
	other.Spec.ParentRef.Resource, other.Spec.ParentRef.Group = "gateways", "gateway.networking.k8s.io"
	other.Labels = nil
	c.put(addresses, "", other)

	c.create(services, newService("parent", "10.0.0.5", 0))
	c.put(addresses, "", newAddress("10.0.0.5", "nobody"))

	changed := newAddress("10.0.0.6", "x") // made for a Service, then turned into something else
	changed.Spec.ParentRef.Resource = "things"
	c.put(addresses, "", changed)

	byHand := newAddress("10.0.0.9", "gone") // somebody else's
	byHand.Labels = nil
	c.put(addresses, "", byHand)

	c.keep()
	c.eventuallyHolders(
		"10.0.0.2 services missing IPv4", "10.0.0.3 services labels IPv4", "10.0.0.4 services gateway IPv4",
		"10.0.0.5 services parent IPv4", "10.0.0.9 services gone ",
	)
	c.eventuallyEvents(
		"IPAddress 10.0.0.1 IPAddressAllocation IPAddressNotAllocated: IPAddress: 10.0.0.1 for Service default/gone appears to have leaked: cleaning up (1)",
		"IPAddress 10.0.0.6 IPAddressAllocation IPAddressNotAllocated: IPAddress 10.0.0.6 appears to have been modified, not referencing a Service { things default x}: cleaning up (1)",
		"Service gateway ClusterIPAllocation ClusterIPNotAllocated: the ClusterIP [IPv4]: 10.0.0.4 for Service default/gateway has a wrong reference; repairing (1)",
		"Service missing ClusterIPAllocation ClusterIPNotAllocated: Cluster IP [IPv4]: 10.0.0.2 is not allocated; repairing (1)",
		"Service parent ClusterIPAllocation ClusterIPNotAllocated: the ClusterIP [IPv4]: 10.0.0.5 for Service default/parent has a wrong reference; repairing (1)",
	)
}

// TestGrace makes an IPAddress for a Service that is not there: it may be about
// to be made, for a minute.
func TestGrace(t *testing.T) {
	c := newCluster(t, service.Options{})
	c.keep()
	c.put(addresses, "", newAddress("10.0.0.7", "a"))
	c.later(59 * time.Second)
	c.eventually("a timer", c.clock.HasWaiters)
	if got := c.holders(); len(got) != 1 {
		t.Errorf("after less than a minute: %v", got)
	}
	c.clock.Step(2 * time.Second)
	c.eventuallyHolders()
}

// TestWrongReference has an IPAddress say that it is of a Service that has
// another.
func TestWrongReference(t *testing.T) {
	c := newCluster(t, service.Options{})
	c.create(services, newService("a", "10.0.0.7", 0))
	c.create(services, newService("b", "10.0.0.8", 0))
	c.put(addresses, "", newAddress("10.0.0.7", "b"))
	c.clock.Step(10 * time.Second) // it is not new
	c.keep()
	c.eventually("the address is taken from b", func() bool { return slices.Equal(c.holders(), []string{"10.0.0.8 services b IPv4"}) })
	c.later(5 * time.Second)
	c.eventuallyHolders("10.0.0.7 services a IPv4", "10.0.0.8 services b IPv4")
	c.eventuallyEvents(
		"IPAddress 10.0.0.7 IPAddressAllocation IPAddressWrongReference: IPAddress: 10.0.0.7 for Service default/b has a wrong reference; cleaning up (1)",
		"Service a ClusterIPAllocation ClusterIPNotAllocated: Cluster IP [IPv4]: 10.0.0.7 is not allocated; repairing (1)",
	)
}

// TestReported are things that only a user can put right. They are told again
// every three minutes, in the same event.
func TestReported(t *testing.T) {
	c := newCluster(t, service.Options{})
	c.create(services, newService("a", "10.0.0.7", 0))
	twin := c.stored("a")
	twin.Name = "b"
	c.put(services, "default", twin)
	outside := c.stored("a")
	outside.Name, outside.Spec.ClusterIP, outside.Spec.ClusterIPs = "c", "10.9.9.9", []string{"10.9.9.9"}
	c.put(services, "default", outside)
	stop := c.keep()
	told := func(times int) []string {
		return []string{
			fmt.Sprintf("Service b ClusterIPAllocation ClusterIPAlreadyAllocated: Cluster IP [IPv4]:10.0.0.7 was assigned to multiple services; please recreate service (%d)", times),
			fmt.Sprintf("Service c ClusterIPAllocation ClusterIPOutOfRange: Cluster IP [IPv4]: 10.9.9.9 is not within any configured Service CIDR; please recreate service (%d)", times),
		}
	}
	c.eventuallyEvents(told(1)...)
	c.later(3 * time.Minute)
	c.eventuallyEvents(told(2)...)
	c.later(3 * time.Minute)
	c.eventuallyEvents(told(3)...)
	c.eventuallyHolders("10.0.0.7 services a IPv4")

	c.delete(services, "b")
	c.delete(services, "c")
	c.later(3 * time.Minute)
	c.eventually("the end of all timers", func() bool { return !c.clock.HasWaiters() })
	stop()
	if got := c.events(); !slices.Equal(got, told(3)) {
		t.Errorf("events %q", got)
	}
}

// stored returns a copy of a Service, to be stored as another.
func (c *cluster) stored(name string) *api.Service {
	c.t.Helper()
	r := c.catalogue.Lookup(services).Resource
	obj, err := r.Decode(c.state.Get(r.Storage.Key("default", name)))
	if err != nil {
		c.t.Fatal(err)
	}
	svc := obj.(*api.Service)
	svc.ResourceVersion = ""
	return svc
}

// TestRangeGone takes the ServiceCIDR away: seen by who looks at ServiceCIDRs
// for the first time at once, by who did in three minutes.
func TestRangeGone(t *testing.T) {
	c := newCluster(t, service.Options{})
	c.create(services, newService("a", "10.0.0.7", 0))
	c.keep()
	c.delete(cidrs, "kubernetes")
	want := "Service a ClusterIPAllocation ClusterIPOutOfRange: Cluster IP [IPv4]: 10.0.0.7 is not within any configured Service CIDR; please recreate service "
	c.eventually("the event "+want, func() bool {
		if got := c.events(); len(got) > 0 {
			return len(got) == 1 && strings.HasPrefix(got[0], want)
		}
		if c.clock.HasWaiters() {
			c.clock.Step(3 * time.Minute)
		}
		return false
	})
}

// TestAsleep has nothing to do: not even a timer runs.
func TestAsleep(t *testing.T) {
	c := newCluster(t, service.Options{})
	for i := range 20 {
		c.create(services, newService(fmt.Sprintf("svc-%d", i), "", 30000+int32(i)))
	}
	c.keep()
	c.delete(services, "svc-0")
	c.eventually("a recount", c.clock.HasWaiters) // the next, since a port was given back
	c.clock.Step(3 * time.Minute)
	c.eventually("the end of all timers", func() bool { return !c.clock.HasWaiters() })
	if got := c.events(); len(got) > 0 {
		t.Errorf("events %q", got)
	}
}

// TestConcurrent has the books kept while they are written: nothing is wrong,
// so nothing may be found to be.
func TestConcurrent(t *testing.T) {
	c := newCluster(t, service.Options{NodePorts: utilnet.PortRange{Base: 30000, Size: 200}})
	stop := c.keep()
	var wg sync.WaitGroup
	for client := range 8 {
		wg.Go(func() {
			name := fmt.Sprintf("svc-%d", client)
			for range 60 {
				svc := newService(name, "", 0)
				if client%2 == 0 {
					svc = newService(name, "", 30000+int32(client))
				}
				c.create(services, svc)
				c.delete(services, name)
			}
		})
	}
	wg.Wait()
	c.clock.Step(3 * time.Minute)
	c.create(services, newService("last", "10.0.0.7", 0))
	c.delete(addresses, "10.0.0.7")
	c.eventuallyHolders("10.0.0.7 services last IPv4") // all before was seen
	stop()
	if got := c.events(); len(got) != 1 || !strings.Contains(got[0], "10.0.0.7") {
		t.Errorf("events %q", got)
	}
}
