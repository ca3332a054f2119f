package definitions

import (
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"sigs.k8s.io/structured-merge-diff/v6/typed"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/kind/custom"
	"github.com/knarr-io/knarr/internal/ownership"
)

// managersOf are the managers of fields of what is defined: by resource and by
// the name of a subresource, each made when it is used.
type managersOf struct {
	mu  sync.Mutex // guards all and what is in it
	all map[*kind.Resource]map[string]*managerOf
}

type managerOf struct {
	ownership.Manager
	used bool // after the last call of dropUnused
}

// get returns the manager of a part of a resource, and makes it if there is
// none. That of what is no longer served is for the request that began before.
func (m *managersOf) get(r *kind.Resource, part string, create func() ownership.Manager) ownership.Manager {
	m.mu.Lock()
	found := m.find(r, part)
	m.mu.Unlock()
	if found != nil {
		return found
	}
	created := create() // takes some time; of two that come here, one is kept
	m.mu.Lock()
	defer m.mu.Unlock()
	if found := m.find(r, part); found != nil {
		return found
	}
	select {
	case <-r.Gone:
		return created
	default:
	}
	if m.all == nil {
		m.all = map[*kind.Resource]map[string]*managerOf{}
	}
	if m.all[r] == nil {
		m.all[r] = map[string]*managerOf{}
	}
	m.all[r][part] = &managerOf{created, true}
	return created
}

// find returns a manager that there is, or nil. m.mu is held.
func (m *managersOf) find(r *kind.Resource, part string) ownership.Manager {
	found := m.all[r][part]
	if found == nil {
		return nil
	}
	found.used = true
	return found.Manager
}

// dropUnused forgets the managers that were not used since the last call.
func (m *managersOf) dropUnused() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for r, parts := range m.all {
		for part, found := range parts {
			if !found.used {
				delete(parts, part)
			}
			found.used = false
		}
		if len(parts) == 0 {
			delete(m.all, r)
		}
	}
}

// drop forgets the managers of a resource whose Gone is closed.
func (m *managersOf) drop(r *kind.Resource) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.all, r)
}

// Ownership returns who keeps the owners of fields, as verb.Verbs asks for it.
func (k *Keeper) Ownership(v *kind.Version, sub *kind.Subresource) ownership.Manager {
	made, ok := custom.Of(v.Resource)
	if !ok {
		return k.managers.For(v, sub)
	}
	part := ""
	if sub != nil {
		part = sub.Name
	}
	return k.owned.get(v.Resource, part, func() ownership.Manager {
		return k.managers.NewCustom(ownership.Custom(made.Owned(sub)))
	})
}

// Types returns the schemas of a kind as its version's document has them, by which
// objects are merged; nil if the version is not served.
func (k *Keeper) Types(gvk schema.GroupVersionKind) managedfields.TypeConverter {
	g := k.Catalogue().Group(gvk.Group)
	if g == nil || !g.Serves(gvk.Version) {
		return nil
	}
	for _, r := range g.Resources {
		for _, v := range r.Versions {
			if v.Name != gvk.Version {
				continue
			}
			if made, ok := custom.Of(r); ok {
				if types := made.Owned(nil).Types; v.GVK() == gvk || types[gvk].IsValid() {
					return ownership.Types(types)
				}
			} else if v.GVK() == gvk || slices.ContainsFunc(r.Subresources, func(s *kind.Subresource) bool { return s.GVK(v) == gvk }) {
				return k.managers.Types(r.Scheme, gvk)
			}
		}
	}
	return ownership.Types(map[schema.GroupVersionKind]typed.ParseableType{})
}

// DropUnused drops what is large and was not used since the last call: what the
// rules of custom resources are compiled to. It is made anew when it is used. It
// returns of how many definitions something was dropped.
func (k *Keeper) DropUnused() (dropped int) {
	k.owned.dropUnused()
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, d := range k.byName {
		if custom.DropUnused(d.kinds) {
			dropped++
		}
	}
	return dropped
}
