package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/knarr-io/knarr/internal/store"
	"github.com/knarr-io/knarr/internal/store/storetest"
)

// fill makes a store with some history in a new directory, and returns the
// directory, the path of its file, and all that was ever written.
func fill(t *testing.T) (dir, path string, wrote []store.Event) {
	t.Helper()
	dir = t.TempDir()
	s, seen := start(t, dir)
	for i := range 60 {
		key := "/" + strings.Repeat(string(rune('a'+i%20)), 3)
		put(t, s, key, bytes.Repeat([]byte{byte('A' + i)}, 500+i), seen.Current()[key].Rev)
	}
	if err := s.Compact(t.Context(), 25); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	return dir, filepath.Join(dir, FileName), seen.Applied()
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func writeFile(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestDamagedValue flips a bit in a value. That costs this key, not the start,
// and the key can be written again.
func TestDamagedValue(t *testing.T) {
	dir, path, _ := fill(t)
	b := readFile(t, path)
	value := bytes.Repeat([]byte{'A' + 59}, 500+59) // the last one written
	n := 0
	for at := 0; ; at++ { // old pages may hold it too
		i := bytes.Index(b[at:], value)
		if i < 0 {
			break
		}
		at += i
		b[at+100] ^= 0x10
		n++
	}
	if n == 0 {
		t.Fatal("the value is not in the file")
	}
	writeFile(t, path, b)

	var problems []error
	if _, err := Check(t.Context(), dir, func(problem error) { problems = append(problems, problem) }, nil); err != nil {
		t.Errorf("Check: %v", err)
	}
	if len(problems) != 1 || !strings.Contains(problems[0].Error(), "/ttt") {
		t.Errorf("Check reports %v", problems)
	}
	s, seen := start(t, dir)
	for key, e := range seen.Current() {
		if (e.Err != nil) != (key == "/ttt") {
			t.Errorf("%s has error %v", key, e.Err)
		}
		if key == "/ttt" && len(e.Value) != len(value) {
			t.Errorf("of the damaged value, %d bytes are told", len(e.Value))
		}
	}
	if n := len(seen.Current()); n != 20 {
		t.Errorf("there are %d keys, want 20", n)
	}
	put(t, s, "/ttt", []byte("repaired"), seen.Current()["/ttt"].Rev)
	if err := s.Compact(t.Context(), seen.Rev()); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	mustCheck(t, dir)
}

// TestDamagedHead damages an entry such that its key cannot be known. That
// must be said, and not be passed over.
func TestDamagedHead(t *testing.T) {
	dir, path, _ := fill(t)
	b := readFile(t, path)
	writeFile(t, path, bytes.ReplaceAll(b, []byte("/sss"), []byte("/sst")))
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Start(t.Context(), storetest.NewRecorder(true)); !errors.Is(err, errDamaged) || !strings.Contains(err.Error(), "revision") {
		t.Errorf("Start: %v, want an error that names the revision", err)
	}
}

// TestLostEnd cuts the file anywhere. It may have been cut where nothing is
// kept; else this is said, without a fault.
func TestLostEnd(t *testing.T) {
	dir, path, _ := fill(t)
	whole := readFile(t, path)
	refused := 0
	for n := len(whole) - 1000; n > 0; n -= 9000 {
		writeFile(t, path, whole[:n])
		s, err := Open(dir, Options{})
		if err != nil {
			refused++
			continue
		}
		if err := s.Start(t.Context(), storetest.NewRecorder(true)); err != nil {
			t.Errorf("cut to %d of %d bytes it opens and does not start: %v", n, len(whole), err)
		}
		mustClose(t, s)
	}
	if refused == 0 {
		t.Error("it opens however much of it is lost")
	}
}

// TestTornCommit leaves a file as a crash in the middle of a commit may: of
// the pages that the commit wrote, some are there and some are not. What was
// before the commit must be.
func TestTornCommit(t *testing.T) {
	dir, path, _ := fill(t)
	before := readFile(t, path)
	s, seen := start(t, dir)
	want := seen.Current()
	put(t, s, "/new", bytes.Repeat([]byte("new"), 5000), 0)
	mustClose(t, s)
	after := readFile(t, path)

	const sector = 512
	meta := 2 * pageSize // the two first pages are written when all others are safe
	for range 50 {
		torn := append(bytes.Clone(before), make([]byte, max(0, len(after)-len(before)))...)
		for at := meta; at < len(after); at += sector {
			if end := min(at+sector, len(after)); rand.IntN(2) == 0 {
				copy(torn[at:end], after[at:end])
			}
		}
		writeFile(t, path, torn)
		mustCheck(t, dir)
		s, seen := start(t, dir)
		compareCurrent(t, seen.Current(), want)
		mustClose(t, s)
	}

	// The page that makes the commit count is torn itself.
	for page := range 2 {
		torn := bytes.Clone(after)
		at := page * pageSize
		if bytes.Equal(torn[at:at+sector], before[at:at+sector]) {
			continue // that of the commit before
		}
		copy(torn[at+48:at+sector], before[at+48:at+sector])
		writeFile(t, path, torn)
		s, seen := start(t, dir)
		compareCurrent(t, seen.Current(), want)
		put(t, s, "/new", []byte("again"), 0)
		mustClose(t, s)
		mustCheck(t, dir)
	}
}

func compareCurrent(t *testing.T, got, want map[string]store.Event) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("there are %d keys, want %d", len(got), len(want))
	}
	for k, w := range want {
		if g := got[k]; g.Rev != w.Rev || !bytes.Equal(g.Value, w.Value) {
			t.Errorf("%s is at %d, want %d", k, g.Rev, w.Rev)
		}
	}
}

