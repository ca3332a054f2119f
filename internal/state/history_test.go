package state

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/knarr-io/knarr/internal/store"
	"github.com/knarr-io/knarr/internal/store/embedded"
	"github.com/knarr-io/knarr/internal/store/memory"
)

// eventually waits for what another goroutine does.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s has not happened", what)
		}
	}
}

// The trimmer forgets what is old and has the store compact to the same
// revision. It sleeps, without a timer, while there is nothing to forget.
func TestRetention(t *testing.T) {
	clock := clocktesting.NewFakeClock(begin)
	k := newKeeper()
	s := start(t, embedded.New(k, embedded.Options{Clock: clock}), Options{Retention: time.Minute, Clock: clock})
	time.Sleep(10 * time.Millisecond)
	if clock.HasWaiters() {
		t.Error("the trimmer has a timer though there is no history")
	}

	put(t, s, pods+"/ns/a", "1")
	clock.Step(50 * time.Second)
	put(t, s, pods+"/ns/a", "2")
	eventually(t, "a timer", clock.HasWaiters)
	clock.Step(12 * time.Second) // the first change is 62 s old, the second 12
	eventually(t, "forgetting revision 2", func() bool { return s.Floor() == 2 })
	eventually(t, "compaction", func() bool { floor, _, _ := k.Bounds(); return floor == 2 })
	wantStrings(t, "events", next(t, watch(t, s, pods, 2), 5), []string{"3 ns/a=2 was 1@2"})

	eventually(t, "a timer", clock.HasWaiters)
	clock.Step(time.Minute)
	eventually(t, "forgetting revision 3", func() bool { return s.Floor() == 3 })
	eventually(t, "compaction", func() bool { floor, _, _ := k.Bounds(); return floor == 3 })
	time.Sleep(10 * time.Millisecond)
	if clock.HasWaiters() {
		t.Error("the trimmer has a timer though there is no history left")
	}
	if !slices.Equal(k.compacted, []uint64{2, 3}) {
		t.Errorf("compacted at %v, want 2 and 3", k.compacted)
	}
	wantStrings(t, "objects", contents(s.Snapshot(pods), Range{}), []string{"ns/a=2@3"})
}

// After a restart the history is as old as it is, but clients get a while to
// come back before it is trimmed.
func TestRetentionAcrossRestart(t *testing.T) {
	clock := clocktesting.NewFakeClock(begin)
	k := newKeeper()
	opts := Options{Retention: time.Minute, Clock: clock}
	s, err := Start(context.Background(), embedded.New(k, embedded.Options{Clock: clock}), opts)
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, pods+"/ns/a", "1")
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	clock.Step(time.Hour)
	s = start(t, embedded.New(k, embedded.Options{Clock: clock}), opts)
	eventually(t, "a timer", clock.HasWaiters)
	wantStrings(t, "events", next(t, watch(t, s, pods, 1), 5), []string{"2 ns/a=1"})
	clock.Step(time.Minute / 5)
	eventually(t, "forgetting revision 2", func() bool { return s.Floor() == 2 })
}

// A compaction that fails is tried again, and hinders nothing.
func TestCompactFails(t *testing.T) {
	clock := clocktesting.NewFakeClock(begin)
	k := newKeeper()
	st := &compacting{Store: embedded.New(k, embedded.Options{Clock: clock}), calls: make(chan uint64), result: make(chan error)}
	s := start(t, st, Options{Retention: time.Minute, Clock: clock})
	put(t, s, pods+"/ns/a", "1")
	clock.Step(30 * time.Second)
	put(t, s, pods+"/ns/a", "2")
	eventually(t, "a timer", clock.HasWaiters)
	clock.Step(31 * time.Second)
	if rev := <-st.calls; rev != 2 {
		t.Errorf("compacts at %d, want 2", rev)
	}
	put(t, s, pods+"/ns/a", "3") // while it runs
	st.result <- errors.New("disk is busy")
	eventually(t, "a timer", clock.HasWaiters)
	clock.Step(12 * time.Second)
	if rev := <-st.calls; rev != 2 {
		t.Errorf("compacts at %d, want 2 again", rev)
	}
	st.result <- nil
}

// compacting is a store whose compactions the test ends.
type compacting struct {
	store.Store
	calls  chan uint64
	result chan error
}

func (c *compacting) Compact(ctx context.Context, rev uint64) error {
	select {
	case c.calls <- rev:
		return <-c.result
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// The bytes that only the history holds are bounded at every moment, and what
// is forgotten is the oldest.
func TestHistoryBytes(t *testing.T) {
	const limit = 100_000
	s := start(t, memory.New(memory.Options{}), Options{HistoryBytes: limit})
	r := random(t)
	for i := range 1000 {
		put(t, s, fmt.Sprintf("%s/ns/%d", pods, i%10), string(make([]byte, r.IntN(3000))))
		if got := s.history.bytes; got > limit {
			t.Fatalf("the history holds %d bytes, more than %d", got, limit)
		}
	}
	floor := s.Floor()
	if floor < 500 || floor > s.Rev()-20 {
		t.Errorf("floor %d at revision %d", floor, s.Rev())
	}
	if s.history.bytes < limit/2 {
		t.Errorf("the history holds %d bytes; it may hold %d", s.history.bytes, limit)
	}
	if _, err := s.Watch(pods, floor-1); !errors.Is(err, ErrExpired) {
		t.Errorf("error %v, want %v", err, ErrExpired)
	}
	w := watch(t, s, pods, floor)
	if told := next(t, w, 1000); len(told) != int(s.Rev()-floor) {
		t.Errorf("%d events from %d to %d", len(told), floor, s.Rev())
	}
}

// A store that kept more than is wanted now is cut short when it is loaded.
func TestHistoryBytesOnLoad(t *testing.T) {
	k := newKeeper()
	s := start(t, embedded.New(k, embedded.Options{}), Options{})
	for range 100 {
		put(t, s, pods+"/ns/a", string(make([]byte, 1000)))
	}
	again := start(t, embedded.New(k, embedded.Options{}), Options{HistoryBytes: 20_000})
	if again.history.bytes > 20_000 || again.Floor() < 80 {
		t.Errorf("the history holds %d bytes from %d on", again.history.bytes, again.Floor())
	}
	eventually(t, "compaction", func() bool { floor, _, _ := k.Bounds(); return floor == again.Floor() })
}

// Spans join what happened in one second, so that the history's own accounts
// are small, but events of one revision are never torn apart.
func TestSpans(t *testing.T) {
	h := history{limit: 1 << 20}
	second := time.Unix(100, 0)
	for rev := range uint64(1000) {
		h.add(rev+1, second.Add(time.Duration(rev)*time.Millisecond/2), 10)
	}
	if len(h.spans) > 1000*10/(1<<12)+1 {
		t.Errorf("%d spans for one second", len(h.spans))
	}
	for range 10 {
		h.add(1001, second, 1<<13)
	}
	if rev := h.forget(second.Add(time.Second)); rev != 1001 || h.bytes != 0 || len(h.spans) != 0 {
		t.Errorf("forgot up to %d, %d bytes and %d spans are left", rev, h.bytes, len(h.spans))
	}
	if rev := h.forget(second.Add(time.Hour)); rev != 0 {
		t.Errorf("forgot up to %d, but there is nothing", rev)
	}
	h = history{limit: 100}
	h.add(1, second, 40)
	h.add(2, second, 40)
	h.add(2, second, 60)
	if rev := h.forget(time.Time{}); rev != 2 || h.bytes != 0 {
		t.Errorf("forgot up to %d, in the middle of a revision", rev)
	}
}
