package native

import (
	extensionsv1beta1 "k8s.io/api/extensions/v1beta1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/kubernetes/pkg/apis/apps"
	_ "k8s.io/kubernetes/pkg/apis/extensions/install"
	"k8s.io/kubernetes/pkg/apis/networking"
	"k8s.io/kubernetes/pkg/registry/apps/daemonset"
	"k8s.io/kubernetes/pkg/registry/apps/deployment"
	"k8s.io/kubernetes/pkg/registry/apps/replicaset"
	"k8s.io/kubernetes/pkg/registry/networking/ingress"
	"k8s.io/kubernetes/pkg/registry/networking/networkpolicy"
)

// oldExtensions is the group that Deployments, Ingresses and others began in,
// for manifests from then. Upstream ended it with 1.16 but still has its types,
// defaults and conversions. The objects are those of apps and
// networking.k8s.io under another name: same hub types, rules and keys.
func (b *builder) oldExtensions() *group {
	v1beta1 := words(extensionsv1beta1.SchemeGroupVersion.Version)
	inApps, inNetworking := schema.GroupVersion{Group: apps.GroupName, Version: "v1"}, schema.GroupVersion{Group: networking.GroupName, Version: "v1"}
	scaled := func(s *scale) []part {
		p := scalePart(s)
		p.kind = extensionsv1beta1.SchemeGroupVersion.WithKind("Scale")
		return []part{p}
	}
	return &group{name: extensionsv1beta1.GroupName, rows: []row{
		{
			name: "daemonsets", hub: of[apps.DaemonSet, apps.DaemonSetList](), short: words("ds"), categories: words("all"),
			namespaced: true, versions: v1beta1, byName: true, stored: inApps,
			strategy: daemonset.Strategy, status: daemonset.StatusStrategy,
		},
		{
			name: "deployments", hub: of[apps.Deployment, apps.DeploymentList](), short: words("deploy"), categories: words("all"),
			namespaced: true, versions: v1beta1, byName: true, stored: inApps,
			strategy: deployment.Strategy, status: deployment.StatusStrategy, parts: scaled(deploymentScale),
		},
		{
			name: "ingresses", hub: of[networking.Ingress, networking.IngressList](), short: words("ing"),
			namespaced: true, versions: v1beta1, byName: true, stored: inNetworking, prefix: "ingress",
			strategy: ingress.Strategy, status: ingress.StatusStrategy,
		},
		{
			name: "networkpolicies", hub: of[networking.NetworkPolicy, networking.NetworkPolicyList](), short: words("netpol"),
			namespaced: true, versions: v1beta1, byName: true, stored: inNetworking,
			strategy: networkpolicy.Strategy,
		},
		{
			name: "replicasets", hub: of[apps.ReplicaSet, apps.ReplicaSetList](), short: words("rs"), categories: words("all"),
			namespaced: true, versions: v1beta1, byName: true, stored: inApps,
			strategy: replicaset.Strategy, status: replicaset.StatusStrategy, parts: scaled(replicaSetScale),
			attributes: replicaset.GetAttrs,
		},
	}}
}
