package native

import (
	"k8s.io/kubernetes/pkg/apis/node"
	_ "k8s.io/kubernetes/pkg/apis/node/install"
	"k8s.io/kubernetes/pkg/registry/node/runtimeclass"
)

func (b *builder) node() *group {
	return &group{name: node.GroupName, rows: []row{
		{
			name: "runtimeclasses", hub: of[node.RuntimeClass, node.RuntimeClassList](),
			versions: words("v1"),
			strategy: runtimeclass.Strategy,
		},
	}}
}
