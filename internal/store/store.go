// Package store is the contract for durable storage: what state asks of a
// place that keeps objects. The embedded stores (memory, disk) and etcd
// implement it; storetest judges them all.
//
// A store knows keys, values and revisions. It must not know what a value
// means: no kinds, no API groups, no HTTP.
//
// # Model
//
// The store holds one value per key. Every change gets a revision, an
// increasing number; an empty store is at revision 1 and its first change is
// revision 2, as in etcd. Beside the current values it retains history: all
// events after a floor, and the values as they were at that floor. So
// everything a store holds can be told as "the base at the floor, then the
// events after it", and that is how it is loaded.
package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// MaxChanges is the most changes one commit may hold, in every store, so that
// what works on one works on all (it is etcd's default limit of a transaction).
const MaxChanges = 128

// Store keeps values durably. All methods are safe for concurrent use; Close
// may be called at any time and more than once.
type Store interface {
	// Start reads everything the store holds into f and from then on follows:
	// f sees every commit, this server's own and others', exactly once and in
	// order. Start returns when f.Load has returned; following goes on until
	// Close. It is called once, before any other method.
	//
	// A value that cannot be read (damaged, or encrypted with a missing key)
	// arrives as an Event whose Err says why; it never fails Start. An error
	// from f.Load is returned as it is.
	Start(ctx context.Context, f Follower) error

	// Commit makes all changes or none. It returns once they are durable and
	// f.Apply has returned for them, so a caller reads its own writes. The
	// result holds the revision of each change, in the order given; of a Check
	// it is what the key is at. A commit of nothing but Checks is an error.
	//
	// In the embedded stores the n changes of a commit take n consecutive
	// revisions, Checks none; in etcd they share one. A commit therefore holds at most
	// MaxChanges changes, no two of the same key and, for portability, no two
	// of the same resource: clients resume a watch after a revision.
	//
	// If a change's condition does not hold, nothing changes and the error is
	// a *Conflict for the first such change; f has been told by then of what
	// made it, so a caller who looks again sees it. If ctx ends first, the error
	// wraps its cause and the outcome is unknown: the commit may still happen,
	// whole, and f will see it if it does. After an I/O error, which wraps
	// ErrUnknown, the outcome is unknown too and the store may refuse further
	// commits; values already read stay valid. ErrClosed after Close.
	//
	// The store keeps the slices in changes; the caller must not modify them
	// afterwards.
	Commit(ctx context.Context, changes []Change) ([]uint64, error)

	// Latest returns a revision at or above all that was committed, by anyone,
	// before the call, and sees to it that f is told of that revision soon, by
	// Apply or Progress, even if nothing happens any more. A store that nobody
	// else writes to returns 0 at once: f has been told. So a reader who waits
	// until f is at that revision misses nothing.
	Latest(ctx context.Context) (uint64, error)

	// Compact moves the floor up to rev: history at or below it is forgotten,
	// apart from the values that were current there, and its space is given
	// back in time. A rev at or below the present floor does nothing; one in
	// the future is an error. Reads are not hindered while it runs. A store that
	// is shared with others may keep more, for them.
	Compact(ctx context.Context, rev uint64) error

	// Close stops following, waits for running commits, and releases files,
	// locks and goroutines before it returns. Commits that have not begun get
	// ErrClosed. It returns the first error met while closing.
	Close() error
}

// Follower receives what a store holds and what happens to it. Calls come one
// at a time. A Follower must return quickly, since commits wait for it, and
// must not call the store.
type Follower interface {
	// Load is called first. It calls l.Base and then l.Events, each to its end,
	// before it returns. It may be called again: after it returned an error that
	// came from them, and later by a store that has lost sight of what happened
	// (etcd, compacted while it could not be reached). What is loaded then takes
	// the place of everything told before, once Load returns without an error;
	// until then, what there was stays. What lies between is not history.
	Load(l Load) error

	// Apply tells of one commit: its events in revision order, to be made
	// visible together. The slice is the follower's; values are shared and
	// must never be modified.
	Apply(events []Event)

	// Progress tells that everything up to rev has been applied, where
	// revisions pass without a change to this server's keys (etcd).
	Progress(rev uint64)
}

// Rereader is a Follower that can be told of values which could not be read
// before and can be now.
type Rereader interface {
	// Reread tells of the value that a key has had, at its revision, all along.
	Reread(e Event)
}

// Sealer is a Store that keeps values in different ways, such as encrypted.
type Sealer interface {
	// Outdated reports whether a value with that Event.Seal is to be written
	// again, even unchanged, since it would be kept in another way now.
	Outdated(key string, seal uint32) bool
}

// Dumper is a Store that can be copied while it is used.
type Dumper interface {
	// Dump writes to w, in a form of the store's own, all that the store holds at
	// one revision. Commits go on meanwhile; Compact waits. A store around one that
	// is none returns errors.ErrUnsupported.
	Dump(ctx context.Context, w io.Writer) error
}

