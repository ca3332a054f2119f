package storetest

import (
	"slices"
	"testing"
	"time"

	"github.com/knarr-io/knarr/internal/store"
)

// gone waits until the store has deleted the key, and returns the event.
func (f *fixture) gone(k string) store.Event {
	f.t.Helper()
	f.eventually(k+" expires", func() bool { return f.value(k) == "<none>" })
	events := slices.Concat(f.before, f.seen.Applied())
	for i := len(events) - 1; i >= 0; i-- {
		if events[i].Key == k {
			return events[i]
		}
	}
	f.t.Fatalf("no event tells that %s is gone", k)
	return store.Event{}
}

func testTTL(t *testing.T, f *fixture) {
	revs := f.must(
		store.Change{Key: key(1), Value: []byte("short"), TTL: 2 * time.Second},
		store.Change{Key: key(2), Value: []byte("for ever")},
		store.Change{Key: key(3), Value: []byte("long"), TTL: time.Hour},
	)
	f.sleep(time.Second)
	time.Sleep(20 * time.Millisecond)
	f.wantValue(key(1), "short")

	e := f.gone(key(1))
	if !e.Deleted() || e.Prev != revs[0] || e.Rev <= revs[2] {
		t.Errorf("it expired with %s, and was at %d", describe(e), revs[0])
	}
	f.wantValue(key(2), "for ever")
	f.wantValue(key(3), "long")
	f.put(key(1), "again", 0)
}

// testTTLReplaced checks that the time to live is that of the latest change.
func testTTLReplaced(t *testing.T, f *fixture) {
	short := func(k string) uint64 {
		return f.must(store.Change{Key: k, Value: []byte("x"), TTL: time.Second})[0]
	}
	f.put(key(1), "for ever", short(key(1)))
	f.must(store.Change{Key: key(2), Value: []byte("longer"), If: short(key(2)), TTL: time.Hour})
	f.delete(key(3), short(key(3)))
	f.put(key(3), "another", 0)
	f.must(store.Change{Key: key(4), Value: []byte("shorter"), TTL: time.Second,
		If: f.must(store.Change{Key: key(4), Value: []byte("x"), TTL: time.Hour})[0]})
	short(key(5))

	f.gone(key(4))
	f.gone(key(5))
	f.sleep(2 * time.Second)
	f.put(key(6), "a commit later", 0)
	f.wantValue(key(1), "for ever")
	f.wantValue(key(2), "longer")
	f.wantValue(key(3), "another")
}

func testTTLAcrossReopen(t *testing.T, f *fixture) {
	f.needDurable()
	f.must(store.Change{Key: key(1), Value: []byte("x"), TTL: 2 * time.Second})
	f.must(store.Change{Key: key(2), Value: []byte("x"), TTL: 3 * time.Second})
	replaced := f.must(store.Change{Key: key(3), Value: []byte("x"), TTL: 2 * time.Second})[0]
	kept := f.put(key(3), "for ever", replaced)
	f.must(store.Change{Key: key(4), Value: []byte("x"), TTL: time.Hour})
	f.reopen()
	f.wantValue(key(1), "x")
	f.gone(key(1))
	f.compact(kept)
	f.reopen()
	f.gone(key(2))

	// What expires while no store is open is deleted when one is.
	f.must(store.Change{Key: key(5), Value: []byte("x"), TTL: time.Second})
	f.close()
	f.before = append(f.before, f.seen.Applied()...)
	f.sleep(2 * time.Second)
	closed := f.seen.Rev()
	f.open()
	for _, e := range f.seen.History() {
		if e.Rev > closed { // a shared place deletes it by itself
			f.before = append(f.before, e)
		}
	}
	f.gone(key(5))
	f.wantValue(key(3), "for ever")
	f.wantValue(key(4), "x")
}
