package ownership_test

import (
	"fmt"
	"maps"
	"math/rand"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// mutator changes objects at random places.
type mutator struct{ *rand.Rand }

// few are the texts that it uses, so that items of lists often have the same
// keys.
func (m mutator) text() string {
	few := []string{"a", "b", "c", "d", "TCP", "web", "a.b/c", "x-y", `q"q`, "ä<b>", "tab\t", "", "z\\", "\u2028", "A1"}
	return few[m.Intn(len(few))]
}

// object changes something in the struct that obj points to, its TypeMeta and
// managed fields excepted.
func (m mutator) object(obj any) {
	m.change(reflect.ValueOf(obj).Elem(), 0)
}

func (m mutator) change(v reflect.Value, depth int) {
	switch x := v.Addr().Interface().(type) {
	case *metav1.TypeMeta, *[]metav1.ManagedFieldsEntry, *runtime.Object:
		return
	case *metav1.Time:
		*x = metav1.Unix(int64(m.Intn(3)), int64(m.Intn(3)))
		if m.Intn(4) == 0 {
			*x = metav1.Time{}
		}
		return
	case *metav1.MicroTime:
		*x = metav1.NewMicroTime(metav1.Unix(int64(m.Intn(2)), int64(m.Intn(3)*700)).Time)
		if m.Intn(4) == 0 {
			*x = metav1.MicroTime{}
		}
		return
	case *resource.Quantity:
		few := []string{"1", "1000m", "1k", "1Ki", "0", "2", "0.5", "500m"}
		*x = resource.MustParse(few[m.Intn(len(few))])
		return
	case *intstr.IntOrString:
		*x = intstr.FromInt32(int32(m.Intn(3)))
		if m.Intn(2) == 0 {
			*x = intstr.FromString(m.text())
		}
		return
	case *runtime.RawExtension:
		few := []string{`{}`, `{"a":1}`, `{"a":[1,{"b":null}]}`, `{"a":"x"}`}
		*x = runtime.RawExtension{Raw: []byte(few[m.Intn(len(few))])}
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(m.text())
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(m.Intn(5) - 1))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(m.Intn(4)))
	case reflect.Float32, reflect.Float64:
		v.SetFloat(float64(m.Intn(4)) / 2)
	case reflect.Pointer:
		switch {
		case v.IsNil():
			v.Set(reflect.New(v.Type().Elem()))
			if m.Intn(3) > 0 {
				m.change(v.Elem(), depth+1)
			}
		case m.Intn(4) == 0:
			v.SetZero()
		default:
			m.change(v.Elem(), depth+1)
		}
	case reflect.Struct:
		m.fields(v, depth)
	case reflect.Slice:
		m.list(v, depth)
	case reflect.Map:
		m.entries(v, depth)
	}
}

// fields changes one field, preferably one that is set.
func (m mutator) fields(v reflect.Value, depth int) {
	for range min(8, v.NumField()) {
		f := v.Field(m.Intn(v.NumField()))
		if f.CanSet() && (!f.IsZero() || m.Intn(6) == 0) && depth < 12 {
			m.change(f, depth+1)
			return
		}
	}
}

func (m mutator) list(v reflect.Value, depth int) {
	n := v.Len()
	switch op := m.Intn(7); {
	case n == 0 || op == 0: // another
		v.Set(reflect.Append(v, reflect.Zero(v.Type().Elem())))
		m.change(v.Index(n), depth+1)
	case op == 1: // one less
		i := m.Intn(n)
		v.Set(reflect.AppendSlice(v.Slice3(0, i, i), v.Slice(i+1, n)))
	case op == 2: // twice the same
		v.Set(reflect.Append(v.Slice3(0, n, n), v.Index(m.Intn(n))))
	case op == 3: // in another order
		reflect.Swapper(v.Interface())(m.Intn(n), m.Intn(n))
	case op == 4 && m.Intn(3) == 0: // none
		if v.SetZero(); m.Intn(2) == 0 {
			v.Set(reflect.MakeSlice(v.Type(), 0, 0))
		}
	default:
		m.change(v.Index(m.Intn(n)), depth+1)
	}
}

func (m mutator) entries(v reflect.Value, depth int) {
	if v.IsNil() {
		v.Set(reflect.MakeMap(v.Type()))
	}
	keys := v.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) }) // the same for a seed
	key := reflect.ValueOf(m.text()).Convert(v.Type().Key())
	if len(keys) > 0 && m.Intn(3) > 0 {
		key = keys[m.Intn(len(keys))]
	}
	if m.Intn(4) == 0 {
		v.SetMapIndex(key, reflect.Value{})
		return
	}
	entry := reflect.New(v.Type().Elem()).Elem()
	if old := v.MapIndex(key); old.IsValid() {
		entry.Set(old)
	}
	m.change(entry, depth+1)
	v.SetMapIndex(key, entry)
}

// content changes something in what JSON decodes to.
func (m mutator) content(v any, depth int) any {
	switch v := v.(type) {
	case map[string]any:
		names := slices.Sorted(maps.Keys(v)) // the same for a seed
		if len(names) == 0 || m.Intn(8) == 0 {
			v[m.field()] = m.any(depth)
			return v
		}
		name := names[m.Intn(len(names))]
		if m.Intn(10) == 0 {
			delete(v, name)
			return v
		}
		v[name] = m.content(v[name], depth+1)
		return v
	case []any:
		n := len(v)
		switch op := m.Intn(6); {
		case n == 0:
			return append(v, m.any(depth))
		case op == 0:
			return append(v, runtime.DeepCopyJSONValue(v[m.Intn(n)]))
		case op == 1:
			i := m.Intn(n)
			return append(v[:i:i], v[i+1:]...)
		case op == 2:
			i, j := m.Intn(n), m.Intn(n)
			v[i], v[j] = v[j], v[i]
			return v
		}
		i := m.Intn(n)
		v[i] = m.content(v[i], depth+1)
		return v
	case string:
		if m.Intn(12) > 0 {
			return m.text()
		}
	case int64, float64:
		if m.Intn(12) > 0 {
			return int64(m.Intn(4))
		}
	case bool:
		return !v
	}
	return m.any(depth)
}

// field is a name that the schema of custom objects may have.
func (m mutator) field() string {
	few := []string{"name", "port", "value", "text", "items", "set", "atomicList", "atomicMap", "free", "deep", "labels", "numbers", "count", "other", "any", "embedded"}
	return few[m.Intn(len(few))]
}

func (m mutator) any(depth int) any {
	switch m.Intn(12) {
	case 0, 1, 2, 3:
		return m.text()
	case 4, 5:
		return int64(m.Intn(4))
	case 6:
		return []any{float64(0.5), float64(2), int64(1) << 55, float64(1e30)}[m.Intn(4)]
	case 7:
		return m.Intn(2) == 0
	case 8:
		return nil
	case 9:
		list := []any{}
		for range m.Intn(3) {
			list = append(list, m.any(depth+1))
		}
		return list
	}
	object := map[string]any{}
	if depth < 6 {
		for range m.Intn(4) {
			object[m.field()] = m.any(depth + 1)
		}
	}
	return object
}
