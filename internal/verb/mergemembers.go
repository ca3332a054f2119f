package verb

import (
	"context"
	"maps"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// mergeMembers is mergePatch for a custom object, of which only the members that
// the patch names at the top are encoded, merged, decoded, coerced to their schema
// and given defaults; the others are copied, and may lack no more than defaults:
// they were as their schema wants them, which does not depend on other members. It
// returns nil where that cannot be done, or something is wrong with the result,
// which the long way can tell. patch is the decoded patch.
func (p *patching) mergeMembers(ctx context.Context, current *unstructured.Unstructured, patch map[string]any) runtime.Object {
	if p.view() != nil || current.GroupVersionKind() != p.bodyKind() {
		return nil
	}
	part, rest := map[string]any{"apiVersion": nil, "kind": nil}, maps.Clone(current.Object)
	for name := range patch {
		if _, ok := part[name]; ok {
			return nil
		}
		if v, ok := rest[name]; ok {
			part[name] = v
			delete(rest, name)
		}
	}
	owners := membersApart(part, patch)
	merged := p.mergeApart(ctx, &unstructured.Unstructured{Object: part})
	if merged == nil {
		return nil
	}
	result := runtime.DeepCopyJSON(rest)
	for name := range patch {
		if v, ok := merged.Object[name]; ok {
			result[name] = v
		}
	}
	if owners != nil {
		metadata, ok := result["metadata"].(map[string]any)
		if !ok {
			return nil
		}
		metadata["managedFields"] = runtime.DeepCopyJSONValue(owners)
	}
	whole := &unstructured.Unstructured{Object: result}
	p.resource().Defaulter.Default(whole) // one that is stored in another version has only that one's
	return whole
}

// mergeApart merges the patch into an object that has only what it changes.
func (p *patching) mergeApart(ctx context.Context, part *unstructured.Unstructured) *unstructured.Unstructured {
	part.SetGroupVersionKind(p.bodyKind())
	before, err := p.encode(part)
	if err != nil {
		return nil
	}
	after, err := mergeInto(before, p.patch)
	if err != nil {
		return nil
	}
	strictly := *p
	strictly.directive = metav1.FieldValidationStrict
	merged, err := strictly.decodePatched(ctx, after, nil)
	if err != nil {
		return nil
	}
	u, _ := merged.(*unstructured.Unstructured)
	return u
}

// membersApart is ownersApart for a custom object: part gets other metadata, and
// what is returned is not copied.
func membersApart(part, patch map[string]any) (owners any) {
	changes, ok := patch["metadata"].(map[string]any)
	metadata, also := part["metadata"].(map[string]any)
	if _, named := changes["managedFields"]; !ok || !also || named {
		return nil
	}
	if owners = metadata["managedFields"]; owners != nil {
		metadata = maps.Clone(metadata)
		delete(metadata, "managedFields")
		part["metadata"] = metadata
	}
	return owners
}
