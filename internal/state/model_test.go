package state

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/knarr-io/knarr/internal/store"
	"github.com/knarr-io/knarr/internal/store/embedded"
)

// The model keeps everything there ever was, the simplest way, and knows the
// answer to each question that the state can be asked.
type model struct {
	rev    uint64
	past   map[uint64][]item // what there was at each revision, by key
	events []happened
}

type item struct {
	key, value string
	rev        uint64

	resource string
	name     string // below the resource, with a slash for either scope
	text     string // as contents writes it
}

func newItem(key, value string, rev uint64) item {
	i := item{key: key, value: value, rev: rev, resource: ResourceOf(key)}
	i.name = strings.TrimPrefix(key, i.resource+"/")
	if !strings.Contains(i.name, "/") {
		i.name = "/" + i.name
	}
	i.text = fmt.Sprintf("%s=%s@%d", i.name, value, rev)
	return i
}

type happened struct {
	item
	prev    *item
	deleted bool
	time    time.Time
}

func (h *happened) String() string {
	s := fmt.Sprintf("%d %s=%s", h.rev, h.name, h.value)
	if h.prev != nil {
		s += fmt.Sprintf(" was %s@%d", h.prev.value, h.prev.rev)
	}
	if h.deleted {
		s += " deleted"
	}
	return s
}

func newModel() *model { return &model{rev: 1, past: map[uint64][]item{1: nil}} }

func (m *model) get(key string) *item {
	now := m.past[m.rev]
	i, ok := slices.BinarySearchFunc(now, key, func(i item, key string) int { return cmp.Compare(i.key, key) })
	if !ok {
		return nil
	}
	return &now[i]
}

func (m *model) apply(ch *store.Change, now time.Time) {
	prev := m.get(ch.Key)
	m.rev++
	value := string(ch.Value)
	if ch.Value == nil {
		value = prev.value
	}
	e := happened{item: newItem(ch.Key, value, m.rev), prev: prev, deleted: ch.Value == nil, time: now}
	items := slices.DeleteFunc(slices.Clone(m.past[m.rev-1]), func(i item) bool { return i.key == ch.Key })
	if !e.deleted {
		items = append(items, e.item)
		slices.SortFunc(items, func(a, b item) int { return cmp.Compare(a.key, b.key) })
	}
	m.past[m.rev] = items
	m.events = append(m.events, e)
}

// list returns what of a resource there was at rev, if keep says so.
func (m *model) list(prefix string, rev uint64, keep func(name string) bool) []string {
	var all []string
	for _, i := range m.past[rev] {
		if i.resource == prefix && keep(i.name) {
			all = append(all, i.text)
		}
	}
	return all
}

// after returns the events of a resource after rev.
func (m *model) after(prefix string, rev uint64) []happened {
	var all []happened
	for _, e := range m.events {
		if e.resource == prefix && e.rev > rev {
			all = append(all, e)
		}
	}
	return all
}

// names sort differently as elements of a path than as words.
var (
	words     = []string{"a", "a-b", "a.b", "a0", "ab", "b", "b-"}
	resources = []string{pods, nodes, "/registry/services/specs", "/registry/example.com/widgets", "/registry/events"}
)

func randomKey(r *rand.Rand) string {
	prefix := resources[r.IntN(len(resources))]
	name := words[r.IntN(len(words))]
	if prefix == nodes {
		return prefix + "/" + name
	}
	return prefix + "/" + words[r.IntN(len(words))] + "/" + name
}

// run is a random test of a state against a model.
type run struct {
	*testing.T
	r       *rand.Rand
	clock   stillClock
	keeper  *keeper
	s       *State
	m       *model
	cursors []*follow
	values  int
}

// follow is a cursor, and what it has yet to tell.
type follow struct {
	*Cursor
	prefix string
	after  uint64 // up to where the model says it has told everything
}

func TestModel(t *testing.T) {
	r := random(t)
	run := &run{T: t, r: r, clock: stillClock{clocktesting.NewFakeClock(begin)}, keeper: newKeeper(), m: newModel()}
	run.start()
	defer func() { run.stop() }()
	for step := range 300 {
		switch n := r.IntN(100); {
		case n < 60:
			run.commit()
		case n < 65:
			run.conflict()
		case n < 75:
			run.open()
		case n < 95:
			run.read()
		case n < 98:
			run.pass()
		default:
			run.restart()
		}
		run.check(step%100 == 99)
	}
}

func (run *run) start() {
	run.Helper()
	st := embedded.New(run.keeper, embedded.Options{Clock: run.clock})
	s, err := Start(context.Background(), st, Options{Retention: time.Minute, Clock: run.clock})
	if err != nil {
		run.Fatal(err)
	}
	run.s = s
}

func (run *run) stop() {
	run.Helper()
	if err := run.s.Stop(); err != nil {
		run.Error(err)
	}
}

