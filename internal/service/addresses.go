package service

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

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

// takeAddress takes the cluster address that the Service asks for or, if it
// asks for none, any that is free.
func (w *write) takeAddress() error {
	svc := w.svc
	if !needsClusterIP(svc) || headless(svc) {
		return nil
	}
	wanted := ""
	if len(svc.Spec.ClusterIPs) > 0 {
		wanted = svc.Spec.ClusterIPs[0]
	}
	ip := wanted
	if wanted == "" {
		free, err := w.takeAnyAddress()
		if err != nil {
			return w.addressError(err, "failed to allocate IP")
		}
		ip = free.String()
	} else if err := w.takeThisAddress(wanted); err != nil {
		return w.addressError(err, "failed to allocate IP "+wanted)
	}
	svc.Spec.ClusterIP, svc.Spec.ClusterIPs = ip, []string{ip}
	return nil
}

// addressError is what a client is told when err kept it from an address.
func (w *write) addressError(err error, what string) error {
	if _, ok := err.(apierrors.APIStatus); ok {
		return err
	}
	if errors.Is(err, ipallocator.ErrFull) {
		return apierrors.NewInternalError(fmt.Errorf("failed to allocate a serviceIP for Service %q: %w", w.svc.Name, err))
	}
	value := w.svc.Spec.ClusterIPs
	if len(value) == 0 {
		value = []string{""} // upstream has made room for it by then
	}
	return invalid(w.svc, field.ErrorList{field.Invalid(clusterIPsPath, value, fmt.Sprintf("%s: %v", what, err))})
}

// takeThisAddress takes an address that is asked for. A dry run finds out only
// whether it is in a range, as upstream's does.
func (w *write) takeThisAddress(wanted string) error {
	// Upstream's parser: it takes leading zeros, of addresses stored long ago.
	parsed := netutils.ParseIPSloppy(wanted)
	if parsed == nil {
		return apierrors.NewInternalError(fmt.Errorf("failed to parse service IP %q", wanted))
	}
	ranges, err := w.readyRanges()
	if err != nil {
		return err
	}
	ip := servicecidr.IPToAddr(parsed)
	for _, r := range ranges {
		if servicecidr.PrefixContainsIP(r, ip) {
			if w.dryRun {
				return nil
			}
			return w.createAddress(ip)
		}
	}
	if w.dryRun && len(ranges) > 0 {
		return &ipallocator.ErrNotInRange{IP: net.IP(ip.AsSlice()), ValidRange: ranges[0].String()}
	}
	return ipallocator.ErrMismatchedNetwork
}

// takeAnyAddress takes a free address. A dry run is given the address of the
// network itself, as upstream's is.
func (w *write) takeAnyAddress() (netip.Addr, error) {
	ranges, err := w.readyRanges()
	if err != nil {
		return netip.Addr{}, err
	}
	for _, r := range ranges {
		if w.dryRun {
			return r.Addr(), nil
		}
		if ip, ok := spanOf(r).pick(w.addressFree); ok {
			return ip, w.createAddress(ip)
		}
	}
	return netip.Addr{}, ipallocator.ErrFull
}

// exchangeAddress takes or gives back a cluster address where the Service's
// type has changed.
func (w *write) exchangeAddress(old *api.Service) error {
	switch before, now := needsClusterIP(old), needsClusterIP(w.svc); {
	case !before && now:
		return w.takeAddress()
	case before && !now:
		return w.giveAddresses(old)
	}
	return nil
}

// giveAddresses gives the cluster addresses of svc back. Those of a family
// that is not configured here belong to a server that has it.
func (w *write) giveAddresses(svc *api.Service) error {
	if !needsClusterIP(svc) || headless(svc) {
		return nil
	}
	for _, clusterIP := range svc.Spec.ClusterIPs {
		parsed := netutils.ParseIPSloppy(clusterIP)
		if parsed == nil || familyOf(clusterIP) != w.options.Family {
			continue
		}
		if err := w.deleteAddress(servicecidr.IPToAddr(parsed)); err != nil {
			return err
		}
	}
	return nil
}

// createAddress makes the IPAddress that says that ip is the Service's.
func (w *write) createAddress(ip netip.Addr) error {
	if !w.addressFree(ip) {
		return ipallocator.ErrAllocated
	}
	var address runtime.Object = &networking.IPAddress{
		ObjectMeta: metav1.ObjectMeta{
			Name: ip.String(),
			Labels: map[string]string{
				networkingv1.LabelIPAddressFamily: string(w.options.Family),
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

// readyRanges returns the ranges of the ServiceCIDRs from which addresses may
// be taken, in the order of their names.
func (a *Allocator) readyRanges() ([]netip.Prefix, error) {
	if a.ranges == nil || a.addresses == nil {
		return nil, ipallocator.ErrNotReady
	}
	var ready []netip.Prefix
	var failed error
	a.state.Snapshot(a.ranges.Storage.Prefix).Each(state.Range{}, func(o *object.Object) bool {
		obj, err := a.ranges.DecodeStored(o)
		if err != nil {
			failed = errors.Join(failed, err)
			return true
		}
		if cidr, ok := obj.(*networking.ServiceCIDR); ok && isReady(cidr) {
			ready = append(ready, a.ofFamily(cidr.Spec.CIDRs)...)
		}
		return true
	})
	if len(ready) == 0 && failed != nil {
		return nil, apierrors.NewInternalError(failed)
	}
	return ready, nil
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

func (a *Allocator) ofFamily(cidrs []string) []netip.Prefix {
	var prefixes []netip.Prefix
	for _, cidr := range cidrs {
		p, err := netip.ParsePrefix(cidr)
		if err == nil && p.Addr().Is6() == (a.options.Family == api.IPv6Protocol) {
			prefixes = append(prefixes, p.Masked())
		}
	}
	return prefixes
}
