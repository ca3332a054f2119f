package informers

import (
	"context"
	"sync"

	"k8s.io/client-go/tools/cache"

	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/state"
)

// registration is a handler that is told of the objects of an informer, by a
// goroutine of its own, in order. It is told once of every state that an object
// had, unless it is overtaken by the end of the history; then of what has changed
// in all.
type registration struct {
	informer *informer
	handler  cache.ResourceEventHandler
	known    map[string]*object.Object // what the handler was told of, by key
	synced   chan struct{}             // closed when it was told of what there was
	sync     sync.Once
	removed  context.Context //nolint:containedctx // ends when the handler is removed
	remove   context.CancelFunc
}

var (
	_ cache.ResourceEventHandlerRegistration = &registration{}
	_ cache.DoneChecker                      = &registration{}
)

// HasSynced reports whether the handler was told of what there was at first.
func (r *registration) HasSynced() bool                     { return cache.IsDone(r) }
func (r *registration) HasSyncedChecker() cache.DoneChecker { return r }
func (r *registration) Done() <-chan struct{}               { return r.synced }
func (r *registration) Name() string                        { return "a handler of the state" }

// run tells the handler until ctx ends or it is removed.
func (r *registration) run(ctx context.Context) {
	resource := r.informer.objects.resource
	if resource == nil {
		r.sync.Do(func() { close(r.synced) })
		return
	}
	defer context.AfterFunc(ctx, r.remove)()
	r.known = map[string]*object.Object{}
	r.informer.state.Follow(r.removed, resource.Storage.Prefix, r.begin, func(e *state.Event) { r.see(e.Object, e.Deleted) })
}

// begin tells of what there is, and what there is no longer.
func (r *registration) begin(all state.Snapshot) {
	gone := r.known
	r.known = make(map[string]*object.Object, len(gone))
	all.Each(state.Range{}, func(o *object.Object) bool {
		key := o.Key()
		if before := gone[key]; before != nil {
			r.known[key] = before
			delete(gone, key)
		}
		if r.known[key] != o {
			r.see(o, false)
		}
		return true
	})
	for _, o := range gone {
		r.tellGone(o)
	}
	r.sync.Do(func() { close(r.synced) })
}

// see tells of what an object has become.
func (r *registration) see(o *object.Object, deleted bool) {
	key := o.Key()
	before := r.known[key]
	if deleted {
		delete(r.known, key)
		if before != nil {
			r.tellGone(o)
		}
		return
	}
	r.known[key] = o
	obj, err := r.read(o)
	if err != nil {
		return // nobody can read it; what it was is no more
	}
	if before != nil {
		if old, err := r.read(before); err == nil {
			r.handler.OnUpdate(old, obj)
			return
		}
	}
	r.handler.OnAdd(obj, !r.HasSynced())
}

// tellGone tells of an object as it was last.
func (r *registration) tellGone(o *object.Object) {
	if obj, err := r.read(o); err == nil {
		r.handler.OnDelete(obj)
	}
}

func (r *registration) read(o *object.Object) (any, error) {
	return r.informer.state.Cache().Derived(o, r.informer.objects)
}
