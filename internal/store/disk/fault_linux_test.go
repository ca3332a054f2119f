package disk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/knarr-io/knarr/internal/store"
	"github.com/knarr-io/knarr/internal/store/embedded"
	"github.com/knarr-io/knarr/internal/store/storetest"
)

// TestIOError makes every further sync of the file, or every write, fail.
func TestIOError(t *testing.T) {
	for name, device := range map[string]string{
		"write": os.Args[0],  // opened for reading: its writes fail
		"sync":  "/dev/null", // its syncs fail
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			e, err := openEngine(dir)
			if err != nil {
				t.Fatal(err)
			}
			s, seen := embedded.New(e, Options{}), storetest.NewRecorder(true)
			if err := s.Start(t.Context(), seen); err != nil {
				t.Fatal(err)
			}
			rev := put(t, s, "/a", []byte("before"), 0)

			replace(t, e.file, device)
			change := []store.Change{{Key: "/a", Value: []byte("lost"), If: rev}}
			if _, err := s.Commit(context.Background(), change); !errors.Is(err, store.ErrUnknown) {
				t.Errorf("got %v, want ErrUnknown", err)
			}
			if _, err := s.Commit(context.Background(), change); err == nil || errors.Is(err, store.ErrUnknown) {
				t.Errorf("the next commit got %v, want a plain refusal", err)
			}
			if got := string(seen.Current()["/a"].Value); got != "before" {
				t.Errorf("the follower has %q", got)
			}
			if err := s.Close(); err != nil {
				t.Logf("Close: %v", err)
			}

			mustCheck(t, dir)
			s2, seen := start(t, dir)
			if got := string(seen.Current()["/a"].Value); got != "before" {
				t.Errorf("found %q", got)
			}
			put(t, s2, "/a", []byte("after"), rev)
			mustClose(t, s2)
		})
	}
}

// replace makes the open file f the device.
func replace(t *testing.T, f *os.File, device string) {
	t.Helper()
	d, err := os.OpenFile(device, os.O_RDWR, 0)
	if device == os.Args[0] {
		d, err = os.Open(device)
	}
	if err != nil {
		t.Skip(err)
	}
	defer d.Close()
	if err := syscall.Dup3(int(d.Fd()), int(f.Fd()), 0); err != nil {
		t.Fatal(err)
	}
}

// TestReadFault cuts the file while it is mapped, as a failing disk does: to
// read it is a fault, which must become an error.
func TestReadFault(t *testing.T) {
	dir := t.TempDir()
	s, _ := start(t, dir)
	put(t, s, "/a", []byte("x"), 0)
	if err := os.Truncate(filepath.Join(dir, FileName), 0); err != nil {
		t.Fatal(err)
	}
	_, err := s.Commit(context.Background(), []store.Change{{Key: "/b", Value: []byte("x")}})
	if !errors.Is(err, store.ErrUnknown) || !errors.Is(err, errDamaged) {
		t.Errorf("got %v, want ErrUnknown and the reason", err)
	}
	if err := s.Compact(t.Context(), 2); err == nil {
		t.Error("a failed store can be compacted")
	}
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if lock, err := lockDir(dir); err != nil {
		t.Errorf("the directory is still locked: %v", err)
	} else {
		_ = lock.Close()
	}
}

