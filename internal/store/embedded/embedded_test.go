package embedded_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/knarr-io/knarr/internal/store"
	"github.com/knarr-io/knarr/internal/store/embedded"
	"github.com/knarr-io/knarr/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Backend {
		clock := clocktesting.NewFakeClock(time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC))
		h := newHeap()
		return storetest.Backend{
			Open:     func(testing.TB) store.Store { return embedded.New(h, embedded.Options{Clock: clock}) },
			Durable:  true,
			Embedded: true,
			Clock:    clock,
		}
	})
}

// start starts a store on h that is closed with the test.
func start(t *testing.T, h *heap) (store.Store, *storetest.Recorder) {
	t.Helper()
	s, seen := embedded.New(h, embedded.Options{}), storetest.NewRecorder(true)
	if err := s.Start(t.Context(), seen); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		for _, problem := range seen.Problems() {
			t.Error(problem)
		}
	})
	return s, seen
}

func create(s store.Store, key string) error {
	_, err := s.Commit(context.Background(), []store.Change{{Key: key, Value: []byte(key)}})
	return err
}

// TestGroupCommit checks that all commits that wait while one is written are
// written together.
func TestGroupCommit(t *testing.T) {
	h := newHeap()
	s, seen := start(t, h)
	h.gate = make(chan struct{})
	var commits sync.WaitGroup
	commit := func(key string) {
		commits.Go(func() {
			if err := create(s, key); err != nil {
				t.Error(err)
			}
		})
		time.Sleep(time.Millisecond)
	}
	commit("/first")
	time.Sleep(20 * time.Millisecond)
	for i := range 50 {
		commit(fmt.Sprint("/", i))
	}
	time.Sleep(20 * time.Millisecond)
	close(h.gate)
	commits.Wait()
	if len(h.batches) != 2 || h.batches[0] != 1 || h.batches[1] != 50 {
		t.Errorf("1 commit, then 50, were written in batches of %v", h.batches)
	}
	if n := len(seen.Commits()); n != 51 {
		t.Errorf("51 commits were applied as %d", n)
	}
}

// TestBatchIsBounded checks that large commits do not wait for all others.
func TestBatchIsBounded(t *testing.T) {
	h := newHeap()
	s, _ := start(t, h)
	h.gate = make(chan struct{})
	var commits sync.WaitGroup
	for i := range 9 {
		commits.Go(func() {
			change := store.Change{Key: fmt.Sprint("/", i), Value: make([]byte, 3<<20)}
			if _, err := s.Commit(t.Context(), []store.Change{change}); err != nil {
				t.Error(err)
			}
		})
	}
	time.Sleep(50 * time.Millisecond)
	close(h.gate)
	commits.Wait()
	if len(h.batches) < 4 {
		t.Errorf("27 MB were written in batches of %v entries", h.batches)
	}
}

