package native

import (
	"k8s.io/kubernetes/pkg/apis/apps"
	_ "k8s.io/kubernetes/pkg/apis/apps/install"
	"k8s.io/kubernetes/pkg/registry/apps/controllerrevision"
	"k8s.io/kubernetes/pkg/registry/apps/daemonset"
	"k8s.io/kubernetes/pkg/registry/apps/deployment"
	"k8s.io/kubernetes/pkg/registry/apps/replicaset"
	"k8s.io/kubernetes/pkg/registry/apps/statefulset"
)

func (b *builder) apps() *group {
	v1 := words("v1")
	return &group{name: apps.GroupName, rows: []row{
		{
			name: "controllerrevisions", hub: of[apps.ControllerRevision, apps.ControllerRevisionList](),
			namespaced: true, versions: v1,
			strategy: controllerrevision.Strategy,
		},
		{
			name: "daemonsets", hub: of[apps.DaemonSet, apps.DaemonSetList](), short: words("ds"), categories: words("all"),
			namespaced: true, versions: v1,
			strategy: daemonset.Strategy, status: daemonset.StatusStrategy,
		},
		{
			name: "deployments", hub: of[apps.Deployment, apps.DeploymentList](), short: words("deploy"), categories: words("all"),
			namespaced: true, versions: v1,
			strategy: deployment.Strategy, status: deployment.StatusStrategy, parts: []part{scalePart(deploymentScale)},
		},
		{
			name: "replicasets", hub: of[apps.ReplicaSet, apps.ReplicaSetList](), short: words("rs"), categories: words("all"),
			namespaced: true, versions: v1,
			strategy: replicaset.Strategy, status: replicaset.StatusStrategy, parts: []part{scalePart(replicaSetScale)},
			attributes: replicaset.GetAttrs,
		},
		{
			name: "statefulsets", hub: of[apps.StatefulSet, apps.StatefulSetList](), short: words("sts"), categories: words("all"),
			namespaced: true, versions: v1,
			strategy: statefulset.Strategy, status: statefulset.StatusStrategy, parts: []part{scalePart(statefulSetScale)},
		},
	}}
}
