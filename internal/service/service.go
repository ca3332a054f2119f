// Package service gives Services what they hold beside themselves: cluster
// addresses, each an IPAddress object, and node ports, all in one
// RangeAllocation. It decides what a Service takes and gives back, completes
// its spec, and returns the changes that must be committed together with it,
// under the condition that nobody has taken the same meanwhile. So nothing is
// ever given twice or lost by knarr itself. What others do to the books, by
// hand or in the store, is put right by internal/controller/serviceip, which
// has the node ports counted anew here.
//
// The rules and the words are those of upstream's
// k8s.io/kubernetes/pkg/registry/core/service/storage, for clusters of one and
// of two IP families. It must not know about verbs or HTTP, and keeps nothing
// itself: what is taken is read from the state each time.
package service

import (
	"context"
	"errors"
	"slices"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	apiservice "k8s.io/kubernetes/pkg/api/service"
	api "k8s.io/kubernetes/pkg/apis/core"
	"k8s.io/kubernetes/pkg/apis/networking"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/state"
	"github.com/knarr-io/knarr/internal/store"
)

// Resource is the resource that an Allocator is the companion of.
var Resource = schema.GroupResource{Resource: "services"}

// Options says what there is to be given. The zero value is kube-apiserver's
// default.
type Options struct {
	// Families of cluster addresses, one or two, the default one first; empty
	// means IPv4. The addresses themselves are those of all ServiceCIDRs.
	Families []api.IPFamily
	// NodePorts is the range of node ports; empty means 30000-32767.
	NodePorts utilnet.PortRange
	// Own, if set, records in a new IPAddress, a hub object that is written as
	// v, that this server owns its fields, and returns it.
	Own func(v *kind.Version, address runtime.Object) (runtime.Object, error)
}

// Allocator is what gives and takes; see verb.Companion for its methods. It is
// safe for concurrent use.
type Allocator struct {
	options Options
	state   *state.State
	// services, addresses and ranges are nil where they are not served.
	services, addresses, ranges *kind.Resource
}

// New returns an allocator for the Services in st.
func New(st *state.State, catalogue *kind.Catalogue, o Options) *Allocator {
	if len(o.Families) == 0 {
		o.Families = []api.IPFamily{api.IPv4Protocol}
	}
	if o.NodePorts.Size == 0 {
		o.NodePorts = utilnet.PortRange{Base: 30000, Size: 2768}
	}
	return &Allocator{
		options:   o,
		state:     st,
		services:  catalogue.Resource(Resource),
		addresses: catalogue.Resource(networking.Resource("ipaddresses")),
		ranges:    catalogue.Resource(networking.Resource("servicecidrs")),
	}
}

// Create takes what a new Service needs.
func (a *Allocator) Create(ctx context.Context, obj runtime.Object, dryRun bool) ([]store.Change, error) {
	svc, ok := obj.(*api.Service)
	if !ok {
		return nil, errNoService
	}
	pairClusterIP(svc, nil)
	if err := a.completeFamilies(svc, nil); err != nil {
		return nil, err
	}
	w := a.write(ctx, svc, dryRun)
	if err := w.takeAddresses(); err != nil {
		return nil, err
	}
	if hasNodePorts(svc) {
		if err := w.takeNodePorts(); err != nil {
			return nil, err
		}
	}
	if apiservice.NeedsHealthCheck(svc) {
		if err := w.takeHealthCheckPort(); err != nil {
			return nil, err
		}
	}
	return w.finish()
}

// Update takes what a Service needs now and did not need before, and gives
// back what it no longer does.
func (a *Allocator) Update(ctx context.Context, obj, oldObj runtime.Object, dryRun bool) ([]store.Change, error) {
	svc, ok := obj.(*api.Service)
	old, oldOK := oldObj.(*api.Service)
	if !ok || !oldOK {
		return nil, errNoService
	}
	a.complete(old)
	keepAllocated(svc, old)
	pairClusterIP(svc, old)
	if err := a.completeFamilies(svc, old); err != nil {
		return nil, err
	}
	w := a.write(ctx, svc, dryRun)
	if err := w.exchangeAddresses(old); err != nil {
		return nil, err
	}
	if hasNodePorts(old) && !hasNodePorts(svc) {
		if err := w.giveNodePorts(old); err != nil {
			return nil, err
		}
	}
	if hasNodePorts(svc) {
		if err := w.exchangeNodePorts(old); err != nil {
			return nil, err
		}
	}
	if err := w.exchangeHealthCheckPort(old); err != nil {
		return nil, err
	}
	return w.finish()
}

