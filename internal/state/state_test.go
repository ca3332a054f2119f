package state

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/store"
	"github.com/knarr-io/knarr/internal/store/embedded"
	"github.com/knarr-io/knarr/internal/store/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var seed = flag.Uint64("seed", 0, "replays a random test; 0 takes a new seed")

// random returns a source that a failed test can be replayed with.
func random(t testing.TB) *rand.Rand {
	n := *seed
	if n == 0 {
		n = uint64(time.Now().UnixNano())
	}
	t.Logf("replay with -seed=%d", n)
	return rand.New(rand.NewPCG(n, 0))
}

const (
	pods  = "/registry/pods"
	nodes = "/registry/minions"
)

// begin is when the tests' clocks start.
var begin = time.Unix(1_700_000_000, 0)

// start returns a state that is stopped with the test.
func start(t testing.TB, st store.Store, opts Options) *State {
	t.Helper()
	s, err := Start(context.Background(), st, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func startInMemory(t testing.TB) *State {
	t.Helper()
	return start(t, memory.New(memory.Options{}), Options{})
}

// put creates or updates a key and returns the object.
func put(t testing.TB, s *State, key, value string) *object.Object {
	t.Helper()
	o, err := tryPut(s, key, value)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// tryPut is put for goroutines beside the test's.
func tryPut(s *State, key, value string) (*object.Object, error) {
	ch := store.Change{Key: key, Value: []byte(value)}
	if o := s.Get(key); o != nil {
		ch.If = o.Rev
	}
	objects, err := s.Commit(context.Background(), ch)
	if err != nil {
		return nil, err
	}
	return objects[0], nil
}

// remove deletes a key and returns its last state.
func remove(t testing.TB, s *State, key string) *object.Object {
	t.Helper()
	o := s.Get(key)
	if o == nil {
		t.Fatalf("%s does not exist", key)
	}
	return commit(t, s, store.Change{Key: key, If: o.Rev})[0]
}

func commit(t testing.TB, s *State, changes ...store.Change) []*object.Object {
	t.Helper()
	objects, err := s.Commit(context.Background(), changes...)
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

// tell writes an event as its watchers would see it.
func tell(e *Event) string {
	s := fmt.Sprintf("%d %s/%s=%s", e.Rev(), e.Object.Namespace, e.Object.Name, e.Object.Value)
	if e.Prev != nil {
		s += fmt.Sprintf(" was %s@%d", e.Prev.Value, e.Prev.Rev)
	}
	if e.Deleted {
		s += " deleted"
	}
	return s
}

// next returns what a cursor gives without waiting.
func next(t testing.TB, w *Cursor, room int) []string {
	t.Helper()
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errNothing)
	events := make([]Event, room)
	n, err := w.Next(ctx, events)
	if err != nil && !errors.Is(err, errNothing) {
		t.Fatal(err)
	}
	var told []string
	for i := range events[:n] {
		told = append(told, tell(&events[i]))
	}
	return told
}

var errNothing = errors.New("there is nothing")

func watch(t testing.TB, s *State, prefix string, rev uint64) *Cursor {
	t.Helper()
	w, err := s.Watch(prefix, rev)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func wantStrings(t testing.TB, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("%s:\n got %q\nwant %q", what, got, want)
	}
}

// contents returns the objects of a snapshot as strings.
func contents(s Snapshot, r Range) []string {
	var all []string
	s.Each(r, func(o *object.Object) bool {
		all = append(all, fmt.Sprintf("%s/%s=%s@%d", o.Namespace, o.Name, o.Value, o.Rev))
		return true
	})
	return all
}

// keeper is an engine that outlives the store made on it.
type keeper struct {
	mu         sync.Mutex
	entries    []embedded.Entry
	floor, rev uint64
	unreadable map[string]error // by key
	compacted  []uint64
	failing    error // what Append and Compact return
}

func newKeeper() *keeper { return &keeper{floor: 1, rev: 1} }

func (k *keeper) Bounds() (floor, rev uint64, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.floor, k.rev, nil
}

func (k *keeper) Scan(after, upTo uint64, visit func(embedded.Entry) error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, e := range k.entries {
		if e.Rev <= after || e.Rev > upTo {
			continue
		}
		if err := k.unreadable[e.Key]; err != nil && !e.Deleted() {
			e.Value, e.Err = nil, err
		}
		if err := visit(e); err != nil {
			return err
		}
	}
	return nil
}

func (k *keeper) Append(entries []embedded.Entry) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.failing != nil {
		return k.failing
	}
	k.entries = append(k.entries, entries...)
	k.rev = entries[len(entries)-1].Rev
	return nil
}

func (k *keeper) Compact(_ context.Context, rev uint64) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.failing != nil {
		return k.failing
	}
	k.compacted = append(k.compacted, rev)
	last := map[string]uint64{}
	for _, e := range k.entries {
		if e.Rev <= rev {
			last[e.Key] = e.Rev
		}
	}
	k.entries = slices.DeleteFunc(k.entries, func(e embedded.Entry) bool {
		return e.Rev <= rev && (e.Deleted() || e.Rev != last[e.Key])
	})
	k.floor = rev
	return nil
}

func (k *keeper) Close() error { return nil }

func (k *keeper) fail(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.failing = err
}

// stillClock has a time that tests set, and timers that never fire, so that
// the trimmer leaves the history to the test.
type stillClock struct{ *clocktesting.FakeClock }

func (c stillClock) NewTimer(time.Duration) clock.Timer {
	return clocktesting.NewFakeClock(begin).NewTimer(time.Hour)
}
