package native

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	pvcutil "k8s.io/kubernetes/pkg/api/persistentvolumeclaim"
	api "k8s.io/kubernetes/pkg/apis/core"
	netutils "k8s.io/utils/net"
)

// completeClaim keeps dataSource and dataSourceRef of a claim equal, as
// upstream does for claims stored when there was but one of them.
func completeClaim(obj runtime.Object) {
	if claim, ok := obj.(*api.PersistentVolumeClaim); ok {
		pvcutil.NormalizeDataSources(&claim.Spec)
	}
}

// completeService fills in what a Service stored by an older release lacks:
// clusterIPs, ipFamilies and ipFamilyPolicy. It takes away an
// internalTrafficPolicy that was once defaulted where it means nothing.
func (b *builder) completeService(obj runtime.Object) {
	svc, ok := obj.(*api.Service)
	if !ok {
		return
	}
	spec := &svc.Spec
	if spec.ClusterIP != "" && len(spec.ClusterIPs) == 0 {
		spec.ClusterIPs = []string{spec.ClusterIP}
	}
	if spec.Type == api.ServiceTypeExternalName {
		spec.InternalTrafficPolicy = nil
		return
	}
	if len(spec.IPFamilies) == 0 {
		b.completeFamilies(spec)
	}
}

// completeFamilies sets ipFamilies and ipFamilyPolicy of a Service that has a
// cluster IP, or is headless. The policy is taken to be unset with them.
func (b *builder) completeFamilies(spec *api.ServiceSpec) {
	first, second := api.IPv4Protocol, api.IPv6Protocol
	if b.options.IPFamily == corev1.IPv6Protocol {
		first, second = second, first
	}
	single, dual := api.IPFamilyPolicySingleStack, api.IPFamilyPolicyRequireDualStack
	switch {
	case spec.ClusterIP != api.ClusterIPNone:
		spec.IPFamilies = make([]api.IPFamily, len(spec.ClusterIPs))
		for i, ip := range spec.ClusterIPs {
			spec.IPFamilies[i] = api.IPv4Protocol
			if netutils.IsIPv6String(ip) {
				spec.IPFamilies[i] = api.IPv6Protocol
			}
		}
		switch len(spec.IPFamilies) {
		case 1:
			spec.IPFamilyPolicy = &single
		case 2:
			spec.IPFamilyPolicy = &dual
		}
	case len(spec.Selector) == 0:
		// Headless and without a selector: its endpoints are the user's own and
		// may be of either family.
		spec.IPFamilyPolicy, spec.IPFamilies = &dual, []api.IPFamily{first, second}
	default:
		spec.IPFamilyPolicy, spec.IPFamilies = &single, []api.IPFamily{first}
	}
}
