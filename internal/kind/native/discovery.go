package native

import (
	"k8s.io/kubernetes/pkg/apis/discovery"
	_ "k8s.io/kubernetes/pkg/apis/discovery/install"
	"k8s.io/kubernetes/pkg/registry/discovery/endpointslice"
)

func (b *builder) discovery() *group {
	return &group{name: discovery.GroupName, rows: []row{
		{
			name: "endpointslices", hub: of[discovery.EndpointSlice, discovery.EndpointSliceList](),
			namespaced: true, versions: words("v1"),
			strategy: endpointslice.Strategy,
		},
	}}
}
