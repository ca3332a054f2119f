// Package memory is a store that is gone with its process: for tests, and for
// servers that need not outlive a run.
//
// A store is read once, when it is started, and a new one is empty then: what
// is committed later lives with the follower. So this store holds the revision
// of each key and no values at all.
package memory

import (
	"context"
	"sync/atomic"

	"github.com/knarr-io/knarr/internal/store"
	"github.com/knarr-io/knarr/internal/store/embedded"
)

// Options are the zero value for everyday use.
type Options = embedded.Options

// Store is a store.Store that can be made again what it was.
type Store struct{ *embedded.Store }

var _ store.Rewinder = Store{}

// New returns an empty store.
func New(opts Options) Store {
	e := &engine{}
	e.floor.Store(1)
	return Store{embedded.New(e, opts)}
}

// Mark implements store.Rewinder.
func (s Store) Mark(ctx context.Context, then func()) (store.Mark, error) {
	return s.Store.Mark(ctx, then)
}

// Rewind implements store.Rewinder.
func (s Store) Rewind(ctx context.Context, m store.Mark, then func(rev uint64)) error {
	return s.Restore(ctx, m.(*embedded.Mark), then)
}

// engine keeps nothing but the floor.
type engine struct{ floor atomic.Uint64 }

func (e *engine) Bounds() (floor, rev uint64, err error) {
	return e.floor.Load(), e.floor.Load(), nil
}

func (e *engine) Scan(after, upTo uint64, visit func(embedded.Entry) error) error { return nil }

func (e *engine) Append([]embedded.Entry) error { return nil }

func (e *engine) Compact(_ context.Context, rev uint64) error {
	e.floor.Store(rev)
	return nil
}

func (e *engine) Close() error { return nil }
