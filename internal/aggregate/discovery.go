package aggregate

import (
	"context"
	"errors"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/knarr-io/knarr/internal/discovery"
)

// How often servers are asked what they serve, and how long they may take to
// answer.
const (
	discoveryInterval   = time.Minute
	discoveryFirstRetry = 500 * time.Millisecond
	discoveryTimeout    = 5 * time.Second
)

// Discovery knows what other servers tell of the versions that they serve. It is
// safe for concurrent use.
type Discovery struct {
	table   *Table
	clock   clock.Clock
	timeout time.Duration
	parse   *discoveryParser

	published atomic.Pointer[discoverySnapshot]

	mu   sync.Mutex                                     // guards what follows
	told map[string]*apidiscoveryv2.APIVersionDiscovery // by the name of the APIService; immutable
	// remembered is what servers told of all that they have.
	remembered map[backend]*discoveryDocument
}

// discoverySnapshot is what is told while the table is what it was.
type discoverySnapshot struct {
	of        *Services
	elsewhere *discovery.Elsewhere
}

// NewDiscovery returns a Discovery of what is in the table. What is there already
// is told of as stale until it is fetched, so that nobody who asks right after a
// start takes it for gone; what comes later, not before it is fetched.
func NewDiscovery(t *Table, c clock.Clock) *Discovery {
	d := &Discovery{
		table: t, clock: c, timeout: discoveryTimeout, parse: newDiscoveryParser(),
		told: map[string]*apidiscoveryv2.APIVersionDiscovery{}, remembered: map[backend]*discoveryDocument{},
	}
	for _, s := range t.Current().All {
		d.told[s.Name] = staleVersion(s)
	}
	return d
}

// staleVersion is what is told of a version whose server does not tell.
func staleVersion(s *Service) *apidiscoveryv2.APIVersionDiscovery {
	return &apidiscoveryv2.APIVersionDiscovery{Version: s.Version, Freshness: apidiscoveryv2.DiscoveryFreshnessStale}
}

// Current returns what is served elsewhere now and what its servers tell of it,
// the same pointer until that changes; nil if nothing is.
func (d *Discovery) Current() *discovery.Elsewhere {
	services := d.table.Current()
	if len(services.All) == 0 {
		return nil
	}
	if p := d.published.Load(); p != nil && p.of == services {
		return p.elsewhere
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.publish().elsewhere
}

// publish makes known what is known. d.mu is held.
func (d *Discovery) publish() *discoverySnapshot {
	p := &discoverySnapshot{of: d.table.Current(), elsewhere: &discovery.Elsewhere{}}
	for _, s := range p.of.All {
		if !s.discovered() {
			continue
		}
		p.elsewhere.Versions = append(p.elsewhere.Versions, discovery.ElsewhereVersion{
			Group: s.Group, Version: s.Version, GroupPriority: s.GroupPriority, VersionPriority: s.VersionPriority, Told: d.told[s.Name],
		})
	}
	d.published.Store(p)
	return p
}

// discovered reports whether the service has a place in /apis. What stands for
// all of /api has its own discovery.
func (s *Service) discovered() bool { return s.path != "" && s.Group != "" }

// Run fetches what servers tell, when they or their APIServices are new or have
// changed and then at intervals, until ctx ends. It is to be called once.
func (d *Discovery) Run(ctx context.Context) {
	r := &rounds[backend]{
		clock: d.clock, again: discoveryInterval, backoff: doubling(discoveryFirstRetry, discoveryInterval), fetch: d.fetch,
	}
	known := map[string]*Service{}
	r.run(ctx, d.table.Changed, func() { known = d.learn(r, known) })
}

// learn has what is new in the table, or other than known, fetched at once. It
// returns what there is.
func (d *Discovery) learn(r *rounds[backend], known map[string]*Service) map[string]*Service {
	now, servers := map[string]*Service{}, map[backend]bool{}
	for _, s := range d.table.Current().All {
		if !s.discovered() {
			continue
		}
		now[s.Name], servers[s.backend] = s, true
		if known[s.Name] != s {
			r.forgive(s.backend)
			r.want(s.backend, 0)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, s := range known {
		if now[name] == nil {
			delete(d.told, name)
		}
		if !servers[s.backend] {
			r.drop(s.backend)
			delete(d.remembered, s.backend)
		}
	}
	return now
}

// fetch asks a server what it tells of the versions that it serves.
func (d *Discovery) fetch(ctx context.Context, b backend) error {
	var services []*Service
	for _, s := range d.table.Current().All {
		if s.backend == b && s.discovered() {
			services = append(services, s)
		}
	}
	if len(services) == 0 {
		return nil // it is gone, which will be learned in a moment
	}
	d.mu.Lock()
	before := d.remembered[b]
	d.mu.Unlock()
	whole, err := d.fetchWhole(ctx, services[0], before)
	var errs []error
	told := map[string]*apidiscoveryv2.APIVersionDiscovery{}
	for _, s := range services {
		var version *apidiscoveryv2.APIVersionDiscovery
		switch {
		case err == nil:
			version = whole.version(s)
		case errors.Is(err, errNotAggregated):
			var failure error
			if version, failure = d.fetchOne(ctx, s, before); failure != nil {
				errs = append(errs, failure)
			}
		default:
			errs = append(errs, err)
		}
		if version == nil {
			version = staleVersion(s)
		}
		told[s.Name] = version
	}
	if ctx.Err() != nil {
		return ctx.Err() // nothing is known of the server
	}
	d.keep(b, whole, told)
	failure := errors.Join(errs...)
	if failure != nil {
		klog.V(2).InfoS("A server does not tell what it serves", "apiService", services[0].Name, "err", failure)
	}
	return failure
}

// keep keeps what a server told, and makes known what is new in it. whole may be
// nil.
func (d *Discovery) keep(b backend, whole *discoveryDocument, told map[string]*apidiscoveryv2.APIVersionDiscovery) {
	d.mu.Lock()
	defer d.mu.Unlock()
	news := false
	used := false
	for _, s := range d.table.Current().All {
		version := told[s.Name]
		if version == nil || s.backend != b {
			continue // it has changed meanwhile
		}
		used = true
		if before := d.told[s.Name]; before == nil || !reflect.DeepEqual(before, version) {
			d.told[s.Name], news = version, true
		}
	}
	if used && whole != nil {
		d.remembered[b] = whole
	}
	if news {
		d.publish()
	}
}
