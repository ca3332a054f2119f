package ownership

import (
	"reflect"
	"testing"
)

// Upstream refuses items of lists without any of their keys, wherever they are.
// We look for them where we walk: in what is owned as a whole, there must be
// no list that could have some.
func TestNothingToRefuse(t *testing.T) {
	type visited struct {
		plan   *plan
		atomic bool
	}
	seen := map[visited]bool{}
	var visit func(p *plan, atomic bool, path string)
	visit = func(p *plan, atomic bool, path string) {
		if key := (visited{p, atomic}); seen[key] {
			return
		} else {
			seen[key] = true
		}
		inside := atomic || p.atomic
		switch p.shape {
		case shapeStruct:
			for _, f := range p.all() {
				visit(f.plan, inside, path+"."+f.name)
			}
		case shapeMap:
			visit(p.item, inside, path+"[]")
		case shapeList:
			if atomic && !p.atomic && !alwaysTold(p) {
				t.Errorf("%s: items may have no key", path)
			}
			visit(p.item, inside, path+"[]")
		}
	}
	c := &plans{}
	kinds := 0
	eachType(t, func(typ reflect.Type, name string) {
		kinds++
		visit(c.of(typ, exception{}), false, typ.String())
	})
	if kinds < 150 {
		t.Errorf("only %d kinds", kinds)
	}
}

func alwaysTold(p *plan) bool {
	if p.typ.Elem().Kind() == reflect.Pointer {
		return false
	}
	if p.keys == nil {
		return p.item.shape == shapeText || p.item.shape == shapeInt
	}
	for i, at := range p.keyFields() {
		if p.keys[i].value != nil {
			return true
		}
		if f := p.item.fields[at]; !f.omitEmpty && f.omitZero == nil && f.plan.shape == shapeText {
			return true
		}
	}
	return false
}
