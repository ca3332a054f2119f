package verb

import (
	"context"
	"errors"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/audit"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/storage"
	storageerrors "k8s.io/apiserver/pkg/storage/errors"

	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/store"
)

// Delete removes the target's object or, where its finalizers or its kind ask
// for time, marks it as being deleted. opts is modified.
func (v *Verbs) Delete(ctx context.Context, t Target, opts *metav1.DeleteOptions) (*Result, error) {
	attributes := t.attributes(ctx, nil, nil, admission.Delete, opts, len(opts.DryRun) > 0)
	if deref(opts.IgnoreStoreReadErrorWithClusterBreakingPotential) {
		audit.AddAuditAnnotation(ctx, "apiserver.k8s.io/unsafe-delete-ignore-read-error", "")
		return v.deleteUnreadable(ctx, t, attributes)
	}
	if before := t.resource().BeforeDelete; before != nil {
		if err := before(ctx, t.Name, opts); err != nil {
			return nil, err
		}
	}
	return v.delete(ctx, t, v.validateDelete(t, attributes), opts, false)
}

// delete deletes one object. As upstream, one of a collection is deleted in the
// common way, even if its kind has another.
func (v *Verbs) delete(ctx context.Context, t Target, validate rest.ValidateObjectFunc, opts *metav1.DeleteOptions, ofCollection bool) (*Result, error) {
	key, err := t.key()
	if err != nil {
		return nil, err
	}
	o := v.State.Get(key)
	if o == nil {
		if err := v.waitForLatest(ctx); err != nil {
			return nil, err
		}
		o = v.State.Get(key)
	}
	if o == nil {
		return nil, apierrors.NewNotFound(t.GroupResource(), t.Name)
	}
	if t.resource().Foreign(o) && !ofCollection {
		o = o.At(o.Rev) // as for a get: what was known of it is no longer asked for
	}
	obj, err := t.resource().DecodeStored(o)
	if err != nil {
		return nil, t.ReadError(o, err)
	}
	d := &deletion{Verbs: v, Target: t, key: key, validate: validate, opts: opts, dryRun: len(opts.DryRun) > 0}
	if p := opts.Preconditions; p != nil {
		d.preconditions = storage.Preconditions{UID: p.UID, ResourceVersion: p.ResourceVersion}
	}
	if t.resource().Terminate != nil && !ofCollection {
		return d.terminate(ctx, o, obj)
	}
	return d.run(ctx, o, obj)
}

// deletion is one deletion of one object.
type deletion struct {
	*Verbs
	Target
	key           string
	preconditions storage.Preconditions
	validate      rest.ValidateObjectFunc
	opts          *metav1.DeleteOptions
	dryRun        bool
}

// Ends of an attempt to mark an object that are not errors.
var (
	errDeleteNow       = errors.New("nothing keeps the object")
	errAlreadyDeleting = errors.New("the object is being deleted already")
)

// run is the deletion of obj, the hub object of o.
func (d *deletion) run(ctx context.Context, o *object.Object, obj runtime.Object) (*Result, error) {
	graceful, pending, err := rest.BeforeDelete(d.resource().Delete, ctx, obj, d.opts)
	if err != nil {
		return nil, err
	}
	if pending {
		return d.answer(o, false)
	}
	m, err := meta.Accessor(obj)
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	var marked *object.Object
	if _, changed := d.finalizers(ctx, m); graceful || changed || len(m.GetFinalizers()) > 0 {
		var now bool
		marked, now, err = d.mark(ctx)
		switch {
		case errors.Is(err, errAlreadyDeleting):
			return d.answer(o, false)
		case err != nil:
			return nil, storageerrors.InterpretUpdateError(err, d.GroupResource(), d.Name)
		case !now:
			return d.marked(marked, false), nil
		}
		if d.dryRun && marked != nil {
			return d.marked(marked, true), nil
		}
		if marked != nil && d.preconditions.ResourceVersion != nil {
			rev := resourceVersion(marked)
			d.preconditions.ResourceVersion = &rev
		}
	}
	removed, err := d.remove(ctx, d.Target, d.key, &d.preconditions, d.validate, d.dryRun)
	if err != nil {
		if storage.IsNotFound(err) && marked != nil { // another was quicker
			return d.answer(marked, true)
		}
		return nil, storageerrors.InterpretDeleteError(err, d.GroupResource(), d.Name)
	}
	return d.answer(removed, true)
}