// Delete gives back everything that a Service holds.
func (a *Allocator) Delete(ctx context.Context, obj runtime.Object) ([]store.Change, error) {
	svc, ok := obj.(*api.Service)
	if !ok {
		return nil, errNoService
	}
	a.complete(svc)
	w := a.write(ctx, svc, false)
	if err := w.giveAll(svc); err != nil {
		return nil, err
	}
	if err := w.giveNodePorts(svc); err != nil {
		return nil, err
	}
	if err := w.giveHealthCheckPort(svc); err != nil {
		return nil, err
	}
	return w.finish()
}

var errNoService = errors.New("the object is no Service")

// complete fills in what an older release did not store.
func (a *Allocator) complete(svc *api.Service) {
	if a.services != nil && a.services.Decorate != nil {
		a.services.Decorate(svc)
	}
}

// write is one write of a Service, and what it changes beside it.
type write struct {
	*Allocator
	ctx     context.Context
	svc     *api.Service
	dryRun  bool
	changes []store.Change
	ports   *nodePorts // nil until they are needed
}

func (a *Allocator) write(ctx context.Context, svc *api.Service, dryRun bool) *write {
	return &write{Allocator: a, ctx: ctx, svc: svc, dryRun: dryRun}
}

// finish returns the changes that w has come to.
func (w *write) finish() ([]store.Change, error) {
	if w.dryRun {
		return nil, nil
	}
	if w.ports != nil {
		change, changed, err := w.ports.change()
		if err != nil {
			return nil, err
		}
		if changed {
			w.changes = append(w.changes, change)
		}
	}
	return w.changes, nil
}

// keepAllocated fills in what was allocated to old where a client that sends
// its own manifest again leaves it out of svc.
func keepAllocated(svc, old *api.Service) {
	if needsClusterIP(old) && needsClusterIP(svc) {
		if svc.Spec.ClusterIP == "" {
			svc.Spec.ClusterIP = old.Spec.ClusterIP
		}
		if len(svc.Spec.ClusterIPs) == 0 {
			svc.Spec.ClusterIPs = old.Spec.ClusterIPs
		}
	}
	if wantsNodePorts(old) && wantsNodePorts(svc) {
		keepNodePorts(svc, old)
	}
	if apiservice.NeedsHealthCheck(old) && apiservice.NeedsHealthCheck(svc) && svc.Spec.HealthCheckNodePort == 0 {
		svc.Spec.HealthCheckNodePort = old.Spec.HealthCheckNodePort
	}
}

// keepNodePorts gives ports without a node port the one that the port of the
// same name had, unless another port of svc has it now.
func keepNodePorts(svc, old *api.Service) {
	before, still := nodePortsOf(old), nodePortsOf(svc)
	named := map[string]int32{}
	for _, p := range old.Spec.Ports {
		named[p.Name] = p.NodePort
	}
	for i := range svc.Spec.Ports {
		p := &svc.Spec.Ports[i]
		had := named[p.Name]
		if p.NodePort == 0 && !(slices.Contains(before, had) && slices.Contains(still, had)) {
			p.NodePort = had
		}
	}
}

// pairClusterIP makes clusterIPs follow clusterIP where a client knows the
// latter only. old is nil for a create.
func pairClusterIP(svc, old *api.Service) {
	spec := &svc.Spec
	if old == nil {
		if spec.ClusterIP != "" && len(spec.ClusterIPs) == 0 {
			spec.ClusterIPs = []string{spec.ClusterIP}
		}
		return
	}
	same := spec.ClusterIP == old.Spec.ClusterIP
	if same && len(spec.ClusterIPs) == 0 {
		spec.ClusterIPs = old.Spec.ClusterIPs
	}
	if !same && slices.Equal(spec.ClusterIPs, old.Spec.ClusterIPs) {
		spec.ClusterIPs = nil
		if spec.ClusterIP != "" {
			spec.ClusterIPs = []string{spec.ClusterIP}
		}
	}
}

func needsClusterIP(svc *api.Service) bool { return svc.Spec.Type != api.ServiceTypeExternalName }

func headless(svc *api.Service) bool {
	return len(svc.Spec.ClusterIPs) > 0 && svc.Spec.ClusterIPs[0] == api.ClusterIPNone
}

// hasNodePorts reports whether svc is of a type that can have node ports.
func hasNodePorts(svc *api.Service) bool {
	return svc.Spec.Type == api.ServiceTypeNodePort || svc.Spec.Type == api.ServiceTypeLoadBalancer
}

// wantsNodePorts reports whether each port of svc is to have a node port.
func wantsNodePorts(svc *api.Service) bool {
	allocate := svc.Spec.AllocateLoadBalancerNodePorts
	return hasNodePorts(svc) && (svc.Spec.Type != api.ServiceTypeLoadBalancer || allocate == nil || *allocate)
}
