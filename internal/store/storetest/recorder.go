package storetest

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/knarr-io/knarr/internal/store"
)

// Recorder is a store.Follower that remembers all it is told and notes what
// the contract does not allow. Its methods may be called at any time.
type Recorder struct {
	dense bool        // every revision is told of
	busy  atomic.Bool // a call is running

	mu       sync.Mutex
	loaded   bool
	reloads  int // how often all was loaded again
	floor    uint64
	rev      uint64
	base     []store.Event
	history  []store.Event // loaded
	applied  []store.Event // followed
	commits  [][]store.Event
	current  map[string]store.Event
	sums     map[uint64]uint32 // of the values as they were told
	problems []string
	gate     chan struct{} // if not nil, Apply waits until it is closed
}

// NewRecorder returns a Recorder. If dense, a missing revision is a problem.
func NewRecorder(dense bool) *Recorder {
	return &Recorder{dense: dense, current: map[string]store.Event{}, sums: map[uint64]uint32{}}
}

// Load implements store.Follower.
func (r *Recorder) Load(l store.Load) error {
	defer r.enter("Load")()
	if r.loaded && r.dense {
		r.problem("Load is called twice")
	}
	if r.loaded {
		r.reloads++
		r.base, r.history, r.applied, r.commits = nil, nil, nil, nil
		clear(r.current)
		clear(r.sums)
	}
	r.loaded, r.floor, r.rev = true, l.Floor, l.Rev
	if l.Floor > l.Rev {
		r.problem("the floor %d is above the revision %d", l.Floor, l.Rev)
	}
	err := l.Base(func(e store.Event) error {
		if e.Rev > l.Floor || e.Rev == 0 || e.Prev != 0 || e.Deleted() {
			r.problem("the base at %d has %s", l.Floor, describe(e))
		}
		if have, twice := r.current[e.Key]; twice {
			r.problem("the base has %s and %s", describe(have), describe(e))
		}
		r.base = append(r.base, e)
		r.take(e)
		return nil
	})
	if err != nil {
		return err
	}
	last := l.Floor
	err = l.Events(func(e store.Event) error {
		r.follows(last, e)
		last = e.Rev
		r.history = append(r.history, e)
		r.take(e)
		return nil
	})
	if last > l.Rev || r.dense && last != l.Rev {
		r.problem("the last event is %d, and the revision %d", last, l.Rev)
	}
	slices.SortFunc(r.base, func(a, b store.Event) int { return strings.Compare(a.Key, b.Key) })
	return err
}

// Apply implements store.Follower.
func (r *Recorder) Apply(events []store.Event) {
	r.mu.Lock()
	gate := r.gate
	r.mu.Unlock()
	if gate != nil {
		<-gate
	}
	defer r.enter("Apply")()
	if !r.loaded {
		r.problem("Apply is called before Load")
	}
	if len(events) == 0 {
		r.problem("Apply is called with nothing")
	}
	for _, e := range events {
		r.follows(r.rev, e)
		r.rev = e.Rev
		r.applied = append(r.applied, e)
		r.take(e)
	}
	r.commits = append(r.commits, slices.Clone(events))
	// The slice is ours: a store that still uses it will notice.
	clear(events)
}

// Progress implements store.Follower.
func (r *Recorder) Progress(rev uint64) {
	defer r.enter("Progress")()
	if rev < r.rev {
		r.problem("progress to %d after %d", rev, r.rev)
	}
	if r.dense {
		r.problem("progress without a change")
	}
	r.rev = max(r.rev, rev)
}

// enter begins a call of the store; the function it returns ends it.
func (r *Recorder) enter(call string) func() {
	if !r.busy.CompareAndSwap(false, true) {
		r.mu.Lock()
		r.problem("%s is called while another call runs", call)
		r.mu.Unlock()
	}
	r.mu.Lock()
	return func() {
		r.mu.Unlock()
		r.busy.Store(false)
	}
}

