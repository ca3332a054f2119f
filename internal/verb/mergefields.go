package verb

import (
	"context"
	"reflect"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// mergeShort is mergePatch without taking all of the object apart; nil where that
// cannot be done. patch is the decoded patch.
func (p *patching) mergeShort(ctx context.Context, current runtime.Object, patch map[string]any) runtime.Object {
	if custom, ok := current.(*unstructured.Unstructured); ok {
		return p.mergeMembers(ctx, custom, patch)
	}
	return p.mergeFields(current, patch)
}

// mergeFields is mergePatch for a patch that changes fields of a native object
// which its type knows, such as its metadata: these alone are encoded, merged
// and decoded; the others are copied. It returns nil where that cannot be done,
// or something is wrong with the result, which the long way can tell. patch is
// the decoded patch.
func (p *patching) mergeFields(current runtime.Object, patch map[string]any) runtime.Object {
	layout := p.Version.Layout()
	if p.view() != nil || layout.Bytes || !plainOwners(current) {
		return nil // empty bytes would stay, which JSON forgets
	}
	versioned, err := p.resource().Convertor.ConvertToVersion(current, p.bodyKind().GroupVersion())
	if err != nil {
		return nil
	}
	whole := reflect.ValueOf(versioned).Elem()
	var changed []int
	for name := range patch {
		i, ok := layout.Fields[name]
		if !ok {
			return nil
		}
		changed = append(changed, i)
	}
	part, rest := reflect.New(whole.Type()), reflect.New(whole.Type())
	rest.Elem().Set(whole)
	for _, i := range changed {
		part.Elem().Field(i).Set(whole.Field(i))
		rest.Elem().Field(i).SetZero()
	}
	owners := ownersApart(part.Interface(), patch)
	merged := p.mergePart(part.Interface().(runtime.Object))
	if merged == nil {
		return nil
	}
	if owners != nil {
		merged.(metav1.Object).SetManagedFields(owners)
	}
	result := rest.Interface().(runtime.Object).DeepCopyObject()
	for _, i := range changed {
		reflect.ValueOf(result).Elem().Field(i).Set(reflect.ValueOf(merged).Elem().Field(i))
	}
	p.resource().Scheme.Default(result)
	hub, err := p.resource().Convertor.ConvertToVersion(result, p.bodyHub())
	if err != nil {
		return nil
	}
	return hub
}

// mergePart merges the patch into an object that has only what it changes.
func (p *patching) mergePart(part runtime.Object) runtime.Object {
	part.GetObjectKind().SetGroupVersionKind(p.bodyKind())
	before, err := runtime.Encode(p.json().Serializer, part)
	if err != nil {
		return nil
	}
	after, err := mergeInto(before, p.patch)
	if err != nil {
		return nil
	}
	return cleanJSON{p.json().StrictSerializer, p.Target}.decode(after, p.bodyKind(), false, p.newBody())
}

// plainOwners reports whether JSON writes the owners of fields as they are kept.
func plainOwners(obj runtime.Object) bool {
	m, ok := obj.(metav1.Object)
	if !ok {
		return false
	}
	for _, e := range m.GetManagedFields() {
		if e.FieldsV1 == nil {
			continue
		}
		if fields := e.FieldsV1.GetRawString(); fields == "" || strings.ContainsAny(fields, " \t\r\n<>&\u2028\u2029") {
			return false
		}
	}
	return true
}

// ownersApart takes the owners of fields, most of an object's metadata, out of
// what is to be merged, and returns copies of them; nil if the patch may change
// them.
func ownersApart(part any, patch map[string]any) []metav1.ManagedFieldsEntry {
	m, ok := part.(metav1.Object)
	metadata, changes := patch["metadata"].(map[string]any)
	if _, named := metadata["managedFields"]; !ok || !changes || named {
		return nil
	}
	var owners []metav1.ManagedFieldsEntry
	for _, e := range m.GetManagedFields() {
		owners = append(owners, *e.DeepCopy())
	}
	m.SetManagedFields(nil)
	return owners
}
