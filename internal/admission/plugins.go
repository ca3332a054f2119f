package admission

import (
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/plugin/namespace/lifecycle"
	mutatingpolicy "k8s.io/apiserver/pkg/admission/plugin/policy/mutating"
	validatingpolicy "k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	"k8s.io/apiserver/pkg/admission/plugin/resourcequota"
	mutatingwebhook "k8s.io/apiserver/pkg/admission/plugin/webhook/mutating"
	validatingwebhook "k8s.io/apiserver/pkg/admission/plugin/webhook/validating"
	"k8s.io/kubernetes/plugin/pkg/admission/admit"
	"k8s.io/kubernetes/plugin/pkg/admission/alwayspullimages"
	"k8s.io/kubernetes/plugin/pkg/admission/antiaffinity"
	"k8s.io/kubernetes/plugin/pkg/admission/certificates/approval"
	"k8s.io/kubernetes/plugin/pkg/admission/certificates/ctbattest"
	"k8s.io/kubernetes/plugin/pkg/admission/certificates/signing"
	"k8s.io/kubernetes/plugin/pkg/admission/certificates/subjectrestriction"
	"k8s.io/kubernetes/plugin/pkg/admission/defaulttolerationseconds"
	"k8s.io/kubernetes/plugin/pkg/admission/deny"
	"k8s.io/kubernetes/plugin/pkg/admission/eventratelimit"
	"k8s.io/kubernetes/plugin/pkg/admission/extendedresourcetoleration"
	"k8s.io/kubernetes/plugin/pkg/admission/gc"
	"k8s.io/kubernetes/plugin/pkg/admission/imagepolicy"
	"k8s.io/kubernetes/plugin/pkg/admission/limitranger"
	"k8s.io/kubernetes/plugin/pkg/admission/namespace/autoprovision"
	"k8s.io/kubernetes/plugin/pkg/admission/namespace/exists"
	"k8s.io/kubernetes/plugin/pkg/admission/network/defaultingressclass"
	"k8s.io/kubernetes/plugin/pkg/admission/network/denyserviceexternalips"
	"k8s.io/kubernetes/plugin/pkg/admission/nodedeclaredfeatures"
	"k8s.io/kubernetes/plugin/pkg/admission/noderestriction"
	"k8s.io/kubernetes/plugin/pkg/admission/nodetaint"
	"k8s.io/kubernetes/plugin/pkg/admission/podnodeselector"
	"k8s.io/kubernetes/plugin/pkg/admission/podresize"
	"k8s.io/kubernetes/plugin/pkg/admission/podtolerationrestriction"
	"k8s.io/kubernetes/plugin/pkg/admission/podtopologylabels"
	podpriority "k8s.io/kubernetes/plugin/pkg/admission/priority"
	"k8s.io/kubernetes/plugin/pkg/admission/runtimeclass"
	"k8s.io/kubernetes/plugin/pkg/admission/scheduling/podgroupprotection"
	"k8s.io/kubernetes/plugin/pkg/admission/security/podsecurity"
	"k8s.io/kubernetes/plugin/pkg/admission/serviceaccount"
	"k8s.io/kubernetes/plugin/pkg/admission/storage/persistentvolume/resize"
	"k8s.io/kubernetes/plugin/pkg/admission/storage/storageclass/setdefault"
	"k8s.io/kubernetes/plugin/pkg/admission/storage/storageobjectinuseprotection"
)

// plugin is one that there is. Its test compares the table with upstream's.
type plugin struct {
	name string
	// off is for one that runs only if it is asked for.
	off bool
	// register tells upstream's registry how to make it. It is nil for one that is
	// made here.
	register func(*admission.Plugins)
	// resources are all that it looks at, "" being every one, so that it costs
	// writes of others nothing.
	resources []string
}

