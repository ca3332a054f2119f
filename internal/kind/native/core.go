package native

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/kubernetes/pkg/apis/authentication"
	api "k8s.io/kubernetes/pkg/apis/core"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	"k8s.io/kubernetes/pkg/apis/policy"
	"k8s.io/kubernetes/pkg/features"
	"k8s.io/kubernetes/pkg/registry/core/configmap"
	"k8s.io/kubernetes/pkg/registry/core/endpoint"
	"k8s.io/kubernetes/pkg/registry/core/event"
	"k8s.io/kubernetes/pkg/registry/core/limitrange"
	"k8s.io/kubernetes/pkg/registry/core/namespace"
	"k8s.io/kubernetes/pkg/registry/core/node"
	"k8s.io/kubernetes/pkg/registry/core/persistentvolume"
	"k8s.io/kubernetes/pkg/registry/core/persistentvolumeclaim"
	"k8s.io/kubernetes/pkg/registry/core/pod"
	"k8s.io/kubernetes/pkg/registry/core/podtemplate"
	"k8s.io/kubernetes/pkg/registry/core/replicationcontroller"
	"k8s.io/kubernetes/pkg/registry/core/resourcequota"
	"k8s.io/kubernetes/pkg/registry/core/secret"
	"k8s.io/kubernetes/pkg/registry/core/service"
	"k8s.io/kubernetes/pkg/registry/core/serviceaccount"
)

