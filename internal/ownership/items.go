package ownership

import (
	"reflect"
	"slices"
)

// item is one of a list, before (new false) or after.
type item[V any] struct {
	keys  []named
	value V
	new   bool
	index int
}

// lists walks the items, each by its keys; false if there are none.
func (w *walk) lists(p *plan, l, r reflect.Value) bool {
	if length(l) == 0 && length(r) == 0 {
		return false
	}
	base, keys := len(w.items), len(w.keys)
	for i := range length(l) {
		w.collect(p, l.Index(i), false, i)
	}
	for i := range length(r) {
		w.collect(p, r.Index(i), true, i)
	}
	if !w.unclear {
		items := w.items[base:]
		walkItems(w, items, func(l, r *item[reflect.Value]) {
			var lv, rv reflect.Value
			if l != nil {
				lv = l.value
			}
			if r != nil {
				rv = r.value
			}
			w.value(p.item, lv, rv)
		}, func(reflect.Value) bool { return true }, func(l, r reflect.Value) bool { return w.equal(p.item, deref(l), deref(r)) })
	}
	w.items, w.keys = w.items[:base], w.keys[:keys]
	return true
}

// collect adds an item with its keys.
func (w *walk) collect(p *plan, v reflect.Value, new bool, index int) {
	first := len(w.keys)
	inner := deref(v)
	if p.keys == nil {
		s, ok := scalarOf(p.item, inner)
		if !ok {
			w.unclear = true
			return
		}
		w.keys = append(w.keys, named{"", s})
	} else {
		if !inner.IsValid() || p.item.shape != shapeStruct {
			w.unclear = true
			return
		}
		at := p.keyFields()
		for i, k := range p.keys {
			s, ok := scalar{}, true
			present := false
			if at[i] >= 0 {
				var fv reflect.Value
				if fv, present = p.item.fields[at[i]].in(inner); present {
					s, ok = scalarOf(p.item.fields[at[i]].plan, deref(fv))
				}
			}
			if !present {
				if k.value == nil {
					continue
				}
				s, ok = scalarOfContent(k.value)
			}
			if !ok {
				w.unclear = true
				return
			}
			w.keys = append(w.keys, named{k.name, s})
		}
		if len(w.keys) == first {
			w.unclear = true // upstream refuses that
			return
		}
	}
	w.items = append(w.items, item[reflect.Value]{slices.Clip(w.keys[first:]), v, new, index})
}

// scalarOf is what can tell items apart.
func scalarOf(p *plan, v reflect.Value) (scalar, bool) {
	if !v.IsValid() {
		return scalar{}, false
	}
	switch p.shape {
	case shapeText:
		return scalar{kind: 't', text: v.String()}, v.Kind() == reflect.String
	case shapeInt:
		return wholeNumber(v.Int())
	case shapeUint:
		return wholeNumber(int64(v.Uint()))
	case shapeBool:
		return truth(v.Bool()), true
	}
	return scalar{}, false
}

func truth(b bool) scalar {
	if b {
		return scalar{kind: 'b', number: 1}
	}
	return scalar{kind: 'b'}
}

// wholeNumber is a number that JSON keeps as it is.
func wholeNumber(n int64) (scalar, bool) {
	return scalar{kind: 'n', number: n}, n > -1<<53 && n < 1<<53
}

// walkItems pairs the items before and after by their keys and walks the
// pairs. Of what is there more than once, only that is owned, not its fields,
// but all of it must be valid.
func walkItems[V any](w *walk, items []item[V], walkPair func(l, r *item[V]), valid func(V) bool, equal func(l, r V) bool) {
	slices.SortFunc(items, func(a, b item[V]) int {
		if c := compareNamed(a.keys, b.keys); c != 0 {
			return c
		}
		if a.new != b.new {
			if b.new {
				return -1
			}
			return 1
		}
		return a.index - b.index
	})
	for len(items) > 0 {
		n := 1
		for n < len(items) && compareNamed(items[0].keys, items[n].keys) == 0 {
			n++
		}
		same := items[:n]
		items = items[n:]
		first := slices.IndexFunc(same, func(i item[V]) bool { return i.new })
		if first < 0 {
			first = n
		}
		before, after := same[:first], same[first:]
		if len(before) > 1 || len(after) > 1 {
			w.unclear = w.unclear || !all(same, valid)
		}
		w.enter(step{keys: same[0].keys})
		switch {
		case len(before) <= 1 && len(after) <= 1:
			walkPair(one(before), one(after))
		case len(before) >= 2 && len(after) >= 2:
			if !slices.EqualFunc(before, after, func(l, r item[V]) bool { return equal(l.value, r.value) }) {
				w.mark(modified)
			}
		case len(before) >= 2:
			if len(after) > 0 {
				walkPair(nil, &after[0])
			}
			w.mark(removed)
		default:
			if len(before) > 0 {
				walkPair(&before[0], nil)
			}
			w.mark(added)
		}
		w.leave()
	}
}

func one[V any](items []item[V]) *item[V] {
	if len(items) == 0 {
		return nil
	}
	return &items[0]
}

func all[V any](items []item[V], valid func(V) bool) bool {
	return !slices.ContainsFunc(items, func(i item[V]) bool { return !valid(i.value) })
}
