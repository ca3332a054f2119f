package bootstrap

import (
	"context"
	"net"
	"slices"
	"time"

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

	"github.com/knarr-io/knarr/internal/controller/servicecidr"
)

// name is that of everything in the API that stands for the API server itself.
const (
	name     = "kubernetes"
	portName = "https"
)

// kubernetesObjects makes what stands for the API server.
func (r *run) kubernetesObjects() error {
	for _, s := range r.standing() {
		r.do(s.what, s.write)
	}
	return nil
}

// standing is something that stands for the API server: the keys of its
// objects, and what makes them and brings them up to date.
type standing struct {
	what  string
	keys  []string
	write func(ctx context.Context) error
	// rarely, if set, is how soon it is put right again after it was, in place of
	// keepInterval.
	rarely time.Duration
}

// standing returns all that stands for the server, as far as it is served: the
// ServiceCIDR that Services' addresses are taken from, and then the Service of
// the API server itself; and where this server is, in both kinds of endpoints.
// They hold this server alone: it is the only one on its store.
func (r *run) standing() []standing {
	var all []standing
	if cidrs, ok := served[*networkingv1.ServiceCIDR](r, networkingv1.SchemeGroupVersion.WithResource("servicecidrs")); ok {
		s := standing{what: "service CIDR " + name, keys: []string{cidrs.key(name)}}
		services, ok := served[*corev1.Service](r, corev1.SchemeGroupVersion.WithResource("services"))
		if services = services.in(metav1.NamespaceDefault); ok {
			s.keys = append(s.keys, services.key(name))
		}
		s.write = func(ctx context.Context) error { return r.kubernetesService(ctx, cidrs, services) }
		all = append(all, s)
	}
	ip, err := r.advertised()
	if err != nil {
		klog.ErrorS(err, "This machine has no address to advertise, so the kubernetes Service has no endpoints")
		return all
	}
	if endpoints, ok := served[*corev1.Endpoints](r, corev1.SchemeGroupVersion.WithResource("endpoints")); ok {
		endpoints = endpoints.in(metav1.NamespaceDefault)
		all = append(all, standing{what: "endpoints " + name, keys: []string{endpoints.key(name)}, write: func(ctx context.Context) error {
			return reconcileEndpoints(ctx, endpoints, r.endpoints(ip))
		}})
	}
	if slices, ok := served[*discoveryv1.EndpointSlice](r, discoveryv1.SchemeGroupVersion.WithResource("endpointslices")); ok {
		slices = slices.in(metav1.NamespaceDefault)
		all = append(all, standing{what: "endpoint slice " + name, keys: []string{slices.key(name)}, write: func(ctx context.Context) error {
			return reconcileSlice(ctx, slices, r.endpointSlice(ip))
		}})
	}
	return all
}

// kubernetesService makes the ServiceCIDR and, if Services are served, the
// Service, which takes an address of it.
func (r *run) kubernetesService(ctx context.Context, cidrs objects[*networkingv1.ServiceCIDR], services objects[*corev1.Service]) error {
	if err := cidrs.Ensure(ctx, r.serviceCIDR()); err != nil {
		return err
	}
	if services.version != nil {
		if err := services.Ensure(ctx, r.service()); err != nil {
			return err
		}
	}
	cidr, err := cidrs.Get(ctx, name, metav1.GetOptions{})
	if err != nil || cidr.DeletionTimestamp != nil {
		return err
	}
	if want := r.cidrs(); len(want) == 2 && slices.Equal(cidr.Spec.CIDRs, want[:1]) {
		cidr.Spec.CIDRs = want // a second family has been added
		_, err = cidrs.Update(ctx, cidr, metav1.UpdateOptions{})
		return err
	}
	return r.markReady(ctx, cidrs, cidr)
}

func (r *run) cidrs() []string {
	var cidrs []string
	for _, p := range r.options.ServiceRanges {
		cidrs = append(cidrs, p.Masked().String())
	}
	return cidrs
}

func (r *run) serviceCIDR() *networkingv1.ServiceCIDR {
	cidr := &networkingv1.ServiceCIDR{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       networkingv1.ServiceCIDRSpec{CIDRs: r.cidrs()},
	}
	if r.options.ServiceCIDRController {
		cidr.Finalizers = []string{servicecidr.Finalizer}
	}
	return cidr
}

// markReady sets the Ready condition of the ServiceCIDR, once, if it says what
// this server was started with.
func (r *run) markReady(ctx context.Context, cidrs objects[*networkingv1.ServiceCIDR], cidr *networkingv1.ServiceCIDR) error {
	if !slices.Equal(cidr.Spec.CIDRs, r.cidrs()) {
		klog.ErrorS(nil, "The default ServiceCIDR is not the range this server was started with", "serviceCIDR", cidr.Spec.CIDRs, "range", r.cidrs())
		return nil
	}
	ready := meta.FindStatusCondition(cidr.Status.Conditions, networkingv1.ServiceCIDRConditionReady)
	if ready != nil && ready.Status != metav1.ConditionUnknown {
		return nil
	}
	message := "Kubernetes default Service CIDR is ready"
	if r.options.ServiceCIDRController {
		message = servicecidr.ReadyMessage
	}
	meta.SetStatusCondition(&cidr.Status.Conditions, metav1.Condition{
		Type:    networkingv1.ServiceCIDRConditionReady,
		Status:  metav1.ConditionTrue,
		Message: message,
	})
	_, err := cidrs.UpdateStatus(ctx, cidr, metav1.UpdateOptions{FieldManager: "kubernetes-service-cidr-controller"})
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
			ClusterIP:       r.options.ServiceRanges[0].Masked().Addr().Next().String(),
			IPFamilyPolicy:  &single,
			SessionAffinity: corev1.ServiceAffinityNone,
			Ports: []corev1.ServicePort{{
				Name: portName, Protocol: corev1.ProtocolTCP, Port: 443, TargetPort: intstr.FromInt(r.options.Port),
			}},
		},
	}
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
