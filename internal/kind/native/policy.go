package native

import (
	"k8s.io/kubernetes/pkg/apis/policy"
	_ "k8s.io/kubernetes/pkg/apis/policy/install"
	"k8s.io/kubernetes/pkg/registry/policy/poddisruptionbudget"
)

func (b *builder) policy() *group {
	return &group{name: policy.GroupName, rows: []row{
		{
			name: "poddisruptionbudgets", hub: of[policy.PodDisruptionBudget, policy.PodDisruptionBudgetList](), short: words("pdb"),
			namespaced: true, versions: words("v1"),
			strategy: poddisruptionbudget.Strategy, status: poddisruptionbudget.StatusStrategy,
		},
	}}
}
