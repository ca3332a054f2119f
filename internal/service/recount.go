package service

import (
	"context"
	"errors"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	api "k8s.io/kubernetes/pkg/apis/core"
	"k8s.io/kubernetes/pkg/registry/core/service/portallocator"

	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/state"
	"github.com/knarr-io/knarr/internal/store"
)

// PortProblem is a node port of a Service that the record of node ports does
// not say is the Service's.
type PortProblem struct {
	Service *api.Service
	// Reason and Note are those of upstream's event.
	Reason, Note string
}

// leakCount is how often a port is found to be nobody's until it is free
// again: kube-apiserver records a port before the Service that has it.
const leakCount = 3

// RecountPorts makes the record of node ports say what Services have, and
// returns what it found wrong with Services. What it cannot put right, a port
// that two Services have or one outside of the range, it leaves.
//
// leaked is of the caller, and given to each recount in turn: ports that are
// recorded but nobody's, and how often they were found to be.
func (a *Allocator) RecountPorts(ctx context.Context, leaked map[int]int) ([]PortProblem, error) {
	if a.services == nil {
		return nil, nil
	}
	for {
		still := maps.Clone(leaked)
		problems, err := a.recountPorts(ctx, still)
		if conflict := (*store.Conflict)(nil); errors.As(err, &conflict) {
			if err := context.Cause(ctx); err != nil {
				return nil, err
			}
			continue // a Service took or gave back a port meanwhile
		}
		if err == nil {
			clear(leaked)
			maps.Copy(leaked, still)
		}
		return problems, err
	}
}

// recountPorts is one attempt to.
func (a *Allocator) recountPorts(ctx context.Context, leaked map[int]int) ([]PortProblem, error) {
	// The record is read first: whoever changes it after, and a Service with
	// it, makes the commit fail.
	p, err := a.recordedPorts()
	if err != nil {
		return nil, err
	}
	counted, problems, err := a.countPorts(p.allocator)
	if err != nil {
		return nil, err
	}
	found := map[int]bool{}
	p.allocator.ForEach(func(port int) { // what no Service has
		found[port] = true
		if leaked[port]++; leaked[port] < leakCount {
			_ = counted.Allocate(port) // out of the range, it is free at once
		}
	})
	maps.DeleteFunc(leaked, func(port, times int) bool { return !found[port] || times == leakCount })
	if p.rev == 0 && counted.Used() == 0 {
		return problems, nil // the first who needs one makes the record
	}
	p.allocator = counted
	change, changed, err := p.change()
	if err != nil || !changed {
		return problems, err
	}
	_, err = a.state.Commit(ctx, change)
	return problems, err
}

// countPorts returns the node ports that Services have. It takes them out of
// recorded, in which those are left that nobody has, and tells what is wrong.
func (a *Allocator) countPorts(recorded *portallocator.PortAllocator) (*portallocator.PortAllocator, []PortProblem, error) {
	counted, err := portallocator.NewInMemory(a.options.NodePorts)
	if err != nil {
		return nil, nil, err
	}
	var problems []PortProblem
	var failed error
	a.state.Snapshot(a.services.Storage.Prefix).Each(state.Range{}, func(o *object.Object) bool {
		obj, err := a.services.DecodeStored(o)
		svc, ok := obj.(*api.Service)
		if err != nil || !ok {
			failed = fmt.Errorf("service %s/%s cannot be read: %w", o.Namespace, o.Name, err)
			return false
		}
		for _, port := range distinctPorts(svc) {
			if reason, format := count(counted, recorded, port); reason != "" {
				problems = append(problems, PortProblem{svc, reason, fmt.Sprintf(format, port, a.options.NodePorts)})
			}
		}
		return true
	})
	return counted, problems, failed
}

// count takes a port that a Service has, and says what is wrong: a reason and
// a format for the port and the range; or nothing.
func count(counted, recorded *portallocator.PortAllocator, port int) (reason, format string) {
	err := counted.Allocate(port)
	switch {
	case errors.Is(err, portallocator.ErrAllocated):
		return "PortAlreadyAllocated", "Port %[1]d was assigned to multiple services; please recreate service"
	case err != nil:
		return "PortOutOfRange", "Port %[1]d is not within the port range %[2]v; please recreate service"
	case !recorded.Has(port):
		return "PortNotAllocated", "Port %[1]d is not allocated; repairing"
	}
	_ = recorded.Release(port) // from memory; it cannot fail
	return "", ""
}

// distinctPorts returns the node ports that svc takes: one of two protocols
// once, one that it has twice for the same protocol twice, which is wrong. See
// nodePortsOf for Services without any.
func distinctPorts(svc *api.Service) []int {
	if !hasNodePorts(svc) {
		return nil
	}
	type use struct {
		protocol api.Protocol
		port     int32
	}
	uses := make([]use, 0, len(svc.Spec.Ports)+1)
	for _, p := range svc.Spec.Ports {
		uses = append(uses, use{p.Protocol, p.NodePort})
	}
	uses = append(uses, use{api.Protocol(corev1.ProtocolTCP), svc.Spec.HealthCheckNodePort})
	var ports []int
	seen, seenAs := map[int32]bool{}, map[use]bool{}
	for _, u := range uses {
		if u.port == 0 {
			continue
		}
		if !seen[u.port] || seenAs[u] {
			ports = append(ports, int(u.port))
		}
		seen[u.port], seenAs[u] = true, true
	}
	return ports
}
