package verb

import (
	"bytes"
	"context"
	"errors"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/endpoints/handlers/fieldmanager"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/storage"
	storageerrors "k8s.io/apiserver/pkg/storage/errors"

	knarradmission "github.com/knarr-io/knarr/internal/admission"
	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/store"
)

// optimisticLock is upstream's message for an update of an older version.
const optimisticLock = "the object has been modified; please apply your changes to the latest version and try again"

// Update replaces the target's object by obj, a hub object. If the target is a
// view, obj is of the view's kind, and is written to the object behind it, under
// that one's rules; admission sees the view.
func (v *Verbs) Update(ctx context.Context, t Target, obj runtime.Object, opts *metav1.UpdateOptions) (*Result, error) {
	if err := t.ensureNamespace(obj); err != nil {
		return nil, err
	}
	if err := t.checkNames(obj); err != nil {
		return nil, err
	}
	dedupOwners(ctx, obj, duplicateOwners)
	return v.update(ctx, t, rest.DefaultUpdatedObjectInfo(obj, v.own(t, opts.FieldManager), v.admitUpdate(t, opts)), opts, false)
}

// admitUpdate is the step of a write in which mutating admission sees it.
func (v *Verbs) admitUpdate(t Target, opts *metav1.UpdateOptions) rest.TransformFunc {
	return func(ctx context.Context, obj, old runtime.Object) (runtime.Object, error) {
		op, options := admission.Update, runtime.Object(opts)
		if !exists(old) {
			old, op, options = nil, admission.Create, createOptions(opts)
		}
		if err := v.admit(ctx, t, t.attributes(ctx, obj, old, op, options, len(opts.DryRun) > 0)); err != nil {
			return nil, err
		}
		dedupOwners(ctx, obj, duplicateOwnersAfterAdmit)
		return obj, nil
	}
}

// exists reports whether obj is an object that is stored.
func exists(obj runtime.Object) bool {
	m, err := meta.Accessor(obj)
	return err == nil && m.GetUID() != ""
}

func createOptions(u *metav1.UpdateOptions) *metav1.CreateOptions {
	c := &metav1.CreateOptions{DryRun: u.DryRun, FieldManager: u.FieldManager, FieldValidation: u.FieldValidation}
	c.SetGroupVersionKind(metav1.SchemeGroupVersion.WithKind("CreateOptions"))
	return c
}

// errRemove is returned by an attempt to update which finds that the object
// must be removed instead, since the last finalizer went.
var errRemove = errors.New("the last finalizer is gone")

// update writes what info makes of the present object, again for as long as
// others write in between. forceCreate makes the object if there is none, for
// kinds that do not allow it by themselves too.
func (v *Verbs) update(ctx context.Context, t Target, info rest.UpdatedObjectInfo, opts *metav1.UpdateOptions, forceCreate bool) (*Result, error) {
	key, err := t.key()
	if err != nil {
		return nil, err
	}
	if t.view() != nil {
		info = &viewUpdate{Verbs: v, Target: t, info: info}
	}
	if permit := t.resource().Permit; permit != nil {
		info = rest.WrapUpdatedObjectInfo(info, func(ctx context.Context, obj, old runtime.Object) (runtime.Object, error) {
			return obj, permit(ctx, obj, old)
		})
	}
	var preconditions storage.Preconditions
	if p := info.Preconditions(); p != nil {
		preconditions = storage.Preconditions{UID: p.UID, ResourceVersion: p.ResourceVersion}
	}
	u := &updating{
		Verbs: v, Target: t, info: info, opts: opts, key: key,
		mayCreate: forceCreate || t.updateStrategy().AllowCreateOnUpdate(ctx),
		validateCreate: v.validateCreate(t,
			t.attributes(ctx, nil, nil, admission.Create, createOptions(opts), len(opts.DryRun) > 0), true),
		validateUpdate: v.validateUpdate(t, t.attributes(ctx, nil, nil, admission.Update, opts, len(opts.DryRun) > 0)),
	}
	o, err := v.guaranteedUpdate(ctx, t, key, &preconditions, u.mayCreate, len(opts.DryRun) > 0, u.try)
	switch {
	case err == nil:
		return &Result{Object: o, Created: u.creating}, nil
	case errors.Is(err, errRemove):
		return v.removeDuringUpdate(ctx, t, u, &preconditions)
	case u.creating:
		err = storageerrors.InterpretCreateError(err, t.GroupResource(), t.Name)
		return nil, rest.CheckGeneratedNameError(ctx, t.resource().Create, err, u.obj)
	default:
		return nil, storageerrors.InterpretUpdateError(err, t.GroupResource(), t.Name)
	}
}

