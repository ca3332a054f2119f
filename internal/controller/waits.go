package controller

import (
	"context"
	"sync"

	"github.com/knarr-io/knarr/internal/state"
)

// Change is what something waits for: events of the resource stored under Prefix,
// after a revision.
type Change struct {
	Prefix string
	Since  uint64
	// See is called with each event, in order, until it returns true.
	See func(e *state.Event) (done bool)
	// Lost is called in place of events that the history no longer has.
	Lost func()
}

// Waits is what things wait for, each known by a key. Only while there is something
// does anything run. It is safe for concurrent use.
type Waits[K comparable] struct {
	state   *state.State
	running sync.WaitGroup

	mu  sync.Mutex // guards end
	end map[K]context.CancelFunc
}

// NewWaits returns one where nobody waits.
func NewWaits[K comparable](st *state.State) *Waits[K] {
	return &Waits[K]{state: st, end: map[K]context.CancelFunc{}}
}

// For has k wait for changes, in place of what it has waited for, until ctx ends or it
// is called again; none is nothing.
func (w *Waits[K]) For(ctx context.Context, k K, changes ...Change) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if end := w.end[k]; end != nil {
		end()
		delete(w.end, k)
	}
	if len(changes) == 0 {
		return
	}
	ctx, end := context.WithCancel(ctx)
	w.end[k] = end
	for _, c := range changes {
		w.running.Go(func() { w.await(ctx, c) })
	}
}

// Wait returns when nothing runs any more, which the contexts must bring about.
func (w *Waits[K]) Wait() { w.running.Wait() }

func (w *Waits[K]) await(ctx context.Context, c Change) {
	cursor, err := w.state.Watch(c.Prefix, c.Since)
	events := make([]state.Event, 16)
	for err == nil {
		var n int
		n, err = cursor.Next(ctx, events)
		for i := range events[:n] {
			if c.See(&events[i]) {
				return
			}
		}
		clear(events[:n]) // keeps nothing while it sleeps
	}
	if ctx.Err() == nil {
		c.Lost()
	}
}
