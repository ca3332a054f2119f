package gc

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/state"
)

// see takes one event into the graph, and has looked at what it may concern. Most
// are of objects that have no owner and are not being deleted: of those it reads the
// metadata and does nothing. g.mu is held.
func (g *graph) see(r *resource, e *state.Event) {
	if e.Deleted {
		g.now.Reset()
	} else if g.now.Read(e.Object) != nil {
		return // nobody knows what it says
	}
	if e.Prev == nil || g.before.Read(e.Prev) != nil {
		g.before.Reset()
	}
	d := ref{r, e.Object.Namespace, e.Object.Name}
	if len(g.now.Owners)+len(g.before.Owners) > 0 {
		g.own(d)
	}
	switch {
	case e.Deleted:
		g.ended = append(g.ended, ended{d, string(g.before.UID)})
	case g.now.Deleting:
		g.going(d)
	}
}

// own takes in what has changed between before and now of an object's owners.
func (g *graph) own(d ref) {
	for i := range g.now.Owners {
		o := &g.now.Owners[i]
		_, blocks := names(&g.now, o.UID)
		before, blocked := names(&g.before, o.UID)
		if before && blocked == blocks {
			continue
		}
		known := g.owners[string(o.UID)]
		if known == nil {
			known = &owner{}
			g.owners[string(o.UID)] = known
		}
		known.set(d, blocks)
		if !before {
			g.check(d, o)
		} else if blocked {
			g.wake(o.UID)
		}
	}
	for i := range g.before.Owners {
		uid := g.before.Owners[i].UID
		if still, _ := names(&g.now, uid); still {
			continue
		}
		if known := g.owners[string(uid)]; known != nil && known.remove(d) {
			delete(g.owners, string(uid))
		}
		g.wake(uid)
	}
	if len(g.now.Owners) == 0 {
		delete(g.held, d)
	}
}

// names reports whether an object names the owner with that uid, and whether it
// blocks its deletion.
func names(m *kind.Meta, uid []byte) (is, blocks bool) {
	for i := range m.Owners {
		if o := &m.Owners[i]; string(o.UID) == string(uid) {
			is, blocks = true, blocks || o.Blocks
		}
	}
	return is, blocks
}

// wake has an owner looked at that waits for its dependents.
func (g *graph) wake(uid []byte) {
	if waiting, ok := g.waiting[string(uid)]; ok {
		g.add(task{ref: waiting})
	}
}

// check has an object looked at whose new owner is not where the object says.
func (g *graph) check(d ref, o *kind.Owner) {
	s, err := find(g.state, g.served, d.namespace, o, &g.other)
	if err == nil && (s == solid || s == deleting) {
		return
	}
	if s == absent || s == invalid {
		if elsewhere(g.state, g.served, d.namespace, o, &g.other) {
			g.add(task{d, string(g.now.UID), fmt.Sprintf("ownerRef [%s/%s, namespace: %s, name: %s, uid: %s] does not exist in namespace %q",
				o.APIVersion, o.Kind, d.namespace, o.Name, o.UID, d.namespace)})
		}
	}
	g.add(task{ref: d})
}

// going takes in that an object is being deleted.
func (g *graph) going(d ref) {
	uid := string(g.now.UID)
	if !g.now.Finalizer(metav1.FinalizerDeleteDependents) {
		delete(g.waiting, uid)
	} else if _, ok := g.waiting[uid]; !ok {
		g.waiting[uid] = d
	}
	begins := func(finalizer string) bool {
		return g.now.Finalizer(finalizer) && !(g.before.Deleting && g.before.Finalizer(finalizer))
	}
	switch {
	case begins(metav1.FinalizerOrphanDependents):
		g.add(task{ref: d})
	case begins(metav1.FinalizerDeleteDependents):
		if o := g.owners[uid]; o != nil {
			o.each(func(d ref, _ bool) { g.add(task{ref: d}) })
		}
		g.add(task{ref: d})
	}
}

// gone takes in that an object has been deleted.
func (g *graph) gone(e *ended) {
	delete(g.waiting, e.uid)
	if o := g.owners[e.uid]; o != nil {
		o.deleted = &ref{e.resource, e.namespace, e.name}
		o.each(func(d ref, _ bool) { g.add(task{ref: d}) })
	}
}
