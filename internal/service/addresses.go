package service

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/kubernetes/pkg/api/servicecidr"
	api "k8s.io/kubernetes/pkg/apis/core"
	"k8s.io/kubernetes/pkg/apis/networking"
	"k8s.io/kubernetes/pkg/registry/core/service/ipallocator"
	netutils "k8s.io/utils/net"

	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/state"
	"github.com/knarr-io/knarr/internal/store"
)

// takeAddresses takes, for each family of the Service, the address that it
// asks for or, if it asks for none, any that is free.
func (w *write) takeAddresses() error {
	svc := w.svc
	if !needsClusterIP(svc) || headless(svc) {
		return nil
	}
	for len(svc.Spec.ClusterIPs) < len(svc.Spec.IPFamilies) {
		svc.Spec.ClusterIPs = append(svc.Spec.ClusterIPs, "")
	}
	for i := range svc.Spec.IPFamilies {
		if err := w.takeAddress(i); err != nil {
			return err
		}
	}
	svc.Spec.ClusterIP = svc.Spec.ClusterIPs[0]
	return nil
}

// takeAddress takes the Service's i-th address.
func (w *write) takeAddress(i int) error {
	family, wanted := w.svc.Spec.IPFamilies[i], w.svc.Spec.ClusterIPs[i]
	if wanted != "" {
		if err := w.takeThisAddress(family, wanted); err != nil {
			return w.addressError(err, "failed to allocate IP "+wanted)
		}
		return nil
	}
	free, err := w.takeAnyAddress(family)
	switch {
	case errors.Is(err, ipallocator.ErrFull):
		return apierrors.NewInternalError(fmt.Errorf("failed to allocate a serviceIP for Service %q: %w", w.svc.Name, err))
	case err != nil:
		return w.addressError(err, "failed to allocate IP")
	}
	// A slice of its own: the old Service may share it.
	w.svc.Spec.ClusterIPs = slices.Clone(w.svc.Spec.ClusterIPs)
	w.svc.Spec.ClusterIPs[i] = free.String()
	return nil
}

// addressError is what a client is told when err kept it from an address.
func (w *write) addressError(err error, what string) error {
	return invalid(w.svc, field.ErrorList{field.Invalid(clusterIPsPath, w.svc.Spec.ClusterIPs, fmt.Sprintf("%s: %v", what, err))})
}

// takeThisAddress takes an address that is asked for. A dry run finds out only
// whether it is in a range, as upstream's does.
func (w *write) takeThisAddress(family api.IPFamily, wanted string) error {
	// Upstream's parser: it takes leading zeros, of addresses stored long ago.
	parsed := netutils.ParseIPSloppy(wanted)
	if parsed == nil {
		return fmt.Errorf("failed to parse service IP %q", wanted) // validation has seen it: this cannot be
	}
	ranges := w.readyRanges(family)
	ip := servicecidr.IPToAddr(parsed)
	for _, r := range ranges {
		if servicecidr.PrefixContainsIP(r, ip) {
			if w.dryRun {
				return nil
			}
			if !w.addressFree(ip) {
				return ipallocator.ErrAllocated
			}
			return w.createAddress(family, ip)
		}
	}
	switch {
	case !w.dryRun:
		return ipallocator.ErrMismatchedNetwork
	case len(ranges) == 0:
		return ipallocator.ErrNotReady
	}
	return &ipallocator.ErrNotInRange{IP: net.IP(ip.AsSlice()), ValidRange: ranges[0].String()}
}

// takeAnyAddress takes a free address. A dry run is given the address of the
// network itself, as upstream's is.
func (w *write) takeAnyAddress(family api.IPFamily) (netip.Addr, error) {
	ranges := w.readyRanges(family)
	if w.dryRun {
		if len(ranges) == 0 {
			return netip.Addr{}, ipallocator.ErrNotReady
		}
		return ranges[0].Addr(), nil
	}
	for _, r := range ranges {
		if ip, ok := spanOf(r).pick(w.addressFree); ok {
			return ip, w.createAddress(family, ip)
		}
	}
	return netip.Addr{}, ipallocator.ErrFull
}

// exchangeAddresses takes and gives back cluster addresses where the Service's
// type has changed, or the number of its families.
func (w *write) exchangeAddresses(old *api.Service) error {
	svc := w.svc
	switch before, now := needsClusterIP(old), needsClusterIP(svc); {
	case !before && now:
		return w.takeAddresses()
	case headless(old):
		return nil
	case before && !now:
		return w.giveAll(old)
	case len(old.Spec.IPFamilies) == 1 && len(svc.Spec.IPFamilies) == 2:
		if !w.configured(svc.Spec.IPFamilies[1]) {
			return nil // it became headless, which validation refuses; upstream panics here
		}
		if len(svc.Spec.ClusterIPs) < 2 {
			svc.Spec.ClusterIPs = append(slices.Clip(svc.Spec.ClusterIPs), "")
		}
		return w.takeAddress(1)
	case len(old.Spec.IPFamilies) == 2 && len(svc.Spec.IPFamilies) == 1 && len(old.Spec.ClusterIPs) == 2:
		return w.giveAddress(old.Spec.ClusterIPs[1])
	}
	return nil
}

