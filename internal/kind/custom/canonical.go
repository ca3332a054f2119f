package custom

import (
	"bytes"
	"encoding/json"
	"strconv"
	"unicode/utf8"
)

// canonical reads JSON as encoding/json writes it for values that were decoded
// from JSON to maps: without spaces, members in the order of their names, each
// once, and strings and numbers in one way only. What is written in another way,
// or may be, it refuses.
type canonical struct {
	in  []byte
	at  int
	bad bool // something was refused; what follows is void
}

func (c *canonical) refuse() { c.bad = true }

// next returns the byte that comes next; 0 if there is none.
func (c *canonical) next() byte {
	if c.bad || c.at == len(c.in) {
		return 0
	}
	return c.in[c.at]
}

// skip goes over a byte that must come next.
func (c *canonical) skip(b byte) {
	if c.next() != b {
		c.refuse()
		return
	}
	c.at++
}

// object reads an object. member is called before each value, with its name
// decoded, and reads that value.
func (c *canonical) object(member func(name []byte)) {
	var last []byte
	c.sequence('{', '}', func(first bool) {
		name := c.text()
		if !first && bytes.Compare(last, name) >= 0 {
			c.refuse()
		}
		last = name
		c.skip(':')
		if !c.bad {
			member(name)
		}
	})
}

// array reads an array; item reads each value.
func (c *canonical) array(item func()) {
	c.sequence('[', ']', func(bool) { item() })
}

func (c *canonical) sequence(begin, end byte, part func(first bool)) {
	c.skip(begin)
	if c.next() == end {
		c.at++
		return
	}
	for first := true; !c.bad; first = false {
		part(first)
		if c.next() == end {
			c.at++
			return
		}
		c.skip(',')
	}
}

// any reads a value of any kind.
func (c *canonical) any() {
	switch c.next() {
	case '{':
		c.object(func([]byte) { c.any() })
	case '[':
		c.array(c.any)
	default:
		c.scalar()
	}
}

// scalar reads a value that has no parts.
func (c *canonical) scalar() {
	switch c.next() {
	case '"':
		c.text()
	case 't':
		c.word("true")
	case 'f':
		c.word("false")
	case 'n':
		c.word("null")
	default:
		c.number()
	}
}

func (c *canonical) word(w string) {
	if !bytes.HasPrefix(c.in[c.at:], []byte(w)) {
		c.refuse()
		return
	}
	c.at += len(w)
}

// digits reads what a number may be made of.
func (c *canonical) digits() []byte {
	begin := c.at
	for isNumeric(c.next()) {
		c.at++
	}
	return c.in[begin:c.at]
}

// number reads a number. A whole one that does not fit an int64 is refused.
func (c *canonical) number() {
	digits := c.digits()
	if !bytes.ContainsAny(digits, ".eE") {
		c.check(digits)
		return
	}
	float, err := strconv.ParseFloat(string(digits), 64)
	if err != nil {
		c.refuse()
		return
	}
	if written, err := json.Marshal(float); err != nil || !bytes.Equal(written, digits) {
		c.refuse()
	}
}

// integer reads a number that is an int64.
func (c *canonical) integer() int64 { return c.check(c.digits()) }

func (c *canonical) check(digits []byte) int64 {
	n, err := strconv.ParseInt(string(digits), 10, 64)
	if err != nil || len(digits) > 1 && (digits[0] == '0' || digits[0] == '+' || digits[0] == '-' && digits[1] == '0') {
		c.refuse()
	}
	return n
}

func isNumeric(b byte) bool {
	return '0' <= b && b <= '9' || b == '-' || b == '+' || b == '.' || b == 'e' || b == 'E'
}

// text reads a string and returns what it says, which may be part of the input.
func (c *canonical) text() []byte {
	c.skip('"')
	begin := c.at
	var said []byte // if it is not as it is written
	for !c.bad {
		if c.at == len(c.in) {
			c.refuse()
			break
		}
		switch b := c.in[c.at]; {
		case b == '"':
			c.at++
			if said == nil {
				return c.in[begin : c.at-1]
			}
			return said
		case b == '\\':
			if said == nil {
				said = append([]byte{}, c.in[begin:c.at]...)
			}
			said = append(said, c.escape())
		case b < ' ' || b == '<' || b == '>' || b == '&':
			c.refuse()
		case b < utf8.RuneSelf:
			c.at++
			if said != nil {
				said = append(said, b)
			}
		default:
			r, size := utf8.DecodeRune(c.in[c.at:])
			if r == utf8.RuneError || r == '\u2028' || r == '\u2029' {
				c.refuse()
				break
			}
			if said != nil {
				said = append(said, c.in[c.at:c.at+size]...)
			}
			c.at += size
		}
	}
	return nil
}

// escapes are what is written as a backslash and one more byte.
var escapes = [256]byte{'"': '"', '\\': '\\', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// escape reads what begins with a backslash, but for what is written so for
// the sake of U+2028 and U+2029.
func (c *canonical) escape() byte {
	rest := c.in[c.at:]
	if len(rest) >= 2 && escapes[rest[1]] != 0 {
		c.at += 2
		return escapes[rest[1]]
	}
	if len(rest) >= 6 && string(rest[1:4]) == "u00" {
		if n, err := strconv.ParseUint(string(rest[4:6]), 16, 8); err == nil {
			// Only what has no shorter way, and must not stand for itself.
			written, _ := json.Marshal(string(rune(n)))
			if string(written) == `"`+string(rest[:6])+`"` {
				c.at += 6
				return byte(n)
			}
		}
	}
	c.refuse()
	return 0
}
