package aggregate

import (
	"bytes"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"k8s.io/klog/v2"
	"k8s.io/kube-aggregator/pkg/apis/apiregistration"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/state"
)

// Table knows what is served elsewhere. It learns of APIServices from those who
// call Load and See: what controller.Follow is given. It is safe for concurrent
// use.
type Table struct {
	resource  *kind.Resource
	connector *Connector
	current   atomic.Pointer[generation]

	mu       sync.Mutex          // held while it learns
	services map[string]*Service // by name
}

// generation is what is true until over is closed.
type generation struct {
	services *Services
	over     chan struct{}
}

// NewTable returns a table of nothing. resource is that of APIServices; c
// connects to the servers.
func NewTable(resource *kind.Resource, c *Connector) *Table {
	t := &Table{resource: resource, connector: c, services: map[string]*Service{}}
	t.current.Store(&generation{&Services{}, make(chan struct{})})
	return t
}

// Current returns what is served elsewhere now: the same pointer until that
// changes.
func (t *Table) Current() *Services { return t.current.Load().services }

// Changed returns a channel that is closed when something changes after this
// call. Who asks for Current after Changed misses nothing.
func (t *Table) Changed() <-chan struct{} { return t.current.Load().over }

// Load makes the table that of all APIServices there are.
func (t *Table) Load(all state.Snapshot) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.services
	t.services = map[string]*Service{}
	all.Each(state.Range{}, func(o *object.Object) bool {
		t.put(o, before[o.Name])
		return true
	})
	if !maps.Equal(before, t.services) {
		t.publish()
	}
}

// See has the table learn of a change of an APIService.
func (t *Table) See(e *state.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	name := e.Object.Name
	before := t.services[name]
	delete(t.services, name)
	if !e.Deleted {
		t.put(e.Object, before)
	}
	if t.services[name] != before {
		t.publish()
	}
}

// put adds an APIService if it is served elsewhere: as it was before, if it says
// the same. t.mu is held.
func (t *Table) put(o *object.Object, before *Service) {
	if o.Err == nil && !bytes.Contains(o.Value, serviceField) {
		return // most are served here, and need not be decoded
	}
	hub, err := t.resource.Decode(o)
	if err != nil {
		klog.ErrorS(err, "An APIService cannot be read and is not served", "name", o.Name)
		return
	}
	stored := hub.(*apiregistration.APIService)
	if stored.Spec.Service == nil {
		return
	}
	s := describe(stored)
	if before == nil || !before.same(s) {
		s.transport = &caller{s.backend, t.connector}
		before = s
	}
	t.services[o.Name] = before
}

// serviceField is in the storage form, which is JSON without spaces, of every
// APIService that is served elsewhere.
var serviceField = []byte(`"service":`)

// describe returns what an APIService says, but how to reach it.
func describe(stored *apiregistration.APIService) *Service {
	return &Service{
		Name: stored.Name, UID: stored.UID, Group: stored.Spec.Group, Version: stored.Spec.Version,
		GroupPriority: stored.Spec.GroupPriorityMinimum, VersionPriority: stored.Spec.VersionPriority,
		Available: apiregistration.IsAPIServiceConditionTrue(stored, apiregistration.Available),
		path:      pathOf(&stored.Spec), backend: backendOf(&stored.Spec),
	}
}

// pathOf returns where an APIService has its server serve. The group of the
// APIServices themselves is always served here: otherwise nobody could take such
// an APIService away. That of the core group stands for all that is below /api.
func pathOf(spec *apiregistration.APIServiceSpec) string {
	switch spec.Group {
	case apiregistration.GroupName:
		return ""
	case "":
		return "/api"
	}
	return "/apis/" + spec.Group + "/" + spec.Version
}

// same reports whether both say the same.
func (s *Service) same(other *Service) bool {
	return s.Name == other.Name && s.UID == other.UID && s.Available == other.Available && s.backend == other.backend &&
		s.Group == other.Group && s.Version == other.Version &&
		s.GroupPriority == other.GroupPriority && s.VersionPriority == other.VersionPriority
}

// publish makes known what has been learned. t.mu is held.
func (t *Table) publish() {
	next := &Services{}
	used := map[peer]bool{}
	for _, name := range slices.Sorted(maps.Keys(t.services)) {
		s := t.services[name]
		next.All = append(next.All, s)
		used[s.backend.peer] = true
	}
	before := t.current.Swap(&generation{next, make(chan struct{})})
	close(before.over)
	t.connector.retain(used)
}
