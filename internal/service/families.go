package service

import (
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"
	api "k8s.io/kubernetes/pkg/apis/core"
	"k8s.io/kubernetes/pkg/apis/core/validation"
	netutils "k8s.io/utils/net"
)

var (
	policyPath     = field.NewPath("spec", "ipFamilyPolicy")
	familiesPath   = field.NewPath("spec", "ipFamilies")
	clusterIPsPath = field.NewPath("spec", "clusterIPs")
)

// completeFamilies fills in ipFamilyPolicy and ipFamilies as far as they follow
// from the rest, and refuses what this server cannot give. old is nil for a
// create. The checks come in upstream's order, which shows in what is refused
// when several things are wrong.
func (a *Allocator) completeFamilies(svc, old *api.Service) error {
	if !needsClusterIP(svc) || keepsPreference(svc, old) {
		return nil
	}
	if svc.Spec.IPFamilyPolicy == nil {
		policy := defaultPolicy(svc, old)
		svc.Spec.IPFamilyPolicy = &policy
	}
	if errs := validation.ValidateServiceClusterIPsRelatedFields(svc, old); len(errs) > 0 {
		return invalid(svc, errs)
	}
	var errs field.ErrorList
	if old != nil {
		errs = reduceFamilies(svc, old)
	}
	errs = append(errs, checkSingleStack(svc)...)
	errs = append(errs, a.inferFamilies(svc)...)
	if len(errs) > 0 {
		return invalid(svc, errs)
	}
	if svc.Spec.ClusterIP == api.ClusterIPNone && len(svc.Spec.Selector) == 0 {
		a.completeBareHeadless(svc)
		return nil
	}
	if errs := a.checkConfigured(svc); len(errs) > 0 {
		return invalid(svc, errs)
	}
	if len(svc.Spec.IPFamilies) == 0 {
		svc.Spec.IPFamilies = []api.IPFamily{a.options.Families[0]}
	}
	if policyOf(svc) != api.IPFamilyPolicySingleStack && len(svc.Spec.IPFamilies) == 1 && len(a.options.Families) == 2 {
		svc.Spec.IPFamilies = append(svc.Spec.IPFamilies, otherFamily(svc.Spec.IPFamilies[0]))
	}
	return nil
}

// keepsPreference reports whether a Service that prefers two families is
// updated without a word about them: what it has then stays as it is, whatever
// the server could give by now.
func keepsPreference(svc, old *api.Service) bool {
	return old != nil && needsClusterIP(svc) && svc.Spec.Type == old.Spec.Type &&
		policyOf(svc) == api.IPFamilyPolicyPreferDualStack &&
		(old.Spec.IPFamilyPolicy == nil || policyOf(old) == api.IPFamilyPolicyPreferDualStack) &&
		slices.Equal(svc.Spec.ClusterIPs, old.Spec.ClusterIPs) &&
		slices.Equal(svc.Spec.IPFamilies, old.Spec.IPFamilies)
}

// defaultPolicy is the policy of a Service that names none: the one it had, so
// that the number of its families changes only where that is asked for.
func defaultPolicy(svc, old *api.Service) api.IPFamilyPolicy {
	switch {
	case old != nil && old.Spec.IPFamilyPolicy != nil:
		return *old.Spec.IPFamilyPolicy
	case svc.Spec.ClusterIP == api.ClusterIPNone && len(svc.Spec.Selector) == 0:
		return api.IPFamilyPolicyRequireDualStack
	}
	return api.IPFamilyPolicySingleStack
}

// reduceFamilies takes the second address and family away if the policy is a
// single one, and refuses to lose them otherwise.
func reduceFamilies(svc, old *api.Service) field.ErrorList {
	spec := &svc.Spec
	if policyOf(svc) == api.IPFamilyPolicySingleStack {
		if slices.Equal(spec.ClusterIPs, old.Spec.ClusterIPs) && len(spec.ClusterIPs) > 1 {
			spec.ClusterIPs = spec.ClusterIPs[:1]
		}
		if slices.Equal(spec.IPFamilies, old.Spec.IPFamilies) && len(spec.IPFamilies) > 1 {
			spec.IPFamilies = spec.IPFamilies[:1]
		}
		return nil
	}
	var errs field.ErrorList
	if n := len(spec.ClusterIPs); n > 0 && n < len(old.Spec.ClusterIPs) {
		errs = append(errs, field.Invalid(policyPath, spec.IPFamilyPolicy, "must be 'SingleStack' to release the secondary cluster IP"))
	}
	if n := len(spec.IPFamilies); n > 0 && n < len(old.Spec.IPFamilies) {
		errs = append(errs, field.Invalid(policyPath, spec.IPFamilyPolicy, "must be 'SingleStack' to release the secondary IP family"))
	}
	return errs
}