// follows checks that e can come after revision last.
func (r *Recorder) follows(last uint64, e store.Event) {
	switch have := r.current[e.Key]; {
	case e.Rev < last, r.dense && e.Rev != last+1:
		r.problem("%s after revision %d", describe(e), last)
	case e.Prev != have.Rev:
		r.problem("%s, but before it the key was at %d", describe(e), have.Rev)
	case e.Deleted() && e.Prev == 0:
		r.problem("%s of a key that was not there", describe(e))
	case e.Time.IsZero():
		r.problem("%s has no time", describe(e))
	}
}

func (r *Recorder) take(e store.Event) {
	r.sums[e.Rev] ^= crc32.ChecksumIEEE(e.Value)
	if e.Deleted() {
		delete(r.current, e.Key)
	} else {
		r.current[e.Key] = e
	}
}

func (r *Recorder) problem(format string, args ...any) {
	r.problems = append(r.problems, fmt.Sprintf(format, args...))
}

// Problems tells what was noted. That a value has changed since it was told is
// found only here.
func (r *Recorder) Problems() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	sums := map[uint64]uint32{}
	for _, e := range slices.Concat(r.base, r.history, r.applied) {
		sums[e.Rev] ^= crc32.ChecksumIEEE(e.Value)
	}
	for rev, sum := range sums {
		if sum != r.sums[rev] {
			r.problem("the value of revision %d has changed since", rev)
		}
	}
	return slices.Clone(r.problems)
}

// Reloads is how often all was loaded again, or tried to be.
func (r *Recorder) Reloads() int { r.mu.Lock(); defer r.mu.Unlock(); return r.reloads }

// Rev is the last revision told of.
func (r *Recorder) Rev() uint64 { r.mu.Lock(); defer r.mu.Unlock(); return r.rev }

// Floor is the floor that was loaded.
func (r *Recorder) Floor() uint64 { r.mu.Lock(); defer r.mu.Unlock(); return r.floor }

// Base is the base that was loaded, in the order of keys.
func (r *Recorder) Base() []store.Event { r.mu.Lock(); defer r.mu.Unlock(); return r.base }

// History is the events that were loaded.
func (r *Recorder) History() []store.Event { r.mu.Lock(); defer r.mu.Unlock(); return r.history }

// Applied is the events that were applied, in their order.
func (r *Recorder) Applied() []store.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.applied)
}

// Commits is the same, by commit.
func (r *Recorder) Commits() [][]store.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.commits)
}

// Current is what is there now: the last event of each key.
func (r *Recorder) Current() map[string]store.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := make(map[string]store.Event, len(r.current))
	for k, e := range r.current {
		c[k] = e
	}
	return c
}

// Block makes Apply wait until the function it returns is called.
func (r *Recorder) Block() (release func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	gate := make(chan struct{})
	r.gate = gate
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.gate == gate {
			r.gate = nil
			close(gate)
		}
	}
}

func describe(e store.Event) string {
	what := fmt.Sprintf("%.20q", e.Value)
	if e.Deleted() {
		what = "a deletion"
	}
	return fmt.Sprintf("revision %d (%s: %s, before it %d)", e.Rev, e.Key, what, e.Prev)
}

func sorted(m map[string]store.Event) []store.Event {
	var es []store.Event
	for _, e := range m {
		es = append(es, e)
	}
	slices.SortFunc(es, func(a, b store.Event) int { return strings.Compare(a.Key, b.Key) })
	return es
}

// sameEvents compares events but for their errors, and their times if those
// need not be kept.
func sameEvents(t testing.TB, what string, got, want []store.Event, times bool) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			t.Errorf("the %s lacks %s", what, describe(want[i]))
		case i >= len(want):
			t.Errorf("the %s has %s and should not", what, describe(got[i]))
		default:
			g, w := got[i], want[i]
			if g.Key != w.Key || g.Rev != w.Rev || g.Prev != w.Prev || g.Deleted() != w.Deleted() ||
				!bytes.Equal(g.Value, w.Value) || times && !g.Time.Equal(w.Time) {
				t.Errorf("the %s has %s at %v, want %s at %v", what, describe(g), g.Time, describe(w), w.Time)
				return
			}
			continue
		}
		return
	}
}
