package endpoint

import (
	"bytes"
	"reflect"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
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
		found = found || n == 2 && monstrousInMessage(raw, t)
	})
	return found
}

// monstrousInMessage is that for a message. One that cannot be read ends there, as it
// does for who reads it.
func monstrousInMessage(message []byte, t reflect.Type) bool {
	found := false
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
			found = monstrousInMessage(value, f)
		case f.Kind() == reflect.Map: // an entry: a key and a value
			item := f.Elem()
			eachField(value, func(n protowire.Number, value []byte) {
				found = found || n == 2 && item.Kind() == reflect.Struct && monstrousInMessage(value, item)
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
