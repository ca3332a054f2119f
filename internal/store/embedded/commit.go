package embedded

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/knarr-io/knarr/internal/store"
)

// maxBatchBytes is about where a batch stops taking more requests, so that the
// first of a thousand waiting writers is not kept for the last one's bytes.
const maxBatchBytes = 4 << 20

// request is a commit on its way through the queue.
type request struct {
	ctx     context.Context
	changes []store.Change
	events  []store.Event // what it became, for the follower; nil if nothing
	do      func()        // in place of changes
	expiry  bool          // it is the store's own

	revs []uint64
	err  error
	done chan struct{} // closed when revs and err are final
}

func newRequest(ctx context.Context, changes []store.Change) *request {
	return &request{ctx: ctx, changes: changes, done: make(chan struct{})}
}

// Commit implements store.Store.
func (s *Store) Commit(ctx context.Context, changes []store.Change) ([]uint64, error) {
	if err := store.Validate(changes); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	r := newRequest(ctx, changes)
	if err := s.enqueue(r); err != nil {
		return nil, err
	}
	select {
	case <-r.done:
	case <-ctx.Done():
		select {
		case <-r.done: // both have happened: tell what is known
		default:
			return nil, fmt.Errorf("%w: %w", store.ErrUnknown, context.Cause(ctx))
		}
	}
	if r.err != nil {
		return nil, r.err
	}
	return r.revs, nil
}

func (s *Store) enqueue(r *request) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usableLocked(); err != nil {
		return err
	}
	s.mu.queue = append(s.mu.queue, r)
	select {
	case s.wake <- struct{}{}:
	default: // run will look anyway
	}
	return nil
}

// run commits what is queued, and deletes what has expired, until Close. All
// requests that wait while a batch is written form the next batch: however
// many there are, they share one Append.
func (s *Store) run() {
	defer s.alarm.stop()
	for {
		// Let those who are about to commit be in this batch. With a few
		// writers that halves the number of batches, and so their cost.
		runtime.Gosched()
		queue := s.take(s.expired())
		for len(queue) > 0 && s.life.Err() == nil {
			queue = queue[s.commit(queue):]
		}
		if s.life.Err() != nil {
			s.abandon(s.take(queue))
			return
		}
		s.alarm.set(s.clock, s.expiry.next())
		select {
		case <-s.life.Done():
		case <-s.wake:
		case <-s.alarm.c:
			s.alarm.stop()
		}
	}
}

// take empties the queue; what it held comes after first.
func (s *Store) take(first []*request) []*request {
	s.mu.Lock()
	defer s.mu.Unlock()
	queue := append(first, s.mu.queue...)
	clear(s.mu.queue)
	s.mu.queue = s.mu.queue[:0]
	return queue
}

// abandon answers requests that have not begun when the store closes.
func (s *Store) abandon(queue []*request) {
	for _, r := range queue {
		r.err = store.ErrClosed
		close(r.done)
	}
}

// commit decides as many requests from the head of the queue as make a batch,
// writes them, tells the follower, and answers. It returns how many they were.
func (s *Store) commit(queue []*request) int {
	if r := queue[0]; r.do != nil {
		if r.err = s.failure(); r.err == nil {
			r.do()
		}
		close(r.done)
		return 1
	}
	now := wallTime(s.clock.Now())
	n := s.decideSome(queue, now)
	err := s.write()
	if errors.Is(err, store.ErrFull) {
		s.keepDeletes(queue[:n], err, now)
		err = nil
	}
	for _, r := range queue[:n] {
		if err != nil {
			// Even a conflict is not to be believed: it may rest on a change
			// that did not happen.
			r.err, r.events = err, nil
		}
		if r.events != nil {
			s.rev.Store(r.events[len(r.events)-1].Rev)
			s.follower.Apply(r.events)
		}
		close(r.done)
	}
	return n
}

// decideSome decides as many requests from the head of the queue as make a batch,
// and returns how many they are.
func (s *Store) decideSome(queue []*request, now time.Time) (n int) {
	rev, size := s.rev.Load(), 0
	for _, r := range queue {
		if n > 0 && size > maxBatchBytes || r.do != nil {
			break
		}
		n++
		rev, size = s.decide(r, rev, size, now)
	}
	return n
}

// decide checks the conditions of r against the index and, if all hold, adds
// its entries to the batch and to the index. The index runs ahead of the
// engine for the time of a batch; should the batch fail, the store has failed
// and the index is not used again.
func (s *Store) decide(r *request, rev uint64, size int, now time.Time) (uint64, int) {
	if r.ctx.Err() != nil {
		r.err = context.Cause(r.ctx) // its caller has gone
		return rev, size
	}
	for i := range r.changes {
		c := &r.changes[i]
		if conflict := c.Failed(s.index[c.Key]); conflict != nil {
			r.err = conflict
			return rev, size
		}
	}
	r.events, r.revs = make([]store.Event, 0, len(r.changes)), make([]uint64, len(r.changes))
	for i := range r.changes {
		c := &r.changes[i]
		if c.Check {
			r.revs[i] = c.If
			continue
		}
		rev++
		r.revs[i] = rev
		entry := Entry{Event: store.Event{Key: c.Key, Value: c.Value, Rev: rev, Prev: c.If, Time: now}}
		r.events = append(r.events, entry.Event)
		if c.Value != nil && c.TTL > 0 {
			entry.Expires = now.Add(c.TTL)
		}
		s.batch = append(s.batch, entry)
		s.remember(entry)
		size += len(c.Key) + len(c.Value)
	}
	return rev, size
}

// write appends the batch to the engine and empties it.
func (s *Store) write() error {
	defer func() {
		clear(s.batch) // let go of the values
		s.batch = s.batch[:0]
	}()
	if err := s.failure(); err != nil {
		return err // the index cannot be trusted either
	}
	if len(s.batch) == 0 {
		return nil
	}
	if err := s.engine.Append(s.batch); err != nil {
		if errors.Is(err, store.ErrFull) {
			s.takeBack()
			return err
		}
		s.fail(err)
		return fmt.Errorf("%w: %w", store.ErrUnknown, err)
	}
	return nil
}

// wallTime drops what does not survive a restart, so that an event looks the
// same before and after one.
func wallTime(t time.Time) time.Time { return time.Unix(0, t.UnixNano()) }
