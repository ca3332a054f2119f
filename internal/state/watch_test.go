package state

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"
	"weak"

	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/store"
	"github.com/knarr-io/knarr/internal/store/memory"
)

func TestNextWaits(t *testing.T) {
	s := startInMemory(t)
	w := watch(t, s, pods, s.Rev())
	go func() {
		time.Sleep(10 * time.Millisecond)
		_, _ = s.Commit(context.Background(), store.Change{Key: nodes + "/n", Value: []byte("1")}) // not this
		_, _ = s.Commit(context.Background(), store.Change{Key: pods + "/ns/a", Value: []byte("1")})
	}()
	events := make([]Event, 3)
	n, err := w.Next(context.Background(), events)
	if n != 1 || err != nil {
		t.Fatalf("%d events, error %v", n, err)
	}
	wantStrings(t, "event", []string{tell(&events[0])}, []string{"3 ns/a=1"})

	ctx, cancel := context.WithTimeoutCause(context.Background(), 10*time.Millisecond, errNothing)
	defer cancel()
	if n, err := w.Next(ctx, events); n != 0 || err != errNothing {
		t.Errorf("%d events, error %v, want %v", n, err, errNothing)
	}
}

// A commit's events are seen together, by whoever waits for the first.
func TestCommitIsSeenWhole(t *testing.T) {
	s := startInMemory(t)
	w := watch(t, s, pods, s.Rev())
	told := make(chan int)
	go func() {
		n, _ := w.Next(context.Background(), make([]Event, 10))
		told <- n
	}()
	time.Sleep(5 * time.Millisecond) // it waits, most likely
	commit(t, s, store.Change{Key: pods + "/ns/a", Value: []byte("1")}, store.Change{Key: pods + "/ns/b", Value: []byte("1")})
	if n := <-told; n != 2 {
		t.Errorf("%d events of a commit of 2", n)
	}
	if w.Delivered() != 3 {
		t.Errorf("delivered %d, want 3", w.Delivered())
	}
}

// Where several events share a revision, as other writers of an etcd may make
// them, it has not been delivered before the last is told.
func TestDeliveredWithSharedRevision(t *testing.T) {
	s := startInMemory(t)
	w := watch(t, s, pods, s.Rev())
	(*follower)(s).Apply([]store.Event{
		{Key: pods + "/ns/a", Value: []byte("1"), Rev: 5, Time: time.Now()},
		{Key: pods + "/ns/b", Value: []byte("1"), Rev: 5, Time: time.Now()},
	})
	next(t, w, 1)
	if w.Delivered() != 4 {
		t.Errorf("delivered %d with one event of revision 5 to come", w.Delivered())
	}
	next(t, w, 1)
	if w.Delivered() != 5 {
		t.Errorf("delivered %d, want 5", w.Delivered())
	}
	if again := watch(t, s, pods, 4); len(next(t, again, 5)) != 2 {
		t.Error("a watch from 4 does not tell both events of 5")
	}
}

func TestOvertakenWhileWaiting(t *testing.T) {
	s := start(t, memory.New(memory.Options{}), Options{HistoryBytes: 1})
	w := watch(t, s, pods, s.Rev())
	ended := make(chan error)
	go func() {
		_, err := w.Next(context.Background(), make([]Event, 1))
		ended <- err
	}()
	put(t, s, nodes+"/n", "1") // trims the history of both; the cursor lacks nothing
	if w := watch(t, s, pods, s.Rev()); w.Delivered() != s.Rev() {
		t.Errorf("delivered %d at %d", w.Delivered(), s.Rev())
	}
	put(t, s, pods+"/ns/a", "1")
	if err := <-ended; !errors.Is(err, ErrExpired) {
		t.Errorf("error %v, want %v", err, ErrExpired)
	}
	if w.Delivered() > 3 {
		t.Errorf("delivered %d, but revision 3 was never told", w.Delivered())
	}
}

// A cursor that nobody reads keeps no event and no object alive.
func TestCursorHoldsNothing(t *testing.T) {
	s := start(t, memory.New(memory.Options{}), Options{HistoryBytes: 10_000})
	w := watch(t, s, pods, s.Rev())
	next(t, w, 10)
	var gone []weak.Pointer[object.Object]
	for i := range 10 {
		gone = append(gone, weak.Make(put(t, s, pods+"/ns/a", fmt.Sprint(i))))
	}
	for s.Floor() < 12 {
		put(t, s, nodes+"/n", string(make([]byte, 1000)))
	}
	runtime.GC()
	for i, p := range gone[:9] { // the last is current
		if p.Value() != nil {
			t.Errorf("object %d is still alive", i)
		}
	}
	if _, err := w.Next(context.Background(), make([]Event, 1)); !errors.Is(err, ErrExpired) {
		t.Errorf("error %v, want %v", err, ErrExpired)
	}
}

