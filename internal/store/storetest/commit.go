package storetest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/knarr-io/knarr/internal/store"
)

func testEmpty(t *testing.T, f *fixture) {
	if n := len(f.seen.Base()) + len(f.seen.History()); n != 0 {
		t.Errorf("a new store loads %d events", n)
	}
	if !f.backend.Embedded {
		return
	}
	if f.seen.Floor() != 1 || f.seen.Rev() != 1 {
		t.Errorf("a new store has floor %d and revision %d, want 1 and 1", f.seen.Floor(), f.seen.Rev())
	}
	if rev := f.put(key(1), "a", 0); rev != 2 {
		t.Errorf("the first change has revision %d, want 2", rev)
	}
}

func testCreateUpdateDelete(t *testing.T, f *fixture) {
	before := time.Now()
	if f.backend.Clock != nil {
		before = f.backend.Clock.Now()
	}
	created := f.put(key(1), "a", 0)
	f.wantValue(key(1), "a")
	updated := f.put(key(1), "b", created)
	f.wantValue(key(1), "b")
	other := f.put(key(2), "c", 0)
	deleted := f.delete(key(1), updated)
	f.wantValue(key(1), "<none>")
	again := f.put(key(1), "d", 0)
	f.wantValue(key(1), "d")
	f.wantValue(key(2), "c")

	want := []store.Event{
		{Key: key(1), Value: []byte("a"), Rev: created},
		{Key: key(1), Value: []byte("b"), Rev: updated, Prev: created},
		{Key: key(2), Value: []byte("c"), Rev: other},
		{Key: key(1), Rev: deleted, Prev: updated},
		{Key: key(1), Value: []byte("d"), Rev: again},
	}
	got := f.seen.Applied()
	sameEvents(t, "stream of events", got, want, false)
	for _, e := range got {
		if off := e.Time.Sub(before); off < 0 || off > time.Minute {
			t.Errorf("%s is dated %v, the test began at %v", describe(e), e.Time, before)
		}
	}
	if f.seen.Rev() != again {
		t.Errorf("the follower is at %d, want %d", f.seen.Rev(), again)
	}
}

func testConflict(t *testing.T, f *fixture) {
	first := f.put(key(1), "a", 0)
	second := f.put(key(1), "b", first)
	gone := f.put(key(2), "a", 0)
	f.delete(key(2), gone)
	n := len(f.seen.Applied())

	for _, c := range []struct {
		name   string
		change store.Change
		rev    uint64
	}{
		{"create what exists", store.Change{Key: key(1), Value: []byte("x")}, second},
		{"update at an old revision", store.Change{Key: key(1), Value: []byte("x"), If: first}, second},
		{"update at a later revision", store.Change{Key: key(1), Value: []byte("x"), If: second + 100}, second},
		{"update what never was", store.Change{Key: key(3), Value: []byte("x"), If: second}, 0},
		{"update what is gone", store.Change{Key: key(2), Value: []byte("x"), If: gone}, 0},
		{"delete at an old revision", store.Change{Key: key(1), If: first}, second},
		{"delete what never was", store.Change{Key: key(3), If: second}, 0},
		{"delete what is there, if it is not", store.Change{Key: key(1)}, second},
		{"delete what is not there, if it is not", store.Change{Key: key(3)}, 0},
	} {
		revs, err := f.commit(c.change)
		var conflict *store.Conflict
		if !errors.As(err, &conflict) {
			t.Errorf("%s: got %v, %v, want a conflict", c.name, revs, err)
		} else if *conflict != (store.Conflict{Key: c.change.Key, Rev: c.rev}) {
			t.Errorf("%s: got %+v, want revision %d", c.name, *conflict, c.rev)
		}
	}
	if got := len(f.seen.Applied()); got != n {
		t.Errorf("conflicts made %d events", got-n)
	}
	f.wantValue(key(1), "b")
}

func testEmptyValue(t *testing.T, f *fixture) {
	rev := f.must(store.Change{Key: key(1), Value: []byte{}})[0]
	e, ok := f.seen.Current()[key(1)]
	if !ok || e.Value == nil || len(e.Value) != 0 {
		t.Errorf("an empty value became %#v", e)
	}
	if f.backend.Durable {
		f.reopen()
		if e, ok := f.seen.Current()[key(1)]; !ok || e.Value == nil {
			t.Errorf("reopened, an empty value is %#v", e)
		}
	}
	f.delete(key(1), rev)
	f.wantValue(key(1), "<none>")
}

