package state

import (
	"errors"

	"github.com/google/btree"

	"github.com/knarr-io/knarr/internal/object"
)

var (
	// ErrExpired says that a revision is older than the history.
	ErrExpired = errors.New("the revision is older than the history kept")
	// ErrFuture says that a revision has not been reached.
	ErrFuture = errors.New("the revision has not been reached")
)

// Snapshot is the objects of one resource at one revision. It never changes
// and costs nothing to keep, beyond the objects in it. It is safe for
// concurrent use.
type Snapshot struct {
	// Rev is the revision of the whole state at which this was true: a watch
	// from Rev continues the snapshot without a gap or a repetition.
	Rev  uint64
	tree *btree.BTreeG[*object.Object] // nil if there is nothing
}

// Snapshot returns the current objects of the resource stored under prefix.
func (s *State) Snapshot(prefix string) Snapshot {
	s.mu.RLock()
	c := s.collections[prefix]
	if c == nil || c.snapshot != nil {
		defer s.mu.RUnlock()
		if c == nil {
			return Snapshot{Rev: s.rev}
		}
		return Snapshot{s.rev, c.snapshot}
	}
	s.mu.RUnlock()

	s.mu.Lock()
	defer s.mu.Unlock()
	return Snapshot{s.rev, c.shared()}
}

// SnapshotAt returns the objects as they were at rev, by undoing what came
// after. It fails with ErrExpired or ErrFuture. Asked for the same rev again,
// as for the next page of a list, it has the answer ready most of the time.
func (s *State) SnapshotAt(prefix string, rev uint64) (Snapshot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.check(rev); err != nil {
		return Snapshot{}, err
	}
	c := s.collections[prefix]
	if c == nil {
		return Snapshot{Rev: rev}, nil
	}
	at := c.log.position(rev)
	tree := s.roots.find(c, at)
	if tree == nil {
		tree = s.makeRoot(c, at)
	}
	return Snapshot{rev, tree}, nil
}

// check tells if rev is in the history. s.mu is held.
func (s *State) check(rev uint64) error {
	switch {
	case rev > s.rev:
		return ErrFuture
	case rev < s.floor:
		return ErrExpired
	}
	return nil
}

// makeRoot returns what c held before the event at a position, and keeps it.
// s.mu is held for writing, except while events are undone: there may be many.
func (s *State) makeRoot(c *collection, at uint64) *btree.BTreeG[*object.Object] {
	undo := c.log.from(at)
	if len(undo) == 0 {
		return s.roots.keep(c, at, c.shared())
	}
	tree := c.tree.Clone()
	s.mu.Unlock()
	for i := len(undo) - 1; i >= 0; i-- {
		if e := &undo[i]; e.Prev != nil {
			tree.ReplaceOrInsert(e.Prev)
		} else {
			tree.Delete(e.Object)
		}
	}
	s.mu.Lock()
	return s.roots.keep(c, at, tree)
}

// roots are trees of the past that were asked for lately, so that the pages of
// a list are read from one. They hold no object that the history does not hold
// too. The State's mutex guards them.
type roots struct {
	kept [16]root
	next int // where the next one goes, in place of the oldest
}

// root is what a collection held before the event at a position in its log.
type root struct {
	of   *collection
	at   uint64
	tree *btree.BTreeG[*object.Object]
}

func (r *roots) find(c *collection, at uint64) *btree.BTreeG[*object.Object] {
	for i := range r.kept {
		if k := &r.kept[i]; k.of == c && k.at == at {
			return k.tree
		}
	}
	return nil
}

// keep keeps tree, unless its like has been kept or forgotten meanwhile, and
// returns the one to use.
func (r *roots) keep(c *collection, at uint64, tree *btree.BTreeG[*object.Object]) *btree.BTreeG[*object.Object] {
	if same := r.find(c, at); same != nil {
		return same
	}
	if at >= c.log.first {
		r.kept[r.next] = root{c, at, tree}
		r.next = (r.next + 1) % len(r.kept)
	}
	return tree
}

// trim drops the trees that are older than their history.
func (r *roots) trim() {
	for i := range r.kept {
		if k := &r.kept[i]; k.of != nil && k.at < k.of.log.first {
			*k = root{}
		}
	}
}

// Get returns one object, or nil.
func (s Snapshot) Get(namespace, name string) *object.Object {
	if s.tree == nil {
		return nil
	}
	o, _ := s.tree.Get(&object.Object{Namespace: namespace, Name: name})
	return o
}

// Range is a part of a snapshot, in the order of keys.
type Range struct {
	// Namespace limits to one namespace; empty for all, and for objects of
	// cluster scope.
	Namespace string
	// FromNamespace and FromName, if either is set, skip what sorts before
	// them. Within one Namespace only FromName counts.
	FromNamespace, FromName string
}

// Each calls visit for the objects in r until it returns false.
func (s Snapshot) Each(r Range, visit func(*object.Object) bool) {
	switch {
	case s.tree == nil:
	case r == Range{}:
		s.tree.Ascend(visit)
	case r.Namespace == "":
		s.tree.AscendGreaterOrEqual(&object.Object{Namespace: r.FromNamespace, Name: r.FromName}, visit)
	default:
		s.tree.AscendGreaterOrEqual(&object.Object{Namespace: r.Namespace, Name: r.FromName}, func(o *object.Object) bool {
			return o.Namespace == r.Namespace && visit(o)
		})
	}
}

// Same reports whether the objects of the resource are those of another snapshot
// of it.
func (s Snapshot) Same(other Snapshot) bool { return s.tree == other.tree }

// Len returns how many objects there are in a namespace, or in all if it is
// empty.
func (s Snapshot) Len(namespace string) int {
	if s.tree == nil {
		return 0
	}
	if namespace == "" {
		return s.tree.Len()
	}
	n := 0
	s.Each(Range{Namespace: namespace}, func(*object.Object) bool { n++; return true })
	return n
}