// checkSingleStack refuses two of anything under a policy of one.
func checkSingleStack(svc *api.Service) field.ErrorList {
	if policyOf(svc) != api.IPFamilyPolicySingleStack {
		return nil
	}
	const format = "must be 'RequireDualStack' or 'PreferDualStack' when multiple %s are specified"
	var errs field.ErrorList
	if len(svc.Spec.ClusterIPs) == 2 {
		errs = append(errs, field.Invalid(policyPath, svc.Spec.IPFamilyPolicy, fmt.Sprintf(format, "cluster IPs")))
	}
	if len(svc.Spec.IPFamilies) == 2 {
		errs = append(errs, field.Invalid(policyPath, svc.Spec.IPFamilyPolicy, fmt.Sprintf(format, "IP families")))
	}
	return errs
}

// inferFamilies adds the families of addresses that are given without one.
func (a *Allocator) inferFamilies(svc *api.Service) field.ErrorList {
	if headless(svc) {
		return nil
	}
	var errs field.ErrorList
	for i := len(svc.Spec.IPFamilies); i < len(svc.Spec.ClusterIPs); i++ {
		family := familyOf(svc.Spec.ClusterIPs[i])
		if !a.configured(family) {
			errs = append(errs, field.Invalid(clusterIPsPath.Index(i), svc.Spec.ClusterIPs, fmt.Sprintf("%s is not configured on this cluster", family)))
			continue
		}
		svc.Spec.IPFamilies = append(svc.Spec.IPFamilies, family)
	}
	return errs
}

// completeBareHeadless completes a headless Service without a selector. Its
// endpoints are the user's own, so it may have families that are not
// configured.
func (a *Allocator) completeBareHeadless(svc *api.Service) {
	spec := &svc.Spec
	if len(spec.IPFamilies) == 0 {
		spec.IPFamilies = []api.IPFamily{a.options.Families[0]}
	}
	if len(spec.IPFamilies) < 2 && policyOf(svc) != api.IPFamilyPolicySingleStack {
		spec.IPFamilies = append(spec.IPFamilies, otherFamily(spec.IPFamilies[0]))
	}
}

// checkConfigured refuses families that this server has no addresses of.
func (a *Allocator) checkConfigured(svc *api.Service) field.ErrorList {
	var errs field.ErrorList
	if policyOf(svc) == api.IPFamilyPolicyRequireDualStack && len(a.options.Families) < 2 {
		errs = append(errs, field.Invalid(policyPath, svc.Spec.IPFamilyPolicy, "this cluster is not configured for dual-stack services"))
	}
	for i, family := range svc.Spec.IPFamilies {
		if !a.configured(family) {
			errs = append(errs, field.Invalid(familiesPath.Index(i), family, "not configured on this cluster"))
		}
	}
	return errs
}

// policyOf returns the policy; "" if there is none.
func policyOf(svc *api.Service) api.IPFamilyPolicy {
	if svc.Spec.IPFamilyPolicy == nil {
		return ""
	}
	return *svc.Spec.IPFamilyPolicy
}

// configured reports whether there are cluster addresses of a family here.
func (a *Allocator) configured(family api.IPFamily) bool {
	return slices.Contains(a.options.Families, family)
}

func otherFamily(family api.IPFamily) api.IPFamily {
	if family == api.IPv4Protocol {
		return api.IPv6Protocol
	}
	return api.IPv4Protocol
}

func familyOf(ip string) api.IPFamily {
	if netutils.IsIPv6String(ip) {
		return api.IPv6Protocol
	}
	return api.IPv4Protocol
}

func invalid(svc *api.Service, errs field.ErrorList) error {
	return apierrors.NewInvalid(api.Kind("Service"), svc.Name, errs)
}