// mark sets the object's deletion timestamp and finalizers as the options and
// the kind ask for. It returns the object as marked, if it was, and whether it
// is to be removed now.
func (d *deletion) mark(ctx context.Context) (marked *object.Object, now bool, err error) {
	var finalizing bool
	var grace int64
	marked, err = d.guaranteedUpdate(ctx, d.Target, d.key, &d.preconditions, false, d.dryRun,
		func(ctx context.Context, existing runtime.Object, _ uint64) (runtime.Object, []store.Change, error) {
			if err := d.validate(ctx, existing); err != nil {
				return nil, nil, err
			}
			graceful, pending, err := rest.BeforeDelete(d.resource().Delete, ctx, existing, d.opts)
			if err != nil {
				return nil, nil, err
			}
			if pending {
				return nil, nil, errAlreadyDeleting
			}
			m, err := meta.Accessor(existing)
			if err != nil {
				return nil, nil, err
			}
			if finalizers, changed := d.finalizers(ctx, m); changed {
				m.SetFinalizers(finalizers)
			}
			finalizing = len(m.GetFinalizers()) > 0
			switch {
			case graceful:
				grace = *d.opts.GracePeriodSeconds
				return existing, nil, nil
			case finalizing:
				markDeleting(m)
				return existing, nil, nil
			}
			return nil, nil, errDeleteNow
		})
	if errors.Is(err, errDeleteNow) {
		return nil, true, nil
	}
	return marked, err == nil && !finalizing && grace == 0, err
}

// markDeleting gives an object that waits for its finalizers a deletion
// timestamp of now, unless it has an earlier one.
func markDeleting(m metav1.Object) {
	now := metav1.NewTime(time.Now())
	before := m.GetDeletionTimestamp()
	if before == nil && m.GetGeneration() > 0 {
		m.SetGeneration(m.GetGeneration() + 1)
	}
	if before == nil || before.After(now.Time) {
		m.SetDeletionTimestamp(&now)
	}
	zero := int64(0)
	m.SetDeletionGracePeriodSeconds(&zero)
}

// finalizers returns the object's finalizers with those of the garbage
// collector that the options, or else the object and its kind, ask for, and
// whether that is a change.
func (d *deletion) finalizers(ctx context.Context, m metav1.Object) ([]string, bool) {
	orphan, foreground := d.propagation(ctx, m.GetFinalizers())
	var want []string
	for _, f := range m.GetFinalizers() {
		if f != metav1.FinalizerOrphanDependents && f != metav1.FinalizerDeleteDependents {
			want = append(want, f)
		}
	}
	if orphan {
		want = append(want, metav1.FinalizerOrphanDependents)
	}
	if foreground {
		want = append(want, metav1.FinalizerDeleteDependents)
	}
	a, b := slices.Clone(want), slices.Clone(m.GetFinalizers())
	slices.Sort(a)
	slices.Sort(b)
	return want, !slices.Equal(slices.Compact(a), slices.Compact(b))
}

// propagation decides what becomes of the dependents: orphaned, or deleted
// before the object. The options count first, then finalizers that are there,
// then the kind's default.
func (d *deletion) propagation(ctx context.Context, present []string) (orphan, foreground bool) {
	byDefault := rest.GarbageCollectionPolicy("")
	if s, ok := d.resource().Delete.(rest.GarbageCollectionDeleteStrategy); ok {
		byDefault = s.DefaultGarbageCollectionPolicy(ctx)
	}
	if byDefault == rest.Unsupported {
		return false, false
	}
	//nolint:staticcheck // the deprecated field is still part of the API
	if o := d.opts.OrphanDependents; o != nil {
		return *o, false
	}
	if p := d.opts.PropagationPolicy; p != nil {
		return *p == metav1.DeletePropagationOrphan, *p == metav1.DeletePropagationForeground
	}
	for _, f := range present {
		switch f {
		case metav1.FinalizerOrphanDependents:
			return true, false
		case metav1.FinalizerDeleteDependents:
			return false, true
		}
	}
	return byDefault == rest.OrphanDependents, false
}

