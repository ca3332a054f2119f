package native

import (
	"k8s.io/kubernetes/pkg/apis/networking"
	_ "k8s.io/kubernetes/pkg/apis/networking/install"
	"k8s.io/kubernetes/pkg/registry/networking/ingress"
	"k8s.io/kubernetes/pkg/registry/networking/ingressclass"
	"k8s.io/kubernetes/pkg/registry/networking/ipaddress"
	"k8s.io/kubernetes/pkg/registry/networking/networkpolicy"
	"k8s.io/kubernetes/pkg/registry/networking/servicecidr"
)

func (b *builder) networking() *group {
	return &group{name: networking.GroupName, rows: []row{
		{
			name: "ingressclasses", hub: of[networking.IngressClass, networking.IngressClassList](),
			versions: words("v1"),
			strategy: ingressclass.Strategy,
		},
		{
			name: "ingresses", hub: of[networking.Ingress, networking.IngressList](), short: words("ing"),
			namespaced: true, versions: words("v1"), prefix: "ingress",
			strategy: ingress.Strategy, status: ingress.StatusStrategy,
		},
		{
			name: "ipaddresses", hub: of[networking.IPAddress, networking.IPAddressList](), short: words("ip"),
			versions: words("v1 v1beta1"),
			strategy: ipaddress.Strategy,
		},
		{
			name: "networkpolicies", hub: of[networking.NetworkPolicy, networking.NetworkPolicyList](), short: words("netpol"),
			namespaced: true, versions: words("v1"),
			strategy: networkpolicy.Strategy,
		},
		{
			name: "servicecidrs", hub: of[networking.ServiceCIDR, networking.ServiceCIDRList](),
			versions: words("v1 v1beta1"),
			strategy: servicecidr.Strategy, status: servicecidr.StatusStrategy,
		},
	}}
}