// testLargeValues writes values as large as kube-apiserver takes, and changes
// them among small ones.
func testLargeValues(t *testing.T, f *fixture) {
	size := 1 << 20 // etcd takes 1.5 MiB
	if f.backend.Embedded {
		size = 4 << 20
	}
	large := func(fill string) string { return strings.Repeat(fill, size) }
	a := f.put(key(1), large("a"), 0)
	f.put(key(2), "small", 0)
	b := f.put(key(1), large("b"), a)
	f.wantValue(key(1), large("b"))
	if f.backend.Durable {
		f.reopen()
		f.wantValue(key(1), large("b"))
	}
	c := f.put(key(1), "small", b)
	f.compact(c)
	f.wantValue(key(2), "small")
}

func testOddKeys(t *testing.T, f *fixture) {
	keys := []string{"/", "/a", "/a/", "/a\x00b", "/\xff\xfe", "/ä", "/" + strings.Repeat("long", 500)}
	for i, k := range keys {
		f.put(k, strconv.Itoa(i), 0)
	}
	if f.backend.Durable {
		f.reopen()
	}
	for i, k := range keys {
		f.wantValue(k, strconv.Itoa(i))
	}
}

func testCommitIsAtomic(t *testing.T, f *fixture) {
	a, b := f.put(key(1), "a", 0), f.put(key(2), "b", 0)
	n := len(f.seen.Commits())

	_, err := f.commit(
		store.Change{Key: key(3), Value: []byte("c")},
		store.Change{Key: key(2), Value: []byte("x"), If: a},
		store.Change{Key: key(1), Value: []byte("x"), If: b},
	)
	var conflict *store.Conflict
	if !errors.As(err, &conflict) || conflict.Key != key(2) || conflict.Rev != b {
		t.Errorf("got %v, want the conflict of %s, the first", err, key(2))
	}
	f.wantValue(key(3), "<none>")
	if f.seen.Rev() != b {
		t.Errorf("a refused commit moved the revision to %d", f.seen.Rev())
	}

	revs := f.must(
		store.Change{Key: key(3), Value: []byte("c")},
		store.Change{Key: key(2), If: b},
		store.Change{Key: key(1), Value: []byte("aa"), If: a},
	)
	if f.backend.Embedded && (revs[0] != b+1 || revs[1] != b+2 || revs[2] != b+3) {
		t.Errorf("after revision %d, three changes have %v", b, revs)
	}
	commits := f.seen.Commits()
	if len(commits) != n+1 {
		t.Fatalf("one commit was applied in %d parts", len(commits)-n)
	}
	got := map[string]uint64{}
	for _, e := range commits[n] {
		got[e.Key] = e.Rev
	}
	for i, k := range []string{key(3), key(2), key(1)} {
		if got[k] != revs[i] {
			t.Errorf("%s has revision %d, Commit returned %d", k, got[k], revs[i])
		}
	}
	f.wantValue(key(1), "aa")
	f.wantValue(key(2), "<none>")
	f.wantValue(key(3), "c")

	var most []store.Change
	for i := range store.MaxChanges {
		most = append(most, store.Change{Key: key(100 + i), Value: []byte("x")})
	}
	f.must(most...)
}

// testCheck commits on condition of keys that stay as they are.
func testCheck(t *testing.T, f *fixture) {
	at := f.put(key(1), "a", 0)
	n := len(f.seen.Applied())
	revs := f.must(
		store.Change{Key: key(2), Value: []byte("b")},
		store.Change{Key: key(1), If: at, Check: true},
		store.Change{Key: key(9), Check: true},
		store.Change{Key: key(3), Value: []byte("c")},
	)
	if revs[1] != at || revs[2] != 0 {
		t.Errorf("what was checked has revisions %d and %d, want %d and 0", revs[1], revs[2], at)
	}
	if f.backend.Embedded && (revs[0] != at+1 || revs[3] != at+2) {
		t.Errorf("after revision %d, two changes have %d and %d", at, revs[0], revs[3])
	}
	if got := f.seen.Applied()[n:]; len(got) != 2 || got[0].Key != key(2) || got[1].Key != key(3) {
		t.Errorf("two changes and two checks made the events %v", got)
	}
	f.wantValue(key(1), "a")
	f.wantValue(key(9), "<none>")
	last := f.put(key(4), "d", 0) // the revision goes on from the last change
	if f.backend.Embedded && last != revs[3]+1 {
		t.Errorf("the next change has revision %d, want %d", last, revs[3]+1)
	}
	now := f.put(key(1), "aa", at)
	for name, check := range map[string]store.Change{
		"of an old revision":      {Key: key(1), If: at, Check: true},
		"of what is there":        {Key: key(1), Check: true},
		"of what is not there":    {Key: key(9), If: at, Check: true},
		"of what is yet to come":  {Key: key(1), If: now + 1, Check: true},
		"with a value, which has": {Key: key(1), If: at, Value: []byte("x"), Check: true},
	} {
		_, err := f.commit(store.Change{Key: key(5), Value: []byte("e")}, check)
		if conflict := (*store.Conflict)(nil); !errors.As(err, &conflict) || conflict.Key != check.Key {
			t.Errorf("a check %s: got %v, want the conflict of %s", name, err, check.Key)
		}
	}
	f.wantValue(key(5), "<none>")
	if f.backend.Durable {
		f.reopen()
		f.wantValue(key(1), "aa")
		f.wantValue(key(2), "b")
	}
	f.must(store.Change{Key: key(5), Value: []byte("e")}, store.Change{Key: key(1), If: now, Check: true})
}

