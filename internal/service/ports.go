package service

import (
	"bytes"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	apiservice "k8s.io/kubernetes/pkg/api/service"
	api "k8s.io/kubernetes/pkg/apis/core"
	"k8s.io/kubernetes/pkg/registry/core/service/portallocator"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/store"
)

// NodePortsPrefix is what the key begins with under which upstream keeps which
// node ports are taken: a RangeAllocation, which is not served. It is made when
// the first is taken.
const (
	NodePortsPrefix = "/registry/ranges"
	nodePortsKey    = NodePortsPrefix + "/servicenodeports"
)

// nodePorts is the node ports as they were at a revision, and what one write
// takes and gives back of them. What is given back is free for later writes
// only.
type nodePorts struct {
	*portallocator.PortAllocationOperation
	allocator *portallocator.PortAllocator
	span      string // of which they are, as "30000-32767"
	rev       uint64 // 0 if they were never stored
	before    []byte
}

// nodePorts returns the node ports for this write.
func (w *write) nodePorts() (*nodePorts, error) {
	if w.ports != nil {
		return w.ports, nil
	}
	p, err := w.recordedPorts()
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	if recorded := p.allocator; p.span != w.options.NodePorts.String() {
		// The range is another than when they were recorded.
		if p.allocator, _, err = w.countPorts(recorded); err != nil {
			return nil, apierrors.NewInternalError(err)
		}
	}
	p.PortAllocationOperation = portallocator.StartOperation(p.allocator, w.dryRun)
	w.ports = p
	return p, nil
}

// recordedPorts returns the node ports as they are recorded.
func (a *Allocator) recordedPorts() (*nodePorts, error) {
	taken := &api.RangeAllocation{Range: a.options.NodePorts.String()}
	p := &nodePorts{}
	if o := a.state.Get(nodePortsKey); o != nil {
		if o.Err != nil {
			return nil, fmt.Errorf("the node ports cannot be read: %w", o.Err)
		}
		if err := runtime.DecodeInto(legacyscheme.Codecs.UniversalDecoder(), o.Value, taken); err != nil {
			return nil, fmt.Errorf("the node ports cannot be decoded: %w", err)
		}
		p.rev, p.before = o.Rev, o.Value
	}
	var err error
	p.span = taken.Range
	p.allocator, err = portallocator.NewFromSnapshot(taken)
	return p, err
}

// change returns the write that makes what was taken and given back true, and
// whether there is anything to write.
func (p *nodePorts) change() (store.Change, bool, error) {
	if p.PortAllocationOperation != nil {
		p.Commit() // to the copy in memory; it cannot fail
	}
	var taken api.RangeAllocation
	if err := p.allocator.Snapshot(&taken); err != nil {
		return store.Change{}, false, err
	}
	message, err := (&corev1.RangeAllocation{Range: taken.Range, Data: taken.Data}).Marshal()
	if err != nil {
		return store.Change{}, false, err
	}
	value := kind.Envelope(corev1.SchemeGroupVersion.WithKind("RangeAllocation"), message)
	return store.Change{Key: nodePortsKey, Value: value, If: p.rev}, !bytes.Equal(value, p.before), nil
}

// takeNodePorts takes the node ports that a new Service asks for, and others
// where it wants them. Ports of the same number, of two protocols, share one.
func (w *write) takeNodePorts() error {
	ports, err := w.nodePorts()
	if err != nil {
		return err
	}
	shared := map[int32]int32{}
	for i := range w.svc.Spec.Ports {
		p := &w.svc.Spec.Ports[i]
		if p.NodePort == 0 && !wantsNodePorts(w.svc) {
			continue
		}
		have := shared[p.Port]
		switch {
		case have == 0:
			if p.NodePort, err = w.firstNodePort(ports, i); err != nil {
				return err
			}
			shared[p.Port] = p.NodePort
		case p.NodePort == 0:
			p.NodePort = have
		case p.NodePort != have:
			if err := ports.Allocate(int(p.NodePort)); err != nil {
				return w.portError(i, p.NodePort, err)
			}
		}
	}
	return nil
}

// firstNodePort takes a node port for the i-th port, the first of its number:
// the one that any port of that number asks for, or one that is free.
func (w *write) firstNodePort(ports *nodePorts, i int) (int32, error) {
	for _, p := range w.svc.Spec.Ports {
		if p.Port == w.svc.Spec.Ports[i].Port && p.NodePort != 0 {
			if err := ports.Allocate(int(p.NodePort)); err != nil {
				return 0, w.portError(i, p.NodePort, err)
			}
			return p.NodePort, nil
		}
	}
	return anyNodePort(ports)
}

