// Package serviceip keeps the books of Services right: that each cluster
// address of a Service has an IPAddress that says so and the reverse, and that
// the record of node ports says what Services have. knarr writes them together
// with the Service, so there is nothing to put right but what others did: a
// client that deletes or makes an IPAddress, a store that was restored or is
// shared with a kube-apiserver, a start with another range of node ports.
//
// It finds, repairs and reports what upstream's two repair controllers of
// kube-apiserver do, in their words. They look at everything every three
// minutes; this looks at what changes, and every three minutes at what it
// found wrong and cannot repair.
package serviceip

import (
	"context"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/klog/v2"
	api "k8s.io/kubernetes/pkg/apis/core"
	"k8s.io/kubernetes/pkg/apis/networking"
	"k8s.io/utils/clock"
	netutils "k8s.io/utils/net"

	"github.com/knarr-io/knarr/internal/controller"
	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/service"
	"github.com/knarr-io/knarr/internal/state"
	"github.com/knarr-io/knarr/internal/verb"
)

// interval is how often upstream's controllers look at everything.
const interval = 3 * time.Minute

var addressesGVR = networkingv1.SchemeGroupVersion.WithResource("ipaddresses")

// Repairer keeps the books of one server.
type Repairer struct {
	client    controller.Client
	allocator *service.Allocator
	state     *state.State
	clock     clock.Clock
	// services, addresses and ranges are the resources that it looks at.
	services, addresses, ranges *kind.Resource

	schedule *controller.Schedule[key]
	// Of Run's goroutine:
	addressEvents, portEvents *controller.Recorder
	leaked                    map[int]int // see service.Allocator.RecountPorts
	recounted                 time.Time
}

// key is what is to be looked at: a Service, an IPAddress, or one of the
// constants below.
type key struct {
	what            what
	namespace, name string
}

type what int

const (
	aService what = iota
	anAddress
	nodePorts   // the record of all node ports
	allServices // each of them
)

// New returns a repairer that writes through verbs, and has node ports counted
// by allocator; nil if the catalogue does not have all that it looks at.
func New(verbs *verb.Verbs, catalogue *kind.Catalogue, allocator *service.Allocator, clock clock.Clock) *Repairer {
	r := &Repairer{
		client: controller.Client{
			Verbs: verbs, Catalogue: catalogue, Manager: "kube-apiserver",
			User: &user.DefaultInfo{Name: user.APIServerUser, Groups: []string{user.AllAuthenticated, user.SystemPrivilegedGroup}},
		},
		allocator: allocator,
		state:     verbs.State,
		clock:     clock,
		services:  catalogue.Resource(service.Resource),
		addresses: catalogue.Resource(networking.Resource("ipaddresses")),
		ranges:    catalogue.Resource(networking.Resource("servicecidrs")),
		schedule:  controller.NewSchedule[key](clock),
		leaked:    map[int]int{},
	}
	if r.services == nil || r.addresses == nil || r.ranges == nil {
		return nil
	}
	r.addressEvents = controller.NewRecorder(r.client, "ipallocator-repair-controller", clock)
	r.portEvents = controller.NewRecorder(r.client, "portallocator-repair-controller", clock)
	return r
}

// Run keeps the books until ctx ends.
func (r *Repairer) Run(ctx context.Context) {
	var following sync.WaitGroup
	defer following.Wait()
	// First, so that no range goes unseen after a Service was looked at.
	begun := make(chan struct{})
	following.Go(func() {
		r.state.Follow(ctx, r.ranges.Storage.Prefix, r.beginRanges(begun), r.seeRange)
	})
	select {
	case <-begun:
	case <-ctx.Done():
		return
	}
	following.Go(func() {
		r.state.Follow(ctx, r.services.Storage.Prefix, state.AsNew(r.seeService), r.seeService)
	})
	following.Go(func() {
		r.state.Follow(ctx, r.addresses.Storage.Prefix, state.AsNew(r.seeAddress), r.seeAddress)
	})
	following.Go(func() {
		r.state.Follow(ctx, service.NodePortsPrefix, state.AsNew(r.seeNodePorts), r.seeNodePorts)
	})
	r.schedule.Work(ctx, r.sync, func(k key, err error) {
		klog.ErrorS(err, "What a Service has could not be checked", "service", klog.KRef(k.namespace, k.name))
	})
}

