package verb

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/knarr-io/knarr/internal/ownership"
)

// apply merges patch, YAML or JSON, into the target's object (server-side
// apply, KEP-555). Unlike other patches it makes the object if there is none;
// by parts of objects it does so for one kind only.
func (v *Verbs) apply(ctx context.Context, t Target, patch []byte, opts *metav1.PatchOptions) (*Result, error) {
	if v.Ownership == nil {
		return nil, errors.New("nothing can be applied where owners of fields are not kept")
	}
	asJSON, err := yaml.ToJSON(patch)
	if err != nil {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("error encoding patch: %v", err))
	}
	recordPatch(ctx, asJSON)
	a := &applying{
		Target: t, patch: patch, opts: opts,
		owners: v.Ownership(t.Version, t.Subresource),
	}
	return v.updateBy(ctx, t, a.transform, opts, t.Subresource == nil || t.Subresource.ApplyCreates)
}

// applying is one apply.
type applying struct {
	Target
	patch  []byte
	opts   *metav1.PatchOptions
	owners ownership.Manager
}

// transform makes the hub object to write of the current one.
func (a *applying) transform(ctx context.Context, _, current runtime.Object) (runtime.Object, error) {
	isNew := !exists(current)
	if isNew {
		var err error
		if current, err = a.resource().NewObject(a.bodyKind()); err != nil {
			return nil, fmt.Errorf("failed to create new object: %w", err)
		}
	}
	obj, err := a.merge(ctx, current)
	if err != nil {
		return nil, err
	}
	if m, err := meta.Accessor(obj); err == nil && isNew && m.GetUID() != "" {
		return nil, apierrors.NewConflict(a.GroupResource(), a.Name,
			fmt.Errorf("uid mismatch: the provided object specified uid %s, and no existing object was found", m.GetUID()))
	}
	return obj, a.checkPatched(obj)
}

// merge applies the patch to current. It is decoded for each attempt, since
// merging may modify it.
func (a *applying) merge(ctx context.Context, current runtime.Object) (runtime.Object, error) {
	patch := &unstructured.Unstructured{Object: map[string]any{}}
	if err := yaml.Unmarshal(a.patch, &patch.Object); err != nil {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("error decoding patch: %v", err))
	}
	if a.resource().Custom() {
		current = current.DeepCopyObject() // not to set defaults in the object that the result is compared with
	}
	obj, err := a.owners.Apply(current, patch, a.opts.FieldManager, deref(a.opts.Force))
	if err != nil {
		return nil, err
	}
	directive := fieldValidation(a.opts.FieldValidation)
	if directive == metav1.FieldValidationIgnore {
		return obj, nil
	}
	// Unknown fields were refused by the merge; this finds those given twice.
	if err := yaml.UnmarshalStrict(a.patch, &map[string]any{}); err != nil {
		if directive == metav1.FieldValidationStrict {
			return nil, apierrors.NewBadRequest(fmt.Sprintf("error strict decoding patch: %v", err))
		}
		warnStrict(ctx, []error{err})
	}
	return obj, nil
}
