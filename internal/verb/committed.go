package verb

import (
	"context"
	"errors"
	"slices"

	"k8s.io/apiserver/pkg/storage"

	"github.com/knarr-io/knarr/internal/admission"
	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/store"
)

// commit makes a change of an object of the target's resource, with the changes
// beside it and those that admission wants with it, tells of it who is to be
// told, and returns the object.
func (v *Verbs) commit(ctx context.Context, t Target, change store.Change, beside []store.Change) (*object.Object, error) {
	// As if it had been written before: nobody sees the object without it.
	changes := slices.Clone(admission.BesideOf(ctx).Changes())
	own := len(changes)
	changes = append(append(changes, change), beside...)
	objects, err := v.State.Commit(ctx, changes...)
	if unwritable := (*store.Unwritable)(nil); errors.As(err, &unwritable) {
		return nil, storage.NewInternalError(unwritable.Err)
	}
	if err != nil {
		return nil, err
	}
	if tell := v.Committed[t.GroupResource()]; tell != nil {
		tell(ctx, objects[own])
	}
	return objects[own], nil
}
