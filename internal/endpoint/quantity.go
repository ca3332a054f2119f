package endpoint

import (
	"bytes"
	"fmt"
	"reflect"
	"regexp"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

// Quantities such as 1e1000000000 are valid, and what compares or rounds them makes
// a number of so many digits: a body of 100 bytes takes minutes and all memory. No
// quantity that means something needs them; they are refused before they are read.
var largeExponent = regexp.MustCompile(`^[+-]?[0-9.]+[eE][+-]?[0-9]{5,}$`)

// maxDigits is how many digits a quantity may have.
const maxDigits = 1000

// suspicious returns what could be such a quantity, wherever it stands in a body:
// not in a word, such as a digest, but in protobuf a length may look like a letter.
func suspicious(body []byte) []byte {
	words := !bytes.HasPrefix(body, protobufHead)
	digits := 0
	for i, c := range body {
		if c >= '0' && c <= '9' || c == '.' {
			if digits++; digits > maxDigits {
				return body[i+1-digits : i+1]
			}
			continue
		}
		if digits > 0 && (c == 'e' || c == 'E') {
			end := i + 1
			if end < len(body) && (body[end] == '+' || body[end] == '-') {
				end++
			}
			first := end
			for end < len(body) && body[end] >= '0' && body[end] <= '9' {
				end++
			}
			before, after := byte(0), byte(0)
			if i > digits {
				before = body[i-digits-1]
			}
			if end < len(body) {
				after = body[end]
			}
			if end-first >= 5 && !(words && (isLetter(before) || isLetter(after))) {
				return body[i-digits : end]
			}
		}
		digits = 0
	}
	return nil
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

func monstrous(quantity string) bool {
	quantity = strings.TrimSpace(quantity)
	return len(quantity) > maxDigits || largeExponent.MatchString(quantity)
}

// checkQuantities refuses a body with such a quantity in it.
func (q *query) checkQuantities(body []byte) error {
	v := q.target.Version
	found := suspicious(body)
	if found == nil || v.Resource.Custom() {
		return nil
	}
	gvk := q.bodyVersion().WithKind(v.Resource.Kind)
	if s := q.target.Subresource; s != nil {
		gvk = s.GVK(v)
	}
	var content any
	readable, protobuf := true, bytes.HasPrefix(body, protobufHead)
	named := schema.GroupVersionKind{}
	if protobuf {
		named = kindInBody(body)
	} else if readable = yaml.Unmarshal(body, &content) == nil; readable {
		named = kindIn(content)
	}
	// What a body says it is it is read as, before it is refused for that.
	for _, gvk := range []schema.GroupVersionKind{gvk, named} {
		into, err := v.Resource.Scheme.New(gvk)
		if err != nil {
			continue // nothing will be read from it
		}
		content, t := content, reflect.TypeOf(into)
		if !readable && holdsQuantity(t, nil) { // something else, or nothing
			content, t = string(found), quantityType
		}
		if ops, ok := content.([]any); ok && holdsQuantity(t, nil) { // of a JSON patch, wherever they lead
			content, t = ops, reflect.TypeFor[[]map[string]resource.Quantity]()
		}
		if protobuf && monstrousInBody(body, t) || monstrousIn(content, t) {
			return apierrors.NewBadRequest(fmt.Sprintf("%s in version %q cannot be handled as a %s: %v", gvk.Kind, gvk.Version, gvk.Kind, resource.ErrFormatWrong))
		}
	}
	return nil
}

// kindIn is the kind that an object says it is of.
func kindIn(content any) schema.GroupVersionKind {
	object, _ := content.(map[string]any)
	version, _ := object["apiVersion"].(string)
	kind, _ := object["kind"].(string)
	return schema.FromAPIVersionAndKind(version, kind)
}

var quantityType = reflect.TypeFor[resource.Quantity]()

// monstrousIn reports whether content, which is to be read as a t, has such a
// quantity in it.
func monstrousIn(content any, t reflect.Type) bool {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch c := content.(type) {
	case string:
		return t == quantityType && monstrous(c)
	case []any:
		if t == quantityType {
			t = reflect.TypeFor[[]resource.Quantity]()
		}
		if t.Kind() != reflect.Slice {
			return false
		}
		for _, item := range c {
			if monstrousIn(item, t.Elem()) {
				return true
			}
		}
	case map[string]any:
		for name, item := range c {
			switch {
			case t == quantityType: // in a JSON patch
				if monstrousIn(item, t) {
					return true
				}
			case t.Kind() == reflect.Map:
				if monstrousIn(item, t.Elem()) {
					return true
				}
			case t.Kind() == reflect.Struct:
				if f, ok := fieldNamed(t, name); ok && monstrousIn(item, f) {
					return true
				}
			}
		}
	}
	return false
}

// fieldNamed is the type of the field that is called so in JSON.
func fieldNamed(t reflect.Type, name string) (reflect.Type, bool) {
	for f := range t.Fields() {
		tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if tag == name {
			return f.Type, true
		}
		if tag == "" && f.Anonymous && f.Type.Kind() == reflect.Struct {
			if in, ok := fieldNamed(f.Type, name); ok {
				return in, true
			}
		}
	}
	return nil, false
}

// holdsQuantity reports whether there are quantities in a t.
func holdsQuantity(t reflect.Type, seen map[reflect.Type]bool) bool {
	if seen == nil {
		seen = map[reflect.Type]bool{}
	}
	if t == quantityType || seen[t] {
		return t == quantityType
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return holdsQuantity(t.Elem(), seen)
	case reflect.Struct:
		for f := range t.Fields() {
			if holdsQuantity(f.Type, seen) {
				return true
			}
		}
	}
	return false
}