// Rewinder is a Store that can be made again what it was: one that nobody else
// uses and that keeps nothing.
type Rewinder interface {
	// Mark returns what the store holds now. Before any other commit it calls
	// then, which must not call the store: for who follows to note the same.
	Mark(ctx context.Context, then func()) (Mark, error)
	// Rewind makes the store hold what it held at the mark, at the revisions
	// that this had, and takes a new revision for that. The Follower is told
	// nothing: then does it, before any other commit. A mark is that of this
	// store, and can be gone back to any number of times.
	Rewind(ctx context.Context, m Mark, then func(rev uint64)) error
}

// Mark is what a Rewinder held at some time, in its own terms.
type Mark any

// Load is everything a store holds when it is started.
type Load struct {
	// Floor is the revision of the base: the oldest at which reads are exact.
	Floor uint64
	// Rev is the store's revision: of the last change, kept or compacted.
	Rev uint64
	// Base yields the values that were current at Floor (Event.Prev is 0), in
	// any order. It stops early with the error of visit.
	Base func(visit func(Event) error) error
	// Events yields what happened after Floor, in revision order.
	Events func(visit func(Event) error) error
}

// Change is one compare-and-set.
type Change struct {
	// Key is the storage key, as kube-apiserver writes it in etcd, for
	// example "/registry/pods/default/web-0".
	Key string
	// Value is the new value; nil deletes the key. An empty value is not nil.
	Value []byte
	// If is the revision that the key must be at; 0 demands that it does not
	// exist. A delete with If 0 is a Conflict.
	If uint64
	// TTL, if positive, has the store delete the key that long after this
	// change, unless it is changed again before (the later change's TTL
	// counts, none meaning for ever). Rounded up to a second by some stores.
	// It holds across restarts.
	TTL time.Duration
	// Check has the key stay as it is: the change is its condition alone, which the
	// rest of the commit depends on. Value and TTL count for nothing, and no event
	// tells of it; If may be 0.
	Check bool
}

// Event is one change that happened.
type Event struct {
	Key string
	// Value is the value after the change; nil if the key was deleted.
	Value []byte
	// Rev is the revision of this change; Prev is that of the value it
	// replaced or deleted, 0 if it created the key.
	Rev, Prev uint64
	// Time is when the change was committed, by the clock of the server that
	// made it or, where the store does not record it, saw it.
	Time time.Time
	// Err, if not nil, says why Value cannot be read (Value then holds what
	// was found, perhaps nothing, and the key exists).
	Err error
	// Seal says how Value is kept, in a Sealer's own terms; 0 is as it is.
	Seal uint32
}

// Deleted reports whether the event removed its key.
func (e *Event) Deleted() bool { return e.Value == nil && e.Err == nil }

var (
	// ErrClosed is returned by calls to a closed store.
	ErrClosed = errors.New("the store is closed")
	// ErrFull is wrapped by the error of a commit for which there is no room: nothing
	// was changed. What is read is as before, and commits that only delete are still
	// tried. The words are those that clients of kube-apiserver get from etcd.
	ErrFull = errors.New("etcdserver: mvcc: database space exceeded")
	// ErrUnknown is wrapped by an error after which it is not known whether a
	// commit happened.
	ErrUnknown = errors.New("the outcome of the commit is unknown")
)

// Unwritable says that a change's value cannot be kept as it has to be, such as
// encrypted; nothing was changed.
type Unwritable struct {
	Key string
	Err error
}

func (u *Unwritable) Error() string { return u.Err.Error() }
func (u *Unwritable) Unwrap() error { return u.Err }

// Conflict says that a change's condition did not hold; nothing was changed.
type Conflict struct {
	Key string
	// Rev is the revision the key is at; 0 if it does not exist.
	Rev uint64
}

// Validate refuses changes that no store could take, whatever it holds.
func Validate(changes []Change) error {
	if len(changes) > MaxChanges {
		return fmt.Errorf("a commit may hold %d changes, not %d", MaxChanges, len(changes))
	}
	var seen map[string]bool
	if len(changes) > 1 {
		seen = make(map[string]bool, len(changes))
	}
	checks := 0
	for i := range changes {
		key := changes[i].Key
		if changes[i].Check {
			checks++
		}
		if key == "" {
			return errors.New("a change must name a key")
		}
		if seen[key] {
			return fmt.Errorf("a commit may change a key once, but %q is there twice", key)
		}
		if seen != nil {
			seen[key] = true
		}
	}
	if checks == len(changes) {
		return errors.New("a commit must change something")
	}
	return nil
}

// Failed is what a condition fails with, if it does, for a key that is at rev, 0
// if it is not there.
func (c *Change) Failed(rev uint64) *Conflict {
	if rev != c.If || c.Value == nil && rev == 0 && !c.Check {
		return &Conflict{Key: c.Key, Rev: rev}
	}
	return nil
}

func (c *Conflict) Error() string {
	if c.Rev == 0 {
		return fmt.Sprintf("key %q does not exist", c.Key)
	}
	return fmt.Sprintf("key %q is at revision %d", c.Key, c.Rev)
}
