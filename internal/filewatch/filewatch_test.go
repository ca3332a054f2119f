package filewatch

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// follower follows files. Each change of them is sent to seen, and what comes out of
// answers is what it is answered.
type follower struct {
	*testing.T
	seen    chan struct{}
	answers chan error
}

func follow(t *testing.T, s *Seen) *follower {
	f := &follower{t, make(chan struct{}), make(chan error, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		s.Follow(ctx, func() error {
			select {
			case f.seen <- struct{}{}:
				return <-f.answers
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	})
	t.Cleanup(func() { cancel(); running.Wait() })
	time.Sleep(20 * time.Millisecond) // it listens
	return f
}

func (f *follower) changes(what string, answer error) {
	f.Helper()
	f.answers <- answer
	select {
	case <-f.seen:
	case <-time.After(20 * time.Second):
		f.Fatalf("%s: no change was seen", what)
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestFollow(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	write(t, a, "1")
	f := follow(t, See(a, "", b))
	write(t, a, "2")
	f.changes("written", nil)
	write(t, a, "2") // is no change, nor is another file
	write(t, filepath.Join(dir, "c"), "2")
	write(t, b, "1")
	f.changes("made", errors.New("not good")) // seen again, with the next
	write(t, b, "2")
	f.changes("written after it was not good", nil)
	write(t, filepath.Join(dir, "new"), "3")
	if err := os.Rename(filepath.Join(dir, "new"), a); err != nil {
		t.Fatal(err)
	}
	f.changes("replaced", nil)
	if err := os.Remove(a); err != nil {
		t.Fatal(err)
	}
	f.changes("removed", nil)
}

// A Secret that is mounted changes by a link to a directory.
func TestFollowLink(t *testing.T) {
	dir := t.TempDir()
	for _, version := range []string{"v1", "v2"} {
		if err := os.Mkdir(filepath.Join(dir, version), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, version, "a"), version)
	}
	link := func(target, name string) {
		t.Helper()
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	link("v1", "..data")
	link("..data/a", "a")
	f := follow(t, See(filepath.Join(dir, "a")))
	link("v2", "..tmp")
	if err := os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data")); err != nil {
		t.Fatal(err)
	}
	f.changes("linked", nil)
}

// What changed between being seen and being followed is a change, within a minute at
// the latest; it is looked at once when following begins.
func TestChangedBefore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	write(t, path, "1")
	s := See(path)
	write(t, path, "2")
	follow(t, s).changes("before", nil)
}

// A file that is written all the time, beside one that is followed, hides nothing.
func TestBusyDirectory(t *testing.T) {
	dir := t.TempDir()
	a := filepath.Join(dir, "a")
	write(t, a, "1")
	f := follow(t, See(a))
	stop := make(chan struct{})
	var busy sync.WaitGroup
	busy.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				_ = os.WriteFile(filepath.Join(dir, "busy"), []byte{byte(i)}, 0o600)
			}
		}
	})
	write(t, a, "2")
	f.changes("beside a busy file", nil)
	close(stop)
	busy.Wait()
}

func TestEmpty(t *testing.T) {
	if !See("", "").Empty() || See("a").Empty() {
		t.Error("empty is what has names")
	}
}