// updating is one update and its attempts.
type updating struct {
	*Verbs
	Target
	info           rest.UpdatedObjectInfo
	opts           *metav1.UpdateOptions
	key            string
	mayCreate      bool
	validateCreate rest.ValidateObjectFunc
	validateUpdate rest.ValidateObjectUpdateFunc

	// Of the last attempt:
	creating bool
	obj      runtime.Object
}

// try makes the object to write from the existing one, which is empty, with
// rev 0, if there is none, and what its companion has beside it.
func (u *updating) try(ctx context.Context, existing runtime.Object, rev uint64) (runtime.Object, []store.Change, error) {
	u.creating = rev == 0
	if u.creating && !u.mayCreate {
		return nil, nil, apierrors.NewNotFound(u.GroupResource(), u.Name)
	}
	obj, err := u.info.UpdatedObject(ctx, existing)
	if err != nil {
		return nil, nil, err
	}
	u.obj = obj
	m, err := meta.Accessor(obj)
	if err != nil {
		return nil, nil, err
	}
	given, err := storage.APIObjectVersioner{}.ObjectResourceVersion(obj)
	if err != nil {
		return nil, nil, err
	}
	strategy := u.updateStrategy()
	if u.creating {
		beside, err := u.tryCreate(ctx, obj, m)
		return obj, beside, err
	}
	switch {
	case given == 0 && strategy.AllowUnconditionalUpdate(ctx):
		m.SetResourceVersion(strconv.FormatUint(rev, 10))
	case given == 0:
		return nil, nil, apierrors.NewInvalid(schema.GroupKind{Group: u.resource().Group, Kind: u.resource().Name}, u.Name, field.ErrorList{
			field.Invalid(field.NewPath("metadata").Child("resourceVersion"), given, "must be specified for an update"),
		})
	case given != rev:
		return nil, nil, apierrors.NewConflict(u.GroupResource(), u.Name, errors.New(optimisticLock))
	}
	beside, err := u.beside().Update(ctx, obj, existing, len(u.opts.DryRun) > 0)
	if err != nil {
		return nil, nil, err
	}
	if err := beforeUpdate(strategy, ctx, obj, existing); err != nil {
		return nil, nil, err
	}
	// Times of owners alone are no change.
	if obj, err = fieldmanager.IgnoreManagedFieldsTimestampsTransformer(ctx, obj, existing); err != nil {
		return nil, nil, err
	}
	if err := u.validateUpdate(ctx, obj, existing); err != nil {
		return nil, nil, err
	}
	if removedByUpdate(obj, existing) &&
		(u.resource().DeleteDuringUpdate == nil || u.resource().DeleteDuringUpdate(ctx, u.key, obj, existing)) {
		return nil, nil, errRemove
	}
	return obj, beside, nil
}

// beside is the companion of objects that are written whole. A part of one
// holds nothing: upstream allocates nothing even for what a part of it makes.
func (u *updating) beside() Companion {
	if u.Subresource != nil {
		return alone{}
	}
	return u.companion(u.Target)
}

// tryCreate is an update of an object that is not there.
func (u *updating) tryCreate(ctx context.Context, obj runtime.Object, m metav1.Object) ([]store.Change, error) {
	rest.WipeObjectMetaSystemFields(m)
	rest.FillObjectMetaSystemFields(m)
	beside, err := u.beside().Create(ctx, obj, len(u.opts.DryRun) > 0)
	if err != nil {
		return nil, err
	}
	if err := beforeCreate(u.resource().Create, ctx, obj); err != nil {
		return nil, err
	}
	if err := u.validateCreate(ctx, obj); err != nil {
		return nil, err
	}
	held, err := u.conditions(ctx, u.Target, obj, len(u.opts.DryRun) > 0)
	return append(beside, held...), err
}

