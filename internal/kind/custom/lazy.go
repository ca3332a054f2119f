package custom

import (
	"sync"
	"sync/atomic"
)

// lazy is something large that is made when it is first used, and made anew
// when it is used after it was dropped. It is safe for concurrent use.
type lazy[T any] struct {
	make func() (T, error)

	making sync.Mutex // held while it is made
	made   atomic.Pointer[made[T]]
	// used tells that it was used after the last call of dropUnused.
	used atomic.Bool
}

type made[T any] struct {
	value T
	err   error
}

func newLazy[T any](make func() (T, error)) *lazy[T] { return &lazy[T]{make: make} }

// get returns it, and waits if it must be made. What is returned stays as it is
// when it is dropped.
func (l *lazy[T]) get() (T, error) {
	m := l.made.Load()
	if m == nil {
		m = l.fill()
	}
	if !l.used.Load() { // so that many who read do not all write
		l.used.Store(true)
	}
	return m.value, m.err
}

func (l *lazy[T]) fill() *made[T] {
	l.making.Lock()
	defer l.making.Unlock()
	if m := l.made.Load(); m != nil {
		return m
	}
	m := &made[T]{}
	m.value, m.err = l.make()
	l.used.Store(true)
	l.made.Store(m)
	return m
}

// dropUnused forgets it if it was not used since the last call, and reports
// whether there was something to forget.
func (l *lazy[T]) dropUnused() bool {
	return !l.used.Swap(false) && l.made.Swap(nil) != nil
}
