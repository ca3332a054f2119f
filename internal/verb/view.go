package verb

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/apiserver/pkg/registry/rest"

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
	return t.Subresource.View.Of(obj)
}

// UpdateView writes view, a hub object of the subresource's kind, back to the
// object that it shows.
func (v *Verbs) UpdateView(ctx context.Context, t Target, view runtime.Object, opts *metav1.UpdateOptions) (*Result, error) {
	if err := t.ensureNamespace(view); err != nil {
		return nil, err
	}
	if err := t.checkNames(view); err != nil {
		return nil, err
	}
	return v.updateView(ctx, t, rest.DefaultUpdatedObjectInfo(view, v.own(t, opts.FieldManager)), opts)
}

// updateView updates the object behind a view by what info makes of the view.
// Admission and validation see the view; the object is written under its own
// update rules.
func (v *Verbs) updateView(ctx context.Context, t Target, info rest.UpdatedObjectInfo, opts *metav1.UpdateOptions) (*Result, error) {
	whole := t
	whole.Subresource = nil
	return v.update(ctx, whole, &viewUpdate{Verbs: v, Target: t, info: info, opts: opts}, opts, false)
}

// viewUpdate makes the new object from the new view.
type viewUpdate struct {
	*Verbs
	Target
	info rest.UpdatedObjectInfo
	opts *metav1.UpdateOptions
}

func (u *viewUpdate) Preconditions() *metav1.Preconditions { return u.info.Preconditions() }

func (u *viewUpdate) UpdatedObject(ctx context.Context, existing runtime.Object) (runtime.Object, error) {
	if !exists(existing) {
		return nil, apierrors.NewNotFound(u.GroupResource(), u.Name)
	}
	obj := existing.DeepCopyObject()
	before, err := u.Subresource.View.Of(obj)
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
	if err := u.sameObject(before, view); err != nil {
		return nil, err
	}
	if view, err = u.admitUpdate(u.Target, u.opts)(ctx, view, before); err != nil {
		return nil, err
	}
	if err := u.Subresource.View.Into(ctx, view, obj); err != nil {
		return nil, err
	}
	if err := owners.into(obj, view); err != nil {
		return nil, err
	}
	m, err := meta.Accessor(view)
	if err != nil {
		return nil, err
	}
	// The view's version is the condition of the write, as the client gave it.
	target, err := meta.Accessor(obj)
	if err != nil {
		return nil, err
	}
	target.SetResourceVersion(m.GetResourceVersion())
	return obj, nil
}

// sameObject refuses a view of an object that has been replaced since.
func (u *viewUpdate) sameObject(before, view runtime.Object) error {
	uid := func(obj runtime.Object) types.UID {
		m, err := meta.Accessor(obj)
		if err != nil {
			return ""
		}
		return m.GetUID()
	}
	if want, got := uid(before), uid(view); got != "" && got != want {
		return apierrors.NewConflict(u.GroupResource(), u.Name, &uidMismatch{got, want})
	}
	return nil
}

type uidMismatch struct{ given, actual types.UID }

func (e *uidMismatch) Error() string {
	return "Precondition failed: UID in precondition: " + string(e.given) + ", UID in object meta: " + string(e.actual)
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
	h := ownership.ForScale(u.Version, u.Subresource.View.Replicas(), ownersOf(obj))
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