func (b *builder) core() *group {
	v1 := words("v1")
	proxyVerbs := words("create delete get patch update")
	return &group{name: api.GroupName, rows: []row{
		{
			name: "bindings", hub: review[api.Binding](),
			namespaced: true, versions: v1,
		},
		{
			name: "componentstatuses", hub: of[api.ComponentStatus, api.ComponentStatusList](), short: words("cs"),
			versions: v1, verbs: words("get list"),
		},
		{
			name: "configmaps", hub: of[api.ConfigMap, api.ConfigMapList](), short: words("cm"),
			namespaced: true, versions: v1,
			strategy: configmap.Strategy, attributes: configmap.GetAttrs,
		},
		{
			name: "endpoints", hub: of[api.Endpoints, api.EndpointsList](), short: words("ep"),
			namespaced: true, versions: v1,
			strategy: endpoint.Strategy, prefix: "services/endpoints",
		},
		{
			name: "events", hub: of[api.Event, api.EventList](), short: words("ev"),
			namespaced: true, versions: v1,
			strategy: event.Strategy, attributes: event.GetAttrs, ttl: b.eventTTL(), stored: b.eventsStored(),
		},
		{
			name: "limitranges", hub: of[api.LimitRange, api.LimitRangeList](), short: words("limits"),
			namespaced: true, versions: v1,
			strategy: limitrange.Strategy, table: rest.NewDefaultTableConvertor(api.Resource("limitranges")),
		},
		{
			name: "namespaces", hub: of[api.Namespace, api.NamespaceList](), short: words("ns"),
			versions: v1, verbs: words("create delete get list patch update watch"),
			strategy: namespace.Strategy, status: namespace.StatusStrategy,
			parts:         []part{{name: "finalize", verbs: words("update"), update: namespace.FinalizeStrategy, resets: true}},
			attributes:    namespace.GetAttrs,
			returnDeleted: true, keepUnreadable: true, terminate: terminateNamespace, terminated: namespaceIsEmpty,
			deleteDuringUpdate: func(_ context.Context, _ string, ns, _ runtime.Object) bool { return namespaceIsEmpty(ns) },
		},
		{
			name: "nodes", hub: of[api.Node, api.NodeList](), short: words("no"),
			versions: v1,
			strategy: node.Strategy, status: node.StatusStrategy,
			parts:      []part{{name: "proxy", kind: coreKind("NodeProxyOptions"), verbs: proxyVerbs}},
			attributes: node.GetAttrs, prefix: "minions",
		},
		{
			name: "persistentvolumeclaims", hub: of[api.PersistentVolumeClaim, api.PersistentVolumeClaimList](), short: words("pvc"),
			namespaced: true, versions: v1,
			strategy: persistentvolumeclaim.Strategy, status: persistentvolumeclaim.StatusStrategy,
			attributes: persistentvolumeclaim.GetAttrs, decorate: completeClaim, returnDeleted: true,
		},
		{
			name: "persistentvolumes", hub: of[api.PersistentVolume, api.PersistentVolumeList](), short: words("pv"),
			versions: v1,
			strategy: persistentvolume.Strategy, status: persistentvolume.StatusStrategy,
			attributes: persistentvolume.GetAttrs, returnDeleted: true,
		},
		{
			name: "pods", hub: of[api.Pod, api.PodList](), short: words("po"), categories: words("all"),
			namespaced: true, versions: v1,
			strategy: pod.Strategy, status: pod.StatusStrategy,
			parts: []part{
				{name: "attach", kind: coreKind("PodAttachOptions"), verbs: words("create get")},
				{name: "binding", kind: coreKind("Binding"), verbs: words("create")},
				{name: "ephemeralcontainers", verbs: statusVerbs, update: pod.EphemeralContainersStrategy},
				{name: "eviction", kind: schema.GroupVersionKind{Group: policy.GroupName, Version: "v1", Kind: "Eviction"}, verbs: words("create")},
				{name: "exec", kind: coreKind("PodExecOptions"), verbs: words("create get")},
				{name: "log", verbs: words("get")},
				{name: "portforward", kind: coreKind("PodPortForwardOptions"), verbs: words("create get")},
				{name: "proxy", kind: coreKind("PodProxyOptions"), verbs: proxyVerbs},
				{name: "resize", verbs: statusVerbs, update: pod.ResizeStrategy, gate: features.InPlacePodVerticalScaling},
			},
			attributes: pod.GetAttrs, returnDeleted: true,
		},
		{
			name: "podtemplates", hub: of[api.PodTemplate, api.PodTemplateList](),
			namespaced: true, versions: v1,
			strategy: podtemplate.Strategy, returnDeleted: true,
		},
		{
			name: "replicationcontrollers", hub: of[api.ReplicationController, api.ReplicationControllerList](), short: words("rc"), categories: words("all"),
			namespaced: true, versions: v1,
			strategy: replicationcontroller.Strategy, status: replicationcontroller.StatusStrategy,
			parts:      []part{scalePart(replicationControllerScale)},
			attributes: replicationcontroller.GetAttrs, prefix: "controllers",
		},
		{
			name: "resourcequotas", hub: of[api.ResourceQuota, api.ResourceQuotaList](), short: words("quota"),
			namespaced: true, versions: v1,
			strategy: resourcequota.Strategy, status: resourcequota.StatusStrategy, returnDeleted: true,
		},
		{
			name: "secrets", hub: of[api.Secret, api.SecretList](),
			namespaced: true, versions: v1,
			strategy: secret.Strategy, attributes: secret.GetAttrs,
		},
		{
			name: "serviceaccounts", hub: of[api.ServiceAccount, api.ServiceAccountList](), short: words("sa"),
			namespaced: true, versions: v1,
			strategy: serviceaccount.Strategy, returnDeleted: true,
			parts: []part{{name: "token", kind: schema.GroupVersionKind{Group: authentication.GroupName, Version: "v1", Kind: "TokenRequest"}, verbs: words("create")}},
		},
		{
			name: "services", hub: of[api.Service, api.ServiceList](), short: words("svc"), categories: words("all"),
			namespaced: true, versions: v1,
			strategy: service.Strategy, status: service.StatusStrategy,
			parts:      []part{{name: "proxy", kind: coreKind("ServiceProxyOptions"), verbs: proxyVerbs}},
			attributes: service.GetAttrs, prefix: "services/specs",
			decorate: b.completeService, returnDeleted: true,
		},
	}}
}

// coreKind names a kind of the core group that only a subresource has.
func coreKind(kind string) schema.GroupVersionKind { return schema.GroupVersionKind{Kind: kind} }

// eventTTL gives every event the same time to live, from its last write.
func (b *builder) eventTTL() func(runtime.Object, bool) (uint64, error) {
	seconds := uint64(b.options.EventTTL.Seconds())
	return func(runtime.Object, bool) (uint64, error) { return seconds, nil }
}

// terminateNamespace marks a namespace whose content is to be deleted before it.
func terminateNamespace(obj runtime.Object, _ *metav1.DeleteOptions) {
	ns := obj.(*api.Namespace)
	if ns.DeletionTimestamp.IsZero() {
		now := metav1.Now()
		ns.DeletionTimestamp = &now
	}
	ns.Status.Phase = api.NamespaceTerminating
}

// namespaceIsEmpty reports whether a namespace may be removed: the finalizers
// of its spec stand for its content.
func namespaceIsEmpty(obj runtime.Object) bool {
	return len(obj.(*api.Namespace).Spec.Finalizers) == 0
}
