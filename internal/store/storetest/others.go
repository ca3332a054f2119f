package storetest

import (
	"errors"
	"strconv"
	"sync"
	"testing"

	"github.com/knarr-io/knarr/internal/store"
)

// testLatest asks how far the store is. That what others commit is at or before
// the answer is for testOthers.
func testLatest(t *testing.T, f *fixture) {
	rev := f.put(key(1), "a", 0)
	latest, err := f.store.Latest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if f.backend.Embedded {
		if latest != 0 {
			t.Errorf("a store that is nobody else's is to be waited for until %d", latest)
		}
		return
	}
	if latest < rev {
		t.Errorf("the latest revision is %d, after a commit at %d", latest, rev)
	}
	f.eventually("the latest revision has come", func() bool { return f.seen.Rev() >= latest })
}

// other opens the same place a second time.
func (f *fixture) other() (store.Store, *Recorder) {
	f.t.Helper()
	if f.backend.Embedded {
		f.t.Skip("this store is nobody else's")
	}
	st, seen := f.backend.Open(f.t), NewRecorder(false)
	f.t.Cleanup(func() {
		if err := st.Close(); err != nil {
			f.t.Error(err)
		}
		for _, problem := range seen.Problems() {
			f.t.Errorf("the other follower saw: %s", problem)
		}
	})
	if err := st.Start(f.t.Context(), seen); err != nil {
		f.t.Fatal(err)
	}
	return st, seen
}

// testOthers writes by two stores at once. Both tell of the same, in the same
// order, and a reader who waits for the latest revision misses nothing.
func testOthers(t *testing.T, f *fixture) {
	f.put(key(0), "before", 0)
	st, seen := f.other()
	if e := seen.Current()[key(0)]; string(e.Value) != "before" {
		t.Errorf("the other has %s", describe(e))
	}
	stores, recorders := []store.Store{f.store, st}, []*Recorder{f.seen, seen}
	const each = 30
	var writers sync.WaitGroup
	for w := range 8 {
		st, other := stores[w%2], 1-w%2
		writers.Go(func() {
			at := uint64(0)
			for i := range each {
				c := []store.Change{
					{Key: key(10 + w), Value: []byte(strconv.Itoa(i)), If: at},
					{Key: key(100 + w*each + i), Value: []byte("x")},
				}
				revs, err := st.Commit(t.Context(), c)
				if err != nil {
					t.Errorf("Commit: %v", err)
					return
				}
				at = revs[0]
				latest, err := stores[other].Latest(t.Context())
				if err != nil || latest < at {
					t.Errorf("the latest revision is %d, %v, after a commit at %d", latest, err, at)
					return
				}
			}
		})
	}
	writers.Wait()
	latest, err := st.Latest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f.eventually("both have come to the latest revision", func() bool { return f.seen.Rev() >= latest && seen.Rev() >= latest })
	sameEvents(t, "other's events", recorders[1].Applied(), recorders[0].Applied()[1:], false)
	if n := len(seen.Commits()); n != 8*each {
		t.Errorf("%d commits came as %d", 8*each, n)
	}
}

// testOthersConflict counts by compare-and-set through two stores, which lag
// behind each other: who has met a conflict knows of what made it.
func testOthersConflict(t *testing.T, f *fixture) {
	st, seen := f.other()
	stores, recorders := []store.Store{f.store, st}, []*Recorder{f.seen, seen}
	const writers, each = 6, 25
	var done sync.WaitGroup
	for w := range writers {
		st, seen := stores[w%2], recorders[w%2]
		done.Go(func() {
			for range each {
				for {
					have := seen.Current()[key(1)]
					n, _ := strconv.Atoi(string(have.Value))
					_, err := st.Commit(t.Context(), []store.Change{{Key: key(1), Value: []byte(strconv.Itoa(n + 1)), If: have.Rev}})
					if err == nil {
						break
					}
					var conflict *store.Conflict
					if !errors.As(err, &conflict) {
						t.Errorf("Commit: %v", err)
						return
					}
					if now := seen.Current()[key(1)].Rev; now < conflict.Rev || conflict.Rev <= have.Rev {
						t.Errorf("a conflict at %d: the key is at %d, and told at %d", have.Rev, conflict.Rev, now)
						return
					}
				}
			}
		})
	}
	done.Wait()
	latest, err := f.store.Latest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f.eventually("the store is at the latest revision", func() bool { return f.seen.Rev() >= latest })
	f.wantValue(key(1), strconv.Itoa(writers*each))
	gone := f.delete(key(1), f.seen.Current()[key(1)].Rev)
	_, err = st.Commit(t.Context(), []store.Change{{Key: key(1), Value: []byte("x"), If: gone - 1}})
	var conflict *store.Conflict
	if !errors.As(err, &conflict) || conflict.Rev != 0 {
		t.Errorf("an update of what another has deleted: %v", err)
	}
	if _, there := seen.Current()[key(1)]; there {
		t.Error("who has met a conflict with a deletion does not know of it")
	}
}
