package gc

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/knarr-io/knarr/internal/controller"
	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/object"
)

// maxConflicts is how often something is tried at once that others change.
const maxConflicts = 10

var errBusy = errors.New("others change it all the time")

// client writes as kube-controller-manager's collector.
func (r *run) client(c *kind.Catalogue) controller.Client {
	return controller.Client{Verbs: r.verbs, Catalogue: c, User: controller.ServiceAccount("generic-garbage-collector"), Manager: "kube-controller-manager"}
}

// delete deletes an object if it is still as o.
func (r *run) delete(ctx context.Context, i item, o *object.Object, m *kind.Meta, policy metav1.DeletionPropagation) error {
	uid, rev := types.UID(m.UID), strconv.FormatUint(o.Rev, 10)
	return gone(r.client(i.catalogue).DeleteBy(ctx, i.gvr, i.namespace, i.name, &metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &uid, ResourceVersion: &rev}, PropagationPolicy: &policy,
	}))
}

// gone returns err if it is not that the object is not there.
func gone(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// disown has an object name none of these owners.
func (r *run) disown(ctx context.Context, i item, owners ...types.UID) error {
	return r.patch(ctx, i, "ownerReferences", func(m *metav1.ObjectMeta) (any, bool) {
		left := slices.DeleteFunc(slices.Clone(m.OwnerReferences), func(o metav1.OwnerReference) bool { return slices.Contains(owners, o.UID) })
		return orNull(left), len(left) < len(m.OwnerReferences)
	})
}

// unblock has an object block the deletion of none of its owners.
func (r *run) unblock(ctx context.Context, i item) error {
	return r.patch(ctx, i, "ownerReferences", func(m *metav1.ObjectMeta) (any, bool) {
		changed := false
		for n := range m.OwnerReferences {
			o := &m.OwnerReferences[n]
			blocks := o.BlockOwnerDeletion != nil && *o.BlockOwnerDeletion
			if changed = changed || blocks; blocks || i.custom { // as upstream's patches, which differ
				o.BlockOwnerDeletion = new(false)
			}
		}
		return m.OwnerReferences, changed
	})
}

// removeFinalizer removes a finalizer of the object with that uid.
func (r *run) removeFinalizer(ctx context.Context, i item, uid, finalizer string) error {
	return r.patch(ctx, i, "finalizers", func(m *metav1.ObjectMeta) (any, bool) {
		left := slices.DeleteFunc(slices.Clone(m.Finalizers), func(f string) bool { return f == finalizer })
		return orNull(left), string(m.UID) == uid && len(left) < len(m.Finalizers)
	})
}

// orNull returns null, which removes a field, in place of an empty list.
func orNull[T any](list []T) any {
	if len(list) == 0 {
		return nil
	}
	return list
}

// patch gives a field of the object's metadata the value that change makes, if
// there is one, until nobody else has changed the object in between.
func (r *run) patch(ctx context.Context, i item, field string, change func(*metav1.ObjectMeta) (any, bool)) error {
	for try := 1; ; try++ {
		o := r.state.Get(i.key())
		if o == nil {
			return nil
		}
		m, err := kind.Metadata(o)
		if err != nil {
			return err
		}
		value, ok := change(m)
		if !ok {
			return nil
		}
		patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"resourceVersion": strconv.FormatUint(o.Rev, 10), field: value}})
		if err != nil {
			return err
		}
		err = gone(r.client(i.catalogue).MergePatch(ctx, i.gvr, i.namespace, i.name, patch))
		if !apierrors.IsConflict(err) || try == maxConflicts {
			return err
		}
	}
}
