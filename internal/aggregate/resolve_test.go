package aggregate

import (
	"net/url"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/util/webhook"
)

var _ webhook.ServiceResolver = (*Resolver)(nil)

func TestResolve(t *testing.T) {
	c := newCluster(t)
	c.create(networkingv1.SchemeGroupVersion.WithResource("servicecidrs"), &networkingv1.ServiceCIDR{
		ObjectMeta: metav1.ObjectMeta{Name: "range"}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: []string{"10.0.0.0/24"}},
	})
	ports := []corev1.ServicePort{{Name: "https", Port: 443}, {Name: "other", Port: 8443}}
	create := func(name string, spec corev1.ServiceSpec) {
		c.create(coreServices, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop"}, Spec: spec})
	}
	create("plain", corev1.ServiceSpec{ClusterIP: "10.0.0.7", Ports: ports})
	create("node", corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort, ClusterIP: "10.0.0.8", Ports: ports})
	create("headless", corev1.ServiceSpec{ClusterIP: corev1.ClusterIPNone, Ports: ports})
	create("fruit", corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "fruit.example.com"})
	yes, no, name, port := true, false, "https", int32(6443)
	for _, s := range []*discoveryv1.EndpointSlice{
		{ObjectMeta: metav1.ObjectMeta{Name: "plain-1", Namespace: "shop", Labels: map[string]string{discoveryv1.LabelServiceName: "plain"}},
			Endpoints: []discoveryv1.Endpoint{
				{Addresses: []string{"192.0.2.1"}, Conditions: discoveryv1.EndpointConditions{Ready: &no}},
				{Addresses: []string{"192.0.2.2"}, Conditions: discoveryv1.EndpointConditions{Ready: &yes}},
			}},
		{ObjectMeta: metav1.ObjectMeta{Name: "another", Namespace: "shop", Labels: map[string]string{discoveryv1.LabelServiceName: "another"}},
			Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"192.0.2.3"}}}},
		{ObjectMeta: metav1.ObjectMeta{Name: "elsewhere", Namespace: "default", Labels: map[string]string{discoveryv1.LabelServiceName: "plain"}},
			Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"192.0.2.4"}}}},
	} {
		s.AddressType = discoveryv1.AddressTypeIPv4
		s.Ports = []discoveryv1.EndpointPort{{Name: &name, Port: &port}}
		c.create(endpointslices, s)
	}
	self := &url.URL{Scheme: "https", Host: "127.0.0.1:6443"}
	addresses, endpoints := c.resolver, NewResolver(c.verbs.State, c.catalogue, true, self)
	for _, test := range []struct {
		by              *Resolver
		namespace, name string
		port            int32
		want, wantErr   string
	}{
		{addresses, "shop", "plain", 443, "https://10.0.0.7:443", ""},
		{addresses, "shop", "plain", 8443, "https://10.0.0.7:8443", ""},
		{addresses, "shop", "plain", 80, "", `no service port 80 found for service "plain"`},
		{addresses, "shop", "node", 443, "https://10.0.0.8:443", ""},
		{addresses, "shop", "headless", 443, "", `cannot route to service with ClusterIP "None"`},
		{addresses, "shop", "fruit", 1234, "https://fruit.example.com:1234", ""},
		{addresses, "shop", "none", 443, "", `service "none" not found`},
		{addresses, "default", "kubernetes", 443, "https://127.0.0.1:6443", ""},
		{addresses, "default", "kubernetes", 444, "", `service "kubernetes" not found`},
		{endpoints, "shop", "plain", 443, "https://192.0.2.2:6443", ""},
		{endpoints, "shop", "plain", 8443, "", `no endpoints available for service "plain"`},
		{endpoints, "shop", "headless", 443, "", `no endpoints available for service "headless"`},
		{endpoints, "shop", "fruit", 443, "", `unsupported service type "ExternalName"`},
		{endpoints, "default", "kubernetes", 443, "https://127.0.0.1:6443", ""},
	} {
		got, err := test.by.ResolveEndpoint(test.namespace, test.name, test.port)
		if test.wantErr != "" {
			if err == nil || err.Error() != test.wantErr {
				t.Errorf("%s/%s:%d: %v, want %s", test.namespace, test.name, test.port, err, test.wantErr)
			}
			continue
		}
		if err != nil || got.String() != test.want {
			t.Errorf("%s/%s:%d: %v, %v; want %s", test.namespace, test.name, test.port, got, err, test.want)
			continue
		}
		got.Path = "/x" // the caller's own
	}
}
