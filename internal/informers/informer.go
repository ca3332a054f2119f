package informers

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/state"
)

// informer is client-go's SharedIndexInformer of one kind in one version.
type informer struct {
	indexer
	factory *Factory
}

// newInformer returns the informer of a native kind. One that is not served has
// no objects.
func newInformer(f *Factory, gvk schema.GroupVersionKind) *informer {
	var found *kind.Resource
	if g := f.catalogue().Group(gvk.Group); g != nil {
		for _, r := range g.Resources {
			if r.Kind == gvk.Kind && r.Storage != nil {
				found = r
			}
		}
	}
	return informerOf(f, found, gvk.GroupVersion())
}

func informerOf(f *Factory, r *kind.Resource, version schema.GroupVersion) *informer {
	return &informer{indexer: indexer{state: f.state, objects: &decoded{r, version}, more: cache.Indexers{}}, factory: f}
}

// decoded makes objects of a version.
type decoded struct {
	resource *kind.Resource // nil if there is none
	version  schema.GroupVersion
}

// Derive returns the object as clients see it.
func (d *decoded) Derive(o *object.Object) (any, error) {
	hub, err := d.resource.Decode(o)
	if err != nil {
		return nil, err
	}
	return d.resource.Convertor.ConvertToVersion(hub, d.version)
}

func (i *informer) AddEventHandler(h cache.ResourceEventHandler) (cache.ResourceEventHandlerRegistration, error) {
	r := &registration{informer: i, handler: h, synced: make(chan struct{})}
	r.removed, r.remove = context.WithCancel(context.Background())
	i.factory.add(r)
	return r, nil
}

// AddEventHandlerWithResyncPeriod is AddEventHandler: nothing is told again,
// since nothing can have been missed.
func (i *informer) AddEventHandlerWithResyncPeriod(h cache.ResourceEventHandler, _ time.Duration) (cache.ResourceEventHandlerRegistration, error) {
	return i.AddEventHandler(h)
}

func (i *informer) AddEventHandlerWithOptions(h cache.ResourceEventHandler, _ cache.HandlerOptions) (cache.ResourceEventHandlerRegistration, error) {
	return i.AddEventHandler(h)
}

func (i *informer) RemoveEventHandler(handle cache.ResourceEventHandlerRegistration) error {
	r, ok := handle.(*registration)
	if !ok {
		return fmt.Errorf("%T is no handle of this informer", handle)
	}
	r.remove()
	return nil
}

func (i *informer) GetStore() cache.Store               { return i }
func (i *informer) GetIndexer() cache.Indexer           { return i }
func (i *informer) GetController() cache.Controller     { return nil }
func (i *informer) Run(stop <-chan struct{})            { <-stop }
func (i *informer) RunWithContext(ctx context.Context)  { <-ctx.Done() }
func (i *informer) HasSynced() bool                     { return true }
func (i *informer) HasSyncedChecker() cache.DoneChecker { return done{} }
func (i *informer) LastSyncResourceVersion() string     { return i.LastStoreSyncResourceVersion() }
func (i *informer) IsStopped() bool                     { return false }
func (i *informer) LastStoreSyncResourceVersion() string {
	return strconv.FormatUint(i.state.Rev(), 10)
}

func (i *informer) SetWatchErrorHandler(cache.WatchErrorHandler) error { return nil }
func (i *informer) SetWatchErrorHandlerWithContext(cache.WatchErrorHandlerWithContext) error {
	return nil
}

// SetTransform refuses: what is read is shared.
func (i *informer) SetTransform(cache.TransformFunc) error {
	return errors.New("these informers transform nothing")
}

// done is a DoneChecker of what needs no waiting.
type done struct{}

func (done) Name() string { return "the state" }
func (done) Done() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// indexer reads the objects of a kind from the state. Writing to it is an
// error: who writes calls verbs.
type indexer struct {
	state   *state.State
	objects *decoded
	more    cache.Indexers // beside that of namespaces
}

