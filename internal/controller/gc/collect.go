package gc

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/object"
)

// muchLater is when what has failed many times is tried again.
const muchLater = 10 * time.Minute

// do does one task.
func (r *run) do(ctx context.Context, t task) error {
	c := r.Catalogue()
	if t.note != "" {
		r.recorder.Warn(ctx, r.client(c), corev1.ObjectReference{
			APIVersion: t.resource.apiVersion, Kind: t.resource.kind, Namespace: t.namespace, Name: t.name, UID: types.UID(t.uid),
		}, "OwnerRefInvalidNamespace", t.note)
		return nil
	}
	i, ok := itemOf(t.ref, c)
	if !ok {
		r.graph.hold(t.ref, c)
		return nil
	}
	for range maxConflicts {
		err := r.look(ctx, i)
		if !apierrors.IsConflict(err) {
			return err
		}
	}
	return apierrors.NewConflict(t.resource.GroupResource, t.name, errBusy)
}

// item is an object that is looked at.
type item struct {
	ref
	catalogue *kind.Catalogue
	gvr       schema.GroupVersionResource // as it is served
	custom    bool
}

// itemOf tells how an object is served; false if it is not.
func itemOf(d ref, c *kind.Catalogue) (item, bool) {
	served := c.Resource(d.resource.GroupResource)
	if served == nil {
		return item{}, false
	}
	return item{d, c, served.Versions[0].GVR(), served.Custom()}, true
}

// look does with an object what is to be done as things are now. A conflict means that
// they have changed.
func (r *run) look(ctx context.Context, i item) error {
	o := r.state.Get(i.key())
	var m kind.Meta
	if o == nil || m.Read(o) != nil {
		return nil // gone, or nobody knows what it says
	}
	switch {
	case !m.Deleting:
		return r.judge(ctx, i, o, &m)
	case m.Finalizer(metav1.FinalizerOrphanDependents):
		return r.orphan(ctx, i, m.UID)
	case m.Finalizer(metav1.FinalizerDeleteDependents):
		return r.finish(ctx, i, m.UID)
	}
	return nil // others decide when it goes
}

// judge deletes an object if none of the owners that it names is there, or those that
// are wait for it to go. If one stays, the object stays, without the others.
func (r *run) judge(ctx context.Context, i item, o *object.Object, m *kind.Meta) error {
	if len(m.Owners) == 0 {
		return nil
	}
	stays, waits := false, false
	var leaving []types.UID
	for n := range m.Owners {
		owner := &m.Owners[n]
		s, err := r.standing(i, owner)
		switch {
		case err != nil:
			return err
		case s == unknown:
			r.graph.hold(i.ref, i.catalogue)
			return nil
		case s == invalid:
			return nil
		case s == solid:
			stays = true
			continue
		}
		waits = waits || s == deleting
		leaving = append(leaving, types.UID(owner.UID))
	}
	switch {
	case stays:
		return r.disown(ctx, i, leaving...)
	case !waits:
		return r.delete(ctx, i, o, m, policyOf(m))
	}
	dependents := r.graph.dependents(m.UID)
	if len(dependents) == 0 {
		return r.delete(ctx, i, o, m, policyOf(m))
	}
	for _, d := range dependents {
		if r.waits(d.ref) { // perhaps for the object itself: as upstream, it waits no longer
			if err := r.unblock(ctx, i); err != nil {
				return err
			}
			if o = r.state.Get(i.key()); o == nil || m.Read(o) != nil {
				return nil
			}
			break
		}
	}
	return r.delete(ctx, i, o, m, metav1.DeletePropagationForeground)
}

// standing is how it stands with one of the object's owners.
func (r *run) standing(i item, owner *kind.Owner) (standing, error) {
	if r.graph.seenDeleted(i.namespace, owner) {
		return absent, nil
	}
	var m kind.Meta
	return find(r.state, i.catalogue, i.namespace, owner, &m)
}

// waits reports whether an object is being deleted in the foreground.
func (r *run) waits(d ref) bool {
	var m kind.Meta
	o := r.state.Get(d.key())
	return o != nil && m.Read(o) == nil && m.Deleting && m.Finalizer(metav1.FinalizerDeleteDependents)
}

// policyOf is what becomes of an object's own dependents: what its finalizers say.
func policyOf(m *kind.Meta) metav1.DeletionPropagation {
	switch {
	case m.Finalizer(metav1.FinalizerOrphanDependents):
		return metav1.DeletePropagationOrphan
	case m.Finalizer(metav1.FinalizerDeleteDependents):
		return metav1.DeletePropagationForeground
	}
	return metav1.DeletePropagationBackground
}

// finish lets an object go that is deleted in the foreground, if nothing blocks it,
// or has looked at what does.
func (r *run) finish(ctx context.Context, i item, uid []byte) error {
	blocked := false
	for _, d := range r.graph.dependents(uid) {
		if !d.blocks {
			continue
		}
		blocked = true
		if !r.waits(d.ref) {
			r.schedule.Add(task{ref: d.ref})
		}
	}
	if blocked {
		return nil
	}
	return r.removeFinalizer(ctx, i, string(uid), metav1.FinalizerDeleteDependents)
}

// orphan has the dependents of an object name it no longer, and then lets it go.
func (r *run) orphan(ctx context.Context, i item, uid []byte) error {
	var all errgroup.Group
	all.SetLimit(workers)
	for _, d := range r.graph.dependents(uid) {
		dependent, ok := itemOf(d.ref, i.catalogue)
		if !ok {
			continue
		}
		all.Go(func() error { return r.disown(ctx, dependent, types.UID(uid)) })
	}
	if err := all.Wait(); err != nil {
		return err
	}
	return r.removeFinalizer(ctx, i, string(uid), metav1.FinalizerOrphanDependents)
}
