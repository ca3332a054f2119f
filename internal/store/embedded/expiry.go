package embedded

import (
	"container/heap"
	"context"
	"time"

	"k8s.io/utils/clock"

	"github.com/knarr-io/knarr/internal/store"
)

// expiryQueue orders keys by when they expire. A key that is changed before
// that stays in the queue; popping it then has no effect.
type expiryQueue struct{ heap expiryHeap }

type expiring struct {
	key string
	rev uint64 // the change that set the time to live
	at  time.Time
}

func (q *expiryQueue) add(key string, rev uint64, at time.Time) {
	heap.Push(&q.heap, expiring{key, rev, at})
}

// next is when to look again; zero if nothing will expire. It is a whole
// second, so that what expires at about the same time is deleted together.
func (q *expiryQueue) next() time.Time {
	if len(q.heap) == 0 {
		return time.Time{}
	}
	at := q.heap[0].at
	if whole := at.Truncate(time.Second); !whole.Equal(at) {
		return whole.Add(time.Second)
	}
	return at
}

// pop returns the first that has expired, if there is one.
func (q *expiryQueue) pop(now time.Time) (expiring, bool) {
	if len(q.heap) == 0 || q.heap[0].at.After(now) {
		return expiring{}, false
	}
	return heap.Pop(&q.heap).(expiring), true
}

// expired returns a request to delete each key whose time is up. They are
// separate commits, as two of them may be of one resource.
func (s *Store) expired() []*request {
	var rs []*request
	now := s.clock.Now()
	if next := s.expiry.next(); next.IsZero() || next.After(now) {
		return nil
	}
	for {
		e, ok := s.expiry.pop(now)
		if !ok {
			return rs
		}
		if s.index[e.key] == e.rev {
			r := newRequest(context.Background(), []store.Change{{Key: e.key, If: e.rev}})
			r.expiry = true
			rs = append(rs, r)
		}
	}
}

// alarm is a timer that exists only while it is needed.
type alarm struct {
	timer clock.Timer
	at    time.Time
	c     <-chan time.Time
}

// set has c deliver at about the given time; never if it is zero.
func (a *alarm) set(c clock.Clock, at time.Time) {
	if at.Equal(a.at) {
		return
	}
	a.stop()
	if !at.IsZero() {
		a.at, a.timer = at, c.NewTimer(max(at.Sub(c.Now()), 1))
		a.c = a.timer.C()
	}
}

func (a *alarm) stop() {
	if a.timer != nil {
		a.timer.Stop()
	}
	*a = alarm{}
}

type expiryHeap []expiring

func (h expiryHeap) Len() int           { return len(h) }
func (h expiryHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h expiryHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *expiryHeap) Push(x any)        { *h = append(*h, x.(expiring)) }
func (h *expiryHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = expiring{}
	*h = old[:len(old)-1]
	return last
}
