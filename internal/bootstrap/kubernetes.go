package bootstrap

import (
	"context"
	"net"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/klog/v2"
)

// name is that of everything in the API that stands for the API server itself.
const (
	name     = "kubernetes"
	portName = "https"
)

// kubernetesService makes the ServiceCIDR that Services' addresses are taken
// from, and then the Service of the API server itself.
func (r *run) kubernetesService() error {
	cidrs, ok := served[*networkingv1.ServiceCIDR](r, networkingv1.SchemeGroupVersion.WithResource("servicecidrs"))
	if !ok {
		return nil
	}
	r.do("service CIDR "+name, func(ctx context.Context) error {
		if err := cidrs.Ensure(ctx, &networkingv1.ServiceCIDR{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec:       networkingv1.ServiceCIDRSpec{CIDRs: r.cidrs()},
		}); err != nil {
			return err
		}
		if services, ok := served[*corev1.Service](r, corev1.SchemeGroupVersion.WithResource("services")); ok {
			if err := services.in(metav1.NamespaceDefault).Ensure(ctx, r.service()); err != nil {
				return err
			}
		}
		return r.markReady(ctx, cidrs)
	})
	return nil
}

func (r *run) cidrs() []string { return []string{r.options.ServiceRange.Masked().String()} }

// markReady sets the Ready condition of the ServiceCIDR, once, if it says what
// this server was started with.
func (r *run) markReady(ctx context.Context, cidrs objects[*networkingv1.ServiceCIDR]) error {
	cidr, err := cidrs.Get(ctx, name, metav1.GetOptions{})
	if err != nil || cidr.DeletionTimestamp != nil {
		return err
	}
	if !slices.Equal(cidr.Spec.CIDRs, r.cidrs()) {
		klog.InfoS("The default ServiceCIDR is not the range this server was started with", "serviceCIDR", cidr.Spec.CIDRs, "range", r.cidrs())
		return nil
	}
	ready := meta.FindStatusCondition(cidr.Status.Conditions, networkingv1.ServiceCIDRConditionReady)
	if ready != nil && ready.Status != metav1.ConditionUnknown {
		return nil
	}
	meta.SetStatusCondition(&cidr.Status.Conditions, metav1.Condition{
		Type:    networkingv1.ServiceCIDRConditionReady,
		Status:  metav1.ConditionTrue,
		Message: "Kubernetes default Service CIDR is ready",
	})
	_, err = cidrs.UpdateStatus(ctx, cidr, metav1.UpdateOptions{FieldManager: "kubernetes-service-cidr-controller"})
	return err
}

// service is the Service of the API server. Its endpoints are made here, so it
// has no selector.
func (r *run) service() *corev1.Service {
	single := corev1.IPFamilyPolicySingleStack
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Name:      name,
			Namespace: metav1.NamespaceDefault,
			Labels:    map[string]string{"provider": "kubernetes", "component": "apiserver"},
		},
		Spec: corev1.ServiceSpec{
			Type:            corev1.ServiceTypeClusterIP,
			ClusterIP:       r.options.ServiceRange.Masked().Addr().Next().String(),
			IPFamilyPolicy:  &single,
			SessionAffinity: corev1.ServiceAffinityNone,
			Ports: []corev1.ServicePort{{
				Name: portName, Protocol: corev1.ProtocolTCP, Port: 443, TargetPort: intstr.FromInt(r.options.Port),
			}},
		},
	}
}

// kubernetesEndpoints tells where this server is, in both kinds of endpoints.
// They hold this server alone: it is the only one on its store.
func (r *run) kubernetesEndpoints() error {
	ip, err := r.advertised()
	if err != nil {
		klog.InfoS("This machine has no address to advertise, so the kubernetes Service has no endpoints", "err", err)
		return nil
	}
	if endpoints, ok := served[*corev1.Endpoints](r, corev1.SchemeGroupVersion.WithResource("endpoints")); ok {
		r.do("endpoints "+name, func(ctx context.Context) error {
			return reconcileEndpoints(ctx, endpoints.in(metav1.NamespaceDefault), r.endpoints(ip))
		})
	}
	if slices, ok := served[*discoveryv1.EndpointSlice](r, discoveryv1.SchemeGroupVersion.WithResource("endpointslices")); ok {
		r.do("endpoint slice "+name, func(ctx context.Context) error {
			return reconcileSlice(ctx, slices.in(metav1.NamespaceDefault), r.endpointSlice(ip))
		})
	}
	return nil
}

