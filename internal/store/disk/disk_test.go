package disk

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	"go.uber.org/goleak"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/knarr-io/knarr/internal/store"
	"github.com/knarr-io/knarr/internal/store/storetest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childVariable); dir != "" {
		child(dir) // until it is killed
	}
	goleak.VerifyTestMain(m)
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Backend {
		dir := t.TempDir()
		clock := clocktesting.NewFakeClock(time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC))
		return storetest.Backend{
			Open: func(tb testing.TB) store.Store {
				s, err := Open(dir, Options{Clock: clock})
				if err != nil {
					tb.Fatal(err)
				}
				return s
			},
			Durable:  true,
			Embedded: true,
			Clock:    clock,
			Check:    func(tb testing.TB) { mustCheck(tb, dir) },
		}
	})
}

func mustCheck(tb testing.TB, dir string) {
	tb.Helper()
	if _, err := Check(tb.Context(), dir, func(problem error) { tb.Errorf("Check: %v", problem) }, nil); err != nil {
		tb.Errorf("Check: %v", err)
	}
}

// start opens and starts the store in dir; the test closes it.
func start(t *testing.T, dir string) (store.Store, *storetest.Recorder) {
	t.Helper()
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	seen := storetest.NewRecorder(true)
	if err := s.Start(t.Context(), seen); err != nil {
		_ = s.Close()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = s.Close()
		for _, problem := range seen.Problems() {
			t.Error(problem)
		}
	})
	return s, seen
}

func mustClose(t *testing.T, s store.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
}

func put(t *testing.T, s store.Store, key string, value []byte, at uint64) uint64 {
	t.Helper()
	revs, err := s.Commit(t.Context(), []store.Change{{Key: key, Value: value, If: at}})
	if err != nil {
		t.Fatal(err)
	}
	return revs[0]
}

// wantOpenError opens dir and wants an error of one line with the words.
func wantOpenError(t *testing.T, dir string, words ...string) error {
	t.Helper()
	s, err := Open(dir, Options{})
	if err == nil {
		_ = s.Close()
		t.Fatal("it opens")
	}
	for _, word := range append(words, dir) {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("the error does not say %q: %v", word, err)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("the error has several lines: %v", err)
	}
	return err
}

func TestInUse(t *testing.T) {
	dir := t.TempDir()
	s, _ := start(t, dir)
	begin := time.Now()
	if err := wantOpenError(t, dir); !errors.Is(err, ErrInUse) {
		t.Errorf("got %v, want ErrInUse", err)
	}
	if took := time.Since(begin); took > time.Second {
		t.Errorf("it took %v to say so", took)
	}
	mustClose(t, s)
	s, _ = start(t, dir)
	mustClose(t, s)
}

func TestOpenMakesDirectories(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	s, _ := start(t, dir)
	mustClose(t, s)
	for name, want := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, FileName): 0o600} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", name, got, want)
		}
	}
}

func TestOpenFails(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantOpenError(t, file, "not a directory")
	wantOpenError(t, filepath.Join(file, "below"), "not a directory")

	dir := t.TempDir()
	path := filepath.Join(dir, FileName)
	if err := os.WriteFile(path, []byte("this is no database, and longer than it might be"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantOpenError(t, dir, "not a store")

	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	other, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	wantOpenError(t, dir, "does not belong to knarr")

	if os.Getuid() == 0 {
		t.Skip("root may read and write everything")
	}
	for _, mode := range []os.FileMode{0o500, 0o000} {
		dir := t.TempDir()
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		wantOpenError(t, dir, "permission denied")
		if err := os.Chmod(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFormat(t *testing.T) {
	dir := t.TempDir()
	s, _ := start(t, dir)
	put(t, s, "/a", []byte("x"), 0)
	mustClose(t, s)

	setMeta := func(key, value []byte) {
		t.Helper()
		db, err := bbolt.Open(filepath.Join(dir, FileName), 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(metaBucket).Put(key, value) })
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
	}
	setMeta(formatKey, []byte{format + 1})
	setMeta(sinceKey, []byte("v7.8.9"))
	wantOpenError(t, dir, "format 2", "use knarr v7.8.9 or newer")
	setMeta(formatKey, []byte{})
	wantOpenError(t, dir, "damaged")
	setMeta(formatKey, []byte{format})
	s, seen := start(t, dir)
	if _, ok := seen.Current()["/a"]; !ok {
		t.Error("the key is gone")
	}
	mustClose(t, s)
}

// TestCrashWhileCreating leaves a directory as a crash at the very first start
// may.
func TestCrashWhileCreating(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, FileName+".new"), []byte("half a page"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, _ := start(t, dir)
	put(t, s, "/a", []byte("x"), 0)
	mustClose(t, s)
	mustCheck(t, dir)
}

// TestShrink checks that the file becomes small again when its contents have,
// while commits go on, and that commits are durable afterwards.
func TestShrink(t *testing.T) {
	dir := t.TempDir()
	s, seen := start(t, dir)
	path := filepath.Join(dir, FileName)
	size := func() int64 {
		t.Helper()
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	value := make([]byte, 1<<20)
	at := map[string]uint64{}
	for i := range 48 {
		key := "/" + string(rune('a'+i%3))
		at[key] = put(t, s, key, value, at[key])
	}
	large := size()
	if large < shrinkSize {
		t.Fatalf("the file has only %d bytes", large)
	}

	stop, written := make(chan struct{}), make(chan uint64, 1)
	go func() {
		at := uint64(0)
		defer func() { written <- at }()
		for {
			select {
			case <-stop:
				return
			default:
			}
			revs, err := s.Commit(t.Context(), []store.Change{{Key: "/meanwhile", Value: []byte("x"), If: at}})
			if err != nil {
				t.Error(err)
				return
			}
			at = revs[0]
		}
	}()
	if err := s.Compact(t.Context(), seen.Rev()); err != nil {
		t.Fatal(err)
	}
	close(stop)
	last := <-written
	if small := size(); small > large/4 {
		t.Errorf("the file has %d bytes, and had %d", small, large)
	}
	if _, err := os.Stat(path + ".new"); !os.IsNotExist(err) {
		t.Errorf("the copy is still there: %v", err)
	}
	if last = put(t, s, "/meanwhile", []byte("after"), last); last == 0 {
		t.Error("no revision")
	}
	want := seen.Current()
	mustClose(t, s)
	mustCheck(t, dir)

	s, seen = start(t, dir)
	for key, e := range want {
		if got := seen.Current()[key]; got.Rev != e.Rev || string(got.Value) != string(e.Value) {
			t.Errorf("%s is at %d, want %d", key, got.Rev, e.Rev)
		}
	}
	mustClose(t, s)
}

// TestShrinkSyncs checks that a file made by shrink syncs its commits as any.
func TestShrinkSyncs(t *testing.T) {
	e, err := openEngine(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if e.db.NoSync {
		t.Error("a new file does not sync")
	}
	before := e.file
	err = e.update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucket([]byte("filler"))
		return errors.Join(err, b.Put([]byte("filler"), make([]byte, shrinkSize)))
	})
	if err == nil {
		err = e.update(func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte("filler")) })
	}
	if err == nil {
		err = e.shrink(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	if e.file == before {
		t.Fatal("the file has not been replaced")
	}
	if e.db.NoSync {
		t.Error("a file made by shrink does not sync")
	}
}
