package native

import (
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/kubernetes/pkg/apis/coordination"
	_ "k8s.io/kubernetes/pkg/apis/coordination/install"
	"k8s.io/kubernetes/pkg/registry/coordination/lease"
	"k8s.io/kubernetes/pkg/registry/coordination/leasecandidate"
)

func (b *builder) coordination() *group {
	return &group{name: coordination.GroupName, rows: []row{
		{
			name: "leasecandidates", hub: of[coordination.LeaseCandidate, coordination.LeaseCandidateList](),
			namespaced: true, versions: words("v1beta1 v1alpha2"),
			stored:   schema.GroupVersion{Group: coordination.GroupName, Version: "v1beta1"},
			strategy: leasecandidate.Strategy, attributes: leasecandidate.GetAttrs,
		},
		{
			name: "leases", hub: of[coordination.Lease, coordination.LeaseList](),
			namespaced: true, versions: words("v1"),
			strategy: lease.Strategy,
		},
	}}
}
