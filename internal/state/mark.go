package state

import (
	"context"
	"errors"

	"github.com/google/btree"

	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/store"
)

// Mark is what a state held at a moment. It costs what has changed since.
type Mark struct {
	store       store.Mark
	collections map[string]marked
}

// marked is the objects of one resource. The State's mutex guards the tree, which
// is never written but cloned.
type marked struct {
	tree  *btree.BTreeG[*object.Object]
	bytes int64
}

// ErrNoWayBack says that a state cannot be made what it was, as its store keeps
// what is written.
var ErrNoWayBack = errors.New("only a server that keeps its objects in memory, not encrypted, can go back to what they were")

// Mark returns what there is now, for Rewind. It fails with ErrNoWayBack where
// there is none.
func (s *State) Mark(ctx context.Context) (*Mark, error) {
	r, ok := s.store.(store.Rewinder)
	if !ok {
		return nil, ErrNoWayBack
	}
	m := &Mark{collections: map[string]marked{}}
	var err error
	m.store, err = r.Mark(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for prefix, c := range s.collections {
			m.collections[prefix] = marked{c.shared(), c.bytes}
		}
	})
	return m, err
}

// Rewind makes the objects those of a mark, each as it was, its revision too. The
// state goes on at a new revision; the past ends there: every watch is told that
// it has expired, and whoever follows begins again. The cost is that of the
// number of resources, not of objects.
func (s *State) Rewind(ctx context.Context, m *Mark) error {
	r, ok := s.store.(store.Rewinder)
	if !ok {
		return ErrNoWayBack
	}
	return r.Rewind(ctx, m.store, func(rev uint64) {
		s.update(func() {
			for prefix, c := range s.collections {
				was, ok := m.collections[prefix]
				if ok {
					c.begin(was.tree.Clone(), was.bytes, nil)
					c.snapshot = was.tree
				} else {
					c.begin(newCollection().tree, 0, nil)
				}
				s.wake(&c.changed)
			}
			s.floor, s.history, s.roots = rev, history{limit: s.history.limit}, roots{}
			s.advance(rev)
			s.wakeTrimmer()
		})
	})
}