// TestFullDisk has no room for what is written, for a while. Writes are refused as
// such, and change nothing; what deletes is taken when there is room for that; and all
// goes on when there is room again, without another start.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	e, err := openEngine(dir)
	if err != nil {
		t.Fatal(err)
	}
	s, seen := embedded.New(e, Options{}), storetest.NewRecorder(true)
	if err := s.Start(t.Context(), seen); err != nil {
		t.Fatal(err)
	}
	// Free pages, so that the file need not grow, which /dev/full cannot.
	big := put(t, s, "/big", bytes.Repeat([]byte("b"), 1<<20), 0)
	if _, err := s.Commit(t.Context(), []store.Change{{Key: "/big", If: big}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Compact(t.Context(), seen.Rev()); err != nil {
		t.Fatal(err)
	}
	a := put(t, s, "/a", []byte("a"), 0)
	b := put(t, s, "/b", bytes.Repeat([]byte("b"), 50_000), 0)
	whole, err := syscall.Dup(int(e.file.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(whole)
	room := func() {
		if err := syscall.Dup3(whole, int(e.file.Fd()), 0); err != nil {
			t.Fatal(err)
		}
	}
	// Nothing can be made where the reserve is to be, while the disk is full.
	place := e.reserve.path
	full := func() {
		replace(t, e.file, "/dev/full")
		e.reserve.path = filepath.Join(dir, "none", "none")
	}
	refuse := func(changes ...store.Change) {
		t.Helper()
		if _, err := s.Commit(t.Context(), changes); !errors.Is(err, store.ErrFull) || errors.Is(err, store.ErrUnknown) || strings.Contains(err.Error(), "\n") {
			t.Errorf("got %v, want ErrFull", err)
		}
	}
	full()
	refuse(store.Change{Key: "/a", Value: []byte("lost"), If: a})
	refuse(store.Change{Key: "/c", Value: []byte("lost"), TTL: time.Hour})
	refuse(store.Change{Key: "/b", If: b}) // there is no room at all
	if err := s.Compact(t.Context(), b); !errors.Is(err, store.ErrFull) {
		t.Errorf("Compact: %v", err)
	}
	if got := seen.Current(); string(got["/a"].Value) != "a" || len(got) != 2 {
		t.Errorf("the follower has %d keys, and /a is %q", len(got), got["/a"].Value)
	}

	room() // that of the reserve, which is gone
	if _, err := s.Commit(t.Context(), []store.Change{{Key: "/b", If: b}}); err != nil {
		t.Errorf("a deletion: %v", err)
	}
	refuse(store.Change{Key: "/a", Value: []byte("lost"), If: a})
	if err := s.Compact(t.Context(), seen.Rev()); err != nil {
		t.Errorf("Compact: %v", err)
	}

	e.reserve.path, e.reserve.tried = place, time.Time{} // as after a second
	rev := put(t, s, "/a", []byte("again"), a)
	if rev != b+2 {
		t.Errorf("the next revision is %d, want %d", rev, b+2)
	}
	room()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	mustCheck(t, dir)
	s2, seen2 := start(t, dir)
	compareCurrent(t, seen2.Current(), seen.Current())
	mustClose(t, s2)
}

// TestFullFileSystem fills a file system that is really that small, where a test may
// mount one: deletes make room for writes again.
func TestFullFileSystem(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=12m"); err != nil {
		t.Skip("cannot mount a file system: ", err)
	}
	defer func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) }()
	s, seen := start(t, dir)
	var err error
	for i := 0; err == nil; i++ {
		_, err = s.Commit(t.Context(), []store.Change{{Key: fmt.Sprint("/", i), Value: bytes.Repeat([]byte("x"), 100_000)}})
	}
	if !errors.Is(err, store.ErrFull) {
		t.Fatalf("got %v, want ErrFull", err)
	}
	there := seen.Current()
	for key, e := range there {
		if _, err := s.Commit(t.Context(), []store.Change{{Key: key, If: e.Rev}}); err != nil {
			t.Fatalf("deleting %s of %d: %v", key, len(there), err)
		}
	}
	if err := s.Compact(t.Context(), seen.Rev()); err != nil {
		t.Fatal(err)
	}
	r := &s.(*diskStore).engine.reserve
	r.mu.Lock()
	r.tried, r.short = time.Time{}, time.Time{} // as after a second
	r.mu.Unlock()
	put(t, s, "/again", bytes.Repeat([]byte("x"), 100_000), 0)
	t.Logf("%d values of 100,000 bytes had room in 12 MiB", len(there))
	mustClose(t, s)
	mustCheck(t, dir)
}
