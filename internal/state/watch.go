package state

import (
	"context"
)

// Cursor reads the events of one resource in order. It is a position in the
// history and holds nothing: a slow one costs no memory, and one that is
// overtaken by the end of the history gets ErrExpired. A Cursor belongs to one
// goroutine and needs no closing.
type Cursor struct {
	s  *State
	c  *collection
	at uint64
	// delivered is the revision up to which Next has told everything.
	delivered uint64
}

// Watch returns a cursor on the events after rev of the resource stored under
// prefix. It fails with ErrExpired or ErrFuture.
func (s *State) Watch(prefix string, rev uint64) (*Cursor, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.check(rev); err != nil {
		return nil, err
	}
	c := s.collection(prefix)
	return &Cursor{s: s, c: c, at: c.log.position(rev), delivered: rev}, nil
}

// Next fills events, which must have room for one, with what comes next and
// returns how many there are. It waits until there is at least one; ctx's end
// returns its cause. Falling off the end of the history is ErrExpired.
func (w *Cursor) Next(ctx context.Context, events []Event) (int, error) {
	for {
		n, changed, err := w.poll(events)
		if n > 0 || err != nil {
			return n, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

// poll copies what there is, or returns a channel that is closed when there
// is more. Only the first of those who wait together locks the others out.
func (w *Cursor) poll(events []Event) (int, <-chan struct{}, error) {
	w.s.mu.RLock()
	n, err := w.read(events)
	changed := w.c.changed
	w.s.mu.RUnlock()
	if n > 0 || err != nil || changed != nil {
		return n, changed, err
	}
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	if n, err := w.read(events); n > 0 || err != nil { // came meanwhile
		return n, nil, err
	}
	if w.c.changed == nil {
		w.c.changed = make(chan struct{})
	}
	return 0, w.c.changed, nil
}

// read copies what there is. The State's mutex is held.
func (w *Cursor) read(events []Event) (int, error) {
	if w.at < w.c.log.first {
		return 0, ErrExpired
	}
	n := copy(events, w.c.log.from(w.at))
	w.at += uint64(n)
	w.advance()
	return n, nil
}

// advance brings delivered up to date: to just before the next event. The
// State's mutex is held.
func (w *Cursor) advance() {
	switch log := &w.c.log; {
	case w.at == log.end():
		w.delivered = w.s.rev
	case w.at >= log.first:
		w.delivered = log.from(w.at)[0].Rev() - 1
	}
}

// Delivered returns a revision up to which everything has been returned by
// Next: what a bookmark may say. It never decreases.
func (w *Cursor) Delivered() uint64 {
	w.s.mu.RLock()
	defer w.s.mu.RUnlock()
	w.advance()
	return w.delivered
}
