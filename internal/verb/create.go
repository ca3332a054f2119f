package verb

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/storage"
	storageerrors "k8s.io/apiserver/pkg/storage/errors"

	knarradmission "github.com/knarr-io/knarr/internal/admission"
	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/store"
)

// generateAttempts is how many random names are tried for a generateName.
const generateAttempts = 8

// Create makes a new object of obj, a hub object, which it modifies.
// t.Name may be empty: the object's own counts.
func (v *Verbs) Create(ctx context.Context, t Target, obj runtime.Object, opts *metav1.CreateOptions) (*Result, error) {
	m, err := meta.Accessor(obj)
	if err != nil {
		return nil, err
	}
	if t.Name == "" {
		t.Name = m.GetName()
	}
	if t.Version.Resource.Name == "namespaces" && t.Namespace == "" {
		t.Namespace = t.Name // as upstream: a namespace is created in itself
	}
	ctx = request.WithNamespace(ctx, t.Namespace)
	rest.WipeObjectMetaSystemFields(m)
	if err := t.ensureNamespace(obj); err != nil {
		return nil, err
	}
	dryRun := len(opts.DryRun) > 0
	dedupOwners(ctx, obj, duplicateOwners)
	if obj, err = v.ownNew(t, obj, opts.FieldManager); err != nil {
		return nil, err
	}
	attributes := t.attributes(ctx, obj, nil, admission.Create, opts, dryRun)
	if err := v.admit(ctx, t, attributes); err != nil {
		return nil, err
	}
	dedupOwners(ctx, obj, duplicateOwnersAfterAdmit)
	if permit := t.resource().Permit; permit != nil {
		if err := permit(ctx, obj, nil); err != nil {
			return nil, err
		}
	}

	validate := v.validateCreate(t, attributes, false)
	if m.GetGenerateName() == "" || m.GetName() != "" {
		return v.create(ctx, t, obj, validate, dryRun)
	}
	for range generateAttempts {
		var result *Result
		if result, err = v.create(ctx, t, obj.DeepCopyObject(), validate, dryRun); err == nil || !apierrors.IsAlreadyExists(err) {
			return result, err
		}
	}
	return nil, err
}

// create stores obj, under a generated name if it has none. Where it has a
// companion, obj itself is left as it is, for further attempts; otherwise the
// rules, which come to the same each time, are applied to it again.
func (v *Verbs) create(ctx context.Context, t Target, obj runtime.Object, validate rest.ValidateObjectFunc, dryRun bool) (*Result, error) {
	for {
		attempt := obj
		if v.Companions[t.GroupResource()] != nil {
			attempt = obj.DeepCopyObject()
		}
		result, err := v.tryCreate(ctx, t, attempt, validate, dryRun)
		if beside := (*store.Conflict)(nil); !errors.As(err, &beside) {
			return result, err
		}
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
	}
}

// tryCreate is one attempt to store obj. A *store.Conflict tells that another
// wrote what its companion or admission wanted to.
func (v *Verbs) tryCreate(ctx context.Context, t Target, obj runtime.Object, validate rest.ValidateObjectFunc, dryRun bool) (*Result, error) {
	strategy := t.resource().Create
	m, err := meta.Accessor(obj)
	if err != nil {
		return nil, err
	}
	rest.FillObjectMetaSystemFields(m)
	if m.GetGenerateName() != "" && m.GetName() == "" {
		m.SetName(strategy.GenerateName(m.GetGenerateName()))
	}
	ctx, admitted := knarradmission.WithBeside(ctx)
	defer admitted.End()
	beside, err := v.companion(t).Create(ctx, obj, dryRun)
	if err != nil {
		return nil, err
	}
	if err := beforeCreate(strategy, ctx, obj); err != nil {
		return nil, err
	}
	if err := validate(ctx, obj); err != nil {
		return nil, err
	}
	t.Name = m.GetName()
	held, err := v.conditions(ctx, t, obj, dryRun)
	if err != nil {
		return nil, err
	}
	o, err := v.insert(ctx, t, obj, append(beside, held...), dryRun)
	if err != nil {
		err = storageerrors.InterpretCreateError(err, t.GroupResource(), t.Name)
		err = rest.CheckGeneratedNameError(ctx, strategy, err, obj)
		return nil, v.explainExists(err, t)
	}
	return &Result{Object: o, Created: true}, nil
}

// insert stores a finished hub object that must not exist yet, together with
// the changes beside it.
func (v *Verbs) insert(ctx context.Context, t Target, obj runtime.Object, beside []store.Change, dryRun bool) (*object.Object, error) {
	// One that is no number does not count.
	rev, _ := storage.APIObjectVersioner{}.ObjectResourceVersion(obj)
	if rev != 0 && !dryRun {
		return nil, storage.ErrResourceVersionSetOnCreate
	}
	key, err := t.key()
	if err != nil {
		return nil, err
	}
	if dryRun {
		return v.wouldInsert(t, key, obj, rev)
	}
	change, err := t.change(key, obj, 0, false, false)
	if err != nil {
		return nil, err
	}
	o, err := v.commit(ctx, t, change, beside)
	if err != nil {
		var conflict *store.Conflict
		if errors.As(err, &conflict) && conflict.Key == key {
			return nil, storage.NewKeyExistsError(key, 0)
		}
		return nil, err
	}
	return o, nil
}

// wouldInsert is insert for a dry run. The answer has the resourceVersion that
// was sent, rev or what is no number: only what is stored loses it.
func (v *Verbs) wouldInsert(t Target, key string, obj runtime.Object, rev uint64) (*object.Object, error) {
	if v.State.Get(key) != nil {
		return nil, storage.NewKeyExistsError(key, 0)
	}
	value, err := t.resource().Storage.Codec.Encode(obj)
	if err != nil {
		return nil, err
	}
	return t.unstored(value, rev), nil
}

// change is the write of a finished hub object over the revision at. Upstream
// clears selfLink as it stores, so the answer of a dry run still has it.
func (t Target) change(key string, obj runtime.Object, at uint64, update, dryRun bool) (store.Change, error) {
	m, err := meta.Accessor(obj)
	if err != nil {
		return store.Change{}, err
	}
	m.SetResourceVersion("")
	if !dryRun {
		m.SetSelfLink("")
	}
	value, err := t.resource().Storage.Codec.Encode(obj)
	if err != nil {
		return store.Change{}, err
	}
	change := store.Change{Key: key, Value: value, If: at}
	if ttl := t.resource().TTL; ttl != nil {
		seconds, err := ttl(obj, update)
		if err != nil {
			return store.Change{}, err
		}
		change.TTL = time.Duration(seconds) * time.Second
	}
	return change, nil
}

// unstored is the object that a dry run answers with.
func (t Target) unstored(value []byte, rev uint64) *object.Object {
	return &object.Object{Namespace: t.keyNamespace(), Name: t.Name, Rev: rev, Value: value}
}

// explainExists tells of an object in the way that it is being deleted.
func (v *Verbs) explainExists(err error, t Target) error {
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	key, keyErr := t.key()
	status, ok := err.(*apierrors.StatusError)
	if keyErr != nil || !ok {
		return err
	}
	o := v.State.Get(key)
	if o == nil {
		return err
	}
	obj, decodeErr := t.resource().Decode(o)
	if decodeErr != nil {
		return err
	}
	if m, metaErr := meta.Accessor(obj); metaErr == nil && m.GetDeletionTimestamp() != nil {
		status.ErrStatus.Message = fmt.Sprintf("object is being deleted: %s", status.ErrStatus.Message)
	}
	return err
}
