package kind

import (
	"bytes"
	"encoding/json"
)

// readJSON reads an object in JSON up to the end of its metadata. What is
// stored is what an encoder wrote: of a name that is there twice, one counts.
func (m *Meta) readJSON(value []byte) error {
	s := jsonScanner{b: value}
	if !s.object(func(name []byte) bool {
		if string(name) != "metadata" {
			return s.skip()
		}
		s.done = true
		return s.null() || m.scan(&s)
	}) {
		return errMeta
	}
	return nil
}

// scan reads the members of the metadata.
func (m *Meta) scan(s *jsonScanner) bool {
	inner := *s
	inner.done = false
	ok := inner.object(func(name []byte) bool {
		switch string(name) {
		case "uid":
			return inner.text(&m.UID)
		case "deletionTimestamp":
			m.Deleting = !inner.null()
			return !m.Deleting || inner.skip()
		case "finalizers":
			m.Finalizers = m.Finalizers[:0]
			return inner.null() || inner.array(func() bool {
				var finalizer []byte
				ok := inner.text(&finalizer)
				m.Finalizers = append(m.Finalizers, finalizer)
				return ok
			})
		case "ownerReferences":
			m.Owners = m.Owners[:0]
			return inner.null() || inner.array(func() bool {
				m.Owners = append(m.Owners, Owner{})
				return inner.null() || m.Owners[len(m.Owners)-1].scan(&inner)
			})
		}
		return inner.skip()
	})
	s.at = inner.at
	return ok
}

func (o *Owner) scan(s *jsonScanner) bool {
	return s.object(func(name []byte) bool {
		switch string(name) {
		case "apiVersion":
			return s.text(&o.APIVersion)
		case "kind":
			return s.text(&o.Kind)
		case "name":
			return s.text(&o.Name)
		case "uid":
			return s.text(&o.UID)
		case "blockOwnerDeletion":
			o.Blocks = s.literal("true")
			return o.Blocks || s.literal("false") || s.null()
		}
		return s.skip()
	})
}

// jsonScanner goes through a JSON text. It finds out where values end, and not
// whether they are valid. Its methods report whether what they expect is there.
type jsonScanner struct {
	b    []byte
	at   int
	done bool // nothing more of an object is wanted
}

// next returns the next byte that is no space; 0 at the end.
func (s *jsonScanner) next() byte {
	for ; s.at < len(s.b); s.at++ {
		switch c := s.b[s.at]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c
		}
	}
	return 0
}

// take takes one byte, if it is the next.
func (s *jsonScanner) take(c byte) bool {
	if s.next() != c {
		return false
	}
	s.at++
	return true
}

func (s *jsonScanner) literal(word string) bool {
	s.next()
	if !bytes.HasPrefix(s.b[s.at:], []byte(word)) {
		return false
	}
	s.at += len(word)
	return true
}

func (s *jsonScanner) null() bool { return s.literal("null") }

// object calls member with each name; it takes the value.
func (s *jsonScanner) object(member func(name []byte) bool) bool {
	if !s.take('{') {
		return false
	}
	for first := true; !s.take('}'); first = false {
		var name []byte
		if !first && !s.take(',') || !s.text(&name) || !s.take(':') || !member(name) {
			return false
		}
		if s.done {
			return true
		}
	}
	return true
}

// array calls item for each item; it takes it.
func (s *jsonScanner) array(item func() bool) bool {
	if !s.take('[') {
		return false
	}
	for first := true; !s.take(']'); first = false {
		if !first && !s.take(',') || !item() {
			return false
		}
	}
	return true
}

// text takes a string, or null, which is none.
func (s *jsonScanner) text(into *[]byte) bool {
	if s.next() != '"' {
		*into = nil
		return s.null()
	}
	begin := s.at
	escaped, ok := s.skipText()
	if !ok {
		return false
	}
	*into = s.b[begin+1 : s.at-1]
	if escaped {
		var text string
		if json.Unmarshal(s.b[begin:s.at], &text) != nil {
			return false
		}
		*into = []byte(text)
	}
	return true
}

// skipText passes a string, whose first quote is the next byte.
func (s *jsonScanner) skipText() (escaped, ok bool) {
	for i := s.at + 1; i < len(s.b); i++ {
		switch s.b[i] {
		case '\\':
			escaped = true
			i++
		case '"':
			s.at = i + 1
			return escaped, true
		}
	}
	return escaped, false
}

// skip passes a value.
func (s *jsonScanner) skip() bool {
	for depth := 0; ; {
		switch s.next() {
		case 0:
			return false
		case '"':
			if _, ok := s.skipText(); !ok {
				return false
			}
		case '{', '[':
			depth++
			s.at++
		case '}', ']':
			if depth--; depth < 0 {
				return false
			}
			s.at++
		case ',', ':':
			if depth == 0 {
				return false
			}
			s.at++
			continue
		default: // a number or a word
			for s.at++; s.at < len(s.b) && !isDelimiter[s.b[s.at]]; s.at++ {
			}
		}
		if depth == 0 {
			return true
		}
	}
}

// isDelimiter tells what ends a number or a word.
var isDelimiter = [256]bool{' ': true, '\t': true, '\n': true, '\r': true, ',': true, ':': true, '}': true, ']': true, '{': true, '[': true, '"': true}