// advertised returns where others reach this server.
func (r *run) advertised() (net.IP, error) {
	if ip := r.options.AdvertiseAddress; ip != nil {
		return ip, nil
	}
	return utilnet.ResolveBindAddress(r.options.BindAddress)
}

func (r *run) endpoints(ip net.IP) *corev1.Endpoints {
	return &corev1.Endpoints{
		ObjectMeta: metav1.ObjectMeta{
			Name:      name,
			Namespace: metav1.NamespaceDefault,
			// The slice is made here too, so nobody is to make one of these.
			Labels: map[string]string{discoveryv1.LabelSkipMirror: "true"},
		},
		Subsets: []corev1.EndpointSubset{{
			Addresses: []corev1.EndpointAddress{{IP: ip.String()}},
			Ports:     []corev1.EndpointPort{{Name: portName, Port: int32(r.options.Port), Protocol: corev1.ProtocolTCP}},
		}},
	}
}

func (r *run) endpointSlice(ip net.IP) *discoveryv1.EndpointSlice {
	family := discoveryv1.AddressTypeIPv4
	if ip.To4() == nil {
		family = discoveryv1.AddressTypeIPv6
	}
	ready, port, called, protocol := true, int32(r.options.Port), portName, corev1.ProtocolTCP
	return &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Name:      name,
			Namespace: metav1.NamespaceDefault,
			Labels:    map[string]string{discoveryv1.LabelServiceName: name},
		},
		AddressType: family,
		Endpoints: []discoveryv1.Endpoint{{
			Addresses:  []string{ip.String()},
			Conditions: discoveryv1.EndpointConditions{Ready: &ready},
		}},
		Ports: []discoveryv1.EndpointPort{{Name: &called, Port: &port, Protocol: &protocol}},
	}
}

func reconcileEndpoints(ctx context.Context, endpoints objects[*corev1.Endpoints], want *corev1.Endpoints) error {
	have, err := endpoints.Get(ctx, want.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return endpoints.Ensure(ctx, want)
	}
	if err != nil {
		return err
	}
	skips := have.Labels[discoveryv1.LabelSkipMirror] == "true"
	if skips && equality.Semantic.DeepEqual(have.Subsets, want.Subsets) {
		return nil
	}
	have.Labels = withEntry(have.Labels, discoveryv1.LabelSkipMirror, "true")
	have.Subsets = want.Subsets
	_, err = endpoints.Update(ctx, have, metav1.UpdateOptions{})
	return err
}

func reconcileSlice(ctx context.Context, slices objects[*discoveryv1.EndpointSlice], want *discoveryv1.EndpointSlice) error {
	have, err := slices.Get(ctx, want.Name, metav1.GetOptions{})
	if err == nil && have.AddressType != want.AddressType { // which cannot be changed
		if err := slices.Delete(ctx, want.Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return err
		}
		return slices.Ensure(ctx, want)
	}
	if apierrors.IsNotFound(err) {
		return slices.Ensure(ctx, want)
	}
	if err != nil {
		return err
	}
	if equality.Semantic.DeepEqual(have.Endpoints, want.Endpoints) && equality.Semantic.DeepEqual(have.Ports, want.Ports) &&
		equality.Semantic.DeepEqual(have.Labels, want.Labels) {
		return nil
	}
	have.Endpoints, have.Ports, have.Labels = want.Endpoints, want.Ports, want.Labels
	_, err = slices.Update(ctx, have, metav1.UpdateOptions{})
	return err
}