// all returns the plugins in the order in which they run.
func all() []plugin {
	pods := []string{"pods"}
	csrs := []string{"certificatesigningrequests.certificates.k8s.io"}
	every := []string{""}
	var none []string
	return []plugin{
		{name: admit.PluginName, off: true, register: admit.Register, resources: none},
		{name: autoprovision.PluginName, off: true, register: autoprovision.Register, resources: every},
		{name: lifecycle.PluginName, resources: every},
		{name: exists.PluginName, off: true, register: exists.Register, resources: every},
		{name: antiaffinity.PluginName, off: true, register: antiaffinity.Register, resources: pods},
		{name: limitranger.PluginName, register: limitranger.Register, resources: []string{"pods", "persistentvolumeclaims"}},
		{name: serviceaccount.PluginName, register: serviceaccount.Register, resources: pods},
		{name: noderestriction.PluginName, off: true, register: noderestriction.Register, resources: every},
		{name: nodetaint.PluginName, register: nodetaint.Register, resources: []string{"nodes"}},
		{name: alwayspullimages.PluginName, off: true, register: alwayspullimages.Register, resources: pods},
		{name: imagepolicy.PluginName, off: true, register: imagepolicy.Register, resources: pods},
		{name: podsecurity.PluginName, register: podsecurity.Register, resources: []string{
			"pods", "namespaces", "podtemplates", "replicationcontrollers", "daemonsets.apps", "deployments.apps",
			"replicasets.apps", "statefulsets.apps", "cronjobs.batch", "jobs.batch",
		}},
		{name: podnodeselector.PluginName, off: true, register: podnodeselector.Register, resources: pods},
		{name: podpriority.PluginName, register: podpriority.Register, resources: []string{
			"pods", "podgroups.scheduling.k8s.io", "compositepodgroups.scheduling.k8s.io", "priorityclasses.scheduling.k8s.io",
		}},
		{name: defaulttolerationseconds.PluginName, register: defaulttolerationseconds.Register, resources: pods},
		{name: podtolerationrestriction.PluginName, off: true, register: podtolerationrestriction.Register, resources: pods},
		{name: eventratelimit.PluginName, off: true, register: eventratelimit.Register, resources: []string{"events"}},
		{name: extendedresourcetoleration.PluginName, off: true, register: extendedresourcetoleration.Register, resources: pods},
		{name: setdefault.PluginName, register: setdefault.Register, resources: []string{"persistentvolumeclaims"}},
		{name: storageobjectinuseprotection.PluginName, register: storageobjectinuseprotection.Register, resources: []string{
			"persistentvolumes", "persistentvolumeclaims", "volumeattributesclasses.storage.k8s.io",
		}},
		{name: podgroupprotection.PluginName, register: podgroupprotection.Register, resources: []string{"podgroups.scheduling.k8s.io"}},
		{name: gc.PluginName, off: true, register: gc.Register, resources: every},
		{name: resize.PluginName, register: resize.Register, resources: []string{"persistentvolumeclaims"}},
		{name: runtimeclass.PluginName, register: runtimeclass.Register, resources: pods},
		{name: approval.PluginName, register: approval.Register, resources: csrs},
		{name: signing.PluginName, register: signing.Register, resources: csrs},
		{name: ctbattest.PluginName, register: ctbattest.Register, resources: []string{"clustertrustbundles.certificates.k8s.io"}},
		{name: subjectrestriction.PluginName, register: subjectrestriction.Register, resources: csrs},
		{name: defaultingressclass.PluginName, register: defaultingressclass.Register, resources: []string{"ingresses.networking.k8s.io"}},
		{name: denyserviceexternalips.PluginName, off: true, register: denyserviceexternalips.Register, resources: []string{"services"}},
		{name: podtopologylabels.PluginName, register: podtopologylabels.Register, resources: pods},
		{name: nodedeclaredfeatures.PluginName, register: nodedeclaredfeatures.Register, resources: []string{"pods", "resourceslices.resource.k8s.io"}},
		{name: podresize.PluginName, register: podresize.Register, resources: pods},
		{name: mutatingpolicy.PluginName, resources: every},
		{name: mutatingwebhook.PluginName, register: mutatingwebhook.Register, resources: every},
		{name: validatingpolicy.PluginName, resources: every},
		{name: validatingwebhook.PluginName, register: validatingwebhook.Register, resources: every},
		{name: resourcequota.PluginName, resources: every},
		{name: deny.PluginName, off: true, register: deny.Register, resources: every},
	}
}

// looksAt reports whether the plugin looks at a resource, if not at every one.
func (p plugin) looksAt(gr schema.GroupResource) bool {
	for _, name := range p.resources {
		if name == "" || name == gr.String() {
			return true
		}
	}
	return false
}
