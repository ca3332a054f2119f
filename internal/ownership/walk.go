package ownership

import (
	"reflect"
	"slices"
)

// walk compares an object as it is with what replaces it. It visits both
// together, in the order of metadata.managedFields, and finds the changes that
// upstream's comparison of typed values finds. What upstream would refuse, and
// what we do not know well enough, is marked unclear.
//
// Values are reflect.Value here; the zero Value is an absent one. In content
// they are what JSON decodes to.
type walk struct {
	changes
	unclear bool
	// native says that content is what a Go type converts to.
	native bool
	// muted counts how many of the elements on the path are reset.
	muted int
	path  []step

	// Stacks of what is being walked, kept for the next write:
	items        []item[reflect.Value]
	content      []item[content]
	keys         []named
	names        []string
	scratch, out []byte
}

// step is an element of the path to the value being walked. Its text is made
// when it is known to be needed.
type step struct {
	element
	keys   []named // of an item, in place of text
	node   int32   // in the tree, or 0 if it is not there
	resets *resets // below it
}

// begin readies w for an object. What is in r is left out.
func (w *walk) begin(r *resets) {
	w.changes.reset()
	w.unclear, w.native, w.muted = false, false, 0
	w.path = append(w.path[:0], step{resets: r})
	w.keys = w.keys[:0]
}

// forget lets go of the objects.
func (w *walk) forget() {
	clear(w.nodes)
	w.nodes = w.nodes[:0]
	clear(w.path[:cap(w.path)])
	clear(w.items[:cap(w.items)])
	clear(w.content[:cap(w.content)])
	clear(w.keys[:cap(w.keys)])
	clear(w.names[:cap(w.names)])
}

// enter goes to a field or an item of the value being walked.
func (w *walk) enter(s step) {
	if r := w.path[len(w.path)-1].resets; r != nil && s.kind == 'f' {
		if below, ok := r.fields[s.text]; ok {
			s.resets = below
			if below.all {
				w.muted++
			}
		}
	}
	w.path = append(w.path, s)
}

func (w *walk) leave() {
	s := &w.path[len(w.path)-1]
	if s.resets != nil && s.resets.all {
		w.muted--
	}
	w.path = w.path[:len(w.path)-1]
}

// mark notes a change of the value being walked.
func (w *walk) mark(c change) {
	if w.muted > 0 {
		return
	}
	last := len(w.path) - 1
	known := last
	for known > 0 && w.path[known].node == 0 {
		known--
	}
	for i := known + 1; i <= last; i++ {
		s := &w.path[i]
		if s.kind == 0 {
			s.element, w.scratch = elementOf(s.keys, w.scratch)
		}
		s.node = w.add(w.path[i-1].node, s.element)
	}
	w.nodes[w.path[last].node].change |= c
}

// deref follows pointers. Nil is the zero Value: a null.
func deref(v reflect.Value) reflect.Value {
	for v.IsValid() && v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	return v
}

// value walks a value before and after, of which one may be absent.
func (w *walk) value(p *plan, l, r reflect.Value) {
	before, after := l.IsValid(), r.IsValid()
	l, r = deref(l), deref(r)
	if p.shape == shapeConverted {
		w.any(p.rule, content{w.convert(p, l), before}, content{w.convert(p, r), after})
		return
	}
	leaf := p.atomic
	if !leaf {
		switch p.shape {
		case shapeStruct:
			leaf = !w.structs(p, l, r)
		case shapeMap:
			leaf = !w.maps(p, l, r)
		case shapeList:
			leaf = !w.lists(p, l, r)
		default:
			leaf = true
		}
	}
	switch {
	case !before:
		w.mark(added)
	case !after:
		w.mark(removed)
	case leaf && !w.equal(p, l, r):
		w.mark(modified)
	}
}

// structs walks the fields; false if there are none.
func (w *walk) structs(p *plan, l, r reflect.Value) bool {
	some := false
	fields := p.all()
	for i := range fields {
		f := &fields[i]
		lv, before := f.in(l)
		rv, after := f.in(r)
		if !before && !after {
			continue
		}
		some = true
		if before && after && f.plan.shape < shapeStruct && w.equal(f.plan, deref(lv), deref(rv)) {
			continue
		}
		w.enter(step{element: element{'f', f.name}})
		w.value(f.plan, lv, rv)
		w.leave()
	}
	return some
}

// maps walks the entries; false if there are none.
func (w *walk) maps(p *plan, l, r reflect.Value) bool {
	if length(l) == 0 && length(r) == 0 {
		return false
	}
	if text := reflect.TypeFor[string](); p.typ.Key() == text && p.typ.Elem() == text {
		w.texts(texts(l), texts(r))
		return true
	}
	base := len(w.names)
	if l.IsValid() {
		for it := l.MapRange(); it.Next(); {
			w.names = append(w.names, it.Key().String())
		}
	}
	if r.IsValid() {
		for it := r.MapRange(); it.Next(); {
			if !l.IsValid() || !l.MapIndex(it.Key()).IsValid() {
				w.names = append(w.names, it.Key().String())
			}
		}
	}
	names := w.names[base:]
	slices.Sort(names)
	keyType := p.typ.Key()
	for _, name := range names {
		key := reflect.ValueOf(name).Convert(keyType)
		var lv, rv reflect.Value
		if l.IsValid() {
			lv = l.MapIndex(key)
		}
		if r.IsValid() {
			rv = r.MapIndex(key)
		}
		w.enter(step{element: element{'f', name}})
		w.value(p.item, lv, rv)
		w.leave()
	}
	w.names = w.names[:base]
	return true
}

// texts walks maps of text, of which most are.
func (w *walk) texts(l, r map[string]string) {
	base := len(w.names)
	for name, text := range r {
		if before, ok := l[name]; !ok || before != text {
			w.names = append(w.names, name)
		}
	}
	for name := range l {
		if _, ok := r[name]; !ok {
			w.names = append(w.names, name)
		}
	}
	names := w.names[base:]
	slices.Sort(names)
	for _, name := range names {
		_, before := l[name]
		_, after := r[name]
		w.enter(step{element: element{'f', name}})
		switch {
		case !before:
			w.mark(added)
		case !after:
			w.mark(removed)
		default:
			w.mark(modified)
		}
		w.leave()
	}
	w.names = w.names[:base]
}

func texts(v reflect.Value) map[string]string {
	if !v.IsValid() {
		return nil
	}
	if m, ok := v.Interface().(map[string]string); ok {
		return m
	}
	return v.Convert(reflect.TypeFor[map[string]string]()).Interface().(map[string]string)
}

func length(v reflect.Value) int {
	if !v.IsValid() {
		return 0
	}
	return v.Len()
}
