package embedded

import (
	"container/heap"
	"slices"
	"time"

	"github.com/knarr-io/knarr/internal/store"
)

// takeBack makes the index again what it was before the batch.
func (s *Store) takeBack() {
	for _, e := range slices.Backward(s.batch) {
		if e.Prev == 0 {
			delete(s.index, e.Key)
		} else {
			s.index[e.Key] = e.Prev
		}
		if !e.Expires.IsZero() { // the revision will be another's
			s.expiry.remove(e.Rev)
		}
	}
}

// keepDeletes decides the requests of a batch for which there was no room anew: those
// that only delete are tried once more by themselves, the others refused.
func (s *Store) keepDeletes(requests []*request, full error, now time.Time) {
	rev := s.rev.Load()
	for _, r := range requests {
		r.events, r.revs, r.err = nil, nil, full
		if r.deletes() {
			r.err = nil
			rev, _ = s.decide(r, rev, 0, now)
		}
	}
	err := s.write()
	for _, r := range requests {
		if err == nil || !r.deletes() {
			continue
		}
		r.events, r.err = nil, err
		if r.expiry {
			c := &r.changes[0]
			s.expiry.add(c.Key, c.If, now.Add(time.Second))
		}
	}
}

// deletes reports whether r does nothing but delete.
func (r *request) deletes() bool {
	return !slices.ContainsFunc(r.changes, func(c store.Change) bool { return c.Value != nil })
}

// remove drops what a revision was to expire.
func (q *expiryQueue) remove(rev uint64) {
	q.heap = slices.DeleteFunc(q.heap, func(e expiring) bool { return e.rev == rev })
	heap.Init(&q.heap)
}
