package namespace

import (
	"context"
	"time"

	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/state"
)

// change is what a namespace waits for: something of what is stored under a prefix,
// in the namespace or, if wide, anywhere, has changed since a revision.
type change struct {
	prefix string
	since  uint64
	wide   bool
}

// wait has a namespace looked at again as soon as what it waits for has come about.
func (r *run) wait(name string, left remains) {
	if left.recheck > 0 {
		r.schedule.AddAfter(name, left.recheck)
	}
	if len(left.changes) == 0 {
		return
	}
	ctx, cancel := context.WithCancel(r.ctx)
	r.mu.Lock()
	r.waits[name] = cancel
	r.mu.Unlock()
	for _, c := range left.changes {
		r.running.Go(func() { r.await(ctx, name, c) })
	}
}

// stopWaiting ends what wait has begun for a namespace.
func (r *run) stopWaiting(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if cancel := r.waits[name]; cancel != nil {
		cancel()
		delete(r.waits, name)
	}
}

// await waits for one change until ctx ends. When nothing is left there the
// namespace is looked at at once, otherwise in a while: there may be many changes.
func (r *run) await(ctx context.Context, name string, c change) {
	cursor, err := r.state.Watch(c.prefix, c.since)
	events := make([]state.Event, 16)
	for err == nil {
		var n int
		n, err = cursor.Next(ctx, events)
		concerned := false
		for i := range events[:n] {
			concerned = concerned || c.wide || events[i].Object.Namespace == name
		}
		clear(events[:n]) // keeps nothing while it sleeps
		switch {
		case !concerned:
		case !c.wide && !r.holds(c.prefix, name):
			r.schedule.Add(name)
			return
		default:
			r.schedule.AddAfter(name, toldEvery)
		}
	}
	if ctx.Err() == nil { // so much has happened that it is forgotten
		r.schedule.Add(name)
	}
}

// holds reports whether anything is stored under a prefix in a namespace.
func (c *Controller) holds(prefix, namespace string) bool {
	return holds(c.state.Snapshot(prefix), namespace)
}

func holds(all state.Snapshot, namespace string) (any bool) {
	all.Each(state.Range{Namespace: namespace}, func(*object.Object) bool { any = true; return false })
	return any
}

// remains is what a namespace still waits for; nothing if it is empty.
type remains struct {
	changes []change
	// recheck, if not 0, is when to look again though nothing that is seen here
	// changes.
	recheck time.Duration
}

// soon has a namespace looked at again after a while, at the latest.
func (r *remains) soon(after time.Duration) {
	if r.recheck == 0 || after < r.recheck {
		r.recheck = max(after, time.Second)
	}
}
