package encrypted

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/knarr-io/knarr/internal/store"
)

// Store keeps values encrypted in another, which it owns.
type Store struct {
	store.Store
	keys     *Keys
	follower *follower
}

// Around returns a store that keeps its values in st, encrypted. It owns st and
// keys, and closes them.
func Around(st store.Store, keys *Keys) *Store { return &Store{Store: st, keys: keys} }

// Start implements store.Store. Values are decrypted as they are loaded: at
// microseconds each that costs a start less than looking where it is needed
// would cost all that follows. One that cannot be is tried again when that may
// have changed: when a plugin has come back, or the configuration is another.
func (s *Store) Start(ctx context.Context, f store.Follower) error {
	s.follower = &follower{keys: s.keys, next: f, failed: map[string]failure{}, news: make(chan struct{}, 1)}
	if err := s.Store.Start(ctx, s.follower); err != nil {
		return err
	}
	if _, ok := f.(store.Rereader); ok {
		s.keys.work.Go(s.follower.retry)
	}
	return nil
}

// Commit implements store.Store.
func (s *Store) Commit(ctx context.Context, changes []store.Change) ([]uint64, error) {
	kept := make([]store.Change, len(changes))
	for i, c := range changes {
		kept[i] = c
		if c.Value == nil || c.Check {
			continue
		}
		var err error
		if kept[i].Value, err = s.keys.lock(ctx, c.Key, c.Value); err != nil {
			return nil, &store.Unwritable{Key: c.Key, Err: err}
		}
	}
	return s.Store.Commit(ctx, kept)
}

// Outdated implements store.Sealer.
func (s *Store) Outdated(key string, seal uint32) bool { return s.keys.outdated(key, seal) }

// Dump implements store.Dumper, for what can be copied below: values stay encrypted.
func (s *Store) Dump(ctx context.Context, w io.Writer) error {
	d, ok := s.Store.(store.Dumper)
	if !ok {
		return errors.ErrUnsupported
	}
	return d.Dump(ctx, w)
}

// Close implements store.Store.
func (s *Store) Close() error {
	err := s.Store.Close()
	s.keys.Close()
	return err
}

// follower decrypts what happens in the store below.
type follower struct {
	keys *Keys

	mu     sync.Mutex // held while next is told of something, and guards what follows
	next   store.Follower
	failed map[string]failure // by key: what could not be decrypted
	// away is why a plugin did not answer in time. It is not asked again for what
	// comes next, which would wait as long.
	away error
	news chan struct{} // told when there is more in failed
}

// failure is a value that could not be decrypted.
type failure struct {
	event      store.Event
	generation int
}

// patience is how long a plugin may take to fail and still be asked again.
const patience = 500 * time.Millisecond

func (f *follower) Load(l store.Load) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	each := func(walk func(func(store.Event) error) error) func(func(store.Event) error) error {
		return func(visit func(store.Event) error) error {
			return walk(func(e store.Event) error { return visit(f.open(e)) })
		}
	}
	clear(f.failed) // what is loaded takes the place of all before
	l.Base, l.Events = each(l.Base), each(l.Events)
	return f.next.Load(l)
}

func (f *follower) Apply(events []store.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	opened := make([]store.Event, len(events))
	for i, e := range events {
		opened[i] = f.open(e)
	}
	f.next.Apply(opened)
}

func (f *follower) Progress(rev uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next.Progress(rev)
}

// open decrypts an event's value, or notes that it could not. f.mu is held.
func (f *follower) open(e store.Event) store.Event {
	delete(f.failed, e.Key)
	if e.Err != nil || e.Deleted() {
		return e
	}
	plugin := bytes.HasPrefix(e.Value, kms)
	err := f.away
	if err == nil || !plugin {
		began := f.keys.o.Clock.Now()
		var plain []byte
		var seal uint32
		if plain, seal, err = f.keys.open(e.Key, e.Value); err == nil {
			e.Value, e.Seal = plain, seal
			return e
		}
		if plugin && f.keys.o.Clock.Since(began) > patience {
			f.away = err
		}
	}
	f.failed[e.Key] = failure{e, f.keys.current.Load().number}
	select {
	case f.news <- struct{}{}:
	default:
	}
	e.Err = err
	return e
}

var kms = []byte("k8s:enc:kms:")

// retry tries again what could not be decrypted, until the keys are closed. It
// sleeps while there is nothing that may have another outcome.
func (f *follower) retry() {
	wait := retryMin
	for {
		renewed := *f.keys.renewed.Load()
		var due <-chan time.Time
		if f.hopeful() {
			due = f.keys.o.Clock.After(wait)
		}
		select {
		case <-f.keys.ctx.Done():
			return
		case <-f.news:
			continue
		case <-renewed:
			wait = retryMin
		case <-due:
			wait = min(2*wait, retryMax)
		}
		f.again()
	}
}

// hopeful reports whether something failed that a plugin could decrypt yet.
func (f *follower) hopeful() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, failed := range f.failed {
		if bytes.HasPrefix(failed.event.Value, kms) {
			return true
		}
	}
	return false
}

// again tries once what may have another outcome. The mutex is free between one
// value and the next, and while a plugin is asked.
func (f *follower) again() {
	f.mu.Lock()
	f.away = nil
	generation := f.keys.current.Load().number
	var candidates []failure
	for _, failed := range f.failed {
		if failed.generation != generation || bytes.HasPrefix(failed.event.Value, kms) {
			candidates = append(candidates, failed)
		}
	}
	f.mu.Unlock()
	if len(candidates) == 0 {
		return
	}
	// Asking how plugins are is what has them begin anew.
	_ = healthy(f.keys.ctx, f.keys.current.Load()) // what fails yet is tried again
	for _, c := range candidates {
		if f.keys.ctx.Err() != nil {
			return
		}
		began := f.keys.o.Clock.Now()
		plain, seal, err := f.keys.open(c.event.Key, c.event.Value)
		if err != nil && f.keys.o.Clock.Since(began) > patience {
			return // the plugin is still away
		}
		f.settle(c, generation, plain, seal, err)
	}
}

// settle tells of a value that can be decrypted now, unless the key has another
// by now.
func (f *follower) settle(c failure, generation int, plain []byte, seal uint32, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now, ok := f.failed[c.event.Key]; !ok || now.event.Rev != c.event.Rev {
		return
	}
	if err != nil {
		c.generation = generation
		f.failed[c.event.Key] = c
		return
	}
	delete(f.failed, c.event.Key)
	c.event.Value, c.event.Seal = plain, seal
	f.next.(store.Rereader).Reread(c.event)
}
