// Package state is what is true now, and what was true lately: the current
// objects of every resource, the history of their changes, and watches as
// cursors into that history. It keeps objects in memory and changes in a
// store, which it follows.
//
// It knows keys and encoded objects. It must not know kinds, versions, HTTP
// or users.
//
// All of a server's objects are here and nowhere else. Locking: State.mu
// guards everything mutable; the store's Apply takes it for writing, briefly,
// readers take it for reading and leave with immutable objects or snapshots.
package state

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/utils/clock"

	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/store"
)

// Options say how much of the past is kept.
type Options struct {
	// Retention is how long an event stays in the history; default 5 minutes,
	// which is how often kube-apiserver has etcd compacted.
	Retention time.Duration
	// HistoryBytes bounds what only the history still holds, by estimate;
	// default 64 MiB. The oldest goes first.
	HistoryBytes int64
	// CacheBytes bounds the cached encodings; default 128 MiB.
	CacheBytes int64
	// Clock tells what is old; default the real one.
	Clock clock.Clock
}

func (o *Options) setDefaults() {
	if o.Retention <= 0 {
		o.Retention = 5 * time.Minute
	}
	if o.HistoryBytes <= 0 {
		o.HistoryBytes = 64 << 20
	}
	if o.CacheBytes <= 0 {
		o.CacheBytes = 128 << 20
	}
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
}

// State is safe for concurrent use.
type State struct {
	opts  Options
	store store.Store
	cache *object.Cache

	mu          sync.RWMutex // guards what follows
	rev         uint64
	floor       uint64 // exact reads and watches are possible from here on
	collections map[string]*collection
	history     history
	roots       roots
	advanced    chan struct{}   // closed after rev has grown; nil when nobody waits
	woken       []chan struct{} // what update is to close

	broken atomic.Pointer[error] // why the last commit failed, if the store is at fault

	trim      chan struct{} // asks the trimmer for a round
	compacted uint64        // the store's floor; the trimmer's own once it runs
	stop      context.CancelFunc
	trimmer   sync.WaitGroup
}

// Start loads what st holds and follows it. The State owns st from now on;
// when Start fails, st has been closed.
func Start(ctx context.Context, st store.Store, opts Options) (*State, error) {
	opts.setDefaults()
	s := &State{
		opts:        opts,
		store:       st,
		cache:       object.NewCache(opts.CacheBytes),
		collections: map[string]*collection{},
		history:     history{limit: opts.HistoryBytes},
		trim:        make(chan struct{}, 1),
	}
	if err := st.Start(ctx, (*follower)(s)); err != nil {
		_ = st.Close() // what went wrong first says more
		return nil, err
	}
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = cancel
	s.trimmer.Go(func() { s.runTrimmer(background) })
	return s, nil
}

// Stop closes the store and waits until nothing of s runs any more. Reads go
// on working; commits fail with store.ErrClosed.
func (s *State) Stop() error {
	s.stop()
	s.trimmer.Wait()
	return s.store.Close()
}

// Cache returns the cache of encodings of this state's objects.
func (s *State) Cache() *object.Cache { return s.cache }

// Rev returns the revision that reads see now.
func (s *State) Rev() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.rev
}

// Floor returns the oldest revision that can be read or watched from.
func (s *State) Floor() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.floor
}

// Get returns the object at a storage key, or nil.
func (s *State) Get(key string) *object.Object {
	s.mu.RLock()
	defer s.mu.RUnlock()
	prefix := ResourceOf(key)
	if c := s.collections[prefix]; c != nil {
		return c.get(prefix, key)
	}
	return nil
}

// Size returns how many objects are stored under prefix, and the bytes of their
// storage forms.
func (s *State) Size(prefix string) (objects int, bytes int64) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	c := s.collections[prefix]
	if c == nil {
		return 0, 0
	}
	return c.tree.Len(), c.bytes
}

// ErrNoDump says that the store keeps nothing that could be copied.
var ErrNoDump = errors.New("objects are not kept on disk here: there is nothing to make a backup of")

// Dump writes what the store holds at one revision, in a form of the store's own.
func (s *State) Dump(ctx context.Context, w io.Writer) error {
	d, ok := s.store.(store.Dumper)
	if !ok {
		return ErrNoDump
	}
	err := d.Dump(ctx, w)
	if errors.Is(err, errors.ErrUnsupported) {
		return ErrNoDump
	}
	return err
}

// Outdated reports whether the object at a key is to be written again, even
// unchanged, since the store would keep it in another way now.
func (s *State) Outdated(key string, o *object.Object) bool {
	sealer, ok := s.store.(store.Sealer)
	return ok && sealer.Outdated(key, o.Seal)
}

// Commit makes all changes or none, as store.Store.Commit says, errors
// included. It returns the objects as they were committed, in the order of
// changes: for a deletion the last state, under the deletion's revision, for what
// was only checked nil.
func (s *State) Commit(ctx context.Context, changes ...store.Change) ([]*object.Object, error) {
	objects := make([]*object.Object, len(changes))
	for i := range changes {
		if changes[i].Value == nil && !changes[i].Check {
			objects[i] = s.Get(changes[i].Key)
		}
	}
	revs, err := s.store.Commit(ctx, changes)
	if err != nil {
		s.noteFailure(ctx, err)
		if errors.Is(err, store.ErrFull) {
			err = store.ErrFull // clients get to see it, and nothing of where it is full
		}
		return nil, err
	}
	if s.broken.Load() != nil {
		s.broken.Store(nil)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	for i := range changes {
		if changes[i].Check {
			continue
		}
		objects[i] = s.committed(&changes[i], revs[i], objects[i])
	}
	return objects, nil
}

// committed returns the object that a change has given, or deleted; before is
// what a deletion found. s.mu is held.
func (s *State) committed(ch *store.Change, rev uint64, before *object.Object) *object.Object {
	prefix := ResourceOf(ch.Key)
	if c := s.collections[prefix]; c != nil {
		if e, ok := c.log.at(rev); ok {
			return e.Object
		}
	}
	// The history is so short that it has forgotten the change already.
	if before != nil {
		return before.At(rev)
	}
	return object.New(prefix, ch.Key, ch.Value, rev, nil)
}

// noteFailure remembers a commit's error if it is the store's fault.
func (s *State) noteFailure(ctx context.Context, err error) {
	var conflict *store.Conflict
	var unwritable *store.Unwritable
	if ctx.Err() == nil && !errors.As(err, &conflict) && !errors.As(err, &unwritable) && !errors.Is(err, store.ErrClosed) {
		s.broken.Store(&err)
	}
}

// Err returns why the store cannot be written, as far as the last commit
// showed; nil if it can.
func (s *State) Err() error {
	if err := s.broken.Load(); err != nil {
		return *err
	}
	return nil
}

// Latest returns a revision, 0 for none, that a reader has to wait for who must
// not miss what others have committed before; see store.Store.
func (s *State) Latest(ctx context.Context) (uint64, error) { return s.store.Latest(ctx) }

// WaitFor returns when reads see rev, or the cause of ctx's end.
func (s *State) WaitFor(ctx context.Context, rev uint64) error {
	if s.Rev() < rev {
		_, _ = s.store.Latest(ctx) // has the store tell how far it is; if it cannot, it is waited for
	}
	for {
		s.mu.Lock()
		if s.rev >= rev {
			s.mu.Unlock()
			return nil
		}
		if s.advanced == nil {
			s.advanced = make(chan struct{})
		}
		advanced := s.advanced
		s.mu.Unlock()
		select {
		case <-advanced:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
