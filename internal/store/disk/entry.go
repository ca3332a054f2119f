package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/knarr-io/knarr/internal/store"
	"github.com/knarr-io/knarr/internal/store/embedded"
)

// An entry is kept under its revision (8 bytes, big endian) as
//
//	flags         1 byte
//	head checksum 4 bytes, over the revision and all of the head but itself
//	value checksum 4 bytes
//	prev          uvarint
//	time          varint, nanoseconds since 1970
//	expires       varint, the same; only with flagExpires
//	value length  uvarint
//	key length    uvarint
//	key
//	value
//
// The checksums are CRC-32C, little endian. The value has its own, so that a
// damaged value costs one key and not the start of the server.
const (
	flagDeleted = 1 << iota
	flagExpires

	fixedHead = 1 + 4 + 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var (
	errHead  = errors.New("its head is damaged")
	errValue = errors.New("the value is damaged: its checksum is wrong")
)

// appendEntry appends the encoding of e to b.
func appendEntry(b []byte, e embedded.Entry) []byte {
	start := len(b)
	var flags byte
	if e.Deleted() {
		flags |= flagDeleted
	}
	if !e.Expires.IsZero() {
		flags |= flagExpires
	}
	b = append(b, flags, 0, 0, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(e.Value, castagnoli))
	b = binary.AppendUvarint(b, e.Prev)
	b = binary.AppendVarint(b, e.Time.UnixNano())
	if flags&flagExpires != 0 {
		b = binary.AppendVarint(b, e.Expires.UnixNano())
	}
	b = binary.AppendUvarint(b, uint64(len(e.Value)))
	b = binary.AppendUvarint(b, uint64(len(e.Key)))
	b = append(b, e.Key...)
	putHeadChecksum(e.Rev, b[start:])
	return append(b, e.Value...)
}

func putHeadChecksum(rev uint64, head []byte) {
	binary.LittleEndian.PutUint32(head[1:], headChecksum(rev, head))
}

// headChecksum computes the checksum of a head; it skips the place where it is
// kept.
func headChecksum(rev uint64, head []byte) uint32 {
	sum := crc32.Checksum(revKey(rev), castagnoli)
	sum = crc32.Update(sum, castagnoli, head[:1])
	return crc32.Update(sum, castagnoli, head[5:])
}

// decodeHead decodes all but the value. That it returns as it is found, part of
// b; nil says that the key was deleted. The entry keeps nothing of b. It fails
// if the head is not what was written; if just the value cannot be, Err says so.
func decodeHead(rev uint64, b []byte) (e embedded.Entry, value []byte, err error) {
	r := reader{rest: b}
	fixed := r.next(fixedHead)
	prev, at := r.uvarint(), r.varint()
	var expires int64
	if !r.short && fixed[0]&flagExpires != 0 {
		expires = r.varint()
	}
	size := r.uvarint()
	key := r.next(r.uvarint())
	if r.short {
		return e, nil, errHead
	}
	head, flags := b[:len(b)-len(r.rest)], fixed[0]
	if binary.LittleEndian.Uint32(b[1:]) != headChecksum(rev, head) || flags&^(flagDeleted|flagExpires) != 0 {
		return e, nil, errHead
	}
	e.Event = store.Event{Key: string(key), Rev: rev, Prev: prev, Time: time.Unix(0, at)}
	if flags&flagExpires != 0 {
		e.Expires = time.Unix(0, expires)
	}
	if flags&flagDeleted != 0 {
		return e, nil, nil
	}
	if uint64(len(r.rest)) != size {
		e.Err = errValue
	}
	return e, r.rest[:len(r.rest):len(r.rest)], nil
}

// decodeEntry decodes b, of which the entry keeps nothing.
func decodeEntry(rev uint64, b []byte) (embedded.Entry, error) {
	e, value, err := decodeHead(rev, b)
	if err != nil || value == nil {
		return e, err
	}
	if crc32.Checksum(value, castagnoli) != binary.LittleEndian.Uint32(b[5:]) {
		e.Err = errValue
	}
	e.Value = append(make([]byte, 0, len(value)), value...)
	return e, nil
}

// reader takes fields off a head; short is set once one is not there.
type reader struct {
	rest  []byte
	short bool
}

func (r *reader) next(n uint64) []byte {
	if r.short || n > uint64(len(r.rest)) {
		r.short = true
		return nil
	}
	field := r.rest[:n]
	r.rest = r.rest[n:]
	return field
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.short = true
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.rest)
	if n <= 0 {
		r.short = true
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func revKey(rev uint64) []byte { return binary.BigEndian.AppendUint64(nil, rev) }

func keyRev(key []byte) (uint64, error) {
	if len(key) != 8 {
		return 0, fmt.Errorf("a key of %d bytes is not a revision", len(key))
	}
	return binary.BigEndian.Uint64(key), nil
}
