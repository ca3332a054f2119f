package ownership

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"sigs.k8s.io/structured-merge-diff/v6/schema"
)

// exceptionsText holds what Go types do not tell of the schemas of native
// kinds, one line a type, sorted. Upstream's definitions can only be made all
// at once, which takes longer than to start a server. TestExceptions compares
// the two; with -update it writes the file anew.
//
//	<type> [<rule>] <field>:<rule> ...
//
// The rule of a list, which is atomic without one, is the keys of its items,
// [name,protocol="TCP"], with their defaults, or [] if it is a set. That of an
// object, whose fields have owners of their own without one, is atomic, or
// granular if the object's type is atomic elsewhere. That of a type that
// marshals itself, which is a scalar without one, is object (of which nothing
// is known), any (scalar, atomic list or such an object) or untyped (any, but
// atomic as an object too).
//
//go:embed exceptions.txt
var exceptionsText string

// exception is what is said of a field.
type exception struct {
	field    string
	relation schema.ElementRelationship // empty if nothing is said
	keys     []listKey
}

// exceptions is what is said of a type.
type exceptions struct {
	atomic bool
	kind   string // of a type that marshals itself
	fields []exception
}

// exceptionsOf looks a type up. Nothing said is the zero value.
func exceptionsOf(t reflect.Type) *exceptions {
	said := &exceptions{}
	if t.Name() == "" {
		return said
	}
	line := lineOf(exceptionsText, t.PkgPath()+"."+t.Name())
	if line == "" {
		return said
	}
	for word := range strings.SplitSeq(line, " ") {
		name, rule, ok := strings.Cut(word, ":")
		switch {
		case !ok && word == "atomic":
			said.atomic = true
		case !ok:
			said.kind = word
		default:
			said.fields = append(said.fields, parseException(name, rule))
		}
	}
	return said
}

// lineOf returns what follows a word and a space in the line of a sorted text
// that begins with it.
func lineOf(text, word string) string {
	for from, to := 0, len(text); from < to; {
		start := strings.LastIndexByte(text[:(from+to)/2], '\n') + 1
		line, _, _ := strings.Cut(text[start:], "\n")
		first, rest, _ := strings.Cut(line, " ")
		switch strings.Compare(first, word) {
		case 0:
			return rest
		case -1:
			from = start + len(line) + 1
		default:
			to = start
		}
	}
	return ""
}

func parseException(field, rule string) exception {
	switch rule {
	case "atomic":
		return exception{field: field, relation: schema.Atomic}
	case "granular":
		return exception{field: field, relation: schema.Separable}
	}
	e := exception{field: field, relation: schema.Associative}
	for name := range strings.SplitSeq(strings.Trim(rule, "[]"), ",") {
		if name == "" {
			continue
		}
		k := listKey{}
		var given string
		k.name, given, _ = strings.Cut(name, "=")
		if given != "" {
			if err := json.Unmarshal([]byte(given), &k.value); err != nil {
				panic(fmt.Sprintf("%s: %v", rule, err))
			}
		}
		e.keys = append(e.keys, k)
	}
	slices.SortFunc(e.keys, func(a, b listKey) int { return strings.Compare(a.name, b.name) })
	return e
}

func (e *exceptions) of(field string) exception {
	for _, said := range e.fields {
		if said.field == field {
			return said
		}
	}
	return exception{}
}

// converted returns the rule of a type that marshals itself.
func (e *exceptions) converted() *rule {
	untyped := &rule{scalar: schema.Untyped}
	untyped.list = &listRule{atomic: true, item: untyped}
	untyped.object = &objectRule{atomic: true, others: untyped}
	deduced := &rule{scalar: schema.Untyped, list: untyped.list}
	deduced.object = &objectRule{others: deduced, deduced: true}
	switch e.kind {
	case "":
		return &rule{scalar: schema.Untyped}
	case "object":
		return &rule{object: deduced.object}
	case "any":
		return deduced
	case "untyped":
		return untyped
	}
	panic("no rule " + e.kind)
}
