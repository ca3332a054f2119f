package native

import (
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/kubernetes/pkg/apis/resource"
	_ "k8s.io/kubernetes/pkg/apis/resource/install"
	"k8s.io/kubernetes/pkg/registry/resource/deviceclass"
	"k8s.io/kubernetes/pkg/registry/resource/devicetaintrule"
	"k8s.io/kubernetes/pkg/registry/resource/resourceclaim"
	"k8s.io/kubernetes/pkg/registry/resource/resourceclaimtemplate"
	"k8s.io/kubernetes/pkg/registry/resource/resourcepoolstatusrequest"
	"k8s.io/kubernetes/pkg/registry/resource/resourceslice"
)

func (b *builder) resources() *group {
	stored := func(version string) schema.GroupVersion {
		return schema.GroupVersion{Group: resource.GroupName, Version: version}
	}
	stable := words("v1 v1beta2 v1beta1")
	namespaces := namespaceClient{getter: b.options.Namespaces}
	claim := resourceclaim.NewStrategy(namespaces, b.authorizer())
	return &group{name: resource.GroupName, rows: []row{
		{
			name: "deviceclasses", hub: of[resource.DeviceClass, resource.DeviceClassList](),
			versions: stable,
			strategy: deviceclass.Strategy, returnDeleted: true,
		},
		{
			name: "devicetaintrules", hub: of[resource.DeviceTaintRule, resource.DeviceTaintRuleList](),
			versions: words("v1 v1beta2 v1alpha3"), stored: stored("v1beta2"),
			strategy: devicetaintrule.Strategy, status: devicetaintrule.StatusStrategy, statusPlain: true,
			returnDeletedIn: words("v1beta2 v1alpha3"),
		},
		{
			name: "resourceclaims", hub: of[resource.ResourceClaim, resource.ResourceClaimList](),
			namespaced: true, versions: stable,
			strategy: claim, status: resourceclaim.NewStatusStrategy(claim), statusPlain: true,
			attributes: resourceclaim.GetAttrs, returnDeleted: true,
		},
		{
			name: "resourceclaimtemplates", hub: of[resource.ResourceClaimTemplate, resource.ResourceClaimTemplateList](),
			namespaced: true, versions: stable,
			strategy:   resourceclaimtemplate.NewStrategy(namespaces),
			attributes: resourceclaimtemplate.GetAttrs, returnDeleted: true,
		},
		{
			name: "resourcepoolstatusrequests", hub: of[resource.ResourcePoolStatusRequest, resource.ResourcePoolStatusRequestList](),
			versions: words("v1alpha3"), stored: stored("v1alpha3"),
			strategy: resourcepoolstatusrequest.Strategy, status: resourcepoolstatusrequest.StatusStrategy, statusPlain: true, returnDeleted: true,
		},
		{
			name: "resourceslices", hub: of[resource.ResourceSlice, resource.ResourceSliceList](),
			versions: stable,
			strategy: resourceslice.Strategy, attributes: resourceslice.GetAttrs, returnDeleted: true,
		},
	}}
}
