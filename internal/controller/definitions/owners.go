package definitions

import (
	"sync"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/kind/custom"
	"github.com/knarr-io/knarr/internal/ownership"
)

// managersOf are the managers of fields of what is defined: by resource and by
// the name of a subresource, each made on first use.
type managersOf struct {
	mu  sync.Mutex // guards all
	all map[*kind.Resource]map[string]ownership.Manager
}

// get returns the manager of a part of a resource, and makes it if there is
// none. That of what is no longer served is for the request that began before.
func (m *managersOf) get(r *kind.Resource, part string, create func() ownership.Manager) ownership.Manager {
	m.mu.Lock()
	found := m.all[r][part]
	m.mu.Unlock()
	if found != nil {
		return found
	}
	created := create() // takes some time; of two that come here, one is kept
	m.mu.Lock()
	defer m.mu.Unlock()
	if found := m.all[r][part]; found != nil {
		return found
	}
	select {
	case <-r.Gone:
		return created
	default:
	}
	if m.all == nil {
		m.all = map[*kind.Resource]map[string]ownership.Manager{}
	}
	if m.all[r] == nil {
		m.all[r] = map[string]ownership.Manager{}
	}
	m.all[r][part] = created
	return created
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
