package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/knarr-io/knarr/internal/store"
)

// loadFunc is a follower that only loads.
type loadFunc func(store.Load) error

func (f loadFunc) Load(l store.Load) error { return f(l) }
func (f loadFunc) Apply([]store.Event)     {}
func (f loadFunc) Progress(uint64)         {}

func testStart(t *testing.T, f *fixture) {
	f.put(key(1), "a", 0)
	if err := f.store.Start(t.Context(), NewRecorder(false)); err == nil {
		t.Error("a store can be started twice")
	}
	f.close()
	f.before = append(f.before, f.seen.Applied()...)

	s := f.backend.Open(t)
	why := errors.New("the follower cannot")
	if err := s.Start(t.Context(), loadFunc(func(store.Load) error { return why })); err != why {
		t.Errorf("Start returned %v, want the error of Load as it is", err)
	}
	if _, err := s.Commit(t.Context(), []store.Change{{Key: key(9), Value: []byte("x")}}); err == nil {
		t.Error("a store that has not started takes a commit")
	}
	if err := s.Close(); err != nil {
		t.Errorf("Close after a failed Start: %v", err)
	}

	s = f.backend.Open(t)
	if err := s.Close(); err != nil {
		t.Errorf("Close without Start: %v", err)
	}
	if err := s.Start(t.Context(), NewRecorder(false)); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Start after Close returned %v", err)
	}

	if f.backend.Durable {
		s = f.backend.Open(t)
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(why)
		if err := s.Start(ctx, NewRecorder(false)); !errors.Is(err, why) {
			t.Errorf("a cancelled Start returned %v, want the cause", err)
		}
		stop := errors.New("enough")
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		s = f.backend.Open(t)
		err := s.Start(t.Context(), loadFunc(func(l store.Load) error {
			err := l.Base(func(store.Event) error { return stop })
			if err == nil {
				err = l.Events(func(store.Event) error { return stop })
			}
			return err
		}))
		if err != stop {
			t.Errorf("Start returned %v, want the error of visit as it is", err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	f.open()
}

func testClose(t *testing.T, f *fixture) {
	rev := f.put(key(1), "a", 0)
	for range 2 {
		if err := f.store.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	if _, err := f.commit(store.Change{Key: key(1), Value: []byte("b"), If: rev}); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Commit after Close returned %v", err)
	}
	if err := f.store.Compact(t.Context(), rev); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Compact after Close returned %v", err)
	}
}

// testCloseWhileCommitting checks that each commit that was running when the
// store closed either happened and said so, or did not.
func testCloseWhileCommitting(t *testing.T, f *fixture) {
	for round := range 5 {
		var (
			writers sync.WaitGroup
			count   atomic.Int64
			mu      sync.Mutex
			told    = map[string]uint64{}
		)
		for w := range 16 {
			writers.Go(func() {
				for i := 0; ; i++ {
					k := fmt.Sprintf("/%d/%d/%d", round, w, i)
					revs, err := f.commit(store.Change{Key: k, Value: []byte(k)})
					if errors.Is(err, store.ErrClosed) {
						return
					}
					if err != nil {
						t.Errorf("Commit while closing: %v", err)
						return
					}
					mu.Lock()
					told[k] = revs[0]
					mu.Unlock()
					count.Add(1)
				}
			})
		}
		for count.Load() < 50 && !t.Failed() {
			time.Sleep(time.Millisecond)
		}
		closers := inBackground(f.store.Close)
		if err := f.store.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := <-closers; err != nil {
			t.Errorf("Close: %v", err)
		}
		writers.Wait()

		seen := f.seen.Current()
		if f.backend.Durable {
			f.reopen()
			seen = f.seen.Current()
		}
		for k, rev := range told {
			if seen[k].Rev != rev {
				t.Errorf("%s was committed at %d and is at %d", k, rev, seen[k].Rev)
			}
		}
		if !f.backend.Durable {
			return
		}
		own := 0
		for k := range seen {
			var r, w, i int
			if fmt.Sscanf(k, "/%d/%d/%d", &r, &w, &i); r == round {
				own++
			}
		}
		if own != len(told) {
			t.Errorf("%d commits said they happened, %d did", len(told), own)
		}
	}
}

func testReopen(t *testing.T, f *fixture) {
	f.needDurable()
	for i := range 20 {
		at := f.put(key(i), "first", 0)
		at = f.put(key(i), fmt.Sprint("second ", i), at)
		if i%4 == 0 {
			f.delete(key(i), at)
		}
		if i%7 == 0 {
			f.reopen()
		}
	}
	f.compact(f.seen.Rev() - 10)
	f.reopen()
	for i := range 20 {
		want := fmt.Sprint("second ", i)
		if i%4 == 0 {
			want = "<none>"
		}
		f.wantValue(key(i), want)
	}
	have := f.seen.Current()[key(1)]
	if rev := f.put(key(1), "third", have.Rev); rev <= have.Rev {
		t.Errorf("after reopening, revision %d follows %d", rev, have.Rev)
	}
}

func testCompact(t *testing.T, f *fixture) {
	first := f.put(key(1), "a", 0)
	second := f.put(key(1), "b", first)
	other := f.put(key(2), "c", 0)
	gone := f.delete(key(2), other)
	third := f.put(key(1), "d", second)

	if err := f.store.Compact(t.Context(), third+1); err == nil {
		t.Error("a revision of the future can be compacted")
	}
	for _, rev := range []uint64{0, 1, second, second, first, 0} {
		f.compact(rev)
	}
	if f.backend.Durable {
		f.reopen() // checks what is left
	}
	f.compact(gone)
	f.wantValue(key(1), "d")
	if f.backend.Durable {
		f.reopen()
		if n := len(f.seen.Base()); f.backend.Embedded && n != 1 {
			t.Errorf("the base has %d values, want that of %s", n, key(1))
		}
	}
	f.compact(third)
	f.put(key(1), "e", third)
}

// testCompactEverything leaves a store that holds nothing, and still knows its
// revision.
func testCompactEverything(t *testing.T, f *fixture) {
	var last uint64
	for i := range 10 {
		last = f.delete(key(i), f.put(key(i), "x", 0))
	}
	f.compact(last)
	if f.backend.Durable {
		f.reopen()
		if n := len(f.seen.Base()) + len(f.seen.History()); f.backend.Embedded && n != 0 {
			t.Errorf("%d events are left", n)
		}
	}
	if rev := f.put(key(1), "y", 0); rev <= last {
		t.Errorf("revision %d follows %d", rev, last)
	}
	f.compact(f.seen.Rev())
	f.wantValue(key(1), "y")
}

func testCompactWhileCommitting(t *testing.T, f *fixture) {
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			at := uint64(0)
			for i := range 200 {
				revs, err := f.commit(store.Change{Key: key(w), Value: fmt.Append(nil, i), If: at})
				if err != nil {
					t.Errorf("Commit: %v", err)
					return
				}
				if at = revs[0]; i%10 == 9 {
					if _, err = f.commit(store.Change{Key: key(w), If: at}); err != nil {
						t.Errorf("Commit: %v", err)
						return
					}
					at = 0
				}
			}
		})
	}
	done := inBackground(func() error { writers.Wait(); return nil })
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
			if rev := f.seen.Rev(); rev > 10 {
				f.compact(rev - 10)
			}
		}
	}
}
