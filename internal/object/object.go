// Package object is an object of the API kept encoded: its storage form, the
// revision that gave it, and whatever was made from it since.
//
// It must not know what the bytes mean. How an encoding is made, and what an
// object can be selected by, is told by the Form and the Selector that kind
// passes in.
package object

import (
	"strings"
	"sync/atomic"
)

// Object is one revision of an object. It is immutable but for what is
// derived from it, which is cached here and may be dropped at any time, so it
// is shared freely between goroutines.
type Object struct {
	// Namespace is empty for objects of cluster scope.
	Namespace, Name string
	// Rev is the revision that wrote this value; its decimal form is the
	// object's resourceVersion.
	Rev uint64
	// Value is the storage form, without a resourceVersion. It must never be
	// modified.
	Value []byte
	// Err, if not nil, says why Value cannot be read.
	Err error

	attrs     atomic.Pointer[attrs]
	encodings atomic.Pointer[encoding]
	// Seal is the store's word for how it keeps the value (store.Event).
	Seal  uint32
	marks atomic.Uint32
	slot  int // position in the cache's queue, 0 if none; guarded by its mutex
}

// What marks an object.
const (
	used    = 1 << iota // since the cache last looked
	encoded             // at least once, in some form
)

func (o *Object) mark(what uint32) {
	if o.marks.Load()&what != what { // it mostly is, and then need not be written by all who read
		o.marks.Or(what)
	}
}

// Sound reports whether the object is known to be readable, since an encoding of
// it was made.
func (o *Object) Sound() bool { return o.marks.Load()&encoded != 0 }

// New returns the object that a storage key below prefix names. The key is
// prefix + "/" + [namespace + "/"] + name; key and value are kept, not copied.
func New(prefix, key string, value []byte, rev uint64, err error) *Object {
	o := &Object{Value: value, Rev: rev, Err: err}
	rest := strings.TrimPrefix(key[len(prefix):], "/")
	if ns, name, ok := strings.Cut(rest, "/"); ok {
		o.Namespace, o.Name = ns, name
	} else {
		o.Name = rest
	}
	return o
}

// Key returns the name of the object, after its namespace and a slash if it has
// one.
func (o *Object) Key() string {
	if o.Namespace == "" {
		return o.Name
	}
	return o.Namespace + "/" + o.Name
}

// At returns the same object under another revision: a deletion shows the
// last state of an object with the revision that deleted it. What was derived
// from o is not taken along, since encodings hold the resourceVersion.
func (o *Object) At(rev uint64) *Object {
	return &Object{Namespace: o.Namespace, Name: o.Name, Rev: rev, Value: o.Value, Err: o.Err}
}
