package state

import (
	"fmt"

	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/store"
)

// follower is State as the store sees it.
type follower State

// Load makes what the store holds aside, since reading it may take long and
// fail, and then puts it in the place of what there was.
func (f *follower) Load(l store.Load) error {
	s := (*State)(f)
	loaded := &State{collections: map[string]*collection{}, history: history{limit: s.opts.HistoryBytes}}
	if err := l.Base(func(e store.Event) error {
		prefix := ResourceOf(e.Key)
		loaded.collection(prefix).set(s.same(prefix, &e))
		return nil
	}); err != nil {
		return fmt.Errorf("loading objects: %w", err)
	}
	if err := l.Events(func(e store.Event) error {
		loaded.apply(&e)
		return nil
	}); err != nil {
		return fmt.Errorf("loading the history: %w", err)
	}
	s.update(func() {
		if s.rev == 0 {
			s.compacted = l.Floor // the trimmer's own, once it runs
		}
		s.rev, s.floor = l.Rev, l.Floor
		s.history, s.roots = loaded.history, roots{}
		for prefix, c := range loaded.collections {
			if s.collections[prefix] == nil {
				s.collections[prefix] = c
			}
		}
		for prefix, c := range s.collections {
			n := loaded.collections[prefix]
			if n == c {
				continue
			}
			if n == nil {
				n = newCollection()
			}
			c.begin(n.tree, n.bytes, n.log.events)
			s.wake(&c.changed)
		}
		s.wake(&s.advanced)
		s.keepWithinBytes()
	})
	return nil
}

// same returns the object that the event tells of: the one that is there, with
// its encodings, if it is the same.
func (s *State) same(prefix string, e *store.Event) *object.Object {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if c := s.collections[prefix]; c != nil {
		if o := c.get(prefix, e.Key); o != nil && o.Rev == e.Rev && o.Err == nil && e.Err == nil && o.Seal == e.Seal {
			return o
		}
	}
	return newObject(prefix, e)
}

func (f *follower) Apply(events []store.Event) {
	s := (*State)(f)
	s.update(func() {
		if len(s.history.spans) == 0 {
			s.wakeTrimmer() // it sleeps while there is no history
		}
		for i := range events {
			s.apply(&events[i])
		}
		s.advance(events[len(events)-1].Rev)
		s.keepWithinBytes()
	})
}

func (f *follower) Progress(rev uint64) {
	s := (*State)(f)
	s.update(func() { s.advance(rev) })
}

// Reread puts an object that can be read now in the place of the same that could
// not. It is no event: who has met the error meanwhile asks again, or does not.
func (f *follower) Reread(e store.Event) {
	s := (*State)(f)
	s.update(func() {
		prefix := ResourceOf(e.Key)
		c := s.collection(prefix)
		if o := c.get(prefix, e.Key); o != nil && o.Err != nil && o.Rev == e.Rev {
			c.set(newObject(prefix, &e))
		}
	})
}

func newObject(prefix string, e *store.Event) *object.Object {
	o := object.New(prefix, e.Key, e.Value, e.Rev, e.Err)
	o.Seal = e.Seal
	return o
}

// update makes a change with s.mu held, then lets those go on who waited for
// it: not before, since they want the mutex.
func (s *State) update(change func()) {
	s.mu.Lock()
	change()
	woken := s.woken
	s.woken = nil
	s.mu.Unlock()
	for _, waiting := range woken {
		close(waiting)
	}
}

// wake has update close a channel that somebody may wait for, and forgets it.
// s.mu is held.
func (s *State) wake(waiting *chan struct{}) {
	if *waiting != nil {
		s.woken = append(s.woken, *waiting)
		*waiting = nil
	}
}

// advance makes rev what readers see. s.mu is held.
func (s *State) advance(rev uint64) {
	if rev > s.rev {
		s.rev = rev
		s.wake(&s.advanced)
	}
}

// apply records one event. s.mu is held.
func (s *State) apply(e *store.Event) {
	prefix := ResourceOf(e.Key)
	c := s.collection(prefix)
	var event Event
	if e.Deleted() {
		prev := c.remove(prefix, e.Key)
		if prev == nil {
			return // nobody has seen the key, so nobody misses it
		}
		event = Event{Object: prev.At(e.Rev), Prev: prev, Deleted: true, at: e.Time.UnixNano()}
	} else {
		o := newObject(prefix, e)
		event = Event{Object: o, Prev: c.set(o), at: e.Time.UnixNano()}
	}
	c.log.append(event)
	s.history.add(e.Rev, e.Time, event.cost())
	s.wake(&c.changed)
}

func (s *State) collection(prefix string) *collection {
	c := s.collections[prefix]
	if c == nil {
		c = newCollection()
		s.collections[prefix] = c
	}
	return c
}
