package ownership

import (
	"reflect"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/structured-merge-diff/v6/value"
)

// equal reports whether two values, without pointers to them, are the same to
// upstream. Both are present; the zero Value is null.
func (w *walk) equal(p *plan, l, r reflect.Value) bool {
	switch p.shape {
	case shapeTime:
		return sameTime(l, r)
	case shapeMicroTime:
		return sameMicroTime(l, r)
	}
	if !l.IsValid() || !r.IsValid() {
		return l.IsValid() == r.IsValid()
	}
	switch p.shape {
	case shapeText:
		if l.Kind() == reflect.String {
			return l.String() == r.String()
		}
		return (l.IsNil() == r.IsNil()) && string(l.Bytes()) == string(r.Bytes())
	case shapeInt:
		return l.Int() == r.Int()
	case shapeUint:
		return l.Uint() == r.Uint()
	case shapeFloat:
		return l.Float() == r.Float()
	case shapeBool:
		return l.Bool() == r.Bool()
	case shapeDuration:
		return valueOf[metav1.Duration](l) == valueOf[metav1.Duration](r)
	case shapeQuantity:
		return sameQuantity(valueOf[resource.Quantity](l), valueOf[resource.Quantity](r))
	case shapeIntOrText:
		return w.sameIntOrText(valueOf[intstr.IntOrString](l), valueOf[intstr.IntOrString](r))
	case shapeStruct:
		return w.equalStructs(p, l, r)
	case shapeMap:
		return w.equalMaps(p, l, r)
	case shapeList:
		return equalLists(l, r)
	}
	return equalContent(w.convert(p, l), w.convert(p, r), true)
}

func (w *walk) equalStructs(p *plan, l, r reflect.Value) bool {
	fields := p.all()
	for i := range fields {
		f := &fields[i]
		lv, before := f.in(l)
		rv, after := f.in(r)
		if before != after || before && !w.equal(f.plan, deref(lv), deref(rv)) {
			return false
		}
	}
	return true
}

func (w *walk) equalMaps(p *plan, l, r reflect.Value) bool {
	if l.IsNil() || r.IsNil() || l.Len() != r.Len() {
		return l.IsNil() && r.IsNil()
	}
	for it := l.MapRange(); it.Next(); {
		rv := r.MapIndex(it.Key())
		if !rv.IsValid() || !w.equal(p.item, deref(it.Value()), deref(rv)) {
			return false
		}
	}
	return true
}

// equalLists compares lists as wholes, which upstream does by what is in
// memory: a nil list in an item is not an empty one.
func equalLists(l, r reflect.Value) bool {
	if l.IsNil() || r.IsNil() || l.Len() != r.Len() {
		return l.IsNil() && r.IsNil()
	}
	if l.Len() == 0 || l.Pointer() == r.Pointer() {
		return true
	}
	if l.Type().Elem().Kind() == reflect.String {
		for i := range l.Len() {
			if l.Index(i).String() != r.Index(i).String() {
				return false
			}
		}
		return true
	}
	return reflect.DeepEqual(l.Interface(), r.Interface())
}

// convert makes what a value that marshals itself is in JSON.
func (w *walk) convert(p *plan, v reflect.Value) any {
	if !v.IsValid() {
		return nil
	}
	made, err := value.TypeReflectEntryOf(p.typ).ToUnstructured(v)
	if err != nil {
		w.unclear = true
	}
	return made
}

// valueOf returns a value without a copy on the heap, where that is possible.
func valueOf[T any](v reflect.Value) T {
	if v.CanAddr() {
		return *v.Addr().Interface().(*T)
	}
	return v.Interface().(T)
}

// sameTime compares to the second, and takes no time and the zero time for a
// null, as their form in JSON does.
func sameTime(l, r reflect.Value) bool {
	var a, b metav1.Time
	if l.IsValid() {
		a = valueOf[metav1.Time](l)
	}
	if r.IsValid() {
		b = valueOf[metav1.Time](r)
	}
	return a.IsZero() == b.IsZero() && a.Unix() == b.Unix()
}

// sameMicroTime compares to the microsecond.
func sameMicroTime(l, r reflect.Value) bool {
	var a, b metav1.MicroTime
	if l.IsValid() {
		a = valueOf[metav1.MicroTime](l)
	}
	if r.IsValid() {
		b = valueOf[metav1.MicroTime](r)
	}
	return a.IsZero() == b.IsZero() && a.Unix() == b.Unix() && a.Nanosecond()/1000 == b.Nanosecond()/1000
}

func sameQuantity(l, r resource.Quantity) bool {
	return l == r || l.String() == r.String()
}

func (w *walk) sameIntOrText(l, r intstr.IntOrString) bool {
	for _, v := range [...]intstr.IntOrString{l, r} {
		if v.Type != intstr.Int && v.Type != intstr.String {
			w.unclear = true
		}
	}
	if l.Type == intstr.Int {
		return r.Type == intstr.Int && l.IntVal == r.IntVal
	}
	return r.Type == intstr.String && l.StrVal == r.StrVal
}
