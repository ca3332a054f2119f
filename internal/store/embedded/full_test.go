package embedded_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/knarr-io/knarr/internal/store"
	"github.com/knarr-io/knarr/internal/store/embedded"
	"github.com/knarr-io/knarr/internal/store/storetest"
)

// TestFull has an engine with room for nothing but deletions. Of commits that wait
// together those that delete are done, the others are refused and leave no trace: not
// in the index, and not in what is to expire.
func TestFull(t *testing.T) {
	h := newHeap()
	clock := clocktesting.NewFakeClock(time.Unix(1_000_000, 0))
	s, seen := embedded.New(h, embedded.Options{Clock: clock}), storetest.NewRecorder(true)
	if err := s.Start(t.Context(), seen); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	commit := func(c store.Change) (uint64, error) {
		revs, err := s.Commit(t.Context(), []store.Change{c})
		if err != nil {
			return 0, err
		}
		return revs[0], nil
	}
	for _, key := range []string{"/a", "/b"} {
		if err := create(s, key); err != nil {
			t.Fatal(err)
		}
	}
	h.mu.Lock()
	h.full, h.gate = true, make(chan struct{})
	h.mu.Unlock()
	var commits sync.WaitGroup
	refuse := func(c store.Change) {
		commits.Go(func() {
			if _, err := commit(c); !errors.Is(err, store.ErrFull) || errors.Is(err, store.ErrUnknown) {
				t.Errorf("%s: got %v, want ErrFull", c.Key, err)
			}
		})
	}
	refuse(store.Change{Key: "/first", Value: []byte("x")}) // the others wait for it
	time.Sleep(20 * time.Millisecond)
	refuse(store.Change{Key: "/new", Value: []byte("x"), TTL: time.Minute})
	refuse(store.Change{Key: "/a", Value: []byte("x"), If: 2})
	commits.Go(func() {
		if rev, err := commit(store.Change{Key: "/b", If: 3}); err != nil || rev != 4 {
			t.Errorf("a deletion: revision %d, %v", rev, err)
		}
	})
	time.Sleep(20 * time.Millisecond)
	close(h.gate)
	commits.Wait()

	h.mu.Lock()
	h.full, h.gate = false, nil
	h.mu.Unlock()
	// The revisions that were taken back are used for what follows, of the same keys.
	if rev, err := commit(store.Change{Key: "/new", Value: []byte("y")}); err != nil || rev != 5 {
		t.Errorf("revision %d, %v", rev, err)
	}
	if rev, err := commit(store.Change{Key: "/a", Value: []byte("y"), If: 2}); err != nil || rev != 6 {
		t.Errorf("revision %d, %v", rev, err)
	}
	clock.Step(time.Hour)
	if err := create(s, "/last"); err != nil { // comes after what has expired
		t.Fatal(err)
	}
	got := seen.Current()
	if len(got) != 3 || got["/new"].Rev != 5 || got["/a"].Rev != 6 || seen.Rev() != 7 {
		t.Errorf("there is %v at %d", got, seen.Rev())
	}
}
