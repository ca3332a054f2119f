package verb

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/storage"
	storageerrors "k8s.io/apiserver/pkg/storage/errors"

	"github.com/knarr-io/knarr/internal/store"
)

// Action is a create that stores no object of the body's kind: a subresource
// that does something (binding, eviction, token) or a resource that is not
// kept (bindings, reviews). Its methods may be called at the same time.
//
// An action whose bodies may be of other versions than the target's is a
// rest.GroupVersionAcceptor too; one that reads the uid or the resourceVersion
// of a body, which others do not get to see, a rest.SubresourceObjectMetaPreserver.
type Action interface {
	// New returns an empty hub object of the body's kind.
	New() runtime.Object
	// Do acts on the target. body is a decoded, admitted hub object which it
	// may modify; validate runs validating admission on it and is called where
	// upstream calls it. Do returns the answer: a hub object of the body's kind,
	// or a *metav1.Status. Errors are those of the API.
	Do(ctx context.Context, t Target, body runtime.Object, opts *metav1.CreateOptions, validate rest.ValidateObjectFunc) (runtime.Object, error)
}

// ActionKey is where an action is found; Subresource is empty for that of a
// resource.
type ActionKey struct {
	schema.GroupResource
	Subresource string
}

// Action returns what a create of the target does; nil if it makes an object
// or is not served.
func (v *Verbs) Action(t Target) Action {
	return v.Actions[ActionKey{t.GroupResource(), t.subresource()}]
}

// DecodeAction is Target.Decode for the body of the target's action.
func (v *Verbs) DecodeAction(ctx context.Context, t Target, body []byte, info runtime.SerializerInfo, directive string) (runtime.Object, error) {
	a := v.Action(t)
	accepts := t.accepts
	if more, ok := a.(rest.GroupVersionAcceptor); ok {
		accepts = more.AcceptsGroupVersion
	}
	return t.decodeBody(ctx, body, info, directive, a.New(), accepts)
}

// Act has the target's action act on body, a hub object of its kind, which is
// modified. The answer is a hub object of that kind or a *metav1.Status that
// tells of success.
func (v *Verbs) Act(ctx context.Context, t Target, body runtime.Object, opts *metav1.CreateOptions) (runtime.Object, error) {
	a := v.Action(t)
	m, err := meta.Accessor(body)
	if err != nil {
		return nil, err
	}
	if t.Name == "" {
		t.Name = m.GetName()
	}
	ctx = request.WithNamespace(ctx, t.Namespace)
	if p, ok := a.(rest.SubresourceObjectMetaPreserver); t.Subresource == nil || !ok || !p.PreserveRequestObjectMetaSystemFieldsOnSubresourceCreate() {
		rest.WipeObjectMetaSystemFields(m)
	}
	if err := t.ensureNamespace(body); err != nil {
		return nil, err
	}
	dedupOwners(ctx, body, duplicateOwners)
	if body, err = v.ownNew(t, body, opts.FieldManager); err != nil {
		return nil, err
	}
	attributes := t.attributes(ctx, body, nil, admission.Create, opts, len(opts.DryRun) > 0)
	if err := v.admit(ctx, t, attributes); err != nil {
		return nil, err
	}
	dedupOwners(ctx, body, duplicateOwnersAfterAdmit)

	answer, err := a.Do(ctx, t, body, opts, v.validateCreate(t, attributes, false))
	if err != nil {
		return nil, err
	}
	if status, ok := answer.(*metav1.Status); ok && status.Status != metav1.StatusSuccess {
		return nil, apierrors.FromObject(status)
	}
	return answer, nil
}

// Change updates the target's object to what change makes of it, under the
// rules of its kind or of the subresource: it is for what an action does to
// objects other than its body. Nobody owns what it sets, and mutating admission
// does not see it. change may be called again, on the object as it is then; its
// errors are returned as they are.
func (v *Verbs) Change(ctx context.Context, t Target, change func(obj runtime.Object) error) (*Result, error) {
	changed := func(_ context.Context, _, old runtime.Object) (runtime.Object, error) {
		obj := old.DeepCopyObject()
		return obj, change(obj)
	}
	return v.update(ctx, t, rest.DefaultUpdatedObjectInfo(nil, changed), &metav1.UpdateOptions{}, false)
}

// ChangeUnchecked is Change without rules and validating admission: only the
// preconditions count, which may be nil.
func (v *Verbs) ChangeUnchecked(ctx context.Context, t Target, preconditions *storage.Preconditions, dryRun bool, change func(obj runtime.Object) error) (*Result, error) {
	key, err := t.key()
	if err != nil {
		return nil, err
	}
	o, err := v.guaranteedUpdate(ctx, t, key, preconditions, false, dryRun,
		func(_ context.Context, obj runtime.Object, _ uint64) (runtime.Object, []store.Change, error) {
			return obj, nil, change(obj)
		})
	if err != nil {
		err = storageerrors.InterpretGetError(err, t.GroupResource(), t.Name)
		return nil, storageerrors.InterpretUpdateError(err, t.GroupResource(), t.Name)
	}
	return &Result{Object: o}, nil
}