// commit changes one to four keys.
func (run *run) commit() {
	run.clock.Step(time.Duration(run.r.IntN(1000)) * time.Millisecond)
	var changes []store.Change
	for range 1 + run.r.IntN(4) {
		key := randomKey(run.r)
		if slices.ContainsFunc(changes, func(ch store.Change) bool { return ch.Key == key }) {
			continue
		}
		ch := store.Change{Key: key}
		i := run.m.get(key)
		if i != nil {
			ch.If = i.rev
		}
		if i == nil || run.r.IntN(3) > 0 {
			run.values++
			ch.Value = fmt.Append(nil, run.values)
		}
		changes = append(changes, ch)
	}
	objects, err := run.s.Commit(context.Background(), changes...)
	if err != nil {
		run.Fatal(err)
	}
	for i := range changes {
		run.m.apply(&changes[i], run.clock.Now())
		e := run.m.events[len(run.m.events)-1]
		o := objects[i]
		if got := fmt.Sprintf("%s/%s=%s@%d", o.Namespace, o.Name, o.Value, o.Rev); got != e.text {
			run.Fatalf("Commit returned %s, want %s", got, e.text)
		}
	}
}

// conflict tries a commit whose last change must fail.
func (run *run) conflict() {
	key := randomKey(run.r)
	ch := store.Change{Key: key, Value: []byte("never"), If: run.m.rev + 1}
	good := store.Change{Key: pods + "/ns/never", Value: []byte("never")}
	var conflict *store.Conflict
	if _, err := run.s.Commit(context.Background(), good, ch); !errors.As(err, &conflict) || conflict.Key != key {
		run.Fatalf("error %v, want a conflict of %s", err, key)
	}
	if err := run.s.Err(); err != nil {
		run.Fatalf("a conflict is told as the store's fault: %v", err)
	}
}

// open begins a watch somewhere.
func (run *run) open() {
	floor := run.s.Floor()
	rev := floor - 1 + run.r.Uint64N(run.m.rev-floor+4)
	prefix := resources[run.r.IntN(len(resources))]
	w, err := run.s.Watch(prefix, rev)
	if want := run.wantErr(rev); !errors.Is(err, want) {
		run.Fatalf("Watch from %d of %d to %d: error %v, want %v", rev, floor, run.m.rev, err, want)
	}
	if err == nil {
		run.cursors = append(run.cursors, &follow{w, prefix, rev})
	}
}

func (run *run) wantErr(rev uint64) error {
	switch {
	case rev > run.m.rev:
		return ErrFuture
	case rev < run.s.Floor():
		return ErrExpired
	}
	return nil
}

// read has a cursor tell something, which may be nothing, or that it is over.
func (run *run) read() {
	if len(run.cursors) == 0 {
		return
	}
	i := run.r.IntN(len(run.cursors))
	w := run.cursors[i]
	pending := run.m.after(w.prefix, w.after)
	if len(pending) > 0 && pending[0].rev <= run.s.Floor() {
		before := w.Delivered()
		if _, err := w.Next(context.Background(), make([]Event, 1)); !errors.Is(err, ErrExpired) {
			run.Fatalf("an overtaken cursor got error %v", err)
		}
		if w.Delivered() != before || before >= pending[0].rev {
			run.Fatalf("an overtaken cursor has delivered %d, then %d; it lacks %d", before, w.Delivered(), pending[0].rev)
		}
		run.cursors = slices.Delete(run.cursors, i, i+1)
		return
	}
	room := 1 + run.r.IntN(5)
	var want []string
	for _, e := range pending[:min(room, len(pending))] {
		want = append(want, e.String())
		w.after = e.rev
	}
	wantStrings(run, "events", next(run, w.Cursor, room), want)
}

// pass lets time pass and the history be trimmed.
func (run *run) pass() {
	run.clock.Step(time.Duration(run.r.IntN(20_000)) * time.Millisecond)
	floor := run.s.forgetOld()
	old := run.clock.Now().Add(-time.Minute)
	for _, e := range run.m.events {
		if e.rev <= floor && !e.time.Before(old) {
			run.Fatalf("revision %d was forgotten %v after it happened", e.rev, run.clock.Since(e.time))
		}
		if e.rev > floor && e.time.Before(old.Truncate(time.Second)) {
			run.Fatalf("revision %d is still there %v after it happened", e.rev, run.clock.Since(e.time))
		}
	}
}

// restart loads the state again from what its store kept. Its watchers come
// back to where they were.
func (run *run) restart() {
	run.stop()
	floor := run.s.Floor()
	run.start()
	if run.s.Floor() > floor {
		run.Fatalf("the floor was %d, after a restart %d", floor, run.s.Floor())
	}
	for i, w := range run.cursors {
		delivered := w.Delivered()
		if err := run.wantErr(delivered); err != nil {
			continue // overtaken; the old cursor will say so
		}
		run.cursors[i] = &follow{watch(run, run.s, w.prefix, delivered), w.prefix, delivered}
	}
	run.check(true)
}

