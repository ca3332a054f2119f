package kind

import (
	"reflect"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Layout is what the Go type of a version's objects tells of their parts. The
// zero Layout, of custom resources, has none.
type Layout struct {
	// Fields are the fields of the struct by their names in JSON, apiVersion and
	// kind excepted.
	Fields map[string]int
	// Bytes tells that there are byte slices somewhere in it. Of those that are
	// empty, protobuf knows that they are there, and JSON with omitempty does not.
	Bytes bool
}

func layoutOf(t reflect.Type) *Layout {
	l := &Layout{Fields: map[string]int{}, Bytes: hasBytes(t, map[reflect.Type]bool{})}
	for i := range t.NumField() {
		if f := t.Field(i); f.Type != reflect.TypeFor[metav1.TypeMeta]() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			l.Fields[name] = i
		}
	}
	return l
}

// hasBytes looks into what it has not seen. The owners of fields are always
// there.
func hasBytes(t reflect.Type, seen map[reflect.Type]bool) bool {
	if seen[t] || t == reflect.TypeFor[metav1.FieldsV1]() {
		return false
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Slice:
		return t.Elem().Kind() == reflect.Uint8 || hasBytes(t.Elem(), seen)
	case reflect.Pointer, reflect.Array, reflect.Map:
		return hasBytes(t.Elem(), seen)
	case reflect.Struct:
		for i := range t.NumField() {
			if hasBytes(t.Field(i).Type, seen) {
				return true
			}
		}
	}
	return false
}
