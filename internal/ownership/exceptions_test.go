package ownership

import (
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/structured-merge-diff/v6/schema"
	"sigs.k8s.io/structured-merge-diff/v6/value"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/kind/native"
)

var updateExceptions = flag.Bool("update", false, "write exceptions.txt anew")

// What exceptions.txt says is what upstream's definitions say.
func TestExceptions(t *testing.T) {
	e := newExtractor(t)
	eachType(t, func(typ reflect.Type, name string) { e.visit(typ, schema.TypeRef{NamedType: &name}) })
	got := e.text()
	if *updateExceptions {
		if err := os.WriteFile("exceptions.txt", []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got != exceptionsText {
		t.Error("exceptions.txt differs from upstream's definitions; run go test -update")
	}
}

// eachType calls do for the Go type of every kind whose objects have owners,
// with the name of its definition.
func eachType(t *testing.T, do func(typ reflect.Type, name string)) {
	c, err := native.Catalogue(native.Options{RuntimeConfig: map[string]string{"api/all": "true"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range c.Groups {
		for _, r := range g.Resources {
			for _, v := range r.Versions {
				gvks := []struct {
					version *kind.Version
					sub     *kind.Subresource
				}{{v, nil}}
				for _, sub := range r.Subresources {
					gvks = append(gvks, struct {
						version *kind.Version
						sub     *kind.Subresource
					}{v, sub})
				}
				for _, k := range gvks {
					gvk := v.GVK()
					if k.sub != nil {
						gvk = k.sub.GVK(v)
					}
					typ := r.Scheme.AllKnownTypes()[gvk]
					name, err := r.Scheme.ToOpenAPIDefinitionName(gvk)
					if err != nil {
						t.Fatal(err)
					}
					do(typ, name)
				}
			}
		}
	}
}

// extractor collects what schemas say beyond Go types.
type extractor struct {
	t      *testing.T
	schema *schema.Schema
	lines  map[string][]string // by type
}

func newExtractor(t *testing.T) *extractor {
	parser, err := parse()
	if err != nil {
		t.Fatal(err)
	}
	return &extractor{t, &parser.Schema, map[string][]string{}}
}

func (e *extractor) text() string {
	var lines []string
	for name, words := range e.lines {
		if len(words) > 0 {
			slices.Sort(words)
			lines = append(lines, name+" "+strings.Join(words, " ")+"\n")
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// visit walks a Go type and its schema together.
func (e *extractor) visit(t reflect.Type, ref schema.TypeRef) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	atom, ok := e.schema.Resolve(ref)
	if !ok {
		e.t.Errorf("%v: no schema", t)
		return
	}
	name := t.PkgPath() + "." + t.Name()
	if marshals(t) {
		e.lines[name] = e.marshaller(t, atom)
		return
	}
	switch t.Kind() {
	case reflect.Struct:
		if _, seen := e.lines[name]; seen {
			return
		}
		e.lines[name] = nil
		if atom.Map == nil || atom.List != nil || atom.Scalar != nil {
			e.t.Errorf("%v is not just an object", t)
			return
		}
		if named, _ := e.schema.FindNamedType(*ref.NamedType); named.Map.ElementRelationship == schema.Atomic {
			e.lines[name] = append(e.lines[name], "atomic")
		}
		for field, typ := range jsonFields(t) {
			f, ok := atom.Map.FindField(field)
			if !ok {
				e.t.Errorf("%v.%s is not in the schema", t, field)
				continue
			}
			if rule := e.rule(typ, f.Type); rule != "" {
				e.lines[name] = append(e.lines[name], field+":"+rule)
			}
			e.visit(typ, f.Type)
		}
	case reflect.Map:
		e.visit(t.Elem(), atom.Map.ElementType)
		if rule := e.rule(t.Elem(), atom.Map.ElementType); rule != "" {
			e.t.Errorf("%v: values with the rule %s", t, rule)
		}
	case reflect.Slice:
		if t.Elem().Kind() != reflect.Uint8 {
			e.visit(t.Elem(), atom.List.ElementType)
			if rule := e.rule(t.Elem(), atom.List.ElementType); rule != "" {
				e.t.Errorf("%v: items with the rule %s", t, rule)
			}
		}
	}
}

// rule is the exception for a value of t in a field with the type ref.
func (e *extractor) rule(t reflect.Type, ref schema.TypeRef) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	atom, _ := e.schema.Resolve(ref)
	if marshals(t) {
		return ""
	}
	switch t.Kind() {
	case reflect.Struct:
		if ref.ElementRelationship == nil {
			return ""
		}
		if *ref.ElementRelationship == schema.Atomic {
			return "atomic"
		}
		return "granular"
	case reflect.Map:
		if atom.Map == nil || atom.Map.Fields != nil {
			e.t.Errorf("%v is not a map in the schema", t)
			return ""
		}
		if atom.Map.ElementRelationship == schema.Atomic {
			return "atomic"
		}
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return ""
		}
		if atom.List == nil {
			e.t.Errorf("%v is not a list in the schema", t)
			return ""
		}
		if atom.List.ElementRelationship == schema.Atomic {
			return ""
		}
		item, _ := e.schema.Resolve(atom.List.ElementType)
		var keys []string
		for _, k := range atom.List.Keys {
			if f, _ := item.Map.FindField(k); f.Default != nil {
				given, _ := json.Marshal(f.Default)
				k += "=" + string(given)
			}
			keys = append(keys, k)
		}
		slices.Sort(keys)
		return "[" + strings.Join(keys, ",") + "]"
	default:
		if atom.Scalar == nil || atom.Map != nil || atom.List != nil {
			e.t.Errorf("%v is not just a scalar in the schema", t)
		}
	}
	return ""
}

func (e *extractor) marshaller(t reflect.Type, atom schema.Atom) []string {
	switch {
	case atom.Map == nil && atom.List == nil && atom.Scalar != nil:
		return nil
	case atom.Scalar == nil && atom.List == nil && atom.Map.Fields == nil && isDeduced(atom.Map.ElementType) && atom.Map.ElementRelationship != schema.Atomic:
		return []string{"object"}
	case atom.Scalar == nil || atom.List == nil || atom.Map == nil || *atom.Scalar != schema.Untyped || atom.List.ElementRelationship != schema.Atomic || atom.Map.Fields != nil:
		e.t.Errorf("%v: unforeseen schema", t)
	case atom.Map.ElementRelationship == schema.Atomic:
		return []string{"untyped"}
	case isDeduced(atom.Map.ElementType):
		return []string{"any"}
	default:
		e.t.Errorf("%v: unforeseen schema", t)
	}
	return nil
}

// jsonFields are the fields that upstream finds in a struct.
func jsonFields(t reflect.Type) map[string]reflect.Type {
	fields := map[string]reflect.Type{}
	for name, f := range value.TypeReflectEntryOf(t).Fields() {
		fields[name] = f.GetFrom(reflect.New(t).Elem()).Type()
	}
	return fields
}
