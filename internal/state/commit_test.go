package state

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/store"
	"github.com/knarr-io/knarr/internal/store/embedded"
	"github.com/knarr-io/knarr/internal/store/memory"
)

// What Commit returns is what readers and watchers see, the very object, so
// that it is encoded once for all of them.
func TestCommitReturnsWhatIsSeen(t *testing.T) {
	s := startInMemory(t)
	w := watch(t, s, pods, s.Rev())
	objects := commit(t, s, store.Change{Key: pods + "/ns/a", Value: []byte("1")}, store.Change{Key: pods + "/ns/b", Value: []byte("2")})
	deleted := remove(t, s, pods+"/ns/a")

	events := make([]Event, 10)
	n, err := w.Next(context.Background(), events)
	if n != 3 || err != nil {
		t.Fatalf("%d events, error %v, want 3", n, err)
	}
	for i, o := range append(objects, deleted) {
		if events[i].Object != o {
			t.Errorf("event %d has another object than Commit returned", i)
		}
	}
	if s.Get(pods+"/ns/b") != objects[1] {
		t.Error("Get has another object than Commit returned")
	}
}

// A history too short for a single event does not change what Commit returns.
func TestCommitWithoutHistory(t *testing.T) {
	s := start(t, memory.New(memory.Options{}), Options{HistoryBytes: 1})
	check := func(o *object.Object, rev uint64, value string) {
		t.Helper()
		if o.Namespace != "ns" || o.Name != "a" || o.Rev != rev || string(o.Value) != value {
			t.Errorf("committed %+v, want %q at %d", o, value, rev)
		}
		if s.Floor() != rev {
			t.Errorf("floor %d, want %d", s.Floor(), rev)
		}
	}
	check(put(t, s, pods+"/ns/a", "1"), 2, "1")
	check(put(t, s, pods+"/ns/a", "2"), 3, "2")
	check(remove(t, s, pods+"/ns/a"), 4, "2")
}

func TestErr(t *testing.T) {
	k := newKeeper()
	s, err := Start(context.Background(), embedded.New(k, embedded.Options{}), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	change := store.Change{Key: pods + "/ns/a", Value: []byte("1")}
	want := func(what string, want error) {
		t.Helper()
		if got := s.Err(); !errors.Is(got, want) || (got == nil) != (want == nil) {
			t.Errorf("after %s: error %v, want %v", what, got, want)
		}
	}
	want("the start", nil)

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Commit(ctx, change); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want one of the context", err)
	}
	want("a caller left", nil)

	commit(t, s, change)
	if _, err := s.Commit(context.Background(), change); err == nil {
		t.Error("no conflict")
	}
	want("a conflict", nil)

	full := errors.New("no space left on device")
	k.fail(full)
	change.Key += "2"
	if _, err := s.Commit(context.Background(), change); !errors.Is(err, full) {
		t.Errorf("error %v, want %v", err, full)
	}
	want("a failed write", full)
	if got := s.Get(pods + "/ns/a"); got == nil {
		t.Error("reads must go on after a failed write")
	}
	if _, err := s.Commit(context.Background(), change); err == nil {
		t.Error("the store takes changes after it has failed")
	}
	if s.Err() == nil {
		t.Error("the failure is forgotten though nothing can be written")
	}
}

// A store that recovers is no longer at fault.
func TestErrIsForgotten(t *testing.T) {
	st := &flaky{Store: memory.New(memory.Options{})}
	s := start(t, st, Options{})
	st.err = fmt.Errorf("%w: no leader", store.ErrUnknown)
	if _, err := s.Commit(context.Background(), store.Change{Key: pods + "/ns/a", Value: []byte("1")}); err != st.err {
		t.Fatal(err)
	}
	if err := s.Err(); err != st.err {
		t.Errorf("error %v, want %v", err, st.err)
	}
	// That of a full disk is told without where the disk is.
	st.err = fmt.Errorf("the disk with /secret is full: %w", store.ErrFull)
	if _, err := s.Commit(context.Background(), store.Change{Key: pods + "/ns/a", Value: []byte("1")}); err != store.ErrFull {
		t.Errorf("got %v", err)
	}
	if err := s.Err(); err != st.err {
		t.Errorf("error %v, want %v", err, st.err)
	}
	st.err = nil
	put(t, s, pods+"/ns/a", "1")
	if err := s.Err(); err != nil {
		t.Errorf("error %v after a commit went well", err)
	}
}

