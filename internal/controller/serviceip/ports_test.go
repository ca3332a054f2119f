package serviceip_test

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	api "k8s.io/kubernetes/pkg/apis/core"
	"k8s.io/kubernetes/pkg/registry/core/service/portallocator"

	"github.com/knarr-io/knarr/internal/service"
)

// recorded returns the record of node ports.
func (c *cluster) recorded() (*portallocator.PortAllocator, string) {
	c.t.Helper()
	o := c.state.Get(ports)
	if o == nil {
		c.t.Fatal("node ports are not recorded")
	}
	var taken api.RangeAllocation
	if err := runtime.DecodeInto(legacyscheme.Codecs.UniversalDecoder(), o.Value, &taken); err != nil {
		c.t.Fatal(err)
	}
	p, err := portallocator.NewFromSnapshot(&taken)
	if err != nil {
		c.t.Fatal(err)
	}
	return p, taken.Range
}

// eventuallyPorts waits until exactly these ports are recorded.
func (c *cluster) eventuallyPorts(want ...int) {
	c.t.Helper()
	c.eventually("the record of node ports", func() bool {
		if c.state.Get(ports) == nil {
			return false
		}
		p, _ := c.recorded()
		for _, port := range want {
			if !p.Has(port) {
				return false
			}
		}
		return p.Used() == len(want)
	})
}

// TestPortsLost removes the record of node ports.
func TestPortsLost(t *testing.T) {
	c := newCluster(t, service.Options{})
	c.create(services, newService("a", "", 30001))
	lb := newService("lb", "", 30002)
	lb.Spec.Type, lb.Spec.ExternalTrafficPolicy, lb.Spec.HealthCheckNodePort = api.ServiceTypeLoadBalancer, api.ServiceExternalTrafficPolicyLocal, 30003
	yes := true
	lb.Spec.AllocateLoadBalancerNodePorts = &yes
	c.create(services, lb)
	c.commit(ports, nil)
	c.keep()
	c.eventuallyPorts(30001, 30002, 30003)
	c.eventuallyEvents(
		"Service a PortAllocation PortNotAllocated: Port 30001 is not allocated; repairing (1)",
		"Service lb PortAllocation PortNotAllocated: Port 30002 is not allocated; repairing (2)", // and 30003
	)
}

// TestPortsLeaked records a port that nobody has: it is free when it is found
// so for the third time.
func TestPortsLeaked(t *testing.T) {
	c := newCluster(t, service.Options{})
	c.create(services, newService("a", "", 30001))
	before := c.state.Get(ports)
	c.create(services, newService("b", "", 30002))
	leaking := c.state.Get(ports).Value
	c.delete(services, "b")
	c.commit(ports, leaking)
	c.keep()
	c.later(3 * time.Minute)
	c.eventually("a timer", c.clock.HasWaiters)
	c.eventuallyPorts(30001, 30002)
	c.clock.Step(3 * time.Minute)
	c.eventuallyPorts(30001)
	if got := c.state.Get(ports); string(got.Value) != string(before.Value) {
		t.Errorf("recorded %q, want %q", got.Value, before.Value)
	}
}

// TestPortsReported has ports that two Services have, and that are none.
func TestPortsReported(t *testing.T) {
	c := newCluster(t, service.Options{})
	c.create(services, newService("a", "10.0.0.1", 30001))
	for name, port := range map[string]int32{"b": 30001, "c": 99} {
		c.create(services, newService(name, "", 0))
		svc := c.stored(name)
		svc.Spec.Type, svc.Spec.ExternalTrafficPolicy, svc.Spec.Ports[0].NodePort = api.ServiceTypeNodePort, api.ServiceExternalTrafficPolicyCluster, port
		c.put(services, "default", svc)
	}
	c.keep()
	c.eventuallyEvents(
		"Service b PortAllocation PortAlreadyAllocated: Port 30001 was assigned to multiple services; please recreate service (1)",
		"Service c PortAllocation PortOutOfRange: Port 99 is not within the port range 30000-32767; please recreate service (1)",
	)
	c.eventuallyPorts(30001)
}

// TestPortRangeChanged starts with another range than before. What Services
// have of it stays theirs, whether or not the books were put right yet.
func TestPortRangeChanged(t *testing.T) {
	c := newCluster(t, service.Options{})
	c.create(services, newService("a", "", 30001))
	c.create(services, newService("b", "", 30500))
	c.configure(service.Options{NodePorts: utilnet.PortRange{Base: 30400, Size: 200}})
	if err := c.tryCreate(newService("same", "", 30500)); err == nil {
		t.Error("a port is given twice since the range has changed")
	}
	if err := c.tryCreate(newService("former", "", 30002)); err == nil {
		t.Error("a port of the former range is given")
	}
	c.create(services, newService("c", "", 30501))
	c.eventuallyPorts(30500, 30501)

	c.configure(service.Options{NodePorts: utilnet.PortRange{Base: 30500, Size: 100}})
	c.keep()
	c.eventually("the range", func() bool { _, span := c.recorded(); return span == "30500-30599" })
	c.eventuallyPorts(30500, 30501)
	c.eventuallyEvents("Service a PortAllocation PortOutOfRange: Port 30001 is not within the port range 30500-30599; please recreate service (1)")
}
