// Package storetest judges stores: one suite that every store.Store passes,
// whatever it keeps its values in.
//
// It must not know which store it judges; what differs between stores by
// contract is said by the fields of Backend.
package storetest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/knarr-io/knarr/internal/store"
)

// Backend is one place where a store keeps what it is given, empty at first.
type Backend struct {
	// Open opens the store in that place. If it is Embedded, the one opened before
	// is closed.
	Open func(tb testing.TB) store.Store
	// Durable says that the place outlives the store.
	Durable bool
	// Embedded says that nobody else writes there: revisions begin at 1 and
	// each change takes the next, and an event keeps its time. What is compacted
	// is gone, where others need not be left a history.
	Embedded bool
	// Clock is the store's clock. If nil it is the real one, and tests that
	// need time to pass let it pass.
	Clock *clocktesting.FakeClock
	// Check, if not nil, looks for inconsistencies in the place while no store
	// is open.
	Check func(tb testing.TB)
}

// Run runs the suite. Each test gets a backend of its own.
func Run(t *testing.T, newBackend func(t *testing.T) Backend) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, f *fixture)
	}{
		{"Empty", testEmpty},
		{"CreateUpdateDelete", testCreateUpdateDelete},
		{"Conflict", testConflict},
		{"Check", testCheck},
		{"EmptyValue", testEmptyValue},
		{"LargeValues", testLargeValues},
		{"OddKeys", testOddKeys},
		{"CommitIsAtomic", testCommitIsAtomic},
		{"Invalid", testInvalid},
		{"ReadYourWrites", testReadYourWrites},
		{"NoLostUpdate", testNoLostUpdate},
		{"Cancel", testCancel},
		{"Start", testStart},
		{"Close", testClose},
		{"CloseWhileCommitting", testCloseWhileCommitting},
		{"Reopen", testReopen},
		{"Compact", testCompact},
		{"CompactEverything", testCompactEverything},
		{"CompactWhileCommitting", testCompactWhileCommitting},
		{"TTL", testTTL},
		{"TTLReplaced", testTTLReplaced},
		{"TTLAcrossReopen", testTTLAcrossReopen},
		{"Latest", testLatest},
		{"Others", testOthers},
		{"OthersConflict", testOthersConflict},
		{"Model", testModel},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t, newBackend(t))
			test.run(t, f)
			f.finish()
		})
	}
}

// fixture is a backend with an open store, and what is known to have happened.
type fixture struct {
	t       *testing.T
	backend Backend
	store   store.Store
	seen    *Recorder

	// before holds every event up to the last reopening, compacted or not.
	before []store.Event
	// floor is the highest revision that was compacted.
	floor uint64
}

func newFixture(t *testing.T, b Backend) *fixture {
	f := &fixture{t: t, backend: b, floor: 1}
	f.open()
	return f
}

func (f *fixture) open() {
	f.t.Helper()
	f.store = f.backend.Open(f.t)
	f.t.Cleanup(func() { _ = f.store.Close() })
	f.seen = NewRecorder(f.backend.Embedded)
	if err := f.store.Start(f.t.Context(), f.seen); err != nil {
		f.t.Fatalf("Start: %v", err)
	}
}

// close closes the store and checks what it told and what it left.
func (f *fixture) close() {
	f.t.Helper()
	if err := f.store.Close(); err != nil {
		f.t.Fatalf("Close: %v", err)
	}
	for _, problem := range f.seen.Problems() {
		f.t.Errorf("the follower saw: %s", problem)
	}
	if f.backend.Check != nil {
		f.backend.Check(f.t)
	}
}

// reopen closes the store, opens it again, and compares what it loads with
// what the follower of the closed one saw.
func (f *fixture) reopen() {
	f.t.Helper()
	f.close()
	f.before = append(f.before, f.seen.Applied()...)
	rev := f.seen.Rev()
	f.open()
	if f.seen.Rev() < rev || f.backend.Embedded && f.seen.Rev() != rev {
		f.t.Errorf("reopened at revision %d, closed at %d", f.seen.Rev(), rev)
	}
	if f.backend.Embedded && f.seen.Floor() != f.floor {
		f.t.Errorf("reopened with floor %d, want %d", f.seen.Floor(), f.floor)
	}
	base, events := f.loadWanted()
	sameEvents(f.t, "base", f.seen.Base(), base, f.backend.Embedded)
	sameEvents(f.t, "history", f.seen.History(), events, f.backend.Embedded)
}

