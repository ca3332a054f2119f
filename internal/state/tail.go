package state

// Tail follows the events of a few resources without a goroutine: whoever
// holds something that is made of their objects asks, before he uses it, if it
// is current, and if not catches up. After a commit has returned, nobody who asks
// is told that what he had before it is current.
//
// It holds positions, no objects. Current may be called by many at once, CatchUp
// by one alone: who shares what is made of the objects has a lock for it anyway.
type Tail struct {
	s  *State
	of []tailed
}

// tailed is the position in one resource's log.
type tailed struct {
	c     *collection
	at    uint64
	begun bool
}

// Tail returns a Tail of the resources stored under prefixes, which has seen
// nothing yet.
func (s *State) Tail(prefixes ...string) *Tail {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &Tail{s: s}
	for _, prefix := range prefixes {
		t.of = append(t.of, tailed{c: s.collection(prefix)})
	}
	return t
}

// Current reports whether CatchUp would tell nothing.
func (t *Tail) Current() bool {
	t.s.mu.RLock()
	defer t.s.mu.RUnlock()
	for i := range t.of {
		if f := &t.of[i]; !f.begun || f.at != f.c.log.end() {
			return false
		}
	}
	return true
}

// CatchUp tells what has happened since the last time. Resources are named by
// their places among the prefixes, and all are told as they were at one
// revision. begin, in place of events, gives all objects there are: the first
// time, and when the history no longer has the events.
func (t *Tail) CatchUp(begin func(resource int, all Snapshot), see func(resource int, e *Event)) {
	events := make([][]Event, len(t.of))
	snapshots := make([]*Snapshot, len(t.of))
	t.s.mu.Lock()
	for i := range t.of {
		f := &t.of[i]
		if f.begun && f.at >= f.c.log.first {
			events[i] = f.c.log.from(f.at)
		} else {
			snapshots[i] = &Snapshot{t.s.rev, f.c.shared()}
		}
		f.at, f.begun = f.c.log.end(), true
	}
	t.s.mu.Unlock()
	for i := range t.of {
		if snapshots[i] != nil {
			begin(i, *snapshots[i])
		}
		for j := range events[i] {
			see(i, &events[i][j])
		}
	}
}
