package verb

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
)

// mergeInto applies a merge patch (RFC 7396) to doc, an object as encoding/json
// writes it. The result is jsonpatch.MergePatch's to the byte, errors included,
// but what the patch does not name is copied, where that takes the whole
// document apart. Neither argument is modified or kept.
func mergeInto(doc, patch []byte) ([]byte, error) {
	var changes map[string]json.RawMessage
	if err := json.Unmarshal(patch, &changes); err != nil || changes == nil {
		return jsonpatch.MergePatch(doc, patch)
	}
	return appendMerged(make([]byte, 0, len(doc)+len(patch)), doc, changes)
}

// member is a member of an object. It has a value, a change to it, or both.
type member struct {
	name               string
	key, value, change []byte
}

// appendMerged appends doc with changes, which it uses up, made to its members,
// and these sorted: they are seen in errors and kept where content is raw.
func appendMerged(out, doc []byte, changes map[string]json.RawMessage) ([]byte, error) {
	var members []member
	for rest := doc[1:]; rest[0] != '}'; {
		rest = bytes.TrimPrefix(rest, comma)
		m := member{key: rest[:valueEnd(rest)]}
		rest = rest[len(m.key)+1:] // and the colon
		m.value = rest[:valueEnd(rest)]
		rest = rest[len(m.value):]
		var err error
		if m.name, err = unquote(m.key); err != nil {
			return nil, err
		}
		m.change = changes[m.name]
		delete(changes, m.name)
		members = append(members, m)
	}
	for name, change := range changes {
		key, err := json.Marshal(name)
		if err != nil {
			return nil, err
		}
		members = append(members, member{name: name, key: key, change: change})
	}
	slices.SortFunc(members, func(a, b member) int { return strings.Compare(a.name, b.name) })
	out = append(out, '{')
	begin := len(out)
	for _, m := range members {
		if bytes.Equal(m.change, null) {
			continue
		}
		if len(out) > begin {
			out = append(out, ',')
		}
		out = append(append(out, m.key...), ':')
		var err error
		if out, err = m.append(out); err != nil {
			return nil, err
		}
	}
	return append(out, '}'), nil
}

var (
	null  = []byte("null")
	comma = []byte(",")
)

// append appends what the member's value becomes. Objects are merged, and the
// library tells what else a change means.
func (m *member) append(out []byte) ([]byte, error) {
	switch {
	case m.change == nil:
		return append(out, m.value...), nil
	case m.value == nil:
		m.value = null
	case m.value[0] == '{' && m.change[0] == '{':
		var changes map[string]json.RawMessage
		if err := json.Unmarshal(m.change, &changes); err != nil {
			return nil, err
		}
		return appendMerged(out, m.value, changes)
	}
	const open, shut = `{"v":`, `}`
	wrap := func(b []byte) []byte { return append(append([]byte(open), b...), shut...) }
	merged, err := jsonpatch.MergePatch(wrap(m.value), wrap(m.change))
	if err != nil {
		return nil, err
	}
	return append(out, merged[len(open):len(merged)-len(shut)]...), nil
}

// valueEnd returns where the JSON value ends that b begins with. b must be the
// rest of a valid document without space between its tokens.
func valueEnd(b []byte) int {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			for i++; b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
			if depth == 0 {
				return i + 1
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth <= 0 {
				return i + 1 + depth // before the end of what holds a number or a word
			}
		case ',':
			if depth == 0 {
				return i
			}
		}
	}
	return len(b)
}

// unquote returns the string that a JSON string stands for.
func unquote(quoted []byte) (string, error) {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted[1 : len(quoted)-1]), nil
	}
	var s string
	err := json.Unmarshal(quoted, &s)
	return s, err
}
