package disk

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/knarr-io/knarr/internal/store"
	"github.com/knarr-io/knarr/internal/store/embedded"
	"github.com/knarr-io/knarr/internal/store/storetest"
)

// TestIOError makes every further write to the file, or every sync, fail.
func TestIOError(t *testing.T) {
	for name, device := range map[string]string{
		"write": "/dev/full", // its writes fail
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
