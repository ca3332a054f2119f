package verb

import (
	"context"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/apiserver/pkg/registry/rest"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/ownership"
)

// View returns what a subresource that shows objects as another kind makes of
// o: a hub object of that kind.
func (t Target) View(o *object.Object) (runtime.Object, error) {
	obj, err := t.decode(o)
	if err != nil {
		return nil, err
	}
	if partial, ok := t.view().(kind.PartialView); ok {
		return partial.Shown(obj)
	}
	return t.view().Of(obj)
}

// view is the target's subresource as a view; nil if it is none.
func (t Target) view() kind.View {
	if t.Subresource == nil {
		return nil
	}
	return t.Subresource.View
}

// viewUpdate makes the new object of what info makes of its view.
type viewUpdate struct {
	*Verbs
	Target
	info rest.UpdatedObjectInfo
}

func (u *viewUpdate) Preconditions() *metav1.Preconditions { return u.info.Preconditions() }

func (u *viewUpdate) UpdatedObject(ctx context.Context, existing runtime.Object) (runtime.Object, error) {
	obj := existing.DeepCopyObject()
	begin := u.view().Of
	if partial, ok := u.view().(kind.PartialView); ok {
		begin = partial.Begin
	}
	before, err := begin(obj)
	if err != nil {
		return nil, err
	}
	owners, err := u.owners(obj, before)
	if err != nil {
		return nil, err
	}
	view, err := u.info.UpdatedObject(ctx, before)
	if err != nil {
		return nil, err
	}
	if err := u.view().Into(ctx, view, obj); err != nil {
		return nil, err
	}
	return obj, owners.into(obj, view)
}

// viewed has validate, the validating admission of an update, see what the view
// shows of the objects.
func viewed(view kind.View, validate rest.ValidateObjectUpdateFunc) rest.ValidateObjectUpdateFunc {
	return func(ctx context.Context, obj, old runtime.Object) error {
		after, err := view.Of(obj)
		if err != nil {
			return err
		}
		before, err := view.Of(old)
		if err != nil {
			return err
		}
		return validate(ctx, after, before)
	}
}

// viewOwners takes the owners of fields from an object to its view and back.
// Nil does nothing.
type viewOwners struct{ *managedfields.ScaleHandler }

// owners returns what translates the owners of obj's fields, after telling
// view of those that it shows.
func (u *viewUpdate) owners(obj, view runtime.Object) (*viewOwners, error) {
	if u.Ownership == nil {
		return nil, nil
	}
	h := ownership.ForScale(u.Version, u.view().Replicas(), ownersOf(obj))
	shown, err := h.ToSubresource()
	if err != nil {
		return nil, err
	}
	m, err := meta.Accessor(view)
	if err != nil {
		return nil, err
	}
	m.SetManagedFields(shown)
	return &viewOwners{h}, nil
}

// into gives obj the owners that it has after a write through view.
func (o *viewOwners) into(obj, view runtime.Object) error {
	if o == nil {
		return nil
	}
	entries, err := o.ToParent(ownersOf(view))
	if err != nil {
		return err
	}
	m, err := meta.Accessor(obj)
	if err != nil {
		return err
	}
	m.SetManagedFields(entries)
	return nil
}
