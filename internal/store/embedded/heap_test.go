package embedded_test

import (
	"context"
	"slices"
	"sync"

	"github.com/knarr-io/knarr/internal/store"
	"github.com/knarr-io/knarr/internal/store/embedded"
)

// heap is an engine in memory. It outlives the stores that use it, and fails
// when told to.
type heap struct {
	mu      sync.Mutex
	entries map[uint64]embedded.Entry
	floor   uint64
	rev     uint64
	batches []int // the size of each Append

	// fail, if not nil, is the error of the next Append, which keeps the
	// entries nevertheless if keep is set.
	fail error
	keep bool
	// full refuses all but deletions.
	full bool
	// gate, if not nil, holds up Append until it is closed.
	gate chan struct{}
}

func newHeap() *heap {
	return &heap{entries: map[uint64]embedded.Entry{}, floor: 1, rev: 1}
}

func (h *heap) Bounds() (floor, rev uint64, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.floor, h.rev, nil
}

func (h *heap) Scan(after, upTo uint64, visit func(embedded.Entry) error) error {
	h.mu.Lock()
	var entries []embedded.Entry
	for rev, e := range h.entries {
		if after < rev && rev <= upTo {
			entries = append(entries, e)
		}
	}
	h.mu.Unlock()
	slices.SortFunc(entries, func(a, b embedded.Entry) int { return int(a.Rev) - int(b.Rev) })
	for _, e := range entries {
		if err := visit(e); err != nil {
			return err
		}
	}
	return nil
}

func (h *heap) Append(entries []embedded.Entry) error {
	h.mu.Lock()
	gate := h.gate
	h.mu.Unlock()
	if gate != nil {
		<-gate
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.batches = append(h.batches, len(entries))
	if h.full && slices.ContainsFunc(entries, func(e embedded.Entry) bool { return !e.Deleted() }) {
		return store.ErrFull
	}
	if h.fail == nil || h.keep {
		for _, e := range entries {
			h.entries[e.Rev] = e
			h.rev = e.Rev
		}
	}
	return h.fail
}

func (h *heap) Compact(ctx context.Context, rev uint64) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fail != nil {
		return h.fail
	}
	for r := h.floor + 1; r <= rev; r++ {
		delete(h.entries, h.entries[r].Prev)
		if e := h.entries[r]; e.Deleted() {
			delete(h.entries, r)
		}
	}
	h.floor = rev
	return nil
}

func (h *heap) Close() error { return nil }
