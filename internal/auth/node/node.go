// Package node decides what nodes may do, by upstream's rules: they may read what
// the pods bound to them refer to. Upstream's graph of that is made from the
// state and brought up to date when a node asks for something that depends on
// it: a node may read the secret of a pod as soon as the pod's binding has been
// acknowledged, and a server without nodes keeps no graph.
//
// It must not know what nodes are admitted to write.
package node

import (
	"context"
	"fmt"
	"sync"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	_ "k8s.io/kubernetes/pkg/apis/certificates/install" // for the types to be in the scheme, and the three below
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	_ "k8s.io/kubernetes/pkg/apis/resource/install"
	_ "k8s.io/kubernetes/pkg/apis/storage/install"
	"k8s.io/kubernetes/pkg/auth/nodeidentifier"
	"k8s.io/kubernetes/plugin/pkg/auth/authorizer/node"
	"k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac/bootstrappolicy"
	"k8s.io/utils/ptr"

	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/state"
)

// prefixes are where upstream keeps what the graph is made of: objects that say
// what a node needs.
var prefixes = []string{
	"/registry/pods", "/registry/persistentvolumes", "/registry/volumeattachments", "/registry/resourceslices", "/registry/podcertificaterequests",
}

// Authorizer has opinions on nodes alone. It is safe for concurrent use.
type Authorizer struct {
	state      *state.State
	identifier nodeidentifier.NodeIdentifier
	decoder    runtime.Decoder

	mu       sync.RWMutex // guards what follows
	tail     *state.Tail
	begun    bool // the graph has been made once
	graph    *node.Graph
	upstream *node.NodeAuthorizer
}

// New returns an Authorizer by what is in st, of which it reads nothing until a
// node asks.
func New(st *state.State) *Authorizer {
	a := &Authorizer{
		state:      st,
		identifier: nodeidentifier.NewDefaultNodeIdentifier(),
		decoder: legacyscheme.Codecs.UniversalDecoder(
			corev1.SchemeGroupVersion, storagev1.SchemeGroupVersion, resourcev1.SchemeGroupVersion, certificatesv1.SchemeGroupVersion),
	}
	a.begin()
	return a
}

// begin starts with an empty graph. a.mu is held for writing.
func (a *Authorizer) begin() {
	a.tail, a.begun, a.graph = a.state.Tail(prefixes...), false, node.NewGraph()
	a.upstream = node.NewAuthorizer(a.graph, a.identifier, bootstrappolicy.NodeRules())
}

// Authorize decides by upstream's rules.
func (a *Authorizer) Authorize(ctx context.Context, attributes authorizer.Attributes) (authorizer.Decision, string, error) {
	if _, is := a.identifier.NodeIdentity(attributes.GetUser()); !is {
		return authorizer.DecisionNoOpinion, "", nil
	}
	a.mu.RLock()
	for needsGraph(attributes) && !a.tail.Current() {
		a.mu.RUnlock()
		a.mu.Lock()
		a.catchUp()
		a.mu.Unlock()
		a.mu.RLock()
	}
	defer a.mu.RUnlock()
	return a.upstream.Authorize(ctx, attributes)
}

// ConditionsAwareAuthorize decides without conditions.
func (a *Authorizer) ConditionsAwareAuthorize(ctx context.Context, attributes authorizer.Attributes) authorizer.ConditionsAwareDecision {
	return authorizer.ConditionsAwareDecisionFromParts(a.Authorize(ctx, attributes))
}

// EvaluateConditions is for those whose decisions have conditions.
func (a *Authorizer) EvaluateConditions(context.Context, authorizer.ConditionsAwareDecision, authorizer.ConditionsData) (authorizer.Decision, string, error) {
	return authorizer.DecisionDeny, "", authorizer.ErrorConditionEvaluationNotSupported
}

// RulesFor tells that what a node may do cannot be told.
func (a *Authorizer) RulesFor(ctx context.Context, who user.Info, namespace string) ([]authorizer.ResourceRuleInfo, []authorizer.NonResourceRuleInfo, bool, error) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.upstream.RulesFor(ctx, who, namespace)
}

// needsGraph reports whether a decision may depend on the graph. What nodes do
// every few seconds does not.
func needsGraph(a authorizer.Attributes) bool {
	if !a.IsResourceRequest() {
		return false
	}
	switch (schema.GroupResource{Group: a.GetAPIGroup(), Resource: a.GetResource()}) {
	case schema.GroupResource{Resource: "nodes"}, schema.GroupResource{Resource: "events"}, schema.GroupResource{Group: "coordination.k8s.io", Resource: "leases"},
		schema.GroupResource{Group: "storage.k8s.io", Resource: "csinodes"}:
		return false
	}
	return true
}

// catchUp makes the graph what is true now. Where the history has not kept what
// has happened since the last time, it begins anew: the graph does not tell what
// is in it. a.mu is held for writing.
func (a *Authorizer) catchUp() {
	overtaken := false
	a.tail.CatchUp(func(resource int, all state.Snapshot) {
		if a.begun {
			overtaken = true
			return
		}
		all.Each(state.Range{}, func(o *object.Object) bool {
			a.see(resource, o, false)
			return true
		})
	}, func(resource int, e *state.Event) { a.see(resource, e.Object, e.Deleted) })
	a.begun = true
	if overtaken {
		a.begin()
		a.catchUp()
	}
}

// see takes an object, as it is or was last, into the graph. What cannot be read
// gives nothing to anybody.
func (a *Authorizer) see(resource int, o *object.Object, deleted bool) {
	if deleted || o.Err != nil {
		a.remove(resource, o)
		return
	}
	obj, err := runtime.Decode(a.decoder, o.Value)
	if err != nil {
		klog.ErrorS(err, "The node authorizer goes without what cannot be read", "key", prefixes[resource]+"/"+o.Namespace+"/"+o.Name)
		a.remove(resource, o)
		return
	}
	switch obj := obj.(type) {
	case *corev1.Pod:
		if obj.Spec.NodeName == "" {
			a.graph.DeletePod(obj.Name, obj.Namespace) // one of the same name may have been there
			return
		}
		a.graph.AddPod(obj)
	case *corev1.PersistentVolume:
		a.graph.AddPV(obj)
	case *storagev1.VolumeAttachment:
		a.graph.AddVolumeAttachment(obj.Name, obj.Spec.NodeName)
	case *resourcev1.ResourceSlice:
		a.graph.AddResourceSlice(obj.Name, ptr.Deref(obj.Spec.NodeName, ""))
	case *certificatesv1.PodCertificateRequest:
		a.graph.AddPodCertificateRequest(obj)
	default:
		klog.ErrorS(fmt.Errorf("%T", obj), "The node authorizer found what it does not know", "prefix", prefixes[resource])
	}
}

func (a *Authorizer) remove(resource int, o *object.Object) {
	switch resource {
	case 0:
		a.graph.DeletePod(o.Name, o.Namespace)
	case 1:
		a.graph.DeletePV(o.Name)
	case 2:
		a.graph.DeleteVolumeAttachment(o.Name)
	case 3:
		a.graph.DeleteResourceSlice(o.Name)
	case 4:
		pcr := &certificatesv1.PodCertificateRequest{}
		pcr.Namespace, pcr.Name = o.Namespace, o.Name
		a.graph.DeletePodCertificateRequest(pcr)
	}
}
