package ownership

import (
	"errors"
	"strconv"
	"strings"

	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// errUnusual is of a set of fields that upstream would write in another way or
// refuse, or that has fields below what is owned as a whole.
var errUnusual = errors.New("an unusual set of fields")

// fieldsWriter writes the set of fields (FieldsV1) of one owner as it is after
// changes. Reading, changing and writing are one pass.
type fieldsWriter struct {
	changes *changes
	// mine says that the owner made the changes, and gets what others lose.
	mine bool
	in   string // what is not read yet
	out  []byte
	text []byte // scratch
	deep int
}

// maxDepth is how deep a usual set is at most. Upstream has a limit too.
const maxDepth = 1000

// write appends the set in, after the changes, to f.out. The count is that of
// the topmost fields: with none, nothing is owned.
func (f *fieldsWriter) write(in string, schema below) (count int, err error) {
	f.in = in
	if !f.skip("{") {
		return 0, errUnusual
	}
	f.out = append(f.out, '{')
	if f.skip("}") {
		count = f.gainedBelow(0, 0)
	} else if count, err = f.level(0, schema, 0); err != nil {
		return 0, err
	}
	f.out = append(f.out, '}')
	if f.in != "" {
		return 0, errUnusual
	}
	return count, nil
}

func (f *fieldsWriter) skip(s string) bool {
	rest, ok := strings.CutPrefix(f.in, s)
	if ok {
		f.in = rest
	}
	return ok
}

// none is a node of the changes that is not there.
const none int32 = -1

func (f *fieldsWriter) firstBelow(node int32) int32 {
	if node == none {
		return 0
	}
	return f.changes.nodes[node].first
}

// level reads fields, at least one, up to the closing brace, and writes them
// together with those that the changes have below node. It returns count,
// which is how many are written at this level, further.
func (f *fieldsWriter) level(node int32, schema below, count int) (int, error) {
	if f.deep++; f.deep > maxDepth {
		return 0, errUnusual
	}
	defer func() { f.deep-- }()
	changed := f.firstBelow(node)
	var last element
	for first := true; first || !f.skip("}"); first = false {
		if !first && !f.skip(",") {
			return 0, errUnusual
		}
		raw, e, ok := f.element()
		if !ok || !first && last.compare(e) >= 0 {
			return 0, errUnusual
		}
		last = e
		match := none
		for changed != 0 && match == none {
			c := &f.changes.nodes[changed]
			order := c.element.compare(e)
			if order > 0 {
				break
			}
			if order == 0 {
				match = changed
			} else {
				count = f.gained(changed, count)
			}
			changed = c.next
		}
		var err error
		if count, err = f.field(raw, match, child(schema, e), count); err != nil {
			return 0, err
		}
	}
	for ; changed != 0; changed = f.changes.nodes[changed].next {
		count = f.gained(changed, count)
	}
	return count, nil
}

// child returns what a schema tells of a field; nil if nothing.
func child(schema below, e element) below {
	if schema == nil {
		return nil
	}
	switch schema.relation() {
	case belowFields:
		if e.kind == 'f' {
			return schema.field(e.text)
		}
		return schema.element()
	case belowItems:
		return schema.element()
	}
	return nil
}

// field reads what is owned of a field whose element was read, and writes it.
func (f *fieldsWriter) field(raw string, match int32, schema below, count int) (int, error) {
	start := len(f.out)
	if count > 0 {
		f.out = append(f.out, ',')
	}
	f.out = append(append(f.out, raw...), '{')
	inside := len(f.out)

	if !f.skip("{") {
		return 0, errUnusual
	}
	owned, more := f.skip(`".":{}`), true
	switch {
	case owned && !f.skip(","):
		return 0, errUnusual
	case !owned && f.skip("}"):
		owned, more = true, false
	case schema != nil && schema.relation() == belowAtomic:
		return 0, errUnusual
	}
	if match != none {
		c := f.changes.nodes[match].change
		owned = owned && !c.changed() || f.mine && c.owned()
	}
	n, err := 0, error(nil)
	if owned {
		f.out, n = append(f.out, `".":{}`...), 1
	}
	if more {
		if n, err = f.level(match, schema, n); err != nil {
			return 0, err
		}
	} else {
		n = f.gainedBelow(match, n)
	}
	return f.end(start, inside, owned, n, count), nil
}

// end finishes a field, which has n fields and itself, if it is owned, among
// them.
func (f *fieldsWriter) end(start, inside int, owned bool, n, count int) int {
	if n == 0 {
		f.out = f.out[:start]
		return count
	}
	if owned && n == 1 {
		f.out = f.out[:inside]
	}
	f.out = append(f.out, '}')
	return count + 1
}

// gained writes a field that the owner has by the changes alone.
func (f *fieldsWriter) gained(node int32, count int) int {
	if !f.mine {
		return count
	}
	start := len(f.out)
	if count > 0 {
		f.out = append(f.out, ',')
	}
	f.out = append(appendElement(f.out, f.changes.nodes[node].element), '{')
	inside, n := len(f.out), 0
	owned := f.changes.nodes[node].change.owned()
	if owned {
		f.out, n = append(f.out, `".":{}`...), 1
	}
	n = f.gainedBelow(node, n)
	return f.end(start, inside, owned, n, count)
}

func (f *fieldsWriter) gainedBelow(node int32, count int) int {
	for c := f.firstBelow(node); c != 0; c = f.changes.nodes[c].next {
		count = f.gained(c, count)
	}
	return count
}

// element reads an element. raw is as it was written, with its colon.
func (f *fieldsWriter) element() (raw string, e element, ok bool) {
	if !strings.HasPrefix(f.in, `"`) {
		return "", element{}, false
	}
	end := 1
	for end < len(f.in) && f.in[end] >= ' ' && f.in[end] != '"' && f.in[end] != '\\' {
		end++
	}
	if end == len(f.in) || f.in[end] < ' ' {
		return "", element{}, false
	}
	text := f.in[1:end]
	if f.in[end] == '\\' {
		if text, end, ok = f.unescape(); !ok {
			return "", element{}, false
		}
	}
	if len(text) < 2 || text[1] != ':' || end+1 == len(f.in) || f.in[end+1] != ':' {
		return "", element{}, false
	}
	raw, f.in = f.in[:end+2], f.in[end+2:]
	e = element{text[0], text[2:]}
	return raw, e, e.usual()
}

// unescape reads the text that f.in begins with, if upstream would write it
// that way. end is the index of the closing quote.
func (f *fieldsWriter) unescape() (text string, end int, ok bool) {
	f.text = f.text[:0]
	for i := 1; i < len(f.in); i++ {
		switch b := f.in[i]; {
		case b == '"':
			return string(f.text), i, true
		case b < ' ':
			return "", 0, false
		case b != '\\':
			f.text = append(f.text, b)
			continue
		}
		i++
		if i == len(f.in) {
			break
		}
		switch b := f.in[i]; b {
		case '"', '\\':
			f.text = append(f.text, b)
		case 'n':
			f.text = append(f.text, '\n')
		case 'r':
			f.text = append(f.text, '\r')
		case 't':
			f.text = append(f.text, '\t')
		case 'u':
			if len(f.in) < i+5 {
				return "", 0, false
			}
			n, err := strconv.ParseUint(f.in[i+1:i+5], 16, 8)
			written := appendElement(nil, element{'f', string([]byte{byte(n)})})
			if err != nil || string(written) != `"f:\`+f.in[i:i+5]+`":` {
				return "", 0, false
			}
			f.text = append(f.text, byte(n))
			i += 4
		default:
			return "", 0, false
		}
	}
	return "", 0, false
}

