package normal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// A tree is a JSON value that keeps the order of its members: an object, array,
// string, json.Number, bool or nil.
type tree any

type (
	object []member
	array  []tree
	member struct {
		key   string
		value tree
	}
)

// get returns the member's value, or nil.
func (o object) get(key string) tree {
	for _, m := range o {
		if m.key == key {
			return m.value
		}
	}
	return nil
}

func (o object) text(key string) string {
	s, _ := o.get(key).(string)
	return s
}

// parse reads one JSON value and refuses anything after it.
func parse(data []byte) (tree, error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	value, err := parseValue(decoder)
	if err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one JSON value")
	}
	return value, nil
}

func parseValue(decoder *json.Decoder) (tree, error) {
	token, err := decoder.Token()
	if err != nil {
		return nil, err
	}
	switch token {
	case json.Delim('{'):
		value := object{}
		for decoder.More() {
			key, err := decoder.Token()
			if err != nil {
				return nil, err
			}
			item, err := parseValue(decoder)
			if err != nil {
				return nil, err
			}
			value = append(value, member{key.(string), item})
		}
		_, err := decoder.Token()
		return value, err
	case json.Delim('['):
		value := array{}
		for decoder.More() {
			item, err := parseValue(decoder)
			if err != nil {
				return nil, err
			}
			value = append(value, item)
		}
		_, err := decoder.Token()
		return value, err
	}
	return token, nil
}

// print writes the value as indented JSON, one scalar a line, so that a line diff
// of two values reads well.
func print(out *strings.Builder, value tree, indent string) {
	deeper := indent + "  "
	switch v := value.(type) {
	case object:
		if len(v) == 0 {
			out.WriteString("{}")
			return
		}
		out.WriteString("{\n")
		for i, m := range v {
			out.WriteString(deeper + quote(m.key) + ": ")
			print(out, m.value, deeper)
			out.WriteString(separator(i, len(v)))
		}
		out.WriteString(indent + "}")
	case array:
		if len(v) == 0 {
			out.WriteString("[]")
			return
		}
		out.WriteString("[\n")
		for i, item := range v {
			out.WriteString(deeper)
			print(out, item, deeper)
			out.WriteString(separator(i, len(v)))
		}
		out.WriteString(indent + "]")
	case string:
		out.WriteString(quote(v))
	case nil:
		out.WriteString("null")
	default: // json.Number, bool
		fmt.Fprint(out, v)
	}
}

func separator(i, n int) string {
	if i == n-1 {
		return "\n"
	}
	return ",\n"
}

func quote(s string) string {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(s) // a string always encodes
	return strings.TrimSuffix(out.String(), "\n")
}