// terminate is the deletion of a kind that is marked in its own way and
// removed once it says so: a namespace.
func (d *deletion) terminate(ctx context.Context, o *object.Object, obj runtime.Object) (*Result, error) {
	m, err := meta.Accessor(obj)
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	if err := d.preconditions.Check(d.key, obj); err != nil {
		return nil, preconditionFailed(d.Target, m, d.preconditions)
	}
	uid := m.GetUID()
	d.preconditions.UID = &uid
	if m.GetDeletionTimestamp() == nil {
		marked, err := d.guaranteedUpdate(ctx, d.Target, d.key, &d.preconditions, false, d.dryRun,
			func(ctx context.Context, existing runtime.Object, _ uint64) (runtime.Object, []store.Change, error) {
				if err := d.validate(ctx, existing); err != nil {
					return nil, nil, err
				}
				m, err := meta.Accessor(existing)
				if err != nil {
					return nil, nil, err
				}
				if finalizers, changed := d.finalizers(ctx, m); changed {
					m.SetFinalizers(finalizers)
				}
				d.resource().Terminate(existing, d.opts)
				return existing, nil, nil
			})
		if err != nil {
			err = storageerrors.InterpretUpdateError(err, d.GroupResource(), d.Name)
			if _, ok := err.(*apierrors.StatusError); !ok {
				err = apierrors.NewInternalError(err)
			}
			return nil, err
		}
		return d.marked(marked, false), nil
	}
	if !d.resource().Terminated(obj) {
		return d.marked(o, false), nil
	}
	return d.run(ctx, o, obj)
}

// remove takes the object at key away, with what its companion has beside it,
// if the preconditions and validate allow it, and returns its last state.
func (v *Verbs) remove(ctx context.Context, t Target, key string, preconditions *storage.Preconditions, validate rest.ValidateObjectFunc, dryRun bool) (*object.Object, error) {
	return v.decide(ctx, key, func() (removed *object.Object, again bool, err error) {
		if err := context.Cause(ctx); err != nil {
			return nil, false, err
		}
		o := v.State.Get(key)
		if o == nil {
			return nil, false, storage.NewKeyNotFoundError(key, 0)
		}
		obj, err := t.resource().DecodeStored(o)
		if err != nil {
			return nil, false, storage.NewCorruptObjError(key, err)
		}
		if err := preconditions.Check(checkedKey(key, dryRun), obj); err != nil {
			return nil, false, err
		}
		if err := validate(ctx, obj); err != nil {
			return nil, false, err
		}
		if dryRun {
			return o, false, nil
		}
		beside, err := v.companion(t).Delete(ctx, obj)
		if err != nil {
			return nil, false, err
		}
		removed, err = v.commit(ctx, t, store.Change{Key: key, If: o.Rev}, beside)
		conflict := (*store.Conflict)(nil)
		return removed, errors.As(err, &conflict), err
	})
}

// marked is the answer when the object was only marked: always the object.
func (d *deletion) marked(o *object.Object, removed bool) *Result {
	r := &Result{Object: o}
	//nolint:staticcheck // the deprecated field is still part of the API
	if orphan := d.opts.OrphanDependents; !removed && orphan != nil && !*orphan {
		r.Accepted = true
	}
	return r
}

// answer is the answer when the object is gone or was going already: the
// object or, for most kinds, a Status that names it.
func (d *deletion) answer(o *object.Object, removed bool) (*Result, error) {
	r := d.marked(o, removed)
	if d.Version.ReturnDeleted {
		return r, nil
	}
	obj, err := d.decode(o)
	if err != nil {
		return nil, err
	}
	m, err := meta.Accessor(obj)
	if err != nil {
		return nil, err
	}
	r.Status = &metav1.Status{Status: metav1.StatusSuccess, Details: &metav1.StatusDetails{
		Name: m.GetName(), Group: d.resource().Group, Kind: d.resource().Name, UID: m.GetUID(),
	}}
	return r, nil
}
