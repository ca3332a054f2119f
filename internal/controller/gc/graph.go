package gc

import (
	"slices"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/state"
)

// graph is who owns what: of each owner that some object names, by uid, its
// dependents; and the few owners that wait for theirs. Objects without owners are not
// in it. It is made of the objects' metadata alone and is as current as catchUp has
// made it; who asks it is told what is true at that time or later.
type graph struct {
	state     *state.State
	catalogue func() *kind.Catalogue
	// add has something done. It does not wait.
	add func(task)

	mu        sync.Mutex // guards what follows
	tail      *state.Tail
	served    *kind.Catalogue // whose resources are followed
	seen      map[*kind.Group]bool
	resources []*resource // by their places in tail
	byPrefix  map[string]*resource
	owners    map[string]*owner
	// waiting are the objects that are being deleted in the foreground, by uid.
	waiting map[string]ref
	// held are objects of which it is not known whether they have owners, since
	// some kind is not served. Another catalogue may tell.
	held map[ref]bool

	// ended are objects that have been deleted, until all that happened before
	// is in the graph.
	ended              []ended
	now, before, other kind.Meta // for one use
}

// resource is one that is followed, whether it is still served or not.
type resource struct {
	schema.GroupResource
	prefix string
	// apiVersion and kind are what its objects are called.
	apiVersion, kind string

	// graph.mu guards what follows.
	versions []string // as apiVersion is
	begun    bool     // what it has is known
}

// ref names an object.
type ref struct {
	resource        *resource
	namespace, name string
}

func (r ref) key() string {
	return (&kind.Storage{Prefix: r.resource.prefix}).Key(r.namespace, r.name)
}

// owner is what is known of an owner.
type owner struct {
	// few are its dependents, or many, if there are more: with each, whether it blocks
	// the owner's deletion.
	few  []dependent
	many map[ref]bool
	// deleted is where it was when its deletion was seen. Its kind may have gone
	// with it.
	deleted *ref
}

// ended is an object that has been deleted.
type ended struct {
	ref
	uid string
}

type dependent struct {
	ref
	blocks bool
}

// manyDependents is how many are no longer few.
const manyDependents = 8

func (o *owner) set(d ref, blocks bool) {
	if o.many != nil {
		o.many[d] = blocks
		return
	}
	for i := range o.few {
		if o.few[i].ref == d {
			o.few[i].blocks = blocks
			return
		}
	}
	if len(o.few) < manyDependents {
		o.few = append(o.few, dependent{d, blocks})
		return
	}
	o.many = map[ref]bool{d: blocks}
	for _, f := range o.few {
		o.many[f.ref] = f.blocks
	}
	o.few = nil
}

// remove reports whether none is left.
func (o *owner) remove(d ref) bool {
	delete(o.many, d)
	o.few = slices.DeleteFunc(o.few, func(f dependent) bool { return f.ref == d })
	return len(o.many)+len(o.few) == 0
}

func (o *owner) each(do func(d ref, blocks bool)) {
	for _, f := range o.few {
		do(f.ref, f.blocks)
	}
	for d, blocks := range o.many {
		do(d, blocks)
	}
}

func newGraph(s *state.State, catalogue func() *kind.Catalogue, add func(task)) *graph {
	g := &graph{state: s, catalogue: catalogue, add: add}
	g.reset()
	return g
}

// reset forgets everything: what is true is told again by the next catchUp. g.mu
// is held, unless nobody has g yet.
func (g *graph) reset() {
	g.tail, g.served, g.seen, g.resources, g.byPrefix = g.state.Tail(), nil, nil, nil, map[string]*resource{}
	g.owners, g.waiting, g.held = map[string]*owner{}, map[string]ref{}, map[ref]bool{}
}

// catchUp makes g current.
func (g *graph) catchUp() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.follow()
}

// follow is catchUp with g.mu held.
func (g *graph) follow() {
	if c := g.catalogue(); c != g.served {
		g.serve(c)
	}
	if g.tail.Current() {
		return
	}
	again := false
	g.tail.CatchUp(func(place int, all state.Snapshot) {
		r := g.resources[place]
		if r.begun {
			again = true // it was overtaken by the end of the history
			return
		}
		r.begun = true
		state.AsNew(func(e *state.Event) { g.see(r, e) })(all)
	}, func(place int, e *state.Event) { g.see(g.resources[place], e) })
	for i := range g.ended {
		g.gone(&g.ended[i])
	}
	g.ended = nil
	if again {
		g.reset()
		g.follow()
	}
}

// serve has what is served now followed, and looks anew at what it was not known
// of. What is no longer served is followed on: its objects may be there again.
func (g *graph) serve(c *kind.Catalogue) {
	seen := make(map[*kind.Group]bool, len(c.Groups))
	for _, group := range c.Groups {
		seen[group] = true
		if g.seen[group] {
			continue
		}
		for _, r := range group.Resources {
			if collected(r) {
				g.serveResource(r)
			}
		}
	}
	g.served, g.seen = c, seen
	for d := range g.held {
		g.add(task{ref: d})
	}
	clear(g.held)
}

