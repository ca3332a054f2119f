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

// Add has t follow one more resource, whose place is after the others'. It is
// called as CatchUp is.
func (t *Tail) Add(prefix string) {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	t.of = append(t.of, tailed{c: t.s.collection(prefix)})
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
	for _, n := range t.news() {
		if n.all != nil {
			begin(n.resource, *n.all)
		}
		for i := range n.events {
			see(n.resource, &n.events[i])
		}
	}
}

// news is what has happened to one resource: some events, or anything.
type news struct {
	resource int
	events   []Event
	all      *Snapshot
}

func (t *Tail) news() (all []news) {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	for i := range t.of {
		f := &t.of[i]
		end := f.c.log.end()
		switch {
		case !f.begun || f.at < f.c.log.first:
			all = append(all, news{resource: i, all: &Snapshot{t.s.rev, f.c.shared()}})
		case f.at < end:
			all = append(all, news{resource: i, events: f.c.log.from(f.at)})
		}
		f.at, f.begun = end, true
	}
	return all
}
