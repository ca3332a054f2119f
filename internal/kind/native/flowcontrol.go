package native

import (
	"k8s.io/kubernetes/pkg/apis/flowcontrol"
	_ "k8s.io/kubernetes/pkg/apis/flowcontrol/install"
	"k8s.io/kubernetes/pkg/registry/flowcontrol/flowschema"
	"k8s.io/kubernetes/pkg/registry/flowcontrol/prioritylevelconfiguration"
)

func (b *builder) flowcontrol() *group {
	return &group{name: flowcontrol.GroupName, rows: []row{
		{
			name: "flowschemas", hub: of[flowcontrol.FlowSchema, flowcontrol.FlowSchemaList](),
			versions: words("v1"),
			strategy: flowschema.Strategy, status: flowschema.StatusStrategy,
		},
		{
			name: "prioritylevelconfigurations", hub: of[flowcontrol.PriorityLevelConfiguration, flowcontrol.PriorityLevelConfigurationList](),
			versions: words("v1"),
			strategy: prioritylevelconfiguration.Strategy, status: prioritylevelconfiguration.StatusStrategy,
		},
	}}
}
