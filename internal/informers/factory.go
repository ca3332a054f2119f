// Package informers lets upstream's code, which is written against client-go's
// shared informers, read the state itself: listers that see every write made
// before, with no second copy of the objects, and event handlers that follow the
// log. What is decoded for them is kept in the state's cache and can be dropped
// there.
//
// It must not know who reads, nor write anything.
package informers

import (
	"context"
	"reflect"
	"sync"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	upstream "k8s.io/client-go/informers"
	"k8s.io/client-go/informers/internalinterfaces"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/cache"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/state"
)

// Factory makes informers. It is client-go's SharedInformerFactory for those
// who read; it needs no starting and is always in sync. Handlers are called only
// while Run runs. It is safe for concurrent use.
type Factory struct {
	groups
	state     *state.State
	catalogue func() *kind.Catalogue

	mu        sync.Mutex // guards what follows
	informers map[schema.GroupVersionKind]*informer
	running   context.Context //nolint:containedctx // of Run, for handlers that come while it runs
	waiting   []*registration
	ended     bool // no handler comes any more
	handlers  sync.WaitGroup
}

var _ upstream.SharedInformerFactory = &Factory{}

// New returns a factory. catalogue tells what is served; what is not has no
// objects.
func New(st *state.State, catalogue func() *kind.Catalogue) *Factory {
	f := &Factory{state: st, catalogue: catalogue, informers: map[schema.GroupVersionKind]*informer{}}
	f.groups = groups{f}
	return f
}

// Run calls the handlers until ctx ends, and returns when none is called any
// more. It runs once.
func (f *Factory) Run(ctx context.Context) {
	f.mu.Lock()
	f.running = ctx
	for _, r := range f.waiting {
		f.follow(r)
	}
	f.waiting = nil
	f.mu.Unlock()
	<-ctx.Done()
	f.mu.Lock()
	f.ended = true
	f.mu.Unlock()
	f.handlers.Wait()
}

// add has r told of what happens, at once or as soon as Run runs.
func (f *Factory) add(r *registration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.running == nil {
		f.waiting = append(f.waiting, r)
		return
	}
	f.follow(r)
}

// follow starts to tell r. f.mu is held.
func (f *Factory) follow(r *registration) {
	if f.ended {
		return
	}
	f.handlers.Go(func() { r.run(f.running) })
}

// InformerFor returns the informer of the kind of obj, a type of client-go.
func (f *Factory) InformerFor(obj runtime.Object, _ internalinterfaces.NewInformerFunc) cache.SharedIndexInformer {
	kinds, _, err := scheme.Scheme.ObjectKinds(obj)
	if err != nil {
		panic(err) // no type of the API
	}
	return f.informer(kinds[0])
}

func (f *Factory) informer(gvk schema.GroupVersionKind) *informer {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := f.informers[gvk]
	if i == nil {
		i = newInformer(f, gvk)
		f.informers[gvk] = i
	}
	return i
}

// ForResource returns the informer of a resource, as objects of their Go types
// or, of a custom resource, as unstructured ones of its version.
func (f *Factory) ForResource(gvr schema.GroupVersionResource) (upstream.GenericInformer, error) {
	v := f.catalogue().Lookup(gvr)
	switch {
	case v == nil:
		return nil, &notServed{gvr}
	case v.Resource.Custom(): // which may be another one soon
		return generic{informerOf(f, v.Resource, v.GroupVersion()), gvr.GroupResource()}, nil
	}
	return generic{f.informer(v.GVK()), gvr.GroupResource()}, nil
}

type notServed struct{ gvr schema.GroupVersionResource }

func (e *notServed) Error() string { return "no informer found for " + e.gvr.String() }

type generic struct {
	informer *informer
	resource schema.GroupResource
}

func (g generic) Informer() cache.SharedIndexInformer { return g.informer }
func (g generic) Lister() cache.GenericLister {
	return cache.NewGenericLister(g.informer.GetIndexer(), g.resource)
}

// InformerName names informers in metrics, of which these have none.
func (f *Factory) InformerName() *cache.InformerName { return nil }

// Start, StartWithContext and Shutdown do nothing: there is Run.
func (f *Factory) Start(<-chan struct{}) {}

// StartWithContext does nothing.
func (f *Factory) StartWithContext(context.Context) {}

// Shutdown does nothing.
func (f *Factory) Shutdown() {}

// WaitForCacheSync has nothing to wait for.
func (f *Factory) WaitForCacheSync(<-chan struct{}) map[reflect.Type]bool { return nil }

// WaitForCacheSyncWithContext has nothing to wait for.
func (f *Factory) WaitForCacheSyncWithContext(context.Context) cache.SyncResult {
	return cache.SyncResult{}
}
