package fuzz

import (
	"encoding/json"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
)

// A draw draws at random.
type draw struct {
	*rand.Rand
	words []string
}

// chance is true once in n times.
func (d *draw) chance(n int) bool { return d.IntN(n) == 0 }

func pick[T any](d *draw, from []T) T { return from[d.IntN(len(from))] }

// A place is a member of an object or an item of a list within a body.
type place struct {
	parent any // map[string]any or *[]any, so that an item can be added or taken away
	key    string
	index  int
	path   []string
}

// clone copies a body deeply. Lists become pointers to lists meanwhile (see place);
// plain undoes that.
func clone(value any) any {
	switch v := value.(type) {
	case map[string]any:
		copied := make(map[string]any, len(v))
		for key, item := range v {
			copied[key] = clone(item)
		}
		return copied
	case []any:
		copied := make([]any, len(v))
		for i, item := range v {
			copied[i] = clone(item)
		}
		return &copied
	case *[]any:
		return clone(*v)
	}
	return value
}

// plain makes lists out of pointers to lists, in place.
func plain(value any) any {
	switch v := value.(type) {
	case map[string]any:
		for key, item := range v {
			v[key] = plain(item)
		}
	case *[]any:
		for i, item := range *v {
			(*v)[i] = plain(item)
		}
		return *v
	}
	return value
}

// places lists all places of a body in an order that is always the same.
func places(value any, path []string, list []place) []place {
	switch v := value.(type) {
	case map[string]any:
		for _, key := range sortedKeys(v) {
			own := append(slices.Clip(path), key)
			list = append(list, place{parent: v, key: key, path: own})
			list = places(v[key], own, list)
		}
	case *[]any:
		for i, item := range *v {
			own := append(slices.Clip(path), "")
			list = append(list, place{parent: v, index: i, path: own})
			list = places(item, own, list)
		}
	}
	return list
}

