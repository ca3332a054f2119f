package state

import (
	"cmp"
	"strings"

	"github.com/google/btree"

	"github.com/knarr-io/knarr/internal/object"
)

// collection is the objects of one resource and their history. The State's
// mutex guards it.
type collection struct {
	tree *btree.BTreeG[*object.Object]
	// snapshot is a copy-on-write clone of tree; nil when tree has changed
	// since it was made.
	snapshot *btree.BTreeG[*object.Object]
	bytes    int64 // of the values in tree
	log      eventLog
	changed  chan struct{} // closed after the next event; nil when nobody waits
}

func newCollection() *collection {
	return &collection{tree: btree.NewG(32, less)}
}

// less orders objects as their keys "namespace/name" sort, which is the order
// of upstream's lists.
func less(a, b *object.Object) bool {
	if a.Namespace == b.Namespace {
		return a.Name < b.Name
	}
	return compareNamespaces(a.Namespace, b.Namespace) < 0
}

// compareNamespaces compares a+"/" with b+"/" without building them.
func compareNamespaces(a, b string) int {
	n := min(len(a), len(b))
	if c := strings.Compare(a[:n], b[:n]); c != 0 {
		return c
	}
	next := func(s string) byte {
		if len(s) == n {
			return '/'
		}
		return s[n]
	}
	return cmp.Compare(next(a), next(b))
}

// begin has c hold other objects, with what led to them, in place of all before.
// Whoever follows its events begins again, even who has seen everything: their
// positions are before the first.
func (c *collection) begin(tree *btree.BTreeG[*object.Object], bytes int64, events []Event) {
	c.tree, c.snapshot, c.bytes = tree, nil, bytes
	c.log = eventLog{events: events, first: c.log.end() + 1}
}

func (c *collection) get(prefix, key string) *object.Object {
	o, _ := c.tree.Get(object.New(prefix, key, nil, 0, nil))
	return o
}

func (c *collection) set(o *object.Object) (prev *object.Object) {
	c.snapshot = nil
	prev, _ = c.tree.ReplaceOrInsert(o)
	c.bytes += int64(len(o.Value))
	if prev != nil {
		c.bytes -= int64(len(prev.Value))
	}
	return prev
}

func (c *collection) remove(prefix, key string) (prev *object.Object) {
	c.snapshot = nil
	prev, _ = c.tree.Delete(object.New(prefix, key, nil, 0, nil))
	if prev != nil {
		c.bytes -= int64(len(prev.Value))
	}
	return prev
}

// shared returns a clone of the tree that is never written again. The State's
// mutex is held for writing.
func (c *collection) shared() *btree.BTreeG[*object.Object] {
	if c.snapshot == nil {
		c.snapshot = c.tree.Clone()
	}
	return c.snapshot
}

// ResourceOf returns the part of a storage key that names the resource, for
// example "/registry/pods". It follows upstream's layout: one element after
// /registry for native resources, two for those whose first is a group (it
// has a dot) and for the two kinds under "services".
func ResourceOf(key string) string {
	const root = "/registry/"
	rest, ok := strings.CutPrefix(key, root)
	if !ok {
		return ""
	}
	first, after, ok := strings.Cut(rest, "/")
	if !ok {
		return key
	}
	n := len(root) + len(first)
	if first == "services" || strings.Contains(first, ".") {
		second, _, _ := strings.Cut(after, "/")
		n += 1 + len(second)
	}
	return key[:n]
}
