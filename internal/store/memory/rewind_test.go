package memory_test

import (
	"errors"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/knarr-io/knarr/internal/store"
	"github.com/knarr-io/knarr/internal/store/memory"
)

// applied is a Follower that hands on what it is told.
type applied chan store.Event

func (applied) Load(l store.Load) error {
	nothing := func(store.Event) error { return nil }
	return errors.Join(l.Base(nothing), l.Events(nothing))
}

func (a applied) Apply(events []store.Event) {
	for _, e := range events {
		a <- e
	}
}

func (applied) Progress(uint64) {}

// A store that was rewound has the keys of the mark at their revisions, with what
// they had left to live, and those alone.
func TestRewind(t *testing.T) {
	clock := clocktesting.NewFakeClock(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	s := memory.New(memory.Options{Clock: clock})
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	seen := make(applied, 100)
	if err := s.Start(t.Context(), seen); err != nil {
		t.Fatal(err)
	}
	put := func(key string, at uint64, ttl time.Duration) uint64 {
		t.Helper()
		revs, err := s.Commit(t.Context(), []store.Change{{Key: key, Value: []byte("x"), If: at, TTL: ttl}})
		if err != nil {
			t.Fatal(err)
		}
		<-seen
		return revs[0]
	}
	stays, short := put("/registry/a/stays", 0, 0), put("/registry/a/short", 0, time.Hour)
	noted := false
	mark, err := s.Mark(t.Context(), func() { noted = true })
	if err != nil || !noted {
		t.Fatal(err, noted)
	}
	for range 2 {
		put("/registry/a/stays", stays, 0)
		put("/registry/a/short", short, 0) // for ever
		last := put("/registry/a/new", 0, time.Minute)
		var at uint64
		if err := s.Rewind(t.Context(), mark, func(rev uint64) { at = rev }); err != nil || at != last+1 {
			t.Fatalf("at %d after %d, %v", at, last, err)
		}
		_, err := s.Commit(t.Context(), []store.Change{{Key: "/registry/a/stays", If: last}})
		var conflict *store.Conflict
		if !errors.As(err, &conflict) || conflict.Rev != stays {
			t.Errorf("what was is at %v, want %d", err, stays)
		}
	}
	clock.Step(2 * time.Hour)
	if e := <-seen; e.Key != "/registry/a/short" || !e.Deleted() || e.Prev != short {
		t.Errorf("expired is %v", e)
	}
	put("/registry/a/new", 0, 0) // it neither is there nor expires
	select {
	case e := <-seen:
		t.Errorf("there is %v", e)
	default:
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Rewind(t.Context(), mark, func(uint64) { t.Error("it is closed") }); !errors.Is(err, store.ErrClosed) {
		t.Errorf("when it is closed: %v", err)
	}
}
