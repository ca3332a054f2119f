package controller

import (
	"context"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// How long something that failed waits before it is tried again, at first, and
// how often it is: upstream's.
const (
	firstRetry = 5 * time.Millisecond
	maxRetries = 15
)

// Schedule is what is to be looked at, now or later. What is added several
// times before it is looked at is there once. It is safe for concurrent use;
// its methods but Next do not wait.
type Schedule[K comparable] struct {
	clock clock.Clock
	wake  chan struct{} // there may be something new for Next

	mu       sync.Mutex // guards what follows
	now      []K        // in the order in which they were added
	known    map[K]bool // what is in now
	later    map[K]time.Time
	soonest  time.Time // no later than the first of later; zero if there is none
	failures map[K]int
}

// NewSchedule returns an empty schedule that tells the time by clock.
func NewSchedule[K comparable](clock clock.Clock) *Schedule[K] {
	return &Schedule[K]{
		clock: clock, wake: make(chan struct{}, 1),
		known: map[K]bool{}, later: map[K]time.Time{}, failures: map[K]int{},
	}
}

// Add adds k, to be looked at now.
func (s *Schedule[K]) Add(k K) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.add(k)
	s.notify()
}

// add puts k after what is to be looked at now. s.mu is held.
func (s *Schedule[K]) add(k K) {
	if !s.known[k] {
		s.known[k] = true
		s.now = append(s.now, k)
	}
}

// AddAfter adds k, to be looked at after a while or, if that is earlier, when
// it is to be looked at anyway.
func (s *Schedule[K]) AddAfter(k K, after time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.clock.Now().Add(after)
	if before, ok := s.later[k]; !ok || at.Before(before) {
		s.later[k] = at
		if s.soonest.IsZero() || at.Before(s.soonest) {
			s.soonest = at
		}
		s.notify()
	}
}

// Retry adds k again, which has failed: the more often it has, the later. It
// returns false if that is often enough, and k is not added.
func (s *Schedule[K]) Retry(k K) bool {
	s.mu.Lock()
	n := s.failures[k]
	s.failures[k]++
	s.mu.Unlock()
	if n >= maxRetries {
		s.Succeeded(k)
		return false
	}
	s.AddAfter(k, firstRetry<<n)
	return true
}

// Succeeded forgets that k has failed.
func (s *Schedule[K]) Succeeded(k K) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.failures, k)
}

// Next waits until there is something to look at and takes it out, or returns
// the cause of ctx's end. It is for one goroutine.
func (s *Schedule[K]) Next(ctx context.Context) (K, error) {
	for {
		k, ok, due := s.take()
		if err := context.Cause(ctx); err != nil || ok {
			return k, err
		}
		s.wait(ctx, due)
	}
}

// Work has do look at what is due, one after the other, until ctx ends. What
// fails is tried again; gaveUp hears of what has failed too often, which is
// looked at again when it is added again. It takes the place of Next.
func (s *Schedule[K]) Work(ctx context.Context, do func(context.Context, K) error, gaveUp func(K, error)) {
	for {
		k, err := s.Next(ctx)
		if err != nil {
			return
		}
		if err := do(ctx, k); err == nil {
			s.Succeeded(k)
		} else if ctx.Err() == nil && !s.Retry(k) {
			gaveUp(k, err)
		}
	}
}

// wait returns when there may be something new, when it is due, which may be
// never, or when ctx ends.
func (s *Schedule[K]) wait(ctx context.Context, due time.Time) {
	var timeout <-chan time.Time
	if !due.IsZero() {
		timer := s.clock.NewTimer(due.Sub(s.clock.Now()))
		defer timer.Stop()
		timeout = timer.C()
	}
	select {
	case <-s.wake:
	case <-timeout:
	case <-ctx.Done():
	}
}

// WorkMany has do look at what is due as Work does, at up to so many at once, and
// never at one thing twice at once. While nothing is due it has one goroutine. It
// returns when the last do has.
func (s *Schedule[K]) WorkMany(ctx context.Context, most int, do func(context.Context, K) error, gaveUp func(K, error)) {
	var working sync.WaitGroup
	defer working.Wait()
	places := make(chan struct{}, most)
	busy := busy[K]{again: map[K]bool{}}
	for {
		k, err := s.Next(ctx)
		if err != nil {
			return
		}
		if !busy.begin(k) {
			continue // it comes again when it has been looked at
		}
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			return
		}
		working.Go(func() {
			defer func() { <-places }()
			err := do(ctx, k)
			again := busy.end(k)
			switch {
			case err == nil:
				s.Succeeded(k)
			case ctx.Err() == nil && !s.Retry(k):
				gaveUp(k, err)
			}
			if again {
				s.Add(k)
			}
		})
	}
}

// busy is what is being looked at, and of each if it is to be looked at again.
type busy[K comparable] struct {
	mu    sync.Mutex // guards again
	again map[K]bool
}

// begin reports whether k was not being looked at, as it is now.
func (b *busy[K]) begin(k K) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, is := b.again[k]
	b.again[k] = is
	return !is
}

func (b *busy[K]) end(k K) (again bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	again = b.again[k]
	delete(b.again, k)
	return again
}

// take takes the next out, if there is one, or tells when there will be; zero
// for never.
func (s *Schedule[K]) take() (k K, ok bool, due time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.now) == 0 {
		due = s.collect()
	}
	if len(s.now) == 0 {
		return k, false, due
	}
	k, s.now = s.now[0], s.now[1:]
	delete(s.known, k)
	if len(s.now) == 0 {
		s.now = nil // with what it was cut from
	}
	return k, true, due
}

// collect adds what is due, and returns when the next will be. s.mu is held.
func (s *Schedule[K]) collect() (next time.Time) {
	now := s.clock.Now()
	if s.soonest.IsZero() || s.soonest.After(now) {
		return s.soonest
	}
	defer func() { s.soonest = next }()
	for k, at := range s.later {
		switch {
		case !at.After(now):
			delete(s.later, k)
			s.add(k)
		case next.IsZero() || at.Before(next):
			next = at
		}
	}
	return next
}

func (s *Schedule[K]) notify() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}
