package etcd

import (
	"context"
	"errors"
	"sync"
	"time"
)

// reads shares reads of etcd's revision: one is on its way at a time, and all who
// come meanwhile share the next.
type reads struct {
	mu     sync.Mutex
	next   *read // what those wait for who come now; nil if nobody has come
	flying bool
}

type read struct {
	done chan struct{} // closed when rev and err are final
	rev  uint64
	err  error
}

// readTimeout is how long one read may take. Who waits longer waits for another.
const readTimeout = 5 * time.Second

// Latest implements store.Store.
func (s *Store) Latest(ctx context.Context) (uint64, error) {
	for {
		r, err := s.join()
		if err != nil {
			return 0, err
		}
		select {
		case <-r.done:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
		switch {
		case r.err == nil:
			s.want(r.rev)
			return r.rev, nil
		case ctx.Err() != nil:
			return 0, context.Cause(ctx)
		case !errors.Is(r.err, context.DeadlineExceeded):
			return 0, r.err
		}
	}
}

// join returns a read that has not begun.
func (s *Store) join() (*read, error) {
	s.reads.mu.Lock()
	defer s.reads.mu.Unlock()
	if s.reads.next == nil {
		s.reads.next = &read{done: make(chan struct{})}
	}
	r := s.reads.next
	if !s.reads.flying {
		if err := s.usable(&s.owners); err != nil {
			s.reads.next = nil
			return nil, err
		}
		s.reads.flying = true
		go s.fly()
	}
	return r, nil
}

// fly reads for as long as somebody waits.
func (s *Store) fly() {
	defer s.owners.Done()
	for {
		s.reads.mu.Lock()
		r := s.reads.next
		s.reads.next = nil
		s.reads.flying = r != nil
		s.reads.mu.Unlock()
		if r == nil {
			return
		}
		ctx, cancel := context.WithTimeout(s.life, readTimeout)
		r.rev, r.err = s.read(ctx)
		if s.life.Err() != nil {
			r.err = context.Cause(s.life)
		}
		cancel()
		close(r.done)
	}
}
