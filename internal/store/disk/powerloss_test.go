package disk

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/knarr-io/knarr/internal/store"
)

var (
	powerLosses = flag.Int("powerlosses", 40, "how many commits TestPowerLoss interrupts, each in several ways")
	powerSeed   = flag.Uint64("powerseed", 0, "what TestPowerLoss begins with, to see it again")
)

// TestPowerLoss interrupts commits and compactions of a random load by a loss of
// power: of what was written since the last sync, any sectors may be on the disk
// and any not, in whatever order they were written. bbolt writes the pages of a
// transaction and syncs, then writes the page that makes it count and syncs, so
// that there are two such times. After each, the store opens, is whole by Check, and
// has what was acknowledged: all of it, and of what was interrupted all or nothing.
func TestPowerLoss(t *testing.T) {
	rounds, seed := *powerLosses, *powerSeed
	if testing.Short() {
		rounds = min(rounds, 5)
	}
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-powerseed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	dir, path, _ := fill(t)
	torn := t.TempDir()
	interrupted, happened := 0, 0
	for range rounds {
		before := readFile(t, path)
		s, seen := start(t, dir)
		old, oldFloor := seen.Current(), seen.Rev()
		compacts := r.IntN(5) == 0
		if compacts {
			if err := s.Compact(t.Context(), seen.Rev()-uint64(r.IntN(3))); err != nil {
				t.Fatal(err)
			}
		} else if _, err := s.Commit(t.Context(), randomChanges(r, old)); err != nil {
			t.Fatal(err)
		}
		acknowledged := seen.Current()
		mustClose(t, s)
		after := readFile(t, path)
		for crash := range 6 {
			b := interruptedFile(r, before, after, crash%2 == 0)
			writeFile(t, filepath.Join(torn, FileName), b)
			mustCheck(t, torn)
			s, seen := start(t, torn)
			interrupted++
			switch got := seen.Current(); {
			case sameCurrent(got, acknowledged):
				happened++
			case sameCurrent(got, old):
			default:
				t.Errorf("after a loss of power at revision %d there is neither what was before nor what came after", oldFloor)
			}
			put(t, s, "/after", []byte("goes on"), seen.Current()["/after"].Rev)
			mustClose(t, s)
		}
		// What was acknowledged is synced: nothing of it can be lost.
		writeFile(t, filepath.Join(torn, FileName), after)
		s, seen = start(t, torn)
		compareCurrent(t, seen.Current(), acknowledged)
		mustClose(t, s)
	}
	t.Logf("%d commits interrupted %d times: %d had happened, %d had not", rounds, interrupted, happened, interrupted-happened)
	if happened == 0 || happened == interrupted {
		t.Error("all went the same way: this tests nothing")
	}
}

// randomChanges creates, updates and deletes some keys.
func randomChanges(r *rand.Rand, current map[string]store.Event) []store.Change {
	var changes []store.Change
	for key, e := range current {
		if len(changes) == 1+r.IntN(8) {
			break
		}
		c := store.Change{Key: key, If: e.Rev}
		if r.IntN(4) > 0 {
			c.Value = bytes.Repeat([]byte{byte(r.IntN(256))}, r.IntN(40_000))
		}
		changes = append(changes, c)
	}
	return append(changes, store.Change{Key: fmt.Sprintf("/new/%d", r.Uint64()), Value: bytes.Repeat([]byte("new"), r.IntN(10_000))})
}

// interruptedFile is a file that was to become another, with some of the sectors of
// each: before the first sync of a transaction, or before the second.
func interruptedFile(r *rand.Rand, before, after []byte, first bool) []byte {
	const sector = 512
	const metas = 2 * pageSize
	b := append(bytes.Clone(before), make([]byte, max(0, len(after)-len(before)))...)
	b = b[:len(after)]
	if first {
		chance := r.IntN(101)
		for at := metas; at < len(b); at += sector {
			if end := min(at+sector, len(b)); r.IntN(100) < chance {
				copy(b[at:end], after[at:end])
			}
		}
		return b
	}
	copy(b[metas:], after[metas:])
	for at := 0; at < metas; at += sector {
		if r.IntN(2) == 0 {
			copy(b[at:at+sector], after[at:at+sector])
		}
	}
	return b
}

func sameCurrent(a, b map[string]store.Event) bool {
	if len(a) != len(b) {
		return false
	}
	for key, e := range a {
		if o, ok := b[key]; !ok || e.Rev != o.Rev || !bytes.Equal(e.Value, o.Value) {
			return false
		}
	}
	return true
}

var updates = flag.Int("updates", 20_000, "how many updates TestStaysSmall makes")

// TestStaysSmall makes many updates of a thousand keys while the history is
// compacted as a state does it, and has the file stay as large as what it holds.
func TestStaysSmall(t *testing.T) {
	const keys, valueSize, history, writers = 1000, 2000, 10_000, 32
	total := *updates
	if testing.Short() {
		total = min(total, 5000)
	}
	dir := t.TempDir()
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context(), forgetful{}); err != nil {
		t.Fatal(err)
	}
	began, largest := time.Now(), int64(0)
	size := func() int64 {
		e := &engine{path: filepath.Join(dir, FileName)}
		n, err := e.size()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	done := make(chan error, writers)
	last := make([]uint64, writers)
	revs := make([]map[string]uint64, writers)
	for w := range revs {
		revs[w] = map[string]uint64{}
	}
	step := max(total/20, writers)
	for made := 0; made < total; made += step {
		for w := range writers {
			go func() {
				for i := range step / writers {
					key := fmt.Sprintf("/k/%d/%d", w, i%(keys/writers))
					value := bytes.Repeat(fmt.Appendf(nil, "%08d", made+i), valueSize/8)
					made, err := s.Commit(t.Context(), []store.Change{{Key: key, Value: value, If: revs[w][key]}})
					if err != nil {
						done <- err
						return
					}
					revs[w][key], last[w] = made[0], made[0]
				}
				done <- nil
			}()
		}
		for range writers {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		before := size()
		if rev := slices.Max(last); rev > history {
			if err := s.Compact(t.Context(), rev-history); err != nil {
				t.Fatal(err)
			}
		}
		largest = max(largest, before, size())
		t.Logf("%8d updates  %6.1f s  %5.1f MiB, compacted %5.1f", made+step, time.Since(began).Seconds(), float64(before)/(1<<20), float64(size())/(1<<20))
	}
	mustClose(t, s)
	mustCheck(t, dir)
	// Twice what is held at most between two compactions, in pages that are half full.
	if bound := int64(4 * (keys + history + step) * valueSize); largest > bound {
		t.Errorf("the file was %d bytes large, and holds %d", largest, bound/4)
	}
}

// forgetful is a follower that keeps nothing.
type forgetful struct{}

func (forgetful) Load(l store.Load) error {
	see := func(store.Event) error { return nil }
	return errors.Join(l.Base(see), l.Events(see))
}
func (forgetful) Apply([]store.Event) {}
func (forgetful) Progress(uint64)     {}
