package disk

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/knarr-io/knarr/internal/store"
	"github.com/knarr-io/knarr/internal/store/embedded"
)

func sampleEntries() []embedded.Entry {
	at := time.Unix(1_700_000_000, 123)
	return []embedded.Entry{
		{Event: store.Event{Key: "/registry/pods/default/web-0", Value: []byte("value"), Rev: 7, Prev: 3, Time: at}},
		{Event: store.Event{Key: "/a", Value: []byte{}, Rev: 2, Time: at}},
		{Event: store.Event{Key: "/a", Rev: 1 << 60, Prev: 1<<60 - 1, Time: at}},
		{Event: store.Event{Key: "/\x00\xff", Value: bytes.Repeat([]byte{7}, 1000), Rev: 9, Prev: 8, Time: time.Unix(0, -5)}, Expires: at.Add(time.Hour)},
	}
}

func sameEntry(a, b embedded.Entry) bool {
	return a.Key == b.Key && bytes.Equal(a.Value, b.Value) && (a.Value == nil) == (b.Value == nil) &&
		a.Rev == b.Rev && a.Prev == b.Prev && a.Time.Equal(b.Time) &&
		a.Expires.IsZero() == b.Expires.IsZero() && a.Expires.Equal(b.Expires) && errors.Is(a.Err, b.Err)
}

func TestEntry(t *testing.T) {
	for _, want := range sampleEntries() {
		b := appendEntry(nil, want)
		got, err := decodeEntry(want.Rev, b)
		if err != nil {
			t.Errorf("%+v: %v", want, err)
		} else if !sameEntry(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
		if _, err := decodeEntry(want.Rev+1, b); err == nil {
			t.Errorf("entry %d passes for %d", want.Rev, want.Rev+1)
		}
	}
}

// TestEntryBitFlips flips each bit: one in the value is an error of the entry,
// any other an error of decoding.
func TestEntryBitFlips(t *testing.T) {
	for _, want := range sampleEntries() {
		b := appendEntry(nil, want)
		for bit := range len(b) * 8 {
			b[bit/8] ^= 1 << (bit % 8)
			got, err := decodeEntry(want.Rev, b)
			inValue := bit/8 >= len(b)-len(want.Value)
			switch {
			case !inValue && err == nil:
				t.Errorf("%s: bit %d of the head is not missed", want.Key, bit)
			case inValue && err != nil:
				t.Errorf("%s: bit %d of the value: %v", want.Key, bit, err)
			case inValue && (got.Err == nil || got.Key != want.Key || got.Prev != want.Prev):
				t.Errorf("%s: bit %d of the value is not missed", want.Key, bit)
			}
			b[bit/8] ^= 1 << (bit % 8)
		}
		for n := range len(b) {
			if got, err := decodeEntry(want.Rev, b[:n]); err == nil && got.Err == nil {
				t.Errorf("%s: its first %d bytes pass for all", want.Key, n)
			}
		}
	}
}

// headLength tells where the value begins, 0 if nowhere.
func headLength(b []byte) int {
	r := reader{rest: b}
	fixed := r.next(fixedHead)
	r.uvarint()
	r.varint()
	if !r.short && fixed[0]&flagExpires != 0 {
		r.varint()
	}
	r.uvarint()
	r.next(r.uvarint())
	if r.short {
		return 0
	}
	return len(b) - len(r.rest)
}

// FuzzDecodeEntry decodes anything. What decodes must say the same again.
func FuzzDecodeEntry(f *testing.F) {
	for _, e := range sampleEntries() {
		f.Add(e.Rev, appendEntry(nil, e))
	}
	f.Fuzz(func(t *testing.T, rev uint64, b []byte) {
		if n := headLength(b); n > 0 {
			b = bytes.Clone(b)
			putHeadChecksum(rev, b[:n]) // or next to nothing would pass
		}
		e, err := decodeEntry(rev, b)
		if err != nil || e.Err != nil {
			return
		}
		again, err := decodeEntry(rev, appendEntry(nil, e))
		if err != nil || !sameEntry(again, e) {
			t.Errorf("%+v became %+v, %v", e, again, err)
		}
	})
}
