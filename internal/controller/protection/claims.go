package protection

import (
	"context"
	"maps"
	"slices"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	api "k8s.io/kubernetes/pkg/apis/core"
	"k8s.io/kubernetes/pkg/features"

	"github.com/knarr-io/knarr/internal/controller"
	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/state"
)

// claimUsers knows which pods name which claims. While there is no claim it looks at
// no pod.
type claimUsers struct {
	*Controller
	pods  *kind.Resource
	begun chan struct{} // closed when there is a claim

	mu    sync.Mutex // guards what follows
	once  bool       // begun is closed
	seen  *state.Tail
	named map[types.NamespacedName][]string        // by pod: the claims that it names
	users map[types.NamespacedName]map[string]bool // by claim: the names of pods
	add   func(types.NamespacedName)               // has a claim looked at
}

// newClaims makes c the controller of claims.
func newClaims(c *Controller, pods *kind.Resource) {
	u := &claimUsers{Controller: c, pods: pods, begun: make(chan struct{})}
	c.used = func(_ metav1.Object, obj runtime.Object) (bool, error) {
		return u.any(obj.(*api.PersistentVolumeClaim), keeps)
	}
	c.look = u.look
	c.follow = u.follow
}

// follow has claims looked at whose pods change, until ctx ends.
func (u *claimUsers) follow(ctx context.Context, add func(types.NamespacedName)) {
	u.mu.Lock()
	u.add = add
	u.mu.Unlock()
	select {
	case <-u.begun:
	case <-ctx.Done():
		return
	}
	u.state.Follow(ctx, u.pods.Storage.Prefix, func(state.Snapshot) { u.catchUp() }, func(*state.Event) { u.catchUp() })
}

// catchUp brings what is known of pods up to date.
func (u *claimUsers) catchUp() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.once {
		u.once = true
		close(u.begun)
	}
	if u.seen == nil {
		u.seen = u.state.Tail(u.pods.Storage.Prefix)
	}
	if u.seen.Current() {
		return
	}
	u.seen.CatchUp(func(_ int, all state.Snapshot) {
		for claim := range u.users {
			u.tell(claim)
		}
		u.named, u.users = map[types.NamespacedName][]string{}, map[types.NamespacedName]map[string]bool{}
		state.AsNew(u.see)(all)
	}, func(_ int, e *state.Event) { u.see(e) })
}

// tell has a claim looked at. u.mu is held.
func (u *claimUsers) tell(claim types.NamespacedName) {
	if u.add != nil {
		u.add(claim)
	}
}

// see notes what a pod names, which never changes. u.mu is held.
func (u *claimUsers) see(e *state.Event) {
	key := types.NamespacedName{Namespace: e.Object.Namespace, Name: e.Object.Name}
	if e.Prev == nil {
		pod, err := controller.Read[*api.Pod](u.pods, e.Object)
		if err != nil {
			return // nobody runs it
		}
		for name := range claimsOf(pod) {
			u.named[key] = append(u.named[key], name)
			claim := types.NamespacedName{Namespace: key.Namespace, Name: name}
			if u.users[claim] == nil {
				u.users[claim] = map[string]bool{}
			}
			u.users[claim][key.Name] = true
		}
	}
	for _, name := range u.named[key] {
		claim := types.NamespacedName{Namespace: key.Namespace, Name: name}
		u.tell(claim)
		if e.Deleted {
			delete(u.users[claim], key.Name)
			if len(u.users[claim]) == 0 {
				delete(u.users, claim)
			}
		}
	}
	if e.Deleted {
		delete(u.named, key)
	}
}

// claimsOf returns the claims that a pod names: true for those that are made for it.
func claimsOf(pod *api.Pod) map[string]bool {
	all := map[string]bool{}
	for i := range pod.Spec.Volumes {
		switch v := &pod.Spec.Volumes[i]; {
		case v.PersistentVolumeClaim != nil:
			all[v.PersistentVolumeClaim.ClaimName] = false
		case v.Ephemeral != nil:
			if _, by := all[pod.Name+"-"+v.Name]; !by {
				all[pod.Name+"-"+v.Name] = true
			}
		}
	}
	return all
}

// any reports whether there is a pod that uses a claim. own says that the claim is one
// that was made for the pod.
func (u *claimUsers) any(claim *api.PersistentVolumeClaim, uses func(pod *api.Pod, own bool) bool) (bool, error) {
	u.catchUp()
	u.mu.Lock()
	names := slices.Collect(maps.Keys(u.users[types.NamespacedName{Namespace: claim.Namespace, Name: claim.Name}]))
	u.mu.Unlock()
	for _, name := range names {
		o := u.state.Get(u.pods.Storage.Key(claim.Namespace, name))
		if o == nil {
			continue
		}
		pod, err := controller.Read[*api.Pod](u.pods, o)
		if err != nil {
			return false, err
		}
		own := claimsOf(pod)[claim.Name]
		if own && !metav1.IsControlledBy(claim, pod) {
			continue
		}
		if uses(pod, own) {
			return true, nil
		}
	}
	return false, nil
}

// keeps reports whether a pod keeps a claim from being removed: only kubelets need it,
// who see what is bound to a node, and what was made for a pod goes when that has
// ended.
func keeps(pod *api.Pod, own bool) bool {
	ended := pod.DeletionTimestamp != nil && pod.DeletionGracePeriodSeconds != nil && *pod.DeletionGracePeriodSeconds == 0
	return pod.Spec.NodeName != "" && !(own && ended)
}

// needs reports whether a pod uses a claim, or will.
func needs(pod *api.Pod, _ bool) bool {
	switch {
	case pod.Status.Phase == api.PodFailed, pod.Status.Phase == api.PodSucceeded:
		return false
	case pod.DeletionTimestamp == nil:
		return true
	}
	statuses := slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses, pod.Status.EphemeralContainerStatuses)
	return slices.ContainsFunc(statuses, func(s api.ContainerStatus) bool {
		return s.State.Terminated == nil && s.State.Waiting == nil
	})
}

// look tells of a claim that is bound whether any pod uses it.
func (u *claimUsers) look(ctx context.Context, obj runtime.Object) error {
	claim := obj.(*api.PersistentVolumeClaim)
	if claim.Status.Phase != api.ClaimBound || !utilfeature.DefaultFeatureGate.Enabled(features.PersistentVolumeClaimUnusedSinceTime) {
		return nil
	}
	used, err := u.any(claim, needs)
	if err != nil {
		return err
	}
	is := api.PersistentVolumeClaimCondition{
		Type: api.PersistentVolumeClaimUnused, Status: api.ConditionTrue,
		LastTransitionTime: metav1.NewTime(u.clock.Now()), Reason: "NoPodsUsingPVC", Message: "No pods are currently referencing this PVC",
	}
	if used {
		is.Status, is.Reason, is.Message = api.ConditionFalse, "PodUsingPVC", "A pod is currently referencing this PVC"
	}
	at := slices.IndexFunc(claim.Status.Conditions, func(c api.PersistentVolumeClaimCondition) bool { return c.Type == is.Type })
	switch {
	case at < 0:
		claim.Status.Conditions = append(claim.Status.Conditions, is)
	case (claim.Status.Conditions[at].Status == api.ConditionTrue) == !used:
		return nil
	default:
		claim.Status.Conditions[at] = is
	}
	return settled(u.client.Update(ctx, claims, "status", claim))
}