// TestAppendFails checks that after an I/O error nothing is certain, that the
// store stops there, and that the next one finds out what happened.
func TestAppendFails(t *testing.T) {
	for _, happened := range []bool{false, true} {
		t.Run(fmt.Sprint("happened=", happened), func(t *testing.T) {
			h := newHeap()
			s, seen := start(t, h)
			if err := create(s, "/before"); err != nil {
				t.Fatal(err)
			}
			broken := errors.New("the disk is on fire")
			h.mu.Lock()
			h.fail, h.keep = broken, happened
			h.mu.Unlock()

			err := create(s, "/lost")
			if !errors.Is(err, store.ErrUnknown) || !errors.Is(err, broken) {
				t.Errorf("got %v, want ErrUnknown and the reason", err)
			}
			h.mu.Lock()
			h.fail = nil
			h.mu.Unlock()
			if err := create(s, "/after"); err == nil || errors.Is(err, store.ErrUnknown) {
				t.Errorf("the next commit got %v, want a plain refusal", err)
			}
			if err := s.Compact(t.Context(), 2); err == nil {
				t.Error("a failed store can be compacted")
			}
			if _, ok := seen.Current()["/before"]; !ok || len(seen.Current()) != 1 {
				t.Errorf("the follower has %v", seen.Current())
			}
			if err := s.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}

			s, seen = start(t, h)
			if _, ok := seen.Current()["/lost"]; ok != happened {
				t.Errorf("found the commit: %t, want %t", ok, happened)
			}
			if err := create(s, "/after"); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestAppendFailsForAll checks that every commit of a failed batch is told so,
// a conflict too: it may rest on a change that did not happen.
func TestAppendFailsForAll(t *testing.T) {
	h := newHeap()
	s, _ := start(t, h)
	h.gate, h.fail = make(chan struct{}), errors.New("the disk is on fire")
	results := make(chan error, 3)
	for range 3 {
		go func() { results <- create(s, "/one") }()
	}
	time.Sleep(50 * time.Millisecond)
	close(h.gate)
	for range 3 {
		err := <-results
		var conflict *store.Conflict
		if err == nil || errors.As(err, &conflict) {
			t.Errorf("got %v, want the error", err)
		}
	}
}

func TestCompactFails(t *testing.T) {
	h := newHeap()
	s, _ := start(t, h)
	if err := create(s, "/a"); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("the disk is on fire")
	h.fail = broken
	if err := s.Compact(t.Context(), 2); !errors.Is(err, broken) {
		t.Errorf("got %v, want the error", err)
	}
	h.fail = nil
	if err := create(s, "/b"); err == nil {
		t.Error("a failed store takes a commit")
	}
}

// TestLoadRefusesDamage gives a store what no store leaves behind.
func TestLoadRefusesDamage(t *testing.T) {
	entry := func(key string, value []byte, rev, prev uint64) embedded.Entry {
		return embedded.Entry{Event: store.Event{Key: key, Value: value, Rev: rev, Prev: prev, Time: time.Unix(1, 0)}}
	}
	x := []byte("x")
	for name, c := range map[string]struct {
		floor, rev uint64
		entries    []embedded.Entry
	}{
		"missing revision":     {1, 3, []embedded.Entry{entry("/a", x, 3, 0)}},
		"missing end":          {1, 3, []embedded.Entry{entry("/a", x, 2, 0)}},
		"wrong predecessor":    {1, 3, []embedded.Entry{entry("/a", x, 2, 0), entry("/a", x, 3, 0)}},
		"created from nothing": {1, 2, []embedded.Entry{entry("/a", x, 2, 1)}},
		"key twice in base":    {3, 3, []embedded.Entry{entry("/a", x, 2, 0), entry("/a", x, 3, 2)}},
		"deletion in base":     {2, 2, []embedded.Entry{entry("/a", nil, 2, 0)}},
	} {
		h := newHeap()
		h.floor, h.rev = c.floor, c.rev
		for _, e := range c.entries {
			h.entries[e.Rev] = e
		}
		s := embedded.New(h, embedded.Options{})
		if err := s.Start(t.Context(), storetest.NewRecorder(false)); err == nil {
			t.Errorf("%s: the store starts", name)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// lazy is a follower that does not read the events.
type lazy struct{ *storetest.Recorder }

func (lazy) Load(l store.Load) error { return l.Base(func(store.Event) error { return nil }) }

func TestFollowerMustReadAll(t *testing.T) {
	s := embedded.New(newHeap(), embedded.Options{})
	defer s.Close()
	if err := s.Start(t.Context(), lazy{}); err == nil {
		t.Error("a store starts whose follower has not read all")
	}
}

// TestIdle checks that a store with nothing to expire sets no timer.
func TestIdle(t *testing.T) {
	clock := clocktesting.NewFakeClock(time.Unix(1000, 0))
	s := embedded.New(newHeap(), embedded.Options{Clock: clock})
	defer s.Close()
	if err := s.Start(t.Context(), storetest.NewRecorder(true)); err != nil {
		t.Fatal(err)
	}
	if err := create(s, "/a"); err != nil {
		t.Fatal(err)
	}
	if clock.HasWaiters() {
		t.Error("there is a timer, and nothing to expire")
	}
	_, err := s.Commit(t.Context(), []store.Change{{Key: "/b", Value: []byte{}, TTL: time.Minute}})
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); !clock.HasWaiters(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("there is no timer, and something to expire")
		}
	}
	for end := time.Now().Add(10 * time.Second); clock.HasWaiters(); time.Sleep(time.Millisecond) {
		clock.Step(time.Minute)
		if time.Now().After(end) {
			t.Fatal("the timer remains when all has expired")
		}
	}
}