// usual reports whether upstream, having read e, writes the same.
func (e element) usual() bool {
	switch e.kind {
	case 'f':
		return true
	case 'k', 'v':
		if e.inOrder() {
			return true
		}
	case 'i':
	default:
		return false
	}
	written := string(e.kind) + ":" + e.text
	read, err := fieldpath.DeserializePathElement(written)
	if err != nil {
		return false
	}
	again, err := fieldpath.SerializePathElement(read)
	return err == nil && again == written
}

// inOrder reports whether keys, or a value, are in order and without anything
// that has several forms in JSON.
func (e element) inOrder() bool {
	if e.kind == 'v' {
		_, rest, ok := cutScalar(e.text)
		return ok && rest == ""
	}
	s, last := e.text, ""
	for i := 0; ; i++ {
		if s == "" || i == 0 && s[0] != '{' || i > 0 && s[0] != ',' {
			return i > 0 && s == "}"
		}
		name, rest, ok := cutScalar(s[1:])
		if !ok || name.kind != 't' || i > 0 && name.text <= last || rest == "" || rest[0] != ':' {
			return false
		}
		if _, s, ok = cutScalar(rest[1:]); !ok {
			return false
		}
		last = name.text
	}
}

// cutScalar reads a text or a number from the beginning of s, if it has just
// one form.
func cutScalar(s string) (v scalar, rest string, ok bool) {
	if s == "" {
		return scalar{}, "", false
	}
	if s[0] == '"' {
		end := strings.IndexByte(s[1:], '"') + 1
		if end <= 0 || !plain(s[1:end]) {
			return scalar{}, "", false
		}
		return scalar{kind: 't', text: s[1:end]}, s[end+1:], true
	}
	end := 0
	for end < len(s) && '0' <= s[end] && s[end] <= '9' {
		end++
	}
	if end == 0 || end > 15 || end > 1 && s[0] == '0' || end < len(s) && strings.IndexByte(".eE", s[end]) >= 0 {
		return scalar{}, "", false
	}
	n, err := strconv.ParseInt(s[:end], 10, 64)
	return scalar{kind: 'n', number: n}, s[end:], err == nil
}
