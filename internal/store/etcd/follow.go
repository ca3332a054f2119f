package etcd

import (
	"container/heap"
	"context"
	"errors"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"k8s.io/klog/v2"

	"github.com/knarr-io/knarr/internal/store"
)

// follow tells the follower what w tells, until the store closes.
func (s *Store) follow(w *watch) {
	defer func() {
		if w != nil {
			w.close()
		}
	}()
	for {
		n, err := w.next(s.life)
		var l *lost
		switch {
		case err == nil:
		case errors.As(err, &l):
			if l.compacted == 0 {
				s.mu.Lock()
				s.mu.wanted = 0 // was of another past
				s.mu.Unlock()
			}
			klog.Warningf("%v while it could not be followed: all is loaded again, and watches begin anew", l)
			if w = s.reload(); w == nil {
				return
			}
			continue
		default: // the store closes: nothing else ends it
			return
		}
		if len(n.events) == 0 {
			s.follower.Progress(n.rev)
		} else {
			events, now := make([]store.Event, len(n.events)), time.Now()
			for i, e := range n.events {
				events[i] = s.event(s.index, e, now)
			}
			s.follower.Apply(events)
		}
		s.advance(n.rev)
	}
}

// event returns what etcd tells, in the follower's terms, and brings the index up
// to date.
func (s *Store) event(index map[string]uint64, e *mvccpb.Event, now time.Time) store.Event {
	key := s.outer(e.Kv.Key)
	told := store.Event{Key: key, Rev: uint64(e.Kv.ModRevision), Prev: index[key], Time: now}
	if e.Type == mvccpb.Event_DELETE {
		delete(index, key)
		return told
	}
	told.Value = present(e.Kv.Value)
	index[key] = told.Rev
	return told
}

// waiter waits until the follower has been told of a revision.
type waiter struct {
	rev     uint64
	reached chan struct{}
}

// waiters is a heap: the lowest revision is the first.
type waiters []waiter

func (w waiters) Len() int           { return len(w) }
func (w waiters) Less(i, j int) bool { return w[i].rev < w[j].rev }
func (w waiters) Swap(i, j int)      { w[i], w[j] = w[j], w[i] }
func (w *waiters) Push(x any)        { *w = append(*w, x.(waiter)) }
func (w *waiters) Pop() any {
	last := len(*w) - 1
	x := (*w)[last]
	(*w)[last] = waiter{}
	*w = (*w)[:last]
	return x
}

// advance lets those go on who wait for rev.
func (s *Store) advance(rev uint64) {
	s.applied.Store(rev)
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.mu.waiters) > 0 && s.mu.waiters[0].rev <= rev {
		close(heap.Pop(&s.mu.waiters).(waiter).reached)
	}
}

// reach waits until the follower has been told of rev, or for ctx's end. Who has
// given up stays in the heap until the revision comes.
func (s *Store) reach(ctx context.Context, rev uint64) error {
	if s.applied.Load() >= rev {
		return nil
	}
	w := waiter{rev, make(chan struct{})}
	s.mu.Lock()
	if s.applied.Load() >= rev { // meanwhile
		s.mu.Unlock()
		return nil
	}
	heap.Push(&s.mu.waiters, w)
	s.mu.Unlock()
	select {
	case <-w.reached:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// want sees to it that the follower is told of rev soon.
func (s *Store) want(rev uint64) {
	if s.applied.Load() >= rev {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if rev > s.mu.wanted {
		s.mu.wanted = rev
		select {
		case s.prod <- struct{}{}:
		default:
		}
	}
}

// What happens below the prefix comes by itself, most likely before prodMin.
const (
	prodMin = 5 * time.Millisecond
	prodMax = 100 * time.Millisecond // upstream's
)

// runProd asks for progress while the watch is behind what is wanted: etcd tells
// by itself of what happens below the prefix, not of other revisions.
func (s *Store) runProd() {
	for {
		select {
		case <-s.life.Done():
			return
		case <-s.prod:
		}
		for wait := prodMin; s.behind(); wait = min(2*wait, prodMax) {
			select {
			case <-s.life.Done():
				return
			case <-time.After(wait):
			}
			s.mu.Lock()
			stream := s.mu.asked
			s.mu.Unlock()
			if stream != nil && s.behind() {
				stream.askProgress()
			}
		}
	}
}

func (s *Store) behind() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.applied.Load() < s.mu.wanted
}
