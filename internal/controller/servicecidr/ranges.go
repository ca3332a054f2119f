package servicecidr

import (
	"net/netip"

	networkingv1 "k8s.io/api/networking/v1"
	apiservicecidr "k8s.io/kubernetes/pkg/api/servicecidr"
	"k8s.io/kubernetes/pkg/apis/networking"
	"k8s.io/kubernetes/pkg/registry/core/service/ipallocator"

	"github.com/knarr-io/knarr/internal/controller"
	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/state"
)

// mayGo reports whether all addresses would still be in a ServiceCIDR without
// this one.
func (c *Controller) mayGo(cidr *networking.ServiceCIDR) bool {
	all := c.all()
	return covered(cidr, all) || !c.alone(cidr, all)
}

// covered reports whether each network of cidr is within another ServiceCIDR.
func covered(cidr *networking.ServiceCIDR, all []*networking.ServiceCIDR) bool {
	for _, p := range prefixes(cidr) {
		within := false
		for _, other := range all {
			for _, q := range prefixes(other) {
				within = within || other.Name != cidr.Name && q.Overlaps(p) && q.Bits() <= p.Bits()
			}
		}
		if !within {
			return false
		}
	}
	return true
}

// alone reports whether an address was taken that is in no ServiceCIDR but
// cidr.
func (c *Controller) alone(cidr *networking.ServiceCIDR, all []*networking.ServiceCIDR) bool {
	found := false
	c.state.Snapshot(c.addresses.Storage.Prefix).Each(state.Range{}, func(o *object.Object) bool {
		address, err := netip.ParseAddr(o.Name)
		if err != nil || !contains(cidr, address) || !c.taken(o) {
			return true
		}
		within := 0
		for _, other := range all {
			if contains(other, address) {
				within++
			}
		}
		found = within == 1
		return !found
	})
	return found
}

// taken reports whether an IPAddress is one that was taken for a Service.
func (c *Controller) taken(o *object.Object) bool {
	address, err := controller.Read[*networking.IPAddress](c.addresses, o)
	return err != nil || address.Labels[networkingv1.LabelManagedBy] == ipallocator.ControllerName
}

// all returns the ServiceCIDRs that can be read.
func (c *Controller) all() []*networking.ServiceCIDR {
	var all []*networking.ServiceCIDR
	c.state.Snapshot(c.ranges.Storage.Prefix).Each(state.Range{}, func(o *object.Object) bool {
		if cidr, err := controller.Read[*networking.ServiceCIDR](c.ranges, o); err == nil {
			all = append(all, cidr)
		}
		return true
	})
	return all
}

// contains reports whether address can be taken from cidr.
func contains(cidr *networking.ServiceCIDR, address netip.Addr) bool {
	for _, p := range prefixes(cidr) {
		if apiservicecidr.PrefixContainsIP(p, address) {
			return true
		}
	}
	return false
}

func overlap(a, b *networking.ServiceCIDR) bool {
	for _, p := range prefixes(a) {
		for _, q := range prefixes(b) {
			if p.Overlaps(q) {
				return true
			}
		}
	}
	return false
}

// prefixes returns the networks of cidr.
func prefixes(cidr *networking.ServiceCIDR) []netip.Prefix {
	var all []netip.Prefix
	for _, s := range cidr.Spec.CIDRs {
		if p, err := netip.ParsePrefix(s); err == nil { // it was validated
			all = append(all, p)
		}
	}
	return all
}
