package endpoint

import (
	"bytes"
	"reflect"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// protobufHead is what a body of protobuf begins with; the rest is a message of
// which field 2 is the object.
var protobufHead = []byte("k8s\x00")

// monstrousInBody reports whether a body of protobuf, which is to be read as a t, has
// such a quantity in it. Only what stands where a quantity is read counts: the uid
// of an object may look like one.
func monstrousInBody(body []byte, t reflect.Type) bool {
	rest, ok := bytes.CutPrefix(body, protobufHead)
	if !ok {
		return false
	}
	found := false
	eachField(rest, func(n protowire.Number, raw []byte) {
		found = found || n == 2 && monstrousInMessage(raw, t, deepest)
	})
	return found
}

// kindInBody is the kind that a body of protobuf says it is of: field 1 of the message,
// of which that is the version, and field 2 the kind.
func kindInBody(body []byte) schema.GroupVersionKind {
	var version, kind string
	eachField(bytes.TrimPrefix(body, protobufHead), func(n protowire.Number, raw []byte) {
		if n != 1 {
			return
		}
		eachField(raw, func(n protowire.Number, text []byte) {
			switch n {
			case 1:
				version = string(text)
			case 2:
				kind = string(text)
			}
		})
	})
	return schema.FromAPIVersionAndKind(version, kind)
}

// deepest is how deep a quantity may be. Types that go deeper, as they hold
// themselves, hold none.
const deepest = 100

// monstrousInMessage is that for a message, so many levels above the deepest. One that
// cannot be read ends there, as it does for who reads it.
func monstrousInMessage(message []byte, t reflect.Type, levels int) bool {
	found := false
	if levels == 0 {
		return false
	}
	eachField(message, func(n protowire.Number, value []byte) {
		if found {
			return
		}
		if t == quantityType {
			found = n == 1 && monstrous(string(value))
			return
		}
		f, ok := fieldNumbered(t, n)
		for ok && (f.Kind() == reflect.Pointer || f.Kind() == reflect.Slice) {
			f = f.Elem()
		}
		switch {
		case !ok:
		case f.Kind() == reflect.Struct:
			found = monstrousInMessage(value, f, levels-1)
		case f.Kind() == reflect.Map: // an entry: a key and a value
			item := f.Elem()
			eachField(value, func(n protowire.Number, value []byte) {
				found = found || n == 2 && item.Kind() == reflect.Struct && monstrousInMessage(value, item, levels-1)
			})
		}
	})
	return found
}

// eachField calls see for what has a length in a message, up to where it can be read.
func eachField(message []byte, see func(n protowire.Number, value []byte)) {
	for len(message) > 0 {
		number, kind, head := protowire.ConsumeTag(message)
		if head < 0 {
			return
		}
		if kind == protowire.BytesType {
			value, size := protowire.ConsumeBytes(message[head:])
			if size < 0 {
				return
			}
			see(number, value)
			message = message[head+size:]
			continue
		}
		size := protowire.ConsumeFieldValue(number, kind, message[head:])
		if size < 0 {
			return
		}
		message = message[head+size:]
	}
}

// fieldNumbered is the type of the field that has a number in protobuf.
func fieldNumbered(t reflect.Type, n protowire.Number) (reflect.Type, bool) {
	if t.Kind() != reflect.Struct {
		return nil, false
	}
	want := strconv.Itoa(int(n))
	for f := range t.Fields() {
		if parts := strings.SplitN(f.Tag.Get("protobuf"), ",", 3); len(parts) > 1 && parts[1] == want {
			return f.Type, true
		}
	}
	return nil, false
}
