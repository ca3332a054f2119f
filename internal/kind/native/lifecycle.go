package native

import (
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/kubernetes/pkg/apis/lifecycle"
	_ "k8s.io/kubernetes/pkg/apis/lifecycle/install"
	"k8s.io/kubernetes/pkg/features"
	"k8s.io/kubernetes/pkg/registry/lifecycle/eviction"
	"k8s.io/kubernetes/pkg/registry/lifecycle/evictionrequest"
	"k8s.io/utils/clock"
)

func (b *builder) lifecycle() *group {
	v1alpha1 := schema.GroupVersion{Group: lifecycle.GroupName, Version: "v1alpha1"}
	evicts, requests := eviction.NewStrategy(clock.RealClock{}), evictionrequest.NewStrategy()
	return &group{name: lifecycle.GroupName, rows: []row{
		{
			name: "evictionrequests", hub: of[lifecycle.EvictionRequest, lifecycle.EvictionRequestList](),
			namespaced: true, versions: words("v1alpha1"), gate: features.EvictionRequestAPI, stored: v1alpha1,
			strategy: requests, status: evictionrequest.NewStatusStrategy(requests),
		},
		{
			name: "evictions", hub: of[lifecycle.Eviction, lifecycle.EvictionList](),
			namespaced: true, versions: words("v1alpha1"), gate: features.EvictionRequestAPI, stored: v1alpha1,
			strategy: evicts, status: eviction.NewStatusStrategy(evicts),
		},
	}}
}
