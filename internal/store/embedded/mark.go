package embedded

import (
	"context"
	"maps"
	"slices"
)

// Mark is which keys there were, and at what revisions.
type Mark struct {
	index  map[string]uint64
	expiry expiryHeap
}

// Mark returns what there is now. Between two commits it calls then, which may not
// call the store.
func (s *Store) Mark(ctx context.Context, then func()) (*Mark, error) {
	m := &Mark{}
	return m, s.between(ctx, func() {
		m.index, m.expiry = maps.Clone(s.index), slices.Clone(s.expiry.heap)
		then()
	})
}

// Restore makes the keys those of a mark, at the revisions that they had, and takes
// a new revision for that, which then is told. It is for an engine that holds
// nothing: the engine is not told. Who follows is not, either; then does it, between
// two commits, and may not call the store.
func (s *Store) Restore(ctx context.Context, m *Mark, then func(rev uint64)) error {
	return s.between(ctx, func() {
		s.index, s.expiry.heap = maps.Clone(m.index), slices.Clone(m.expiry)
		then(s.rev.Add(1))
	})
}

// between has the committer do something between two commits.
func (s *Store) between(ctx context.Context, do func()) error {
	r := newRequest(ctx, nil)
	r.do = do
	if err := s.enqueue(r); err != nil {
		return err
	}
	<-r.done // soon: the committer ends no request without an answer
	return r.err
}