// check compares the state with the model, at the present and one earlier
// revision, or at all that there are.
func (run *run) check(all bool) {
	run.Helper()
	if got := run.s.Rev(); got != run.m.rev {
		run.Fatalf("revision %d, want %d", got, run.m.rev)
	}
	floor := run.s.Floor()
	from, to := floor, run.m.rev
	if !all {
		from += run.r.Uint64N(to - floor + 1)
		to = from
	}
	for _, prefix := range resources {
		run.checkSnapshot(run.s.Snapshot(prefix), prefix, run.m.rev)
		for rev := from; rev <= to; rev++ {
			snapshot, err := run.s.SnapshotAt(prefix, rev)
			if err != nil {
				run.Fatal(err)
			}
			if what := fmt.Sprintf("%s at %d", prefix, rev); all {
				wantStrings(run, what, contents(snapshot, Range{}), run.m.list(prefix, rev, everything))
			} else {
				run.checkSnapshot(snapshot, prefix, rev)
			}
		}
		for _, rev := range []uint64{floor - 1, run.m.rev + 1} {
			if _, err := run.s.SnapshotAt(prefix, rev); !errors.Is(err, run.wantErr(rev)) {
				run.Fatalf("SnapshotAt %d of %d to %d: error %v, want %v", rev, floor, run.m.rev, err, run.wantErr(rev))
			}
		}
	}
	key := randomKey(run.r)
	if i, o := run.m.get(key), run.s.Get(key); (i == nil) != (o == nil) || o != nil && (i.rev != o.Rev || i.value != string(o.Value)) {
		run.Fatalf("%s is %v, want %v", key, o, i)
	}
	for _, w := range run.cursors {
		delivered := w.Delivered()
		pending := run.m.after(w.prefix, w.after)
		switch {
		case len(pending) == 0 && delivered != run.m.rev:
			run.Fatalf("a cursor that has told everything has delivered %d, want %d", delivered, run.m.rev)
		case len(pending) > 0 && (delivered < w.after || delivered >= pending[0].rev):
			run.Fatalf("a cursor has delivered %d, but the last told was %d and the next is %d", delivered, w.after, pending[0].rev)
		}
	}
	run.checkHistory()
}

func everything(string) bool { return true }

func (run *run) checkSnapshot(s Snapshot, prefix string, rev uint64) {
	run.Helper()
	if s.Rev != rev {
		run.Fatalf("a snapshot at %d says %d", rev, s.Rev)
	}
	want := run.m.list(prefix, rev, everything)
	what := fmt.Sprintf("%s at %d", prefix, rev)
	wantStrings(run, what, contents(s, Range{}), want)
	if got := s.Len(""); got != len(want) {
		run.Fatalf("%s: length %d, want %d", what, got, len(want))
	}

	// One range of each kind. Those of cluster scope have a name alone.
	ns, name := words[run.r.IntN(len(words))], words[run.r.IntN(len(words))]
	if prefix == nodes {
		ns = ""
	}
	from := ns + "/" + name
	wantStrings(run, what+" from "+from, contents(s, Range{FromNamespace: ns, FromName: name}),
		run.m.list(prefix, rev, func(n string) bool { return n >= from }))
	o := s.Get(ns, name)
	i := slices.IndexFunc(run.m.past[rev], func(i item) bool { return i.resource == prefix && i.name == from })
	if (o == nil) != (i < 0) || o != nil && o.Rev != run.m.past[rev][i].rev {
		run.Fatalf("%s: Get(%q, %q) = %v", what, ns, name, o)
	}
	if ns == "" {
		return
	}
	within := func(n string) bool { return strings.HasPrefix(n, ns+"/") }
	want = run.m.list(prefix, rev, within)
	wantStrings(run, what+" in "+ns, contents(s, Range{Namespace: ns}), want)
	if got := s.Len(ns); got != len(want) {
		run.Fatalf("%s in %s: length %d, want %d", what, ns, got, len(want))
	}
	wantStrings(run, what+" in "+ns+" from "+name, contents(s, Range{Namespace: ns, FromName: name}),
		run.m.list(prefix, rev, func(n string) bool { return within(n) && n >= from }))
}

// checkHistory checks that the accounts of the history are those of its logs.
func (run *run) checkHistory() {
	run.Helper()
	run.s.mu.RLock()
	defer run.s.mu.RUnlock()
	var events, spans int64
	for _, c := range run.s.collections {
		for i := range c.log.events {
			events += c.log.events[i].cost()
		}
	}
	for _, span := range run.s.history.spans {
		spans += span.cost
	}
	if bytes := run.s.history.bytes; bytes != events || bytes != spans {
		run.Fatalf("the history counts %d bytes; its events are %d, its spans %d", bytes, events, spans)
	}
}