// seeService has a Service looked at, and the addresses that it had before.
func (r *Repairer) seeService(e *state.Event) {
	r.schedule.Add(key{aService, e.Object.Namespace, e.Object.Name})
	if e.Prev != nil {
		for _, ip := range r.clusterIPs(e.Prev) {
			r.schedule.Add(key{what: anAddress, name: ip})
		}
	}
	if r.hasPorts(e.Object) || e.Prev != nil && r.hasPorts(e.Prev) {
		r.schedule.Add(key{what: nodePorts})
	}
}

// seeAddress has an IPAddress looked at and, if it is gone, the Service that
// it was of.
func (r *Repairer) seeAddress(e *state.Event) {
	r.schedule.Add(key{what: anAddress, name: e.Object.Name})
	if !e.Deleted {
		return
	}
	address, err := controller.Read[*networking.IPAddress](r.addresses, e.Object)
	if parent := parentOf(address); err == nil && ofService(parent) {
		r.schedule.Add(key{aService, parent.Namespace, parent.Name})
	}
}

// beginRanges closes begun, and has all Services looked at where it begins
// again: a ServiceCIDR may have gone unseen.
func (r *Repairer) beginRanges(begun chan<- struct{}) func(state.Snapshot) {
	again := false
	return func(state.Snapshot) {
		if again {
			r.schedule.AddAfter(key{what: allServices}, interval)
			return
		}
		again = true
		close(begun)
	}
}

// seeRange has all Services looked at in a while where a ServiceCIDR is gone:
// they may have addresses that are in none.
func (r *Repairer) seeRange(e *state.Event) {
	if e.Deleted {
		r.schedule.AddAfter(key{what: allServices}, interval)
	}
}

func (r *Repairer) seeNodePorts(*state.Event) { r.schedule.Add(key{what: nodePorts}) }

// sync looks at one thing.
func (r *Repairer) sync(ctx context.Context, k key) error {
	switch k.what {
	case aService:
		return r.syncService(ctx, k)
	case anAddress:
		return r.syncAddress(ctx, k)
	case nodePorts:
		return r.syncPorts(ctx)
	}
	r.state.Snapshot(r.services.Storage.Prefix).Each(state.Range{}, func(o *object.Object) bool {
		r.schedule.Add(key{aService, o.Namespace, o.Name})
		return true
	})
	return nil
}

// clusterIPs returns the names of the IPAddresses that a Service is to have.
func (r *Repairer) clusterIPs(o *object.Object) []string {
	svc, err := controller.Read[*api.Service](r.services, o)
	if err != nil {
		return nil
	}
	var names []string
	for _, clusterIP := range svc.Spec.ClusterIPs {
		if ip := netutils.ParseIPSloppy(clusterIP); ip != nil {
			names = append(names, ip.String())
		}
	}
	return names
}

// hasPorts reports whether a Service has node ports; true if it cannot be read.
func (r *Repairer) hasPorts(o *object.Object) bool {
	svc, err := controller.Read[*api.Service](r.services, o)
	if err != nil || svc.Spec.HealthCheckNodePort != 0 {
		return true
	}
	for _, p := range svc.Spec.Ports {
		if p.NodePort != 0 {
			return true
		}
	}
	return false
}

// syncPorts has node ports counted, unless they were a short while ago: then
// later.
func (r *Repairer) syncPorts(ctx context.Context) error {
	again := key{what: nodePorts}
	if wait := interval - r.clock.Since(r.recounted); !r.recounted.IsZero() && wait > 0 {
		r.schedule.AddAfter(again, wait)
		return nil
	}
	problems, err := r.allocator.RecountPorts(ctx, r.leaked)
	if err != nil {
		return err
	}
	r.recounted = r.clock.Now()
	for _, p := range problems {
		r.portEvents.Warn(ctx, reference(p.Service, corev1.SchemeGroupVersion.WithKind("Service")), p.Reason, "PortAllocation", p.Note)
	}
	if len(problems) > 0 || len(r.leaked) > 0 {
		r.schedule.AddAfter(again, interval)
	}
	return nil
}

// reference names an object of a kind in an event.
func reference(m metav1.Object, gvk schema.GroupVersionKind) api.ObjectReference {
	return api.ObjectReference{
		APIVersion: gvk.GroupVersion().String(), Kind: gvk.Kind,
		Namespace: m.GetNamespace(), Name: m.GetName(), UID: m.GetUID(), ResourceVersion: m.GetResourceVersion(),
	}
}
