package kind

import (
	"bytes"
	"encoding/binary"
	"errors"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kjson "sigs.k8s.io/json"

	"github.com/knarr-io/knarr/internal/object"
)

// Meta is what an object says of its identity and of its end: the part of its
// metadata that decides about deletion. Read takes it out of the storage form
// without decoding the object, in a fraction of a microsecond, so that those who look at
// every write can afford it. What is in it are parts of the object's value: they
// stay as they are, keep all of it alive, and are copied by who keeps them.
type Meta struct {
	UID []byte
	// Deleting tells that there is a deletion timestamp.
	Deleting   bool
	Finalizers [][]byte
	Owners     []Owner
}

// Owner is an owner reference.
type Owner struct {
	APIVersion, Kind, Name, UID []byte
	// Blocks tells that the owner waits for the object where it is deleted in
	// the foreground.
	Blocks bool
}

// Finalizer reports whether m has a finalizer of that name.
func (m *Meta) Finalizer(name string) bool {
	for _, f := range m.Finalizers {
		if string(f) == name {
			return true
		}
	}
	return false
}

var errMeta = errors.New("the metadata cannot be read")

// Read makes m that of o, in the memory that m has. If it fails, o cannot be read.
func (m *Meta) Read(o *object.Object) error {
	if o.Err != nil {
		return o.Err
	}
	return m.read(o.Value)
}

// Reset makes m that of no object.
func (m *Meta) Reset() {
	m.UID, m.Deleting, m.Finalizers, m.Owners = nil, false, m.Finalizers[:0], m.Owners[:0]
}

func (m *Meta) read(value []byte) error {
	m.Reset()
	if message, ok := bytes.CutPrefix(value, []byte(envelopePrefix)); ok {
		return m.readEnvelope(message)
	}
	return m.readJSON(value)
}

// Metadata decodes the whole metadata of a stored object, and nothing else of it.
// It has no resourceVersion.
func Metadata(o *object.Object) (*metav1.ObjectMeta, error) {
	if o.Err != nil {
		return nil, o.Err
	}
	var obj metav1.PartialObjectMetadata
	message, ok := bytes.CutPrefix(o.Value, []byte(envelopePrefix))
	if !ok {
		if err := kjson.UnmarshalCaseSensitivePreserveInts(o.Value, &obj); err != nil {
			return nil, err
		}
		return &obj.ObjectMeta, nil
	}
	err := eachField(message, rawOfUnknown, func(message []byte) error {
		return eachField(message, metadataOfObject, obj.ObjectMeta.Unmarshal)
	})
	if err != nil {
		return nil, err
	}
	return &obj.ObjectMeta, nil
}

// Numbers of the fields that are read, as they are in upstream's generated.proto.
const (
	rawOfUnknown = 2

	metadataOfObject = 1

	uidOfMeta, deletionOfMeta, ownersOfMeta, finalizersOfMeta = 5, 9, 13, 14

	kindOfOwner, nameOfOwner, uidOfOwner, apiVersionOfOwner, blocksOfOwner = 1, 3, 4, 5, 7
)

// readEnvelope reads a runtime.Unknown.
func (m *Meta) readEnvelope(unknown []byte) error {
	return eachField(unknown, rawOfUnknown, func(message []byte) error {
		return eachField(message, metadataOfObject, m.readMessage)
	})
}

// eachField calls do for the fields of bytes with that number.
func eachField(message []byte, number uint64, do func([]byte) error) error {
	for len(message) > 0 {
		f, rest, ok := nextField(message)
		if !ok {
			return errMeta
		}
		if message = rest; f.number == number && f.bytes {
			if err := do(f.content); err != nil {
				return err
			}
		}
	}
	return nil
}

// readMessage reads an ObjectMeta.
func (m *Meta) readMessage(message []byte) error {
	for len(message) > 0 {
		f, rest, ok := nextField(message)
		if !ok {
			return errMeta
		}
		if message = rest; !f.bytes {
			continue
		}
		switch f.number {
		case uidOfMeta:
			m.UID = f.content
		case deletionOfMeta:
			m.Deleting = true
		case finalizersOfMeta:
			m.Finalizers = append(m.Finalizers, f.content)
		case ownersOfMeta:
			owner, err := readOwner(f.content)
			if err != nil {
				return err
			}
			m.Owners = append(m.Owners, owner)
		}
	}
	return nil
}

func readOwner(message []byte) (o Owner, err error) {
	for len(message) > 0 {
		f, rest, ok := nextField(message)
		if !ok {
			return o, errMeta
		}
		message = rest
		switch f.number {
		case kindOfOwner:
			o.Kind = f.content
		case nameOfOwner:
			o.Name = f.content
		case uidOfOwner:
			o.UID = f.content
		case apiVersionOfOwner:
			o.APIVersion = f.content
		case blocksOfOwner:
			o.Blocks = f.value != 0
		}
	}
	return o, nil
}

// protoField is one field of a protobuf message: bytes, or a number.
type protoField struct {
	number  uint64
	bytes   bool
	content []byte
	value   uint64
}

// nextField takes the first field off a message. Groups, which nobody writes, are
// not known.
func nextField(message []byte) (f protoField, rest []byte, ok bool) {
	tag, n := uvarint(message)
	if n <= 0 || tag>>3 == 0 {
		return f, nil, false
	}
	f.number, message = tag>>3, message[n:]
	switch tag & 7 {
	case 0: // a varint
		f.value, n = uvarint(message)
		if n <= 0 {
			return f, nil, false
		}
	case 1: // 64 bits
		n = 8
	case 5: // 32 bits
		n = 4
	case 2: // bytes
		size, of := uvarint(message)
		if of <= 0 || size > uint64(len(message)-of) {
			return f, nil, false
		}
		n = of + int(size)
		f.bytes, f.content = true, message[of:n]
	default:
		return f, nil, false
	}
	if n > len(message) {
		return f, nil, false
	}
	return f, message[n:], true
}

// uvarint is binary.Uvarint, but quick for what is in one byte, as most is.
func uvarint(b []byte) (uint64, int) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint64(b[0]), 1
	}
	return binary.Uvarint(b)
}
