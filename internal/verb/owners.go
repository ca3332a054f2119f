package verb

import (
	"context"
	"fmt"
	"reflect"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
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

// heldOwners returns obj's managed fields as they are in memory: entries or, of
// a custom resource, a list as JSON decodes to it, since to decode that further
// costs more than most admission.
func heldOwners(obj runtime.Object) any {
	if u, ok := obj.(*unstructured.Unstructured); ok {
		metadata, _ := u.Object["metadata"].(map[string]any)
		list, _ := metadata["managedFields"].([]any)
		return list
	}
	return ownersOf(obj)
}

// restoreOwners gives obj its managed fields back, kept as heldOwners returned
// them, with a warning, if admission has made them invalid.
func restoreOwners(ctx context.Context, obj runtime.Object, kept any) {
	now, before := reflect.ValueOf(heldOwners(obj)), reflect.ValueOf(kept)
	if now.Len() == 0 || now.Len() == before.Len() && now.Pointer() == before.Pointer() {
		return // gone, which is valid, or untouched
	}
	m, err := meta.Accessor(obj)
	if err != nil {
		return
	}
	if err = managedfields.ValidateManagedFields(m.GetManagedFields()); err == nil {
		return
	}
	warning.AddWarning(ctx, "", fmt.Sprintf(fieldmanager.InvalidManagedFieldsAfterMutatingAdmissionWarningFormat, err))
	if list, ok := kept.([]any); ok {
		_ = unstructured.SetNestedSlice(obj.(*unstructured.Unstructured).Object, list, "metadata", "managedFields") // metadata is an object: it has owners
		return
	}
	m.SetManagedFields(kept.([]metav1.ManagedFieldsEntry))
}
