package service_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
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
	"github.com/knarr-io/knarr/internal/store"
	"github.com/knarr-io/knarr/internal/store/memory"
	"github.com/knarr-io/knarr/internal/verb"
)

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
	allocator *service.Allocator
	stop      func()
}

// newCluster has a ServiceCIDR for each of ranges, and forgets everything with
// the test.
func newCluster(t testing.TB, o service.Options, ranges ...string) *cluster {
	t.Helper()
	c := openCluster(t, memory.New(memory.Options{}), o)
	for i, r := range ranges {
		c.addRange(fmt.Sprintf("range-%d", i), r)
	}
	return c
}

// openCluster is what st holds, until the test ends or stop is called.
func openCluster(t testing.TB, st store.Store, o service.Options) *cluster {
	t.Helper()
	s, err := state.Start(t.Context(), st, state.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	stop := func() {
		once.Do(func() {
			if err := s.Stop(); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(stop)
	family := corev1.IPv4Protocol
	if len(o.Families) > 0 {
		family = corev1.IPFamily(o.Families[0])
	}
	catalogue, err := native.Catalogue(native.Options{IPFamily: family})
	if err != nil {
		t.Fatal(err)
	}
	allocator := service.New(s, catalogue, o)
	return &cluster{t, &verb.Verbs{State: s, Companions: map[schema.GroupResource]verb.Companion{service.Resource: allocator}}, catalogue, allocator, stop}
}

// addRange makes a ServiceCIDR.
func (c *cluster) addRange(name string, networks ...string) {
	c.t.Helper()
	c.must(c.create(cidrs, &networkingv1.ServiceCIDR{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       networkingv1.ServiceCIDRSpec{CIDRs: networks},
	}, &metav1.CreateOptions{}))
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

// checkBooks compares what Services have with what is recorded as taken.
func (c *cluster) checkBooks() {
	c.t.Helper()
	held := c.holders()
	ports := map[int32]string{}
	for name, spec := range c.services() {
		if spec.Type == corev1.ServiceTypeExternalName {
			continue // it may say anything, and has nothing
		}
		for _, ip := range spec.ClusterIPs {
			if ip == corev1.ClusterIPNone {
				continue
			}
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
