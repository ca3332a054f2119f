package ownership

import (
	"strconv"
	"strings"

	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/value"
)

// change is what a write did to a field. Two may come together, where items of
// a list were the same and are no longer.
type change uint8

const (
	added change = 1 << iota
	modified
	removed
	// unowned fields were changed, but nobody shall own them for that.
	unowned
)

// owned reports whether who wrote owns the field.
func (c change) owned() bool { return c&(added|modified) != 0 && c&unowned == 0 }

// changed reports whether others own the field no longer.
func (c change) changed() bool { return c&(added|modified|removed) != 0 }

// element is one step of a path into an object: 'f' for a field by its name,
// 'k' for an item of a list by its keys, 'v' by its value, 'i' by its index;
// text is what follows "f:" in metadata.managedFields.
type element struct {
	kind byte
	text string
}

// changes is a tree of changed fields, in the order of metadata.managedFields.
// Its root is at 0. It is kept for the next write.
type changes struct {
	nodes []changeNode
}

type changeNode struct {
	element
	change            change
	first, last, next int32 // of its fields, and its sibling; 0 is none
}

func (c *changes) reset() {
	c.nodes = append(c.nodes[:0], changeNode{})
}

// add appends a field to those of parent.
func (c *changes) add(parent int32, e element) int32 {
	n := int32(len(c.nodes))
	c.nodes = append(c.nodes, changeNode{element: e})
	if p := &c.nodes[parent]; p.first == 0 {
		p.first, p.last = n, n
	} else {
		c.nodes[p.last].next, p.last = n, n
	}
	return n
}

// find returns the field of parent with a name, or 0.
func (c *changes) find(parent int32, name string) int32 {
	for n := c.nodes[parent].first; n != 0; n = c.nodes[n].next {
		if c.nodes[n].element == (element{'f', name}) {
			return n
		}
	}
	return 0
}

// owned reports whether anything in the tree is owned by who wrote.
func (c *changes) owned() bool {
	for i := range c.nodes[1:] {
		if c.nodes[1+i].change.owned() {
			return true
		}
	}
	return false
}

// disown takes from who wrote what upstream says is never owned: the object's
// identity and what the server keeps.
func (c *changes) disown() {
	metadata := c.find(0, "metadata")
	for _, name := range [...]string{"apiVersion", "kind", "metadata"} {
		c.nodes[c.find(0, name)].change |= unowned
	}
	if metadata == 0 {
		return
	}
	for n := c.nodes[metadata].first; n != 0; n = c.nodes[n].next {
		switch c.nodes[n].text {
		case "name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName", "generation", "managedFields", "resourceVersion":
			c.nodes[n].change |= unowned
		}
	}
}

// compare is the order of elements in metadata.managedFields.
func (e element) compare(other element) int {
	if e.kind != other.kind {
		return strings.IndexByte("fkvi", e.kind) - strings.IndexByte("fkvi", other.kind)
	}
	if e.text == other.text {
		return 0
	}
	if e.kind == 'f' {
		return strings.Compare(e.text, other.text)
	}
	if c, ok := compareKeys(e.text, other.text); ok {
		return c
	}
	a, err := fieldpath.DeserializePathElement(string(e.kind) + ":" + e.text)
	b, otherErr := fieldpath.DeserializePathElement(string(other.kind) + ":" + other.text)
	if err != nil || otherErr != nil {
		return 0 // the caller has made sure that they are elements
	}
	return a.Compare(b)
}

// compareKeys compares {"a":"x","b":1} and the like, or items of sets, if all
// in them up to the difference is plain.
func compareKeys(a, b string) (int, bool) {
	for a != "" && b != "" {
		if a[0] == b[0] && strings.IndexByte("{,:", a[0]) >= 0 {
			a, b = a[1:], b[1:]
		}
		x, aRest, ok := cutScalar(a)
		y, bRest, also := cutScalar(b)
		if !ok || !also {
			break
		}
		if c := x.compare(y); c != 0 {
			return c, true
		}
		a, b = aRest, bRest
	}
	return 0, false
}

// appendElement appends e as a key of JSON, quoted and with its colon.
func appendElement(to []byte, e element) []byte {
	to = append(to, '"', e.kind, ':')
	start := 0
	for i := range len(e.text) {
		b := e.text[i]
		if b >= ' ' && b != '"' && b != '\\' {
			continue
		}
		to = append(to, e.text[start:i]...)
		start = i + 1
		switch b {
		case '"', '\\':
			to = append(to, '\\', b)
		case '\n':
			to = append(to, '\\', 'n')
		case '\r':
			to = append(to, '\\', 'r')
		case '\t':
			to = append(to, '\\', 't')
		default:
			to = append(to, '\\', 'u', '0', '0', "0123456789abcdef"[b>>4], "0123456789abcdef"[b&15])
		}
	}
	return append(append(to, e.text[start:]...), '"', ':')
}

// scalar is the value of a key, or an item of a set.
type scalar struct {
	kind   byte // 't' for text, 'n' for a whole number, 'b' for a truth value
	text   string
	number int64 // 0 or 1 if it is a truth value
}

func (s scalar) compare(other scalar) int {
	switch {
	case s.kind != other.kind:
		return strings.IndexByte("ntb", s.kind) - strings.IndexByte("ntb", other.kind)
	case s.kind == 't':
		return strings.Compare(s.text, other.text)
	case s.number < other.number:
		return -1
	case s.number > other.number:
		return 1
	}
	return 0
}

func (s scalar) append(to []byte) []byte {
	switch {
	case s.kind == 'n':
		return strconv.AppendInt(to, s.number, 10)
	case s.kind == 'b':
		return strconv.AppendBool(to, s.number != 0)
	case plain(s.text):
		return append(append(append(to, '"'), s.text...), '"')
	}
	v := value.NewValueInterface(s.text)
	text, err := fieldpath.SerializePathElement(fieldpath.PathElement{Value: &v})
	if err != nil {
		panic(err) // text has a form in JSON
	}
	return append(to, text[len("v:"):]...)
}

// plain reports whether upstream writes a text in JSON as it is.
func plain(text string) bool {
	for i := range len(text) {
		switch b := text[i]; {
		case b < ' ', b >= 0x7f, b == '"', b == '\\', b == '<', b == '>', b == '&':
			return false
		}
	}
	return true
}

// named is a key of an item and its value.
type named struct {
	name string
	scalar
}

// elementOf is the path element of a list's item; a set's item has one value
// without a name. scratch may be overwritten.
func elementOf(keys []named, scratch []byte) (element, []byte) {
	if len(keys) == 1 && keys[0].name == "" {
		scratch = keys[0].append(scratch[:0])
		return element{'v', string(scratch)}, scratch
	}
	scratch = append(scratch[:0], '{')
	for i, k := range keys {
		if i > 0 {
			scratch = append(scratch, ',')
		}
		scratch = append(append(append(scratch, '"'), k.name...), '"', ':')
		scratch = k.append(scratch)
	}
	scratch = append(scratch, '}')
	return element{'k', string(scratch)}, scratch
}

// compareNamed is the order of path elements of one list.
func compareNamed(a, b []named) int {
	for i := range min(len(a), len(b)) {
		if c := strings.Compare(a[i].name, b[i].name); c != 0 {
			return c
		}
		if c := a[i].scalar.compare(b[i].scalar); c != 0 {
			return c
		}
	}
	return len(a) - len(b)
}
