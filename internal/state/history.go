package state

import (
	"context"
	"slices"
	"sort"
	"time"

	"github.com/knarr-io/knarr/internal/object"
)

// Event is one change of an object.
type Event struct {
	// Object is the object after the change or, if it was deleted, its last
	// state under the revision of the deletion.
	Object *object.Object
	// Prev is the object before; nil if this created it.
	Prev    *object.Object
	Deleted bool
	// at is when it was committed, in nanoseconds since 1970.
	at int64
}

// Time returns when the change was committed, as store.Event has it.
func (e *Event) Time() time.Time { return time.Unix(0, e.at) }

// Rev returns the revision of the change.
func (e *Event) Rev() uint64 { return e.Object.Rev }

// What an event weighs in the history beside values: itself, and for what it
// replaced the object, its key and the attributes it was selected by.
const (
	eventOverhead  = 64
	objectOverhead = 640
)

// cost is what only the history holds because of the event, in bytes.
func (e *Event) cost() int64 {
	if e.Prev == nil {
		return eventOverhead
	}
	return eventOverhead + objectOverhead + int64(len(e.Prev.Value))
}

// eventLog is a queue of events in revision order. Positions count from the
// first event ever, so that a cursor is a number. An event in events is never
// written again: who has a part of the slice may read it without a lock.
type eventLog struct {
	events []Event
	first  uint64 // position of events[0]
}

func (l *eventLog) end() uint64 { return l.first + uint64(len(l.events)) }

func (l *eventLog) append(e Event) { l.events = append(l.events, e) }

// position returns where the events after rev begin.
func (l *eventLog) position(rev uint64) uint64 {
	i := sort.Search(len(l.events), func(i int) bool { return l.events[i].Rev() > rev })
	return l.first + uint64(i)
}

// from returns the events from a position on, which has not been trimmed.
func (l *eventLog) from(position uint64) []Event { return l.events[position-l.first:] }

// at returns the event of a revision.
func (l *eventLog) at(rev uint64) (Event, bool) {
	i := sort.Search(len(l.events), func(i int) bool { return l.events[i].Rev() >= rev })
	if i < len(l.events) && l.events[i].Rev() == rev {
		return l.events[i], true
	}
	return Event{}, false
}

// trim drops the events up to rev.
func (l *eventLog) trim(rev uint64) {
	if first := l.position(rev); first > l.first {
		l.events = slices.Clone(l.from(first)) // the old array holds what is dropped
		l.first = first
	}
}

// history knows of the events in all logs when they happened and what they
// hold, to decide what to forget.
type history struct {
	limit int64  // bytes
	spans []span // oldest first
	bytes int64
}

// span is events that happened one after another in the same second. They are
// forgotten together.
type span struct {
	rev  uint64 // of the last
	time int64  // Unix seconds
	cost int64
}

func (h *history) add(rev uint64, t time.Time, cost int64) {
	h.bytes += cost
	if n := len(h.spans); n > 0 {
		last := &h.spans[n-1]
		small := last.cost+cost <= h.limit/256
		if last.rev == rev || last.time == t.Unix() && small {
			last.rev = rev
			last.cost += cost
			return
		}
	}
	h.spans = append(h.spans, span{rev, t.Unix(), cost})
}

// forget drops the spans before a time and, if there is more than the limit,
// the oldest others. It returns the revision up to which events are to go; 0
// if none are. Once over the limit it makes some room, so as not to be at work
// for every event.
func (h *history) forget(before time.Time) (rev uint64) {
	limit := h.limit
	if h.bytes > limit {
		limit -= limit / 8
	}
	n := 0
	for n < len(h.spans) && (h.bytes > limit || h.spans[n].time < before.Unix()) {
		h.bytes -= h.spans[n].cost
		rev = h.spans[n].rev
		n++
	}
	h.spans = slices.Delete(h.spans, 0, n)
	return rev
}

// keepWithinBytes forgets the oldest events if the history holds too much.
// s.mu is held.
func (s *State) keepWithinBytes() {
	if s.history.bytes > s.history.limit {
		s.forget(time.Unix(0, 0))
		s.wakeTrimmer() // for the store to follow
	}
}

// forgetOld forgets the events that have been kept long enough, and returns
// the floor.
func (s *State) forgetOld() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(s.opts.Clock.Now().Add(-s.opts.Retention))
	return s.floor
}

// forget moves the floor over the events before a time and those that are too
// many. s.mu is held.
func (s *State) forget(before time.Time) {
	floor := s.history.forget(before)
	if floor <= s.floor {
		return
	}
	s.floor = floor
	for _, c := range s.collections {
		c.log.trim(floor)
	}
	s.roots.trim()
}

func (s *State) wakeTrimmer() {
	select {
	case s.trim <- struct{}{}:
	default:
	}
}

// runTrimmer forgets what is old and has the store compact what is forgotten,
// until ctx ends. It looks rarely and sleeps while there is no history, so that
// an idle server hardly wakes up. After a start it leaves clients a while to
// come back to where they were.
func (s *State) runTrimmer(ctx context.Context) {
	for {
		if !s.untilTrim(ctx) {
			return
		}
		floor := s.forgetOld()
		if floor == s.compacted {
			continue
		}
		// An error costs only space: the next round tries again, or the store
		// is broken and says so to those who write.
		if s.store.Compact(ctx, floor) == nil {
			s.compacted = floor
		}
	}
}

// untilTrim waits until it is time to look at the history; false if ctx ended.
func (s *State) untilTrim(ctx context.Context) bool {
	var due <-chan time.Time
	if s.hasHistory() {
		timer := s.opts.Clock.NewTimer(max(s.opts.Retention/5, time.Second))
		defer timer.Stop()
		due = timer.C()
	}
	select {
	case <-ctx.Done():
		return false
	case <-s.trim:
	case <-due:
	}
	return true
}

func (s *State) hasHistory() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.history.spans) > 0
}
