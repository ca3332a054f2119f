package native

import (
	"context"
	"errors"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/kubernetes/pkg/apis/scheduling"
	_ "k8s.io/kubernetes/pkg/apis/scheduling/install"
	schedulingv1 "k8s.io/kubernetes/pkg/apis/scheduling/v1"
	"k8s.io/kubernetes/pkg/features"
	"k8s.io/kubernetes/pkg/registry/scheduling/compositepodgroup"
	"k8s.io/kubernetes/pkg/registry/scheduling/podgroup"
	"k8s.io/kubernetes/pkg/registry/scheduling/priorityclass"
	"k8s.io/kubernetes/pkg/registry/scheduling/workload"
)

func (b *builder) scheduling() *group {
	stored := func(version string) schema.GroupVersion {
		return schema.GroupVersion{Group: scheduling.GroupName, Version: version}
	}
	pods, composites := podgroup.NewStrategy(), compositepodgroup.NewStrategy()
	return &group{name: scheduling.GroupName, rows: []row{
		{
			name: "compositepodgroups", hub: of[scheduling.CompositePodGroup, scheduling.CompositePodGroupList](),
			namespaced: true, versions: words("v1alpha3"), gate: features.CompositePodGroup, stored: stored("v1alpha3"),
			strategy: composites, status: compositepodgroup.NewStatusStrategy(composites), statusPlain: true,
		},
		{
			name: "podgroups", hub: of[scheduling.PodGroup, scheduling.PodGroupList](),
			namespaced: true, versions: words("v1beta1 v1alpha3"), gate: features.GenericWorkload, stored: stored("v1beta1"),
			strategy: pods, status: podgroup.NewStatusStrategy(pods), statusPlain: true,
		},
		{
			name: "priorityclasses", hub: of[scheduling.PriorityClass, scheduling.PriorityClassList](), short: words("pc"),
			versions: words("v1"),
			strategy: priorityclass.Strategy, beforeDelete: keepSystemClasses,
		},
		{
			name: "workloads", hub: of[scheduling.Workload, scheduling.WorkloadList](),
			namespaced: true, versions: words("v1beta1 v1alpha3"), gate: features.GenericWorkload, stored: stored("v1beta1"),
			strategy: workload.Strategy,
		},
	}}
}

// keepSystemClasses refuses to delete the classes that the system needs.
func keepSystemClasses(_ context.Context, name string, _ *metav1.DeleteOptions) error {
	if slices.Contains(schedulingv1.SystemPriorityClassNames(), name) {
		return apierrors.NewForbidden(scheduling.Resource("priorityclasses"), name, errors.New("this is a system priority class and cannot be deleted"))
	}
	return nil
}
