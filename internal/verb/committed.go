package verb

import (
	"context"
	"errors"

	"k8s.io/apiserver/pkg/storage"

	"github.com/knarr-io/knarr/internal/admission"
	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/store"
)

// commit makes a change of an object of the target's resource, with the changes
// beside it and those that admission wants with it, tells of it who is to be told, and returns the object.
func (v *Verbs) commit(ctx context.Context, t Target, change store.Change, beside []store.Change) (*object.Object, error) {
	changes := append([]store.Change{change}, beside...)
	objects, err := v.State.Commit(ctx, append(changes, admission.BesideOf(ctx).Changes()...)...)
	if unwritable := (*store.Unwritable)(nil); errors.As(err, &unwritable) {
		return nil, storage.NewInternalError(unwritable.Err)
	}
	if err != nil {
		return nil, err
	}
	if tell := v.Committed[t.GroupResource()]; tell != nil {
		tell(ctx, objects[0])
	}
	return objects[0], nil
}
