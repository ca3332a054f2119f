// Package embedded is what the embedded stores share: it makes a store.Store
// out of an Engine. Revisions, conditions, group commit, delivery to the
// follower and expiry are decided here, once.
//
// It keeps the current revision of every key in memory, never a value. It must
// not know where an engine keeps its entries.
package embedded

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/utils/clock"

	"github.com/knarr-io/knarr/internal/store"
)

// Entry is one change as an engine keeps it.
type Entry struct {
	store.Event
	// Expires is when the store is to delete the key; zero means never.
	Expires time.Time
}

// Engine keeps entries in the order of their revisions. Append is called by
// one goroutine at a time; Compact may run beside it and Scan.
type Engine interface {
	// Bounds returns the floor and the revision of what is kept. An empty
	// engine is at 1, 1.
	Bounds() (floor, rev uint64, err error)

	// Scan yields the entries with revisions in (after, upTo], in order. The
	// visitor may keep what it gets. An entry whose value cannot be read has
	// Err set; Scan fails only if it cannot tell what entries there are.
	Scan(after, upTo uint64, visit func(Entry) error) error

	// Append keeps the entries, all or none, and returns once they are
	// durable. The engine may not keep the slice. After an error it is
	// unknown whether they are kept, and Append is not called again; but one that
	// wraps store.ErrFull says that none is, and that fewer might be.
	Append(entries []Entry) error

	// Compact moves the floor to rev: it drops the deletions at or below rev
	// and every entry that another at or below rev replaced. It works in
	// steps, each leaving the engine consistent at some floor, and stops
	// between two of them with the cause of ctx.
	Compact(ctx context.Context, rev uint64) error

	// Close releases everything. No other call is running or follows.
	Close() error
}

// Options are what all embedded stores let the caller choose.
type Options struct {
	// Clock dates changes and tells when keys expire; nil is the real one.
	Clock clock.Clock
}

// Store is a store.Store on an Engine.
type Store struct {
	engine   Engine
	clock    clock.Clock
	follower store.Follower

	// The goroutine of run owns these; Start fills them before it begins.
	index  map[string]uint64 // the current revision of each key
	expiry expiryQueue
	alarm  alarm
	batch  []Entry

	rev       atomic.Uint64 // of the last durable change
	compactor chan struct{} // holds a token while a Compact or Hold runs

	life   context.Context // ends when Close begins, with cause store.ErrClosed
	end    context.CancelCauseFunc
	wake   chan struct{}  // has a token if there is something in queue
	owners sync.WaitGroup // Start, Compact and run: what Close waits for
	closed func() error

	mu struct {
		sync.Mutex
		started bool
		running bool // run takes from the queue
		closing bool
		failed  error // the I/O error after which nothing is written
		queue   []*request
	}
}

var _ store.Store = (*Store)(nil)

// New makes a store that keeps its entries in e, which it closes.
func New(e Engine, opts Options) *Store {
	if opts.Clock == nil {
		opts.Clock = clock.RealClock{}
	}
	s := &Store{
		engine:    e,
		clock:     opts.Clock,
		index:     map[string]uint64{},
		compactor: make(chan struct{}, 1),
		wake:      make(chan struct{}, 1),
	}
	s.life, s.end = context.WithCancelCause(context.Background())
	s.closed = sync.OnceValue(s.close)
	return s
}

// Start implements store.Store.
func (s *Store) Start(ctx context.Context, f store.Follower) error {
	s.mu.Lock()
	if s.mu.closing {
		s.mu.Unlock()
		return store.ErrClosed
	}
	if s.mu.started {
		s.mu.Unlock()
		return errors.New("the store has been started before")
	}
	s.mu.started = true
	s.owners.Add(1)
	s.mu.Unlock()
	defer s.owners.Done()

	ctx, cancel := s.untilClose(ctx)
	defer cancel()
	if err := s.load(ctx, f); err != nil {
		return err
	}
	s.follower = f

	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.closing {
		return store.ErrClosed
	}
	s.mu.running = true
	s.owners.Add(1)
	go func() {
		defer s.owners.Done()
		s.run()
	}()
	return nil
}

// Read tells f, once, what e holds, as Start would, and fails if that does not
// hang together. It neither follows nor closes e.
func Read(ctx context.Context, e Engine, f store.Follower) error {
	return New(e, Options{}).load(ctx, f)
}

