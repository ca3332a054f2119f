package native

import (
	"k8s.io/kubernetes/pkg/apis/autoscaling"
	_ "k8s.io/kubernetes/pkg/apis/autoscaling/install"
	"k8s.io/kubernetes/pkg/registry/autoscaling/horizontalpodautoscaler"
)

func (b *builder) autoscaling() *group {
	return &group{name: autoscaling.GroupName, rows: []row{
		{
			name: "horizontalpodautoscalers", short: words("hpa"), categories: words("all"),
			hub:        of[autoscaling.HorizontalPodAutoscaler, autoscaling.HorizontalPodAutoscalerList](),
			namespaced: true, versions: words("v2 v1"),
			strategy: horizontalpodautoscaler.Strategy, status: horizontalpodautoscaler.StatusStrategy,
		},
	}}
}