func anyNodePort(ports *nodePorts) (int32, error) {
	n, err := ports.AllocateNext()
	if err != nil {
		return 0, apierrors.NewInternalError(fmt.Errorf("failed to allocate a nodePort: %w", err))
	}
	return int32(n), nil
}

func (w *write) portError(i int, nodePort int32, err error) error {
	path := field.NewPath("spec", "ports").Index(i).Child("nodePort")
	return invalid(w.svc, field.ErrorList{field.Invalid(path, nodePort, err.Error())})
}

// exchangeNodePorts takes the node ports that the Service did not have before,
// and gives back those that it no longer has.
func (w *write) exchangeNodePorts(old *api.Service) error {
	ports, err := w.nodePorts()
	if err != nil {
		return err
	}
	type use struct { // printed as upstream's
		Protocol api.Protocol
		NodePort int32
	}
	had := nodePortsOf(old)
	taken := map[int32]bool{}
	used := map[use]bool{}
	for i := range w.svc.Spec.Ports {
		p := &w.svc.Spec.Ports[i]
		switch {
		case p.NodePort == 0 && !wantsNodePorts(w.svc):
			continue
		case p.NodePort == 0:
			if p.NodePort, err = anyNodePort(ports); err != nil {
				return err
			}
		case !slices.Contains(had, p.NodePort) && !taken[p.NodePort]:
			if err := ports.Allocate(int(p.NodePort)); err != nil {
				return w.portError(i, p.NodePort, err)
			}
			taken[p.NodePort] = true
		}
		u := use{p.Protocol, p.NodePort}
		if used[u] {
			return fmt.Errorf("duplicate nodePort: %v", u)
		}
		used[u] = true
	}
	has := nodePortsOf(w.svc)
	for _, n := range had {
		if !slices.Contains(has, n) {
			ports.ReleaseDeferred(int(n))
		}
	}
	return nil
}

// giveNodePorts gives all node ports of svc back.
func (w *write) giveNodePorts(svc *api.Service) error {
	for _, n := range nodePortsOf(svc) {
		if err := w.giveNodePort(n); err != nil {
			return err
		}
	}
	return nil
}

func (w *write) giveNodePort(n int32) error {
	ports, err := w.nodePorts()
	if err != nil {
		return err
	}
	ports.ReleaseDeferred(int(n))
	return nil
}

// takeHealthCheckPort takes the node port of health checks that the Service
// asks for, or any.
func (w *write) takeHealthCheckPort() error {
	ports, err := w.nodePorts()
	if err != nil {
		return err
	}
	if n := w.svc.Spec.HealthCheckNodePort; n != 0 {
		if err := ports.Allocate(int(n)); err != nil {
			return apierrors.NewInternalError(fmt.Errorf("failed to allocate requested HealthCheck NodePort %v: %v", n, err))
		}
		return nil
	}
	n, err := ports.AllocateNext()
	if err != nil {
		return apierrors.NewInternalError(fmt.Errorf("failed to allocate a HealthCheck NodePort %v: %v", n, err))
	}
	w.svc.Spec.HealthCheckNodePort = int32(n)
	return nil
}

// exchangeHealthCheckPort takes or gives back the node port of health checks
// where the need for it has changed.
func (w *write) exchangeHealthCheckPort(old *api.Service) error {
	switch before, now := apiservice.NeedsHealthCheck(old), apiservice.NeedsHealthCheck(w.svc); {
	case !before && now:
		return w.takeHealthCheckPort()
	case before && !now:
		return w.giveHealthCheckPort(old)
	}
	return nil
}

func (w *write) giveHealthCheckPort(svc *api.Service) error {
	if n := svc.Spec.HealthCheckNodePort; n > 0 && apiservice.NeedsHealthCheck(svc) {
		return w.giveNodePort(n)
	}
	return nil
}

// nodePortsOf returns the node ports of svc, one for each port that has one. A
// Service of a type without node ports may say that it has any, and upstream
// believes it; here it has none, or it could take away another's.
func nodePortsOf(svc *api.Service) []int32 {
	if !hasNodePorts(svc) {
		return nil
	}
	var ports []int32
	for _, p := range svc.Spec.Ports {
		if p.NodePort != 0 {
			ports = append(ports, p.NodePort)
		}
	}
	return ports
}