// load tells f what the engine holds and builds the index on the way.
func (s *Store) load(ctx context.Context, f store.Follower) error {
	floor, rev, err := s.engine.Bounds()
	if err != nil {
		return err
	}
	s.rev.Store(rev)

	baseRead, eventsRead := false, false
	err = f.Load(store.Load{
		Floor: floor,
		Rev:   rev,
		Base: func(visit func(store.Event) error) error {
			err := s.engine.Scan(0, floor, func(e Entry) error {
				if _, twice := s.index[e.Key]; twice || e.Deleted() {
					return fmt.Errorf("the store is damaged: revision %d should have been compacted", e.Rev)
				}
				s.remember(e)
				e.Prev = 0 // whatever it replaced is forgotten
				return visitUntil(ctx, visit, e.Event)
			})
			baseRead = err == nil
			return err
		},
		Events: func(visit func(store.Event) error) error {
			if !baseRead {
				return errors.New("the events were asked for before the base")
			}
			next := floor + 1
			err := s.engine.Scan(floor, rev, func(e Entry) error {
				if e.Rev != next || e.Prev != s.index[e.Key] {
					return fmt.Errorf("the store is damaged: revision %d does not follow what is before it", e.Rev)
				}
				next++
				s.remember(e)
				return visitUntil(ctx, visit, e.Event)
			})
			if err == nil && next != rev+1 {
				err = fmt.Errorf("the store is damaged: revisions %d to %d are missing", next, rev)
			}
			eventsRead = err == nil
			return err
		},
	})
	if err == nil && !eventsRead {
		err = errors.New("the follower did not read everything the store holds")
	}
	return err
}

func visitUntil(ctx context.Context, visit func(store.Event) error, e store.Event) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return visit(e)
}

// remember brings the index up to date with e.
func (s *Store) remember(e Entry) {
	if e.Deleted() {
		delete(s.index, e.Key)
		return
	}
	s.index[e.Key] = e.Rev
	if !e.Expires.IsZero() {
		s.expiry.add(e.Key, e.Rev, e.Expires)
	}
}

// Latest implements store.Store: what was committed has been told.
func (s *Store) Latest(context.Context) (uint64, error) { return 0, nil }

// Compact implements store.Store.
func (s *Store) Compact(ctx context.Context, rev uint64) error {
	return s.alone(ctx, func(ctx context.Context) error { return s.compact(ctx, rev) })
}

// Hold calls read while the floor stays where it is, with the floor and a revision
// that has been reached: all that the engine keeps up to it stays there, whatever
// is committed meanwhile. ctx ends also when the store closes, which waits for read.
func (s *Store) Hold(ctx context.Context, read func(ctx context.Context, floor, rev uint64) error) error {
	return s.alone(ctx, func(ctx context.Context) error {
		floor, _, err := s.engine.Bounds()
		if err != nil {
			return err
		}
		return read(ctx, floor, s.rev.Load())
	})
}

// alone has do run while nothing else does that is run like this.
func (s *Store) alone(ctx context.Context, do func(ctx context.Context) error) error {
	s.mu.Lock()
	var err error
	switch {
	case s.mu.closing:
		err = store.ErrClosed
	case !s.mu.running:
		err = errors.New("the store has not been started")
	default:
		s.owners.Add(1)
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	defer s.owners.Done()

	ctx, cancel := s.untilClose(ctx)
	defer cancel()
	select {
	case s.compactor <- struct{}{}:
		defer func() { <-s.compactor }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return do(ctx)
}

func (s *Store) compact(ctx context.Context, rev uint64) error {
	if err := s.failure(); err != nil {
		return err
	}
	floor, _, err := s.engine.Bounds()
	if err != nil {
		return err
	}
	if last := s.rev.Load(); rev > last {
		return fmt.Errorf("cannot compact at revision %d: the store is at %d", rev, last)
	}
	if rev <= floor {
		return nil
	}
	err = s.engine.Compact(ctx, rev)
	if err != nil && !errors.Is(err, context.Cause(ctx)) && !errors.Is(err, store.ErrFull) {
		s.fail(err)
	}
	return err
}

// untilClose returns a context that ends with ctx or when Close begins.
func (s *Store) untilClose(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(s.life, func() { cancel(context.Cause(s.life)) })
	return ctx, func() { stop(); cancel(nil) }
}

// usableLocked tells why the store cannot be used, if so.
func (s *Store) usableLocked() error {
	switch {
	case s.mu.closing:
		return store.ErrClosed
	case !s.mu.running:
		return errors.New("the store has not been started")
	}
	return s.failureLocked()
}

// failureLocked is what a call gets after the store has failed. It does not
// wrap ErrUnknown: the call has certainly changed nothing.
func (s *Store) failureLocked() error {
	if s.mu.failed == nil {
		return nil
	}
	return fmt.Errorf("the store takes no more changes since an error: %v", s.mu.failed)
}

func (s *Store) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failureLocked()
}

// fail makes the store refuse everything from now on: after a failed write it
// is not known what the engine holds.
func (s *Store) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.failed == nil {
		s.mu.failed = err
	}
}

// Close implements store.Store.
func (s *Store) Close() error { return s.closed() }

func (s *Store) close() error {
	s.mu.Lock()
	s.mu.closing = true
	s.mu.Unlock()
	s.end(store.ErrClosed)
	s.owners.Wait()
	return s.engine.Close()
}