// each visits the objects of a namespace, or all if it is empty. One that cannot
// be read is passed over, as a client's list would be told of it.
func (i *indexer) each(namespace string, visit func(obj any)) {
	if i.objects.resource == nil {
		return
	}
	i.state.Snapshot(i.objects.resource.Storage.Prefix).Each(state.Range{Namespace: namespace}, func(o *object.Object) bool {
		if obj, err := i.state.Cache().Derived(o, i.objects); err == nil {
			visit(obj)
		}
		return true
	})
}

func (i *indexer) List() []any { return i.in("") }

func (i *indexer) in(namespace string) []any {
	var all []any
	i.each(namespace, func(obj any) { all = append(all, obj) })
	return all
}

func (i *indexer) ListKeys() []string {
	return keys(i.List())
}

func keys(objects []any) []string {
	names := make([]string, len(objects))
	for n, obj := range objects {
		names[n], _ = cache.MetaNamespaceKeyFunc(obj) // they are all objects of the API
	}
	return names
}

func (i *indexer) Get(obj any) (any, bool, error) {
	key, err := cache.MetaNamespaceKeyFunc(obj)
	if err != nil {
		return nil, false, err
	}
	return i.GetByKey(key)
}

// GetByKey returns the object called name or namespace/name.
func (i *indexer) GetByKey(key string) (any, bool, error) {
	r := i.objects.resource
	if r == nil {
		return nil, false, nil
	}
	if namespace, name, both := strings.Cut(key, "/"); both != r.Namespaced || name == "" && both || namespace == "" {
		return nil, false, nil
	}
	o := i.state.Get(r.Storage.Prefix + "/" + key)
	if o == nil {
		return nil, false, nil
	}
	obj, err := i.state.Cache().Derived(o, i.objects)
	return obj, err == nil, err
}

// ByIndex returns the objects with a value in an index. Those of a namespace are
// found at once; for others all objects are looked at.
func (i *indexer) ByIndex(index, value string) ([]any, error) {
	if index == cache.NamespaceIndex {
		return i.in(value), nil
	}
	values, ok := i.more[index]
	if !ok {
		return nil, fmt.Errorf("index with name %s does not exist", index)
	}
	var found []any
	var failed error
	i.each("", func(obj any) {
		has, err := values(obj)
		if err != nil {
			failed = err
		}
		for _, v := range has {
			if v == value {
				found = append(found, obj)
				break
			}
		}
	})
	return found, failed
}

func (i *indexer) IndexKeys(index, value string) ([]string, error) {
	objects, err := i.ByIndex(index, value)
	return keys(objects), err
}

func (i *indexer) Index(index string, obj any) ([]any, error) {
	values := i.GetIndexers()[index]
	if values == nil {
		return nil, fmt.Errorf("index with name %s does not exist", index)
	}
	has, err := values(obj)
	if err != nil {
		return nil, err
	}
	var found []any
	for _, value := range has {
		objects, err := i.ByIndex(index, value)
		if err != nil {
			return nil, err
		}
		found = append(found, objects...)
	}
	return found, nil
}

func (i *indexer) ListIndexFuncValues(index string) []string {
	seen := map[string]bool{}
	var all []string
	values := i.GetIndexers()[index]
	if values == nil {
		return nil
	}
	i.each("", func(obj any) {
		has, _ := values(obj) // what has no value is in no index
		for _, v := range has {
			if !seen[v] {
				seen[v] = true
				all = append(all, v)
			}
		}
	})
	return all
}

func (i *indexer) GetIndexers() cache.Indexers {
	all := cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc}
	for name, f := range i.more {
		all[name] = f
	}
	return all
}

// AddIndexers is called before anybody reads.
func (i *indexer) AddIndexers(more cache.Indexers) error {
	for name, f := range more {
		i.more[name] = f
	}
	return nil
}

var errReadOnly = errors.New("these objects are written through the API alone")

func (i *indexer) Add(any) error               { return errReadOnly }
func (i *indexer) Update(any) error            { return errReadOnly }
func (i *indexer) Delete(any) error            { return errReadOnly }
func (i *indexer) Replace([]any, string) error { return errReadOnly }
func (i *indexer) Bookmark(string)             {}
func (i *indexer) Resync() error               { return nil }
