package serviceip

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/kubernetes/pkg/api/servicecidr"
	api "k8s.io/kubernetes/pkg/apis/core"
	"k8s.io/kubernetes/pkg/apis/networking"
	"k8s.io/kubernetes/pkg/registry/core/service/ipallocator"
	netutils "k8s.io/utils/net"

	"github.com/knarr-io/knarr/internal/controller"
	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/state"
)

const (
	// madeGrace is how long the Service of a new IPAddress may not be there
	// yet: kube-apiserver makes the address first, and a request lasts a minute
	// at most. changedGrace is the same for one that seems to be another's.
	madeGrace    = time.Minute
	changedGrace = 5 * time.Second
)

// syncService makes sure that each address of a Service is recorded as its.
func (r *Repairer) syncService(ctx context.Context, k key) error {
	o := r.state.Get(r.services.Storage.Key(k.namespace, k.name))
	if o == nil {
		return nil
	}
	svc, err := controller.Read[*api.Service](r.services, o)
	if err != nil {
		return err
	}
	if svc.Spec.ClusterIP == "" || svc.Spec.ClusterIP == api.ClusterIPNone {
		return nil
	}
	for _, clusterIP := range svc.Spec.ClusterIPs {
		wait, err := r.syncClusterIP(ctx, o, svc, clusterIP)
		if err != nil {
			return err
		}
		if wait > 0 {
			r.schedule.AddAfter(k, wait)
		}
	}
	return nil
}

// syncClusterIP makes sure that an address of svc, which is stored as o, is
// recorded. It returns when to look again at what it could not repair.
func (r *Repairer) syncClusterIP(ctx context.Context, o *object.Object, svc *api.Service, clusterIP string) (wait time.Duration, err error) {
	warn := func(reason, action, format string, args ...any) {
		r.addressEvents.Warn(ctx, reference(svc, corev1.SchemeGroupVersion.WithKind("Service")), reason, action, fmt.Sprintf(format, args...))
	}
	ip := netutils.ParseIPSloppy(clusterIP)
	if ip == nil {
		warn("ClusterIPNotValid", "ClusterIPValidation", "Cluster IP %s is not a valid IP; please recreate Service", ip)
		return interval, nil
	}
	family := familyOf(ip)
	if !r.inRange(ip) {
		warn("ClusterIPOutOfRange", "ClusterIPAllocation", "Cluster IP [%v]: %s is not within any configured Service CIDR; please recreate service", family, ip)
		return interval, nil
	}
	recorded := r.state.Get(r.addresses.Storage.Key("", ip.String()))
	if r.state.Get(r.services.Storage.Key(svc.Namespace, svc.Name)) != o {
		return 0, nil // changed meanwhile, and to be looked at again
	}
	if recorded == nil {
		warn("ClusterIPNotAllocated", "ClusterIPAllocation", "Cluster IP [%v]: %s is not allocated; repairing", family, ip)
		return 0, r.record(ctx, svc, ip)
	}
	address, err := controller.Read[*networking.IPAddress](r.addresses, recorded)
	if err != nil {
		warn("UnknownError", "ClusterIPAllocation", "Unable to allocate ClusterIP [%v]: %s due to an unknown error", family, ip)
		return 0, err
	}
	wrong := func() (time.Duration, error) {
		warn("ClusterIPNotAllocated", "ClusterIPAllocation", "the ClusterIP [%v]: %s for Service %s/%s has a wrong reference; repairing", family, ip, svc.Namespace, svc.Name)
		return 0, r.recordAnew(ctx, svc, ip, address)
	}
	parent := parentOf(address)
	if !ofService(parent) {
		return wrong()
	}
	if parent.Namespace != svc.Namespace || parent.Name != svc.Name {
		others := r.state.Get(r.services.Storage.Key(parent.Namespace, parent.Name))
		if others == nil {
			return wrong()
		}
		wait = changedGrace // until syncAddress has removed it
		if slices.Contains(r.clusterIPs(others), address.Name) {
			warn("ClusterIPAlreadyAllocated", "ClusterIPAllocation", "Cluster IP [%v]:%s was assigned to multiple services; please recreate service", family, ip)
			wait = interval
		}
	}
	if address.Labels[networkingv1.LabelIPAddressFamily] != string(family) || !managed(address) {
		return wait, r.recordAnew(ctx, svc, ip, address)
	}
	return wait, nil
}

// record makes the IPAddress of an address of svc.
func (r *Repairer) record(ctx context.Context, svc *api.Service, ip net.IP) error {
	return r.client.Create(ctx, addressesGVR, metav1.NamespaceNone, &networking.IPAddress{
		ObjectMeta: metav1.ObjectMeta{
			Name: ip.String(),
			Labels: map[string]string{
				networkingv1.LabelIPAddressFamily: string(familyOf(ip)),
				networkingv1.LabelManagedBy:       ipallocator.ControllerName,
			},
		},
		Spec: networking.IPAddressSpec{ParentRef: &networking.ParentReference{Resource: "services", Namespace: svc.Namespace, Name: svc.Name}},
	})
}

