package aggregate

import (
	"context"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// rounds have things fetched from other servers again and again, each by itself,
// so that one that does not answer holds up no other. While there are none, it
// sleeps. Its methods but run are for learn alone, which run calls.
type rounds[K comparable] struct {
	clock clock.Clock
	// again is the time from one fetch to the next; after failures in a row, it is
	// what backoff returns.
	again   time.Duration
	backoff func(failures int) time.Duration
	// fetch fetches one. It is called from goroutines of its own, for one of a
	// name at a time unless that was dropped and wanted again meanwhile.
	fetch func(context.Context, K) error

	tasks map[K]*task
}

// task is one that is fetched.
type task struct {
	due      time.Time // zero while it is not to be fetched, or is being fetched
	failures int
	running  bool
}

// fetched is how a fetch ended.
type fetched[K comparable] struct {
	key K
	of  *task
	err error
}

// run fetches until ctx ends, and returns when no fetch goes on any more. learn is
// called first of all, and after the channel that changed has returned is closed.
func (r *rounds[K]) run(ctx context.Context, changed func() <-chan struct{}, learn func()) {
	r.tasks = map[K]*task{}
	done := make(chan fetched[K])
	var running sync.WaitGroup
	defer running.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	change := changed()
	learn()
	for {
		timeout, stop := r.timer(r.start(ctx, &running, done))
		select {
		case <-change:
			change = changed()
			learn()
		case f := <-done:
			r.finish(f)
		case <-timeout:
		case <-ctx.Done():
			stop()
			return
		}
		stop()
	}
}

// start fetches what is due, and returns when the next will be; zero for never.
func (r *rounds[K]) start(ctx context.Context, running *sync.WaitGroup, done chan<- fetched[K]) (next time.Time) {
	now := r.clock.Now()
	for key, t := range r.tasks {
		switch {
		case t.running || t.due.IsZero():
		case t.due.After(now):
			if next.IsZero() || t.due.Before(next) {
				next = t.due
			}
		default:
			t.running, t.due = true, time.Time{}
			running.Go(func() {
				err := r.fetch(ctx, key)
				select {
				case done <- fetched[K]{key, t, err}:
				case <-ctx.Done():
				}
			})
		}
	}
	return next
}

// timer returns a channel for when something is due, nil for never, and what
// must be called when it is not waited for any more.
func (r *rounds[K]) timer(due time.Time) (<-chan time.Time, func()) {
	if due.IsZero() {
		return nil, func() {}
	}
	t := r.clock.NewTimer(due.Sub(r.clock.Now()))
	return t.C(), func() { t.Stop() }
}

// finish has what was fetched be fetched again in time.
func (r *rounds[K]) finish(f fetched[K]) {
	t := f.of
	if r.tasks[f.key] != t {
		return // dropped
	}
	t.running = false
	after := r.again
	if f.err == nil {
		t.failures = 0
	} else {
		after = r.backoff(t.failures)
		t.failures++
	}
	if t.due.IsZero() { // nobody has asked for it meanwhile
		t.due = r.clock.Now().Add(after)
	}
}

// want has something fetched after a while, or earlier, if it is to be anyway.
func (r *rounds[K]) want(key K, after time.Duration) {
	t := r.tasks[key]
	if t == nil {
		t = &task{}
		r.tasks[key] = t
	}
	if due := r.clock.Now().Add(after); t.due.IsZero() || due.Before(t.due) {
		t.due = due
	}
}

// forgive forgets that the last fetches of something failed, and reports whether
// they did.
func (r *rounds[K]) forgive(key K) bool {
	t := r.tasks[key]
	if t == nil || t.failures == 0 {
		return false
	}
	t.failures = 0
	return true
}

// drop has something fetched no more.
func (r *rounds[K]) drop(key K) { delete(r.tasks, key) }

// doubling returns a backoff that begins with first and is doubled up to most.
func doubling(first, most time.Duration) func(int) time.Duration {
	return func(failures int) time.Duration {
		after := first
		for ; failures > 0 && after < most; failures-- {
			after *= 2
		}
		return min(after, most)
	}
}
