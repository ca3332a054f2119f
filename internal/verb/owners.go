package verb

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/apiserver/pkg/endpoints/handlers/fieldmanager"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/warning"

	"github.com/knarr-io/knarr/internal/ownership"
)

// own is the step of a write in which what it changes gets its owner: manager
// or, if that is empty, the program that asks. Mutating admission comes after
// it, so that what a plugin adds is owned by nobody.
func (v *Verbs) own(t Target, manager string) rest.TransformFunc {
	return func(_ context.Context, obj, live runtime.Object) (runtime.Object, error) {
		return v.owned(t, live, obj, manager), nil
	}
}

func (v *Verbs) owned(t Target, live, obj runtime.Object, manager string) runtime.Object {
	if v.Ownership == nil {
		return obj
	}
	return v.Ownership(t.Version, t.Subresource).Update(live, obj, ownership.Name(manager, t.Agent))
}

// ownNew is own for an object that is being created.
func (v *Verbs) ownNew(t Target, obj runtime.Object, manager string) (runtime.Object, error) {
	none, err := t.resource().NewObject(t.bodyKind())
	if err != nil {
		return nil, err
	}
	return v.owned(t, none, obj, manager), nil
}

// ownersOf returns obj's managed fields; none for what has no metadata.
func ownersOf(obj runtime.Object) []metav1.ManagedFieldsEntry {
	if m, err := meta.Accessor(obj); err == nil {
		return m.GetManagedFields()
	}
	return nil
}

// restoreOwners gives obj its managed fields back, with a warning, if admission
// has made them invalid.
func restoreOwners(ctx context.Context, obj runtime.Object, kept []metav1.ManagedFieldsEntry) {
	now := ownersOf(obj)
	if len(now) == 0 || len(now) == len(kept) && &now[0] == &kept[0] {
		return // untouched, or gone, which is valid
	}
	err := managedfields.ValidateManagedFields(now)
	if err == nil {
		return
	}
	if m, accessErr := meta.Accessor(obj); accessErr == nil {
		m.SetManagedFields(kept)
		warning.AddWarning(ctx, "", fmt.Sprintf(fieldmanager.InvalidManagedFieldsAfterMutatingAdmissionWarningFormat, err))
	}
}