// flaky fails commits while it has an error.
type flaky struct {
	store.Store
	err error
}

func (f *flaky) Commit(ctx context.Context, changes []store.Change) ([]uint64, error) {
	if f.err != nil {
		return nil, f.err
	}
	return f.Store.Commit(ctx, changes)
}

func TestStartFails(t *testing.T) {
	for _, read := range []string{"the base", "the events"} {
		damaged := errors.New("damaged")
		st := &broken{damaged: read, err: damaged}
		if _, err := Start(context.Background(), st, Options{}); !errors.Is(err, damaged) {
			t.Errorf("with %s damaged, Start returned %v", read, err)
		}
		if !st.closed {
			t.Errorf("with %s damaged, Start left the store open", read)
		}
	}
}

// broken is a store that cannot be loaded.
type broken struct {
	store.Store
	damaged string
	err     error
	closed  bool
}

func (b *broken) Start(_ context.Context, f store.Follower) error {
	read := func(what string) func(func(store.Event) error) error {
		return func(func(store.Event) error) error {
			if what == b.damaged {
				return b.err
			}
			return nil
		}
	}
	return f.Load(store.Load{Floor: 1, Rev: 1, Base: read("the base"), Events: read("the events")})
}

func (b *broken) Close() error {
	b.closed = true
	return nil
}

func TestStop(t *testing.T) {
	s, err := Start(context.Background(), memory.New(memory.Options{}), Options{})
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, pods+"/ns/a", "1")
	w := watch(t, s, pods, 1)
	for range 2 {
		if err := s.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Commit(context.Background(), store.Change{Key: pods + "/ns/b", Value: []byte("1")}); !errors.Is(err, store.ErrClosed) {
		t.Errorf("error %v, want %v", err, store.ErrClosed)
	}
	if s.Err() != nil {
		t.Errorf("a stopped state says its store is broken: %v", s.Err())
	}
	wantStrings(t, "objects", contents(s.Snapshot(pods), Range{}), []string{"ns/a=1@2"})
	wantStrings(t, "events", next(t, w, 2), []string{"2 ns/a=1"})
}

func TestWaitFor(t *testing.T) {
	s := startInMemory(t)
	ctx := context.Background()
	if err := s.WaitFor(ctx, 1); err != nil {
		t.Fatal(err)
	}
	const waiters = 3
	reached := make(chan uint64, waiters)
	for i := range uint64(waiters) {
		go func() {
			if err := s.WaitFor(ctx, 3+i); err != nil {
				t.Error(err)
			}
			reached <- 3 + i
		}()
	}
	put(t, s, pods+"/ns/a", "1") // 2: none is there yet
	select {
	case rev := <-reached:
		t.Fatalf("%d was reached at 2", rev)
	case <-time.After(10 * time.Millisecond):
	}
	for rev := range uint64(waiters) {
		put(t, s, pods+"/ns/a", "1")
		if got := <-reached; got != 3+rev {
			t.Fatalf("%d was reached at %d", got, 3+rev)
		}
	}

	ctx, cancel := context.WithCancelCause(ctx)
	cause := errors.New("too late")
	time.AfterFunc(10*time.Millisecond, func() { cancel(cause) })
	if err := s.WaitFor(ctx, 100); err != cause {
		t.Errorf("error %v, want %v", err, cause)
	}
}
