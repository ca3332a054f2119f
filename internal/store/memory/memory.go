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

// New returns an empty store.
func New(opts Options) store.Store {
	e := &engine{}
	e.floor.Store(1)
	return embedded.New(e, opts)
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