// loadWanted is what the store should load: base in the order of keys.
func (f *fixture) loadWanted() (base, events []store.Event) {
	at := map[string]store.Event{}
	for _, e := range f.before {
		switch {
		case e.Rev > f.seen.Floor():
			events = append(events, e)
		case e.Deleted():
			delete(at, e.Key)
		default:
			e.Prev = 0
			at[e.Key] = e
		}
	}
	return sorted(at), events
}

// finish ends a test. If the store is durable it is looked at once more.
func (f *fixture) finish() {
	f.t.Helper()
	if f.backend.Durable && !f.t.Failed() {
		f.reopen()
	}
	f.close()
}

// needDurable skips a test that is about reopening.
func (f *fixture) needDurable() {
	if !f.backend.Durable {
		f.t.Skip("this store is gone when it is closed")
	}
}

func (f *fixture) commit(changes ...store.Change) ([]uint64, error) {
	return f.store.Commit(f.t.Context(), changes)
}

// put sets a key that is at revision at, and returns the new revision.
func (f *fixture) put(key, value string, at uint64) uint64 {
	f.t.Helper()
	return f.must(store.Change{Key: key, Value: []byte(value), If: at})[0]
}

func (f *fixture) delete(key string, at uint64) uint64 {
	f.t.Helper()
	return f.must(store.Change{Key: key, If: at})[0]
}

func (f *fixture) must(changes ...store.Change) []uint64 {
	f.t.Helper()
	revs, err := f.commit(changes...)
	if err != nil {
		f.t.Fatalf("Commit: %v", err)
	}
	if len(revs) != len(changes) {
		f.t.Fatalf("Commit of %d changes returned %d revisions", len(changes), len(revs))
	}
	return revs
}

func (f *fixture) compact(rev uint64) {
	f.t.Helper()
	if err := f.store.Compact(f.t.Context(), rev); err != nil {
		f.t.Fatalf("Compact(%d): %v", rev, err)
	}
	f.floor = max(f.floor, rev)
}

// value is what the follower has for key, "<none>" if nothing.
func (f *fixture) value(key string) string {
	if e, ok := f.seen.Current()[key]; ok {
		return string(e.Value)
	}
	return "<none>"
}

func (f *fixture) wantValue(key, want string) {
	f.t.Helper()
	if got := f.value(key); got != want {
		f.t.Errorf("%s is %.40q, want %.40q", key, got, want)
	}
}

// sleep lets d pass on the store's clock.
func (f *fixture) sleep(d time.Duration) {
	if f.backend.Clock != nil {
		f.backend.Clock.Step(d)
		return
	}
	time.Sleep(d)
}

// eventually waits for a condition, letting time pass.
func (f *fixture) eventually(what string, ok func() bool) {
	f.t.Helper()
	for start := time.Now(); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Since(start) > 10*time.Second {
			f.t.Fatalf("waited in vain until %s", what)
		}
		if f.backend.Clock != nil {
			f.backend.Clock.Step(100 * time.Millisecond)
		}
	}
}

// SeedVariable names the environment variable that sets the seed of the tests
// with random operations, to run one again.
const SeedVariable = "KNARR_STORETEST_SEED"

// random returns a source whose seed is printed if the test fails.
func random(t testing.TB) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv(SeedVariable); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("%s: %v", SeedVariable, err)
		}
	}
	t.Logf("to run this again: %s=%d", SeedVariable, seed)
	return rand.New(rand.NewPCG(seed, 0))
}

func key(i int) string { return fmt.Sprintf("/registry/things/default/%03d", i) }

// inBackground runs f and returns a channel with its error.
func inBackground(f func() error) <-chan error {
	c := make(chan error, 1)
	go func() { c <- f() }()
	return c
}
