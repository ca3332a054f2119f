package aggregate

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/knarr-io/knarr/internal/openapi"
)

// How often servers are asked how they describe what they serve, and how long they
// may take to answer. A new one is given a moment.
const (
	openAPIFirst     = time.Second
	openAPIInterval  = time.Minute
	openAPIMostRetry = time.Hour
	openAPITimeout   = time.Minute
)

// OpenAPI knows how other servers describe what they serve. It is safe for
// concurrent use.
type OpenAPI struct {
	table   *Table
	proxy   *Proxy
	clock   clock.Clock
	timeout time.Duration

	published atomic.Pointer[openAPISnapshot]
	parsing   sync.Mutex // held while a document is parsed, for the memory it takes

	mu    sync.Mutex // guards what follows
	known map[string]*description
}

// openAPISnapshot is what is described while the table is what it was.
type openAPISnapshot struct {
	of        *Services
	elsewhere *openapi.Elsewhere
}

// description is what is known of what an APIService's server describes. What was
// once fetched counts until there is something new, also while the server does
// not answer.
type description struct {
	openapi.Description // but Group, Version and ServeV3

	v2ETag string
	// noV3 is that the server has nothing of version 3: what it has of version 2 is
	// converted then.
	noV3          bool
	convertedETag string
}

// NewOpenAPI returns an OpenAPI of what is in the table. proxy passes requests for
// documents on.
func NewOpenAPI(t *Table, proxy *Proxy, c clock.Clock) *OpenAPI {
	return &OpenAPI{table: t, proxy: proxy, clock: c, timeout: openAPITimeout, known: map[string]*description{}}
}

// Current returns what the servers of what is served elsewhere tell of it, the
// same pointer until that changes; nil if nothing is.
func (o *OpenAPI) Current() *openapi.Elsewhere {
	services := o.table.Current()
	if len(services.All) == 0 {
		return nil
	}
	if p := o.published.Load(); p != nil && p.of == services {
		return p.elsewhere
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.publish().elsewhere
}

// publish makes known what is known. o.mu is held.
func (o *OpenAPI) publish() *openAPISnapshot {
	p := &openAPISnapshot{of: o.table.Current(), elsewhere: &openapi.Elsewhere{}}
	for _, s := range joined(p.of.All) {
		known := o.known[s.Name]
		if known == nil {
			continue
		}
		d := known.Description
		d.Group, d.Version, d.ServeV3 = s.Group, s.Version, proxyTo{o.proxy, s.Name}
		p.elsewhere.Descriptions = append(p.elsewhere.Descriptions, &d)
	}
	o.published.Store(p)
	return p
}

// joined returns services in the order in which their descriptions are joined: by
// the highest priority that any claims for their group, then by name.
func joined(all []*Service) []*Service {
	highest := map[string]int32{}
	for _, s := range all {
		highest[s.Group] = max(highest[s.Group], s.GroupPriority)
	}
	return slices.SortedFunc(slices.Values(all), func(a, b *Service) int {
		return cmp.Or(cmp.Compare(highest[b.Group], highest[a.Group]), strings.Compare(a.Name, b.Name))
	})
}

// proxyTo passes requests on to the server that an APIService has at the time.
type proxyTo struct {
	proxy *Proxy
	name  string
}

func (p proxyTo) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.proxy.serve(w, r, p.proxy.table.Current().named(p.name))
}

// named returns the service of that name, or nil.
func (s *Services) named(name string) *Service {
	i, ok := slices.BinarySearchFunc(s.All, name, func(s *Service, name string) int { return strings.Compare(s.Name, name) })
	if !ok {
		return nil
	}
	return s.All[i]
}

// asked is what a server is asked for: the index of documents of version 3, or the
// document of version 2.
type asked struct {
	name string // of the APIService
	v3   bool
}

// Run fetches what servers tell, when they are new, when they did not answer and
// their APIServices have changed, and then at intervals, until ctx ends. It is to
// be called once.
func (o *OpenAPI) Run(ctx context.Context) {
	r := &rounds[asked]{
		clock: o.clock, again: openAPIInterval, backoff: doubling(openAPIInterval, openAPIMostRetry), fetch: o.fetch,
	}
	known := map[string]*Service{}
	r.run(ctx, o.table.Changed, func() { known = o.learn(r, known) })
}

// learn has what is new in the table, or other than known, fetched in a moment. It
// returns what there is.
func (o *OpenAPI) learn(r *rounds[asked], known map[string]*Service) map[string]*Service {
	now := map[string]*Service{}
	for _, s := range o.table.Current().All {
		if !s.discovered() {
			continue
		}
		now[s.Name] = s
		v2, v3 := asked{s.Name, false}, asked{s.Name, true}
		switch before := known[s.Name]; {
		case before == nil:
			r.want(v2, openAPIFirst)
			r.want(v3, openAPIFirst)
		case before != s:
			r.forgive(v2)
			r.want(v2, 0)
			if r.forgive(v3) {
				r.want(v3, openAPIFirst)
			}
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for name := range known {
		if now[name] == nil {
			r.drop(asked{name, false})
			r.drop(asked{name, true})
			delete(o.known, name)
		}
	}
	return now
}

// fetch asks a server for one of the two.
func (o *OpenAPI) fetch(ctx context.Context, what asked) error {
	s := o.table.Current().named(what.name)
	if s == nil {
		return nil // it is gone, which will be learned in a moment
	}
	ask := o.fetchV2
	if what.v3 {
		ask = o.fetchV3
	}
	err := ask(ctx, s)
	if err != nil && ctx.Err() == nil {
		klog.V(2).InfoS("A server does not describe what it serves", "apiService", what.name, "err", err)
	}
	return err
}

// of returns what is known of a service's description.
func (o *OpenAPI) of(s *Service) description {
	o.mu.Lock()
	defer o.mu.Unlock()
	if d := o.known[s.Name]; d != nil {
		return *d
	}
	return description{}
}

// keep changes what is known of a service's description, and makes it known,
// unless the APIService has gone meanwhile.
func (o *OpenAPI) keep(s *Service, change func(*description)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if now := o.table.Current().named(s.Name); now == nil || now.UID != s.UID {
		return
	}
	next := &description{}
	if d := o.known[s.Name]; d != nil {
		*next = *d
	}
	change(next)
	o.known[s.Name] = next
	o.publish()
}