// recordAnew puts the IPAddress of an address of svc in the place of a wrong
// one.
func (r *Repairer) recordAnew(ctx context.Context, svc *api.Service, ip net.IP, wrong *networking.IPAddress) error {
	if err := r.remove(ctx, wrong); err != nil {
		return err
	}
	return r.record(ctx, svc, ip)
}

// remove removes an IPAddress, unless it is another by now.
func (r *Repairer) remove(ctx context.Context, address *networking.IPAddress) error {
	err := r.client.Delete(ctx, addressesGVR, metav1.NamespaceNone, address.Name, address.UID)
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

// syncAddress removes an IPAddress that was made for a Service which does not
// have it.
func (r *Repairer) syncAddress(ctx context.Context, k key) error {
	o := r.state.Get(r.addresses.Storage.Key("", k.name))
	if o == nil {
		return nil
	}
	address, err := controller.Read[*networking.IPAddress](r.addresses, o)
	if err != nil {
		return err
	}
	if !managed(address) {
		return nil
	}
	warn := func(reason, format string, args ...any) {
		r.addressEvents.Warn(ctx, reference(address, networkingv1.SchemeGroupVersion.WithKind("IPAddress")), reason, "IPAddressAllocation", fmt.Sprintf(format, args...))
	}
	parent := parentOf(address)
	if !ofService(parent) {
		warn("IPAddressNotAllocated", "IPAddress %s appears to have been modified, not referencing a Service %v: cleaning up", address.Name, parent)
		return r.remove(ctx, address)
	}
	holder := r.state.Get(r.services.Storage.Key(parent.Namespace, parent.Name))
	if r.state.Get(r.addresses.Storage.Key("", k.name)) != o {
		return nil // changed meanwhile, and to be looked at again
	}
	age := r.clock.Since(address.CreationTimestamp.Time)
	if holder == nil {
		if age <= madeGrace {
			r.schedule.AddAfter(k, madeGrace-age+time.Millisecond)
			return nil
		}
		warn("IPAddressNotAllocated", "IPAddress: %s for Service %s/%s appears to have leaked: cleaning up", address.Name, parent.Namespace, parent.Name)
		return r.remove(ctx, address)
	}
	svc, err := controller.Read[*api.Service](r.services, holder)
	if err != nil {
		warn("UnknownError", "Unable to get parent Service for IPAddress %s due to an unknown error", address.Name)
		return err
	}
	switch {
	case slices.Contains(svc.Spec.ClusterIPs, address.Name):
		return nil
	case svc.Spec.Type == api.ServiceTypeExternalName && age < madeGrace:
		r.schedule.AddAfter(k, madeGrace-age)
		return nil
	case address.CreationTimestamp.After(svc.CreationTimestamp.Time) && age < changedGrace:
		r.schedule.AddAfter(k, changedGrace)
		return nil
	}
	warn("IPAddressWrongReference", "IPAddress: %s for Service %s/%s has a wrong reference; cleaning up", address.Name, svc.Namespace, svc.Name)
	return r.remove(ctx, address)
}

// inRange reports whether an address is in a ServiceCIDR, ready or not.
func (r *Repairer) inRange(ip net.IP) bool {
	address, in := servicecidr.IPToAddr(ip), false
	r.state.Snapshot(r.ranges.Storage.Prefix).Each(state.Range{}, func(o *object.Object) bool {
		cidr, err := controller.Read[*networking.ServiceCIDR](r.ranges, o)
		if err != nil {
			return true
		}
		in = slices.ContainsFunc(cidr.Spec.CIDRs, func(s string) bool {
			p, err := netip.ParsePrefix(s)
			return err == nil && servicecidr.PrefixContainsIP(p, address)
		})
		return !in
	})
	return in
}

// parentOf returns what an IPAddress says that it is of; an empty reference if
// it says nothing.
func parentOf(address *networking.IPAddress) networking.ParentReference {
	if address == nil || address.Spec.ParentRef == nil {
		return networking.ParentReference{}
	}
	return *address.Spec.ParentRef
}

func ofService(parent networking.ParentReference) bool {
	return parent.Group == "" && parent.Resource == "services"
}

// managed reports whether an IPAddress was made for a Service, and not by hand.
func managed(address *networking.IPAddress) bool {
	return address.Labels[networkingv1.LabelManagedBy] == ipallocator.ControllerName
}

func familyOf(ip net.IP) api.IPFamily {
	if netutils.IsIPv6(ip) {
		return api.IPv6Protocol
	}
	return api.IPv4Protocol
}