func testInvalid(t *testing.T, f *fixture) {
	var many []store.Change
	for i := range store.MaxChanges + 1 {
		many = append(many, store.Change{Key: key(i), Value: []byte("x")})
	}
	for name, changes := range map[string][]store.Change{
		"no changes":          nil,
		"too many changes":    many,
		"a key twice":         {{Key: key(1), Value: []byte("x")}, {Key: key(2), Value: []byte("x")}, {Key: key(1), Value: []byte("y")}},
		"no key":              {{Value: []byte("x")}},
		"nothing but a check": {{Key: key(1), Check: true}},
	} {
		revs, err := f.commit(changes...)
		var conflict *store.Conflict
		if err == nil || errors.As(err, &conflict) || errors.Is(err, store.ErrUnknown) {
			t.Errorf("%s: got %v, %v, want an error that says so", name, revs, err)
		}
	}
	if n := len(f.seen.Applied()); n != 0 {
		t.Errorf("invalid commits made %d events", n)
	}
}

func testReadYourWrites(t *testing.T, f *fixture) {
	var writers sync.WaitGroup
	for w := range 16 {
		writers.Go(func() {
			at := uint64(0)
			for i := range 20 {
				value := fmt.Sprint(w, i)
				revs, err := f.commit(store.Change{Key: key(w), Value: []byte(value), If: at})
				if err != nil {
					t.Errorf("Commit: %v", err)
					return
				}
				at = revs[0]
				if f.seen.Rev() < at {
					t.Errorf("Commit returned %d when the follower was at %d", at, f.seen.Rev())
				}
				f.wantValue(key(w), value)
			}
		})
	}
	writers.Wait()
}

// testNoLostUpdate has many writers count up a few keys by compare-and-set.
func testNoLostUpdate(t *testing.T, f *fixture) {
	const writers, keys, each = 16, 3, 25
	var done sync.WaitGroup
	for w := range writers {
		done.Go(func() {
			for i := range each {
				k := key((w + i) % keys)
				for {
					have := f.seen.Current()[k]
					n, _ := strconv.Atoi(string(have.Value))
					_, err := f.commit(store.Change{Key: k, Value: []byte(strconv.Itoa(n + 1)), If: have.Rev})
					var conflict *store.Conflict
					if errors.As(err, &conflict) {
						if conflict.Rev <= have.Rev {
							t.Errorf("a conflict at %d, but the key is at %d", have.Rev, conflict.Rev)
						}
						continue
					}
					if err != nil {
						t.Errorf("Commit: %v", err)
						return
					}
					break
				}
			}
		})
	}
	done.Wait()
	sum := 0
	for k := range keys {
		n, _ := strconv.Atoi(f.value(key(k)))
		sum += n
	}
	if sum != writers*each {
		t.Errorf("%d increments count %d", writers*each, sum)
	}
}

func testCancel(t *testing.T, f *fixture) {
	why := errors.New("the client is gone")

	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if _, err := f.store.Commit(ctx, []store.Change{{Key: key(1), Value: []byte("x")}}); !errors.Is(err, why) {
		t.Errorf("a commit begun too late returned %v, want the cause", err)
	}
	if err := f.store.Compact(ctx, 1); err != nil && !errors.Is(err, why) {
		t.Errorf("a compaction begun too late returned %v", err)
	}

	// One commit is held up while it is applied, and another waits behind it.
	ctx, cancel = context.WithCancelCause(t.Context())
	release := f.seen.Block()
	defer release()
	var waiting []<-chan error
	for i := range 2 {
		changes := []store.Change{{Key: key(10 + i), Value: []byte("x")}, {Key: key(20 + i), Value: []byte("x")}}
		waiting = append(waiting, inBackground(func() error {
			_, err := f.store.Commit(ctx, changes)
			return err
		}))
	}
	time.Sleep(20 * time.Millisecond)
	cancel(why)
	for _, c := range waiting {
		if err := <-c; !errors.Is(err, why) {
			t.Errorf("a commit cancelled on its way returned %v, want the cause", err)
		}
	}
	release()
	f.put(key(3), "after", 0)
	for i := range 2 {
		if a, b := f.value(key(10+i)), f.value(key(20+i)); a != b {
			t.Errorf("half of a cancelled commit happened: %q, %q", a, b)
		}
	}
}