func (g *graph) serveResource(r *kind.Resource) {
	known := g.byPrefix[r.Storage.Prefix]
	if known == nil {
		known = &resource{GroupResource: schema.GroupResource{Group: r.Group, Resource: r.Name}, prefix: r.Storage.Prefix, apiVersion: r.Versions[0].GroupVersion().String(), kind: r.Kind}
		g.byPrefix[r.Storage.Prefix] = known
		g.resources = append(g.resources, known)
		g.tail.Add(r.Storage.Prefix)
	}
	for _, v := range r.Versions {
		if apiVersion := v.GroupVersion().String(); !slices.Contains(known.versions, apiVersion) {
			known.versions = append(known.versions, apiVersion)
		}
	}
}

// collected reports whether objects of a resource may be dependents: as
// upstream's, if they can be listed, watched and deleted, and are no events.
func collected(r *kind.Resource) bool {
	if r.Storage == nil || r.Name == "events" && (r.Group == "" || r.Group == "events.k8s.io") {
		return false
	}
	for _, verb := range []string{"delete", "list", "watch"} {
		if !slices.Contains(r.Verbs, verb) {
			return false
		}
	}
	return true
}

// hold has an object looked at again when something else is served than c.
func (g *graph) hold(d ref, c *kind.Catalogue) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.served != c {
		g.add(task{ref: d})
		return
	}
	g.held[d] = true
}

// dependents returns those of the owner with that uid, and whether each blocks
// its deletion.
func (g *graph) dependents(uid []byte) []dependent {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.follow()
	o := g.owners[string(uid)]
	if o == nil {
		return nil
	}
	all := make([]dependent, 0, len(o.few)+len(o.many))
	o.each(func(d ref, blocks bool) { all = append(all, dependent{d, blocks}) })
	return all
}

// seenDeleted reports whether the owner that o names was seen when it was deleted.
func (g *graph) seenDeleted(namespace string, o *kind.Owner) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	known := g.owners[string(o.UID)]
	if known == nil || known.deleted == nil {
		return false
	}
	at := known.deleted
	return (at.namespace == "" || at.namespace == namespace) && at.name == string(o.Name) && at.resource.kind == string(o.Kind) &&
		slices.Contains(at.resource.versions, string(o.APIVersion))
}

// standing is how it stands with an owner that an object names.
type standing int

const (
	unknown  standing = iota // its kind is not served here
	invalid                  // it is in a namespace, and the object in none
	absent                   // there is none
	solid                    // it is there
	deleting                 // it is being deleted in the foreground
)

// find finds out, reading what an owner says into m.
func find(s *state.State, c *kind.Catalogue, namespace string, o *kind.Owner, m *kind.Meta) (standing, error) {
	r := served(c, o)
	switch {
	case r == nil:
		return unknown, nil
	case !r.Namespaced:
		namespace = ""
	case namespace == "":
		return invalid, nil
	}
	if r.Storage == nil {
		return absent, nil // a review, which nobody can get
	}
	found := s.Get(r.Storage.Key(namespace, string(o.Name)))
	if found == nil {
		return absent, nil
	}
	if err := m.Read(found); err != nil {
		return unknown, err
	}
	switch {
	case string(m.UID) != string(o.UID):
		return absent, nil
	case m.Deleting && m.Finalizer(metav1.FinalizerDeleteDependents):
		return deleting, nil
	}
	return solid, nil
}

// served returns the resource of an owner's kind, nil if it is not served here.
func served(c *kind.Catalogue, o *kind.Owner) *kind.Resource {
	group, version, ok := strings.Cut(string(o.APIVersion), "/")
	if !ok {
		group, version = "", group
	}
	g := c.Group(group)
	if g == nil {
		return nil
	}
	for _, r := range g.Resources {
		if r.Kind == string(o.Kind) && slices.ContainsFunc(r.Versions, func(v *kind.Version) bool { return v.Name == version }) {
			return r
		}
	}
	return nil
}

// elsewhere reports whether the owner that o names is in another namespace than the
// object that names it.
func elsewhere(s *state.State, c *kind.Catalogue, namespace string, o *kind.Owner, m *kind.Meta) bool {
	r := served(c, o)
	all := c.Resource(schema.GroupResource{Resource: "namespaces"})
	if r == nil || !r.Namespaced || r.Storage == nil || all == nil {
		return false
	}
	snapshot, found := s.Snapshot(r.Storage.Prefix), false
	s.Snapshot(all.Storage.Prefix).Each(state.Range{}, func(n *object.Object) bool {
		if n.Name != namespace {
			candidate := snapshot.Get(n.Name, string(o.Name))
			found = candidate != nil && m.Read(candidate) == nil && string(m.UID) == string(o.UID)
		}
		return !found
	})
	return found
}