// giveAll gives all cluster addresses of svc back.
func (w *write) giveAll(svc *api.Service) error {
	if !needsClusterIP(svc) || headless(svc) {
		return nil
	}
	for _, clusterIP := range svc.Spec.ClusterIPs {
		if err := w.giveAddress(clusterIP); err != nil {
			return err
		}
	}
	return nil
}

// giveAddress gives a cluster address back. One of a family that is not
// configured here belongs to a server that has it.
func (w *write) giveAddress(clusterIP string) error {
	parsed := netutils.ParseIPSloppy(clusterIP)
	if parsed == nil || !w.configured(familyOf(clusterIP)) {
		return nil
	}
	return w.deleteAddress(servicecidr.IPToAddr(parsed))
}

// createAddress makes the IPAddress that says that ip is the Service's. That
// nobody has it is a condition of the commit: who loses a race for a free one
// starts again with another.
func (w *write) createAddress(family api.IPFamily, ip netip.Addr) error {
	var address runtime.Object = &networking.IPAddress{
		ObjectMeta: metav1.ObjectMeta{
			Name: ip.String(),
			Labels: map[string]string{
				networkingv1.LabelIPAddressFamily: string(family),
				networkingv1.LabelManagedBy:       ipallocator.ControllerName,
			},
		},
		Spec: networking.IPAddressSpec{ParentRef: parentRef(w.svc)},
	}
	var err error
	if own := w.options.Own; own != nil {
		if address, err = own(w.addresses.Versions[0], address); err != nil {
			return err
		}
	}
	m, err := meta.Accessor(address)
	if err != nil {
		return err
	}
	rest.FillObjectMetaSystemFields(m)
	if err := rest.BeforeCreate(w.addresses.Create, w.addressContext(m.GetName()), address); err != nil {
		return err
	}
	value, err := w.addresses.Storage.Codec.Encode(address)
	if err != nil {
		return err
	}
	w.changes = append(w.changes, store.Change{Key: w.addressKey(ip), Value: value})
	return nil
}

// addressContext is what the rules of IPAddresses read in place of the
// Service's request.
func (w *write) addressContext(name string) context.Context {
	ctx := request.WithRequestInfo(w.ctx, &request.RequestInfo{
		IsResourceRequest: true,
		Verb:              "create",
		APIPrefix:         "apis",
		APIGroup:          w.addresses.Group,
		APIVersion:        w.addresses.Versions[0].Name,
		Resource:          w.addresses.Name,
		Name:              name,
	})
	return request.WithNamespace(ctx, metav1.NamespaceNone)
}

// deleteAddress removes the IPAddress of ip, if it is the Service's.
func (w *write) deleteAddress(ip netip.Addr) error {
	if w.addresses == nil {
		return nil
	}
	o := w.state.Get(w.addressKey(ip))
	if o == nil {
		return nil
	}
	obj, err := w.addresses.DecodeStored(o)
	if err != nil {
		return apierrors.NewInternalError(err)
	}
	address, ok := obj.(*networking.IPAddress)
	if !ok || address.Spec.ParentRef == nil || *address.Spec.ParentRef != *parentRef(w.svc) {
		return nil
	}
	w.changes = append(w.changes, store.Change{Key: w.addressKey(ip), If: o.Rev})
	return nil
}

func parentRef(svc *api.Service) *networking.ParentReference {
	return &networking.ParentReference{Resource: Resource.Resource, Namespace: svc.Namespace, Name: svc.Name}
}

func (a *Allocator) addressKey(ip netip.Addr) string {
	return a.addresses.Storage.Key("", ip.String())
}

func (a *Allocator) addressFree(ip netip.Addr) bool { return a.state.Get(a.addressKey(ip)) == nil }

// readyRanges returns the ranges of the ServiceCIDRs from which addresses of
// a family may be taken, in the order of their names. What cannot be read has
// none.
func (a *Allocator) readyRanges(family api.IPFamily) []netip.Prefix {
	if a.ranges == nil || a.addresses == nil {
		return nil
	}
	var ready []netip.Prefix
	a.state.Snapshot(a.ranges.Storage.Prefix).Each(state.Range{}, func(o *object.Object) bool {
		obj, err := a.ranges.DecodeStored(o)
		if cidr, ok := obj.(*networking.ServiceCIDR); err == nil && ok && isReady(cidr) {
			ready = append(ready, ofFamily(cidr.Spec.CIDRs, family)...)
		}
		return true
	})
	return ready
}

// isReady reports whether addresses may be taken from cidr. Without the
// condition they may: it is set by a controller that need not run.
func isReady(cidr *networking.ServiceCIDR) bool {
	if cidr.DeletionTimestamp != nil {
		return false
	}
	for _, c := range cidr.Status.Conditions {
		if c.Type == networkingv1.ServiceCIDRConditionReady {
			return c.Status == metav1.ConditionTrue
		}
	}
	return true
}

// ofFamily returns the networks of a family. Upstream takes no addresses from
// those of IPv6 that are larger than a /64.
func ofFamily(cidrs []string, family api.IPFamily) []netip.Prefix {
	var prefixes []netip.Prefix
	for _, cidr := range cidrs {
		p, err := netip.ParsePrefix(cidr)
		six := err == nil && p.Addr().Is6()
		if err == nil && six == (family == api.IPv6Protocol) && (!six || p.Bits() >= 64) {
			prefixes = append(prefixes, p.Masked())
		}
	}
	return prefixes
}
