package custom

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
)

func TestLazy(t *testing.T) {
	n := 0
	l := newLazy(func() (int, error) {
		n++
		return n, nil
	})
	if l.dropUnused() {
		t.Error("dropped, though it was not made yet")
	}
	for _, c := range []struct {
		what string
		drop int
		want int
	}{{"first", 0, 1}, {"again", 0, 1}, {"used since", 1, 1}, {"unused", 2, 2}, {"and used since", 1, 2}} {
		for range c.drop {
			l.dropUnused()
		}
		if got, err := l.get(); got != c.want || err != nil {
			t.Errorf("%s: %d, %v, want %d", c.what, got, err, c.want)
		}
	}
}

// TestLazyError keeps what went wrong for as long as a value would be.
func TestLazyError(t *testing.T) {
	n := 0
	l := newLazy(func() (int, error) {
		n++
		return 0, errors.New("no")
	})
	for range 2 {
		if _, err := l.get(); err == nil {
			t.Error("no error")
		}
	}
	l.dropUnused()
	l.dropUnused()
	if _, err := l.get(); err == nil || n != 2 {
		t.Errorf("made %d times, %v", n, err)
	}
}

// TestLazyAtOnce has many use what others drop.
func TestLazyAtOnce(t *testing.T) {
	var making atomic.Int32
	l := newLazy(func() (*int, error) {
		if making.Add(1) > 1 {
			t.Error("two are made at once")
		}
		defer making.Add(-1)
		return new(int), nil
	})
	var users sync.WaitGroup
	for range 4 {
		users.Go(func() {
			for range 2000 {
				if v, err := l.get(); v == nil || err != nil {
					t.Errorf("%v, %v", v, err)
				}
				l.dropUnused()
			}
		})
	}
	users.Wait()
}
