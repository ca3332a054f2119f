package ownership

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/structured-merge-diff/v6/schema"
	"sigs.k8s.io/structured-merge-diff/v6/value"
)

// plan is how values of a Go type are walked: the rule for the type, and where
// its fields are. Pointers are walked by the plan of what they point to.
type plan struct {
	shape  shape
	atomic bool
	typ    reflect.Type

	item *plan     // of a list or a map
	keys []listKey // of a list whose items are told apart by keys
	rule *rule     // of what is converted

	// Made on first use:
	once   sync.Once
	fields []field // of a struct, sorted by name
	keyAt  []int   // for each of keys, its field in the item's plan, or -1
	plans  *plans
}

// shape is what upstream makes of a Go type.
type shape int

const (
	shapeText   shape = iota // a string, or bytes, which are one in base64
	shapeInt                 // signed
	shapeUint                // unsigned
	shapeFloat               //
	shapeBool                //
	shapeStruct              // an object with the fields that are not omitted
	shapeMap                 // an object
	shapeList                //
	// Of types that marshal themselves:
	shapeTime      // metav1.Time
	shapeMicroTime // metav1.MicroTime
	shapeDuration  // metav1.Duration
	shapeQuantity  // resource.Quantity
	shapeIntOrText // intstr.IntOrString
	shapeConverted // walked after conversion to what it marshals to
)

// field is a field of a struct, by its name in JSON.
type field struct {
	name      string
	index     []int // through embedded structs
	plan      *plan
	omitEmpty bool
	omitZero  func(reflect.Value) bool // nil without the option
}

// plans makes plans, each struct's once. The zero value is ready and safe for
// concurrent use. Errors in it are panics, since a test makes all plans.
type plans struct {
	structs sync.Map // structType to *plan
}

// structType is a struct as the field that holds it may change its rule.
type structType struct {
	typ    reflect.Type
	atomic bool
}

// of returns the plan for values of t, in a field whose exceptions say which.
func (c *plans) of(t reflect.Type, which exception) *plan {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if marshals(t) {
		return c.marshaller(t)
	}
	switch t.Kind() {
	case reflect.String:
		return scalars[shapeText]
	case reflect.Bool:
		return scalars[shapeBool]
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return scalars[shapeInt]
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32:
		return scalars[shapeUint]
	case reflect.Float32, reflect.Float64:
		return scalars[shapeFloat]
	case reflect.Struct:
		return c.structOf(t, which)
	case reflect.Map:
		return &plan{shape: shapeMap, typ: t, atomic: which.relation == schema.Atomic, item: c.of(t.Elem(), exception{})}
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return scalars[shapeText]
		}
		// A list is atomic unless something else is said.
		return &plan{
			shape: shapeList, typ: t, atomic: which.relation != schema.Associative, item: c.of(t.Elem(), exception{}), keys: which.keys,
		}
	}
	panic(fmt.Sprintf("no plan for %v", t))
}

func (c *plans) structOf(t reflect.Type, which exception) *plan {
	key := structType{t, which.relation == schema.Atomic || which.relation == "" && exceptionsOf(t).atomic}
	if known, ok := c.structs.Load(key); ok {
		return known.(*plan)
	}
	known, _ := c.structs.LoadOrStore(key, &plan{shape: shapeStruct, typ: t, atomic: key.atomic, plans: c})
	return known.(*plan)
}

func (c *plans) marshaller(t reflect.Type) *plan {
	p := &plan{typ: t, plans: c}
	switch t {
	case reflect.TypeFor[metav1.Time]():
		p.shape = shapeTime
	case reflect.TypeFor[metav1.MicroTime]():
		p.shape = shapeMicroTime
	case reflect.TypeFor[metav1.Duration]():
		p.shape = shapeDuration
	case reflect.TypeFor[resource.Quantity]():
		p.shape = shapeQuantity
	case reflect.TypeFor[intstr.IntOrString]():
		p.shape = shapeIntOrText
	default:
		p.shape, p.rule = shapeConverted, exceptionsOf(t).converted()
	}
	return p
}

