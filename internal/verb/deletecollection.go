package verb

import (
	"context"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/admission"

	"github.com/knarr-io/knarr/internal/object"
)

// DeleteCollection deletes what list selects, one object after the other, and
// returns what it listed. It stops at the first object that cannot be deleted;
// those before it stay deleted, as upstream's do.
func (v *Verbs) DeleteCollection(ctx context.Context, t Target, list *metainternalversion.ListOptions, opts *metav1.DeleteOptions) (*List, error) {
	return v.DeleteTogether(ctx, t, list, opts, 1)
}

// DeleteTogether is DeleteCollection with several objects at a time, so that they
// share commits. After one that cannot be deleted it begins with no more.
func (v *Verbs) DeleteTogether(ctx context.Context, t Target, list *metainternalversion.ListOptions, opts *metav1.DeleteOptions, atATime int) (*List, error) {
	if before := t.resource().BeforeDelete; before != nil {
		if err := before(ctx, "", opts); err != nil {
			return nil, err
		}
	}
	attributes := t.attributes(ctx, nil, nil, admission.Delete, opts, len(opts.DryRun) > 0)
	validate := v.validateDelete(t, attributes)
	found, err := v.List(ctx, t, list)
	if err != nil {
		return nil, err
	}
	for _, o := range found.Objects {
		if _, err := t.resource().DecodeStored(o); err != nil {
			return nil, t.ListError(slices.Values(found.Objects), err)
		}
	}
	remove := func(o *object.Object) error {
		one := t
		one.Namespace, one.Name = o.Namespace, o.Name
		// A deletion fills in its options: each object gets its own.
		if _, err := v.delete(ctx, one, validate, opts.DeepCopy(), true); err != nil && !apierrors.IsNotFound(err) {
			return err
		}
		return nil
	}
	if err := together(found.Objects, atATime, remove); err != nil {
		return nil, err
	}
	return found, nil
}

// together calls do for each object, several at a time, until one fails.
func together(objects []*object.Object, atATime int, do func(*object.Object) error) error {
	if atATime <= 1 || len(objects) <= 1 {
		for _, o := range objects {
			if err := do(o); err != nil {
				return err
			}
		}
		return nil
	}
	var next atomic.Int64
	var failed atomic.Bool
	var workers errgroup.Group
	for range min(atATime, len(objects)) {
		workers.Go(func() error {
			for !failed.Load() {
				i := int(next.Add(1)) - 1
				if i >= len(objects) {
					return nil
				}
				if err := do(objects[i]); err != nil {
					failed.Store(true)
					return err
				}
			}
			return nil
		})
	}
	return workers.Wait()
}