func sortedKeys(o map[string]any) []string {
	keys := make([]string, 0, len(o))
	for key := range o {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func (p place) get() any {
	if o, ok := p.parent.(map[string]any); ok {
		return o[p.key]
	}
	return (*p.parent.(*[]any))[p.index]
}

func (p place) set(value any) {
	if o, ok := p.parent.(map[string]any); ok {
		o[p.key] = value
		return
	}
	(*p.parent.(*[]any))[p.index] = value
}

func (p place) remove() {
	if o, ok := p.parent.(map[string]any); ok {
		delete(o, p.key)
		return
	}
	list := p.parent.(*[]any)
	*list = slices.Delete(*list, p.index, p.index+1)
}

// mutated returns the body with n things changed. Now and then a field comes from the
// full sample, where there is one, as what an object may have but this one has not.
func (d *draw) mutated(body, full map[string]any, n int) map[string]any {
	result := clone(body).(map[string]any)
	for range n {
		if full != nil && d.chance(3) {
			d.graft(result, full)
			continue
		}
		d.change(result)
	}
	return plain(result).(map[string]any)
}

// change changes one thing. The envelope is left alone most of the time: little is
// learnt from an object that is refused for its kind.
func (d *draw) change(body map[string]any) {
	all := places(body, nil, nil)
	if len(all) == 0 {
		return
	}
	p := pick(d, all)
	for tries := 0; tries < 4 && (p.path[0] == "apiVersion" || p.path[0] == "kind" || p.path[0] == "metadata"); tries++ {
		p = pick(d, all)
	}
	if len(p.path) == 2 && p.path[0] == "metadata" && (p.path[1] == "name" || p.path[1] == "namespace") && !d.chance(4) {
		return
	}
	if len(p.path) == 2 && p.path[0] == "metadata" && (p.path[1] == "uid" || p.path[1] == "resourceVersion") {
		// Nothing that is made from each server's own: it could not be told from it.
		p.set(pick(d, []any{nil, "", "1", "7", "x", 7, map[string]any{}}))
		return
	}
	switch d.IntN(10) {
	case 0:
		p.remove()
	case 1:
		p.set(nil)
	case 2:
		p.set(d.anything())
	case 3:
		d.intoList(p)
	case 4:
		if o, ok := p.get().(map[string]any); ok {
			o[d.key()] = d.anything()
			return
		}
		p.set(d.similar(p.get()))
	default:
		p.set(d.similar(p.get()))
	}
}

// intoList changes how many items the list has that the place is or is in, or their order.
func (d *draw) intoList(p place) {
	list, ok := p.get().(*[]any)
	if !ok {
		if list, ok = p.parent.(*[]any); !ok {
			p.set(d.similar(p.get()))
			return
		}
	}
	if len(*list) == 0 {
		*list = append(*list, d.anything())
		return
	}
	item := pick(d, *list)
	switch d.IntN(5) {
	case 0, 1:
		*list = append(*list, clone(item))
	case 2:
		*list = nil
	case 3:
		*list = append(*list, nil)
	case 4:
		slices.Reverse(*list)
	}
}

// similar is another value of the same type.
func (d *draw) similar(value any) any {
	switch v := value.(type) {
	case string:
		return d.text(v)
	case float64, json.Number, int64:
		return json.Number(pick(d, oddNumbers))
	case bool:
		return !v
	case map[string]any:
		if d.chance(3) {
			return map[string]any{}
		}
		v[d.key()] = d.text("")
		return v
	case *[]any:
		if d.chance(3) {
			return &[]any{}
		}
		if len(*v) > 0 {
			*v = append(*v, d.similar(clone((*v)[0])))
		}
		return v
	}
	return d.anything()
}

// made is what each server makes for itself: a uid or an address. With a letter
// more it would be told as a difference.
var made = regexp.MustCompile(`^([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|10\.0\.0\.[0-9]+)$`)

func (d *draw) text(old string) string {
	switch d.IntN(8) {
	case 0:
		return strings.Repeat(pick(d, []string{"x", "é", "A", "1", "a."}), pick(d, []int{15, 16, 63, 64, 128, 253, 254, 1025, 4000}))
	case 1:
		if !made.MatchString(old) {
			return old + pick(d, []string{"x", "-", ".", "/x", " ", "é", "X", "1"})
		}
	case 2, 3, 4:
		return pick(d, d.words)
	}
	return pick(d, oddStrings)
}

func (d *draw) key() string {
	if d.chance(2) {
		return pick(d, oddKeys)
	}
	return d.text("")
}

func (d *draw) anything() any {
	switch d.IntN(8) {
	case 0:
		return json.Number(pick(d, oddNumbers))
	case 1:
		return d.chance(2)
	case 2:
		return nil
	case 3:
		return map[string]any{d.key(): d.text("")}
	case 4:
		return &[]any{d.text("")}
	case 5:
		return &[]any{map[string]any{d.key(): d.text("")}}
	}
	return d.text("")
}

// graft copies a field from the full sample to the same place of the body. Places that
// the body has too are walked down first.
func (d *draw) graft(body, full map[string]any) {
	for {
		var deeper, missing []string
		for _, key := range sortedKeys(full) {
			if _, found := body[key]; !found {
				missing = append(missing, key)
			} else if object(full[key]) != nil && object(body[key]) != nil {
				deeper = append(deeper, key)
			}
		}
		if len(missing) > 0 && (len(deeper) == 0 || d.chance(4)) {
			key := pick(d, missing)
			body[key] = clone(full[key])
			return
		}
		if len(deeper) == 0 {
			return
		}
		key := pick(d, deeper)
		body, full = object(body[key]), object(full[key])
	}
}

// object is the value as an object, or its first item if it is a list of objects.
func object(value any) map[string]any {
	switch v := value.(type) {
	case map[string]any:
		return v
	case []any:
		if len(v) > 0 {
			return object(v[0])
		}
	case *[]any:
		if len(*v) > 0 {
			return object((*v)[0])
		}
	}
	return nil
}
