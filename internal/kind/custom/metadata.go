package custom

import (
	"time"

	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/objectmeta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// metadata is that of an object while its content is coerced: plain, or typed,
// or none.
type metadata struct {
	plain map[string]any
	typed *metav1.ObjectMeta
}

// copied returns m with nothing in common with the object.
func (m metadata) copied() metadata {
	if m.plain != nil {
		m.plain = runtime.DeepCopyJSON(m.plain)
	}
	return m
}

// repairGeneration makes up for a missing generation.
func (m metadata) repairGeneration() {
	if _, ok := m.plain["generation"]; !ok && m.plain != nil {
		m.plain["generation"] = int64(1)
	}
	if m.typed != nil && m.typed.Generation == 0 {
		m.typed.Generation = 1
	}
}

// set gives the object its metadata back.
func (m metadata) set(u *unstructured.Unstructured) error {
	switch {
	case m.plain != nil:
		u.Object["metadata"] = m.plain
	case m.typed != nil:
		return objectmeta.SetObjectMeta(u.Object, m.typed)
	}
	return nil
}

// hasPlainMetadata reports whether u has metadata that is as it would be had it
// been decoded to an ObjectMeta and encoded again, which takes ten times longer:
// every field is known, of its type, and not empty. What it is not sure of is not.
func hasPlainMetadata(u *unstructured.Unstructured) bool {
	metadata, ok := u.Object["metadata"].(map[string]any)
	return ok && everyField(metadata, func(name string, v any) bool {
		switch name {
		case "name", "generateName", "namespace", "selfLink", "uid", "resourceVersion":
			return isText(v)
		case "creationTimestamp", "deletionTimestamp":
			return isTime(v)
		case "generation":
			n, ok := v.(int64)
			return ok && n != 0
		case "deletionGracePeriodSeconds":
			_, ok := v.(int64)
			return ok
		case "labels", "annotations":
			texts, ok := v.(map[string]any)
			return ok && len(texts) > 0 && everyField(texts, func(_ string, v any) bool { _, ok := v.(string); return ok })
		case "finalizers":
			return everyItem(v, func(v any) bool { _, ok := v.(string); return ok })
		case "ownerReferences":
			return everyItem(v, isPlainOwner)
		case "managedFields":
			return everyItem(v, isPlainEntry)
		}
		return false
	})
}

func everyField(object map[string]any, is func(string, any) bool) bool {
	for name, v := range object {
		if !is(name, v) {
			return false
		}
	}
	return true
}

// everyItem is of lists that are not empty.
func everyItem(v any, is func(any) bool) bool {
	list, ok := v.([]any)
	for _, item := range list {
		if !is(item) {
			return false
		}
	}
	return ok && len(list) > 0
}

func isText(v any) bool {
	s, ok := v.(string)
	return ok && s != ""
}

// isTime tells of a time as metav1.Time writes it.
func isTime(v any) bool {
	s, ok := v.(string)
	if !ok || len(s) != len("2006-01-02T15:04:05Z") || s[len(s)-1] != 'Z' {
		return false
	}
	t, err := time.Parse(time.RFC3339, s)
	return err == nil && !t.IsZero()
}

// isPlainOwner tells of an owner reference. Four fields are written even if
// they are empty.
func isPlainOwner(v any) bool {
	owner, ok := v.(map[string]any)
	needed := 4
	return ok && everyField(owner, func(name string, v any) bool {
		switch name {
		case "apiVersion", "kind", "name", "uid":
			needed--
			_, ok := v.(string)
			return ok
		case "controller", "blockOwnerDeletion":
			_, ok := v.(bool)
			return ok
		}
		return false
	}) && needed == 0
}

// isPlainEntry tells of an entry of managed fields.
func isPlainEntry(v any) bool {
	entry, ok := v.(map[string]any)
	return ok && everyField(entry, func(name string, v any) bool {
		switch name {
		case "manager", "operation", "apiVersion", "fieldsType", "subresource":
			return isText(v)
		case "time":
			return isTime(v)
		case "fieldsV1":
			return isTree(v)
		}
		return false
	})
}

// isTree tells of objects in objects.
func isTree(v any) bool {
	object, ok := v.(map[string]any)
	return ok && object != nil && everyField(object, func(_ string, v any) bool { return isTree(v) })
}