// Writers, watchers and readers together: each watcher sees every event once,
// in order, with its predecessor, and ends up with what a snapshot shows.
func TestConcurrently(t *testing.T) {
	s := startInMemory(t)
	r := random(t)
	const writers, watchers, commits = 4, 8, 300
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()

	var working, watching sync.WaitGroup
	for range watchers {
		w := watch(t, s, pods, s.Rev())
		room := 1 + r.IntN(20)
		watching.Go(func() { replay(ctx, t, s, w, room) })
	}
	for i := range writers {
		a, b := r.Uint64(), r.Uint64()
		working.Go(func() { write(ctx, t, s, rand.New(rand.NewPCG(a, b)), i, commits) })
	}
	for range 2 {
		working.Go(func() {
			var before uint64
			for range commits {
				snapshot := s.Snapshot(pods)
				snapshot.Each(Range{}, func(o *object.Object) bool {
					if o.Rev > snapshot.Rev {
						t.Errorf("a snapshot at %d holds an object of %d", snapshot.Rev, o.Rev)
					}
					return true
				})
				if snapshot.Rev < before || s.Rev() < snapshot.Rev {
					t.Errorf("snapshots at %d, then %d, now %d", before, snapshot.Rev, s.Rev())
				}
				before = snapshot.Rev
			}
		})
	}
	working.Wait()
	put(t, s, pods+"/ns/"+last, "")
	watching.Wait()
}

// write changes keys of its own and of others, as the revisions allow.
func write(ctx context.Context, t *testing.T, s *State, r *rand.Rand, own, commits int) {
	for range commits {
		keys := []string{
			fmt.Sprintf("%s/ns/shared-%d", pods, r.IntN(5)),
			fmt.Sprintf("%s/ns/own-%d-%d", pods, own, r.IntN(5)),
		}
		var changes []store.Change
		for _, key := range keys {
			ch := store.Change{Key: key, Value: fmt.Append(nil, r.Int())}
			if o := s.Get(key); o != nil {
				ch.If = o.Rev
				if r.IntN(3) == 0 {
					ch.Value = nil
				}
			}
			changes = append(changes, ch)
		}
		objects, err := s.Commit(ctx, changes...)
		var conflict *store.Conflict
		if errors.As(err, &conflict) {
			continue
		}
		if err != nil {
			t.Error(err)
			return
		}
		// It reads its own write.
		if o := s.Get(keys[1]); changes[1].Value != nil && o != objects[1] || changes[1].Value == nil && o != nil {
			t.Errorf("after a commit of %s there is %v", keys[1], o)
		}
	}
}

// last is the name of the object that is written last.
const last = "last"

// replay applies what a cursor tells to a map, up to the last object, and
// compares with a snapshot.
func replay(ctx context.Context, t *testing.T, s *State, w *Cursor, room int) {
	objects := map[string]*object.Object{}
	events := make([]Event, room)
	var rev uint64
	for objects[last] == nil {
		n, err := w.Next(ctx, events)
		if err != nil {
			t.Error(err)
			return
		}
		for i := range events[:n] {
			e := &events[i]
			name := e.Object.Name
			if e.Rev() <= rev || e.Prev != objects[name] {
				t.Errorf("%s follows %d and %+v", tell(e), rev, objects[name])
				return
			}
			rev = e.Rev()
			objects[name] = e.Object
			if e.Deleted {
				delete(objects, name)
			}
		}
		if d := w.Delivered(); d < rev {
			t.Errorf("delivered %d after %d was told", d, rev)
		}
	}
	snapshot := s.Snapshot(pods)
	if len(objects) != snapshot.Len("") {
		t.Errorf("%d objects after all events, the snapshot has %d", len(objects), snapshot.Len(""))
	}
	snapshot.Each(Range{}, func(o *object.Object) bool {
		if objects[o.Name] != o {
			t.Errorf("%s: the events gave %+v, the snapshot has %+v", o.Name, objects[o.Name], o)
		}
		return true
	})
}