// TestRandomDamage damages the file anywhere. It may be refused, or have
// unreadable values; it must not end the process, hang, or tell of values that
// were never written.
func TestRandomDamage(t *testing.T) {
	dir, path, events := fill(t)
	whole := readFile(t, path)
	wrote := map[uint64]store.Event{}
	for _, e := range events {
		wrote[e.Rev] = e
	}

	rounds := 300
	if testing.Short() {
		rounds = 30
	}
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 0))
	var refused, damaged, unharmed int
	for range rounds {
		b := bytes.Clone(whole)
		for range 1 + r.IntN(4) {
			b[r.IntN(len(b))] ^= 1 << r.IntN(8)
		}
		writeFile(t, path, b)
		s, err := Open(dir, Options{})
		if err != nil {
			refused++
			if errors.Is(err, ErrInUse) || errors.Is(err, errPanic) {
				t.Errorf("seed %d: %v", seed, err)
			}
			continue
		}
		seen := storetest.NewRecorder(true)
		if err := s.Start(t.Context(), seen); err != nil {
			refused++
		} else {
			bad := 0
			for _, e := range append(seen.Base(), seen.History()...) {
				w := wrote[e.Rev]
				if e.Err != nil {
					bad++
				} else if e.Key != w.Key || !bytes.Equal(e.Value, w.Value) {
					t.Errorf("seed %d: revision %d is told as %s, which was never written", seed, e.Rev, e.Key)
				}
			}
			if bad > 0 {
				damaged++
			} else {
				unharmed++
			}
		}
		_ = s.Close()
	}
	t.Logf("seed %d: %d refused, %d with damaged values, %d unharmed", seed, refused, damaged, unharmed)
	if damaged == 0 {
		t.Error("no value was ever damaged: this tests nothing")
	}
}

// FuzzPageTree checks files that may say anything.
func FuzzPageTree(f *testing.F) {
	page := func(id uint64, flags, count uint16, overflow uint32, rest ...byte) []byte {
		b := binary.NativeEndian.AppendUint64(nil, id)
		b = binary.NativeEndian.AppendUint16(b, flags)
		b = binary.NativeEndian.AppendUint16(b, count)
		b = binary.NativeEndian.AppendUint32(b, overflow)
		b = append(b, rest...)
		return append(b, make([]byte, 128-len(b))...)
	}
	u := binary.NativeEndian.AppendUint32
	leaf := u(u(u(u(nil, 0), 16), 1), 1)
	branch := append(u(u(nil, 16), 1), 3, 0, 0, 0, 0, 0, 0, 0)
	f.Add(slices.Concat(page(2, branchPage, 1, 0, append(branch, 'k')...), page(3, leafPage, 1, 0, append(leaf, 'k', 'v')...)))
	f.Add(slices.Concat(page(2, leafPage, 0, 1), page(3, 0, 0, 0)))
	f.Fuzz(func(t *testing.T, b []byte) {
		file := bytes.NewReader(append(make([]byte, 256), b...))
		tree := pageTree{file: file, pageSize: 128, pages: uint64(file.Len() / 128), reached: map[uint64]bool{}}
		if err := tree.check(subtree{page: 2}); err == nil && !tree.reached[2] {
			t.Error("what was not reached passes")
		}
	})
}