// removedByUpdate reports whether an update takes the last finalizer off an
// object whose deletion has waited only for that.
func removedByUpdate(obj, existing runtime.Object) bool {
	m, err := meta.Accessor(obj)
	if err != nil {
		return false
	}
	old, err := meta.Accessor(existing)
	if err != nil {
		return false
	}
	if len(m.GetFinalizers()) > 0 || old.GetDeletionTimestamp() == nil {
		return false
	}
	grace := old.GetDeletionGracePeriodSeconds()
	return grace == nil || *grace == 0
}

// removeDuringUpdate removes the object that an update has emptied of
// finalizers. The answer is the object as the client sent it.
func (v *Verbs) removeDuringUpdate(ctx context.Context, t Target, u *updating, preconditions *storage.Preconditions) (*Result, error) {
	dryRun := len(u.opts.DryRun) > 0
	if _, err := v.remove(ctx, t, u.key, preconditions, rest.ValidateAllObjectFunc, dryRun); err != nil && !storage.IsNotFound(err) {
		return nil, storageerrors.InterpretDeleteError(err, t.GroupResource(), t.Name)
	}
	rev, _ := storage.APIObjectVersioner{}.ObjectResourceVersion(u.obj)
	change, err := t.change(u.key, u.obj, rev, true, dryRun)
	if err != nil {
		return nil, err
	}
	return &Result{Object: t.unstored(change.Value, rev)}, nil
}

// guaranteedUpdate calls try with the present object until what it returns
// could be written over it, together with the changes beside it, and returns
// that. A nil object from try is an
// error; errors from try are returned as they are. What encodes to the same
// bytes is not written.
func (v *Verbs) guaranteedUpdate(ctx context.Context, t Target, key string, preconditions *storage.Preconditions, ignoreNotFound, dryRun bool,
	try func(ctx context.Context, existing runtime.Object, rev uint64) (runtime.Object, []store.Change, error),
) (*object.Object, error) {
	return v.decide(ctx, key, func() (*object.Object, bool, error) {
		return v.updateOnce(ctx, t, key, preconditions, ignoreNotFound, dryRun, try)
	})
}

// updateOnce is one attempt of a guaranteedUpdate. It asks for another if
// somebody else wrote meanwhile.
func (v *Verbs) updateOnce(ctx context.Context, t Target, key string, preconditions *storage.Preconditions, ignoreNotFound, dryRun bool,
	try func(ctx context.Context, existing runtime.Object, rev uint64) (runtime.Object, []store.Change, error),
) (written *object.Object, again bool, err error) {
	if err := context.Cause(ctx); err != nil {
		return nil, false, err
	}
	ctx, admitted := knarradmission.WithBeside(ctx)
	defer admitted.End()
	o := v.State.Get(key)
	existing := t.resource().New()
	rev := uint64(0)
	switch {
	case o == nil && !ignoreNotFound:
		return nil, false, storage.NewKeyNotFoundError(key, 0)
	case o != nil:
		if existing, err = t.resource().DecodeStored(o); err != nil {
			return nil, false, t.updateError(o, err, dryRun)
		}
		rev = o.Rev
	}
	if err := preconditions.Check(checkedKey(key, dryRun), existing); err != nil {
		return nil, false, err
	}
	obj, beside, err := try(ctx, existing, rev)
	if err != nil {
		return nil, false, err
	}
	change, err := t.change(key, obj, rev, rev != 0, dryRun)
	if err != nil {
		return nil, false, err
	}
	if o != nil && bytes.Equal(change.Value, o.Value) && !v.State.Outdated(key, o) {
		return o, false, nil
	}
	if dryRun {
		return t.unstored(change.Value, rev), false, nil
	}
	written, err = v.commit(ctx, t, change, beside)
	conflict := (*store.Conflict)(nil)
	return written, errors.As(err, &conflict), err
}
