package ownership

import (
	"maps"
	"math"
	"reflect"
	"slices"

	"sigs.k8s.io/structured-merge-diff/v6/schema"
)

// content is a value as JSON decodes to it; nil is a null, unless it is absent.
type content struct {
	v       any
	present bool
}

// contentKind is which of the kinds that a rule allows a value has.
type contentKind int

const (
	kindScalar contentKind = iota
	kindList
	kindObject
)

// kindOf tells how a value is walked. Nulls, and what is of a kind that the rule
// does not allow, are of the kind that upstream tries first.
func (r *rule) kindOf(v any) (k contentKind, allowed bool) {
	switch v.(type) {
	case string, bool, int64, float64:
		if r.scalar != "" {
			return kindScalar, allowsScalar(r.scalar, v)
		}
	case []any:
		if r.list != nil {
			return kindList, true
		}
	case map[string]any:
		if r.object != nil {
			return kindObject, true
		}
	}
	switch {
	case r.object != nil:
		return kindObject, v == nil
	case r.scalar != "":
		return kindScalar, v == nil
	}
	return kindList, v == nil
}

func allowsScalar(s schema.Scalar, v any) bool {
	switch v.(type) {
	case string:
		return s == schema.String || s == schema.Untyped
	case bool:
		return s == schema.Boolean || s == schema.Untyped
	}
	return s == schema.Numeric || s == schema.Untyped
}

// any walks a value before and after, of which one may be absent.
func (w *walk) any(r *rule, before, after content) {
	kindBefore, kindAfter := kindObject, kindObject
	var allowed bool
	if before.present {
		if kindBefore, allowed = r.kindOf(before.v); !allowed {
			w.unclear = true
			return
		}
	}
	if after.present {
		if kindAfter, allowed = r.kindOf(after.v); !allowed {
			w.unclear = true
			return
		}
	}
	switch {
	case !after.present:
		w.anyOf(kindBefore, r, before, after)
		w.mark(removed)
	case !before.present:
		w.anyOf(kindAfter, r, before, after)
		w.mark(added)
	case kindBefore == kindAfter:
		w.anyOf(kindAfter, r, before, after)
	case kindBefore != kindScalar && kindAfter != kindScalar:
		w.unclear = true
	default:
		w.anyOf(kindBefore, r, before, after)
		w.anyOf(kindAfter, r, before, after)
	}
}

// anyOf walks values as the kind that at least one of them has.
func (w *walk) anyOf(k contentKind, r *rule, before, after content) {
	switch k {
	case kindObject:
		l, _ := before.v.(map[string]any)
		n, _ := after.v.(map[string]any)
		if !r.object.atomic && len(l)+len(n) > 0 {
			w.objects(r.object, l, n)
			return
		}
	case kindList:
		l, _ := before.v.([]any)
		n, _ := after.v.([]any)
		if !r.list.atomic && len(l)+len(n) > 0 {
			w.anyLists(r.list, l, n)
			return
		}
	}
	if !w.valid(r, before) || !w.valid(r, after) {
		w.unclear = true
		return
	}
	if before.present && after.present && !equalContent(before.v, after.v, w.native) {
		w.mark(modified)
	}
}

// of returns the rule of a field, nil if there may be no such field.
func (r *objectRule) of(field string) *rule {
	if f, ok := r.fields[field]; ok {
		return f
	}
	return r.others
}

func (w *walk) objects(r *objectRule, l, n map[string]any) {
	base := len(w.names)
	for name := range l {
		w.names = append(w.names, name)
	}
	for name := range n {
		if _, ok := l[name]; !ok {
			w.names = append(w.names, name)
		}
	}
	names := w.names[base:]
	slices.Sort(names)
	for _, name := range names {
		field := r.of(name)
		if field == nil {
			w.unclear = true // upstream refuses that
			break
		}
		w.enter(step{element: element{'f', name}})
		lv, before := l[name]
		nv, after := n[name]
		w.any(field, content{lv, before}, content{nv, after})
		w.leave()
	}
	w.names = w.names[:base]
}