// scalars are the plans of what has no parts.
var scalars = [...]*plan{
	shapeText: {shape: shapeText}, shapeInt: {shape: shapeInt}, shapeUint: {shape: shapeUint}, shapeFloat: {shape: shapeFloat}, shapeBool: {shape: shapeBool},
}

// marshals reports whether values of t, or of pointers to it, say themselves
// what they are in JSON.
func marshals(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[json.Marshaler]())
}

// all returns the fields of a struct, sorted by name.
func (p *plan) all() []field {
	p.once.Do(func() {
		p.fields = make([]field, 0, p.typ.NumField())
		p.collect(p.typ, nil, exceptionsOf(p.typ))
		slices.SortFunc(p.fields, func(a, b field) int { return strings.Compare(a.name, b.name) })
	})
	return p.fields
}

// collect adds the fields of t, which is p's struct or embedded in it at index.
// Of two with the same name the later counts, as upstream has it.
func (p *plan) collect(t reflect.Type, index []int, said *exceptions) {
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("json")
		if f.PkgPath != "" && !f.Anonymous || tag == "-" {
			continue
		}
		name, options, _ := strings.Cut(tag, ",")
		at := slices.Concat(index, f.Index)
		if f.Anonymous && name == "" {
			if f.Type.Kind() != reflect.Struct {
				panic(fmt.Sprintf("%v embeds %v", t, f.Type))
			}
			p.collect(f.Type, at, said)
			continue
		}
		if name == "" {
			name = f.Name
		}
		made := field{name: name, index: at, plan: p.plans.of(f.Type, said.of(name))}
		for option := range strings.SplitSeq(options, ",") {
			switch option {
			case "omitempty":
				made.omitEmpty = true
			case "omitzero":
				made.omitZero = value.OmitZeroFunc(f.Type)
			}
		}
		if same := slices.IndexFunc(p.fields, func(f field) bool { return f.name == name }); same >= 0 {
			p.fields[same] = made
			continue
		}
		p.fields = append(p.fields, made)
	}
}

// find returns the index of a field, or -1.
func (p *plan) find(name string) int {
	if p.shape != shapeStruct {
		return -1
	}
	i, ok := slices.BinarySearchFunc(p.all(), name, func(f field, name string) int { return strings.Compare(f.name, name) })
	if !ok {
		return -1
	}
	return i
}

// keyFields returns where the items of a list have their keys.
func (p *plan) keyFields() []int {
	p.once.Do(func() {
		for _, k := range p.keys {
			p.keyAt = append(p.keyAt, p.item.find(k.name))
		}
	})
	return p.keyAt
}

// in returns the field's value in a struct, and whether it is not omitted.
func (f *field) in(v reflect.Value) (reflect.Value, bool) {
	if !v.IsValid() {
		return v, false
	}
	for _, i := range f.index {
		v = v.Field(i)
	}
	if f.omitEmpty && isEmpty(v) || f.omitZero != nil && f.omitZero(v) {
		return reflect.Value{}, false
	}
	return v, true
}

// isEmpty is emptiness as encoding/json understands it.
func isEmpty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Pointer:
		return v.IsNil()
	case reflect.String, reflect.Slice, reflect.Map:
		return v.Len() == 0
	case reflect.Struct:
		return false
	}
	return v.IsZero()
}

func (p *plan) relation() relation {
	switch p.shape {
	case shapeConverted:
		return p.rule.relation()
	case shapeStruct, shapeMap:
		if p.atomic {
			return belowAtomic
		}
		return belowFields
	case shapeList:
		if p.atomic {
			return belowAtomic
		}
		return belowItems
	}
	return belowUnknown
}

func (p *plan) field(name string) below {
	switch p.shape {
	case shapeConverted:
		return p.rule.field(name)
	case shapeStruct:
		if i := p.find(name); i >= 0 {
			return p.fields[i].plan
		}
		return nil
	}
	return p.item
}

func (p *plan) element() below {
	switch p.shape {
	case shapeConverted:
		return p.rule.element()
	case shapeStruct:
		return nil
	}
	return p.item
}