func (w *walk) anyLists(r *listRule, l, n []any) {
	base, keys := len(w.content), len(w.keys)
	w.collectContent(r, l, false)
	w.collectContent(r, n, true)
	if !w.unclear {
		walkItems(w, w.content[base:], func(l, r2 *item[content]) {
			var lc, nc content
			if l != nil {
				lc = l.value
			}
			if r2 != nil {
				nc = r2.value
			}
			w.any(r.item, lc, nc)
		}, func(c content) bool { return w.valid(r.item, c) }, func(l, n content) bool { return equalContent(l.v, n.v, w.native) })
	}
	w.content, w.keys = w.content[:base], w.keys[:keys]
}

// collectContent adds the items of a list with their keys.
func (w *walk) collectContent(r *listRule, list []any, new bool) {
	for i, v := range list {
		first := len(w.keys)
		var ok bool
		if w.keys, ok = r.keysOf(w.keys, v); !ok {
			w.unclear = true
			return
		}
		w.content = append(w.content, item[content]{slices.Clip(w.keys[first:]), content{v, true}, new, i})
	}
}

// keysOf appends the keys of an item. What upstream refuses is false.
func (r *listRule) keysOf(to []named, v any) ([]named, bool) {
	if r.keys == nil {
		s, ok := scalarOfContent(v)
		return append(to, named{"", s}), ok
	}
	object, ok := v.(map[string]any)
	if !ok {
		return to, false
	}
	first := len(to)
	for _, k := range r.keys {
		given, ok := object[k.name]
		if !ok {
			if given = k.value; given == nil {
				continue
			}
		}
		s, ok := scalarOfContent(given)
		if !ok {
			return to, false
		}
		to = append(to, named{k.name, s})
	}
	return to, len(to) > first
}

func scalarOfContent(v any) (scalar, bool) {
	switch v := v.(type) {
	case string:
		return scalar{kind: 't', text: v}, true
	case int64:
		return wholeNumber(v)
	case float64:
		s, ok := wholeNumber(int64(v))
		return s, ok && float64(s.number) == v && !(v == 0 && math.Signbit(v))
	case bool:
		return truth(v), true
	}
	return scalar{}, false
}

// valid reports whether upstream takes a value that is owned as a whole.
func (w *walk) valid(r *rule, c content) bool {
	if !c.present || c.v == nil {
		return true
	}
	if _, allowed := r.kindOf(c.v); !allowed {
		return false
	}
	switch v := c.v.(type) {
	case []any:
		var keys []named
		for _, item := range v {
			if !r.list.atomic {
				var ok bool
				if keys, ok = r.list.keysOf(keys[:0], item); !ok {
					return false
				}
			}
			if !w.valid(r.list.item, content{item, true}) {
				return false
			}
		}
	case map[string]any:
		for name, value := range v {
			field := r.object.of(name)
			if field == nil || !w.valid(field, content{value, true}) {
				return false
			}
		}
	}
	return true
}

// equalContent reports whether values are the same to upstream, which compares
// lists by what is in memory if they come from Go types.
func equalContent(l, r any, native bool) bool {
	switch l := l.(type) {
	case []any:
		r, ok := r.([]any)
		switch {
		case !ok:
			return false
		case native:
			return reflect.DeepEqual(l, r)
		}
		return slices.EqualFunc(l, r, func(l, r any) bool { return equalContent(l, r, native) })
	case map[string]any:
		r, ok := r.(map[string]any)
		return ok && maps.EqualFunc(l, r, func(l, r any) bool { return equalContent(l, r, native) })
	case int64:
		switch r := r.(type) {
		case int64:
			return l == r
		case float64:
			return float64(l) == r
		}
		return false
	case float64:
		switch r := r.(type) {
		case int64:
			return l == float64(r)
		case float64:
			return l == r
		}
		return false
	}
	switch r.(type) {
	case []any, map[string]any:
		return false
	}
	return l == r
}
