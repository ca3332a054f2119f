package informers

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/tools/cache"
	api "k8s.io/kubernetes/pkg/apis/core"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/kind/native"
	"github.com/knarr-io/knarr/internal/state"
	"github.com/knarr-io/knarr/internal/state/statetest"
	"github.com/knarr-io/knarr/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var configMaps = corev1.SchemeGroupVersion.WithResource("configmaps")

type fixture struct {
	*Factory
	t       *testing.T
	storage *kind.Storage
}

func newFixture(t *testing.T) *fixture {
	st := statetest.Start(t)
	catalogue, err := native.Catalogue(native.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return &fixture{New(st, func() *kind.Catalogue { return catalogue }), t, catalogue.Lookup(configMaps).Resource.Storage}
}

// put stores a ConfigMap; without data it is removed.
func (f *fixture) put(namespace, name, data string) {
	f.t.Helper()
	change := store.Change{Key: f.storage.Key(namespace, name)}
	if o := f.state.Get(change.Key); o != nil {
		change.If = o.Rev
	}
	if data != "" {
		var err error
		change.Value, err = f.storage.Codec.Encode(&api.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, Labels: map[string]string{"data": data}},
			Data:       map[string]string{"data": data},
		})
		if err != nil {
			f.t.Fatal(err)
		}
	}
	if _, err := f.state.Commit(f.t.Context(), change); err != nil {
		f.t.Fatal(err)
	}
}

// A lister sees every write made before, and the same object while it is the
// same.
func TestListers(t *testing.T) {
	f := newFixture(t)
	lister := f.Core().V1().ConfigMaps().Lister()
	if _, err := lister.ConfigMaps("a").Get("x"); !apierrors.IsNotFound(err) {
		t.Errorf("got %v, want not found", err)
	}
	f.put("a", "x", "1")
	f.put("a", "y", "2")
	f.put("b", "x", "3")
	one, err := lister.ConfigMaps("a").Get("x")
	if err != nil || one.Data["data"] != "1" || one.ResourceVersion == "" {
		t.Fatalf("got %v, %v", one, err)
	}
	if again, _ := lister.ConfigMaps("a").Get("x"); again != one {
		t.Error("it was decoded again")
	}
	f.put("a", "x", "4")
	if changed, _ := lister.ConfigMaps("a").Get("x"); changed.Data["data"] != "4" || one.Data["data"] != "1" {
		t.Errorf("got %v, and the one before is %v", changed, one)
	}
	for _, test := range []struct {
		namespace string
		selector  labels.Selector
		want      int
	}{
		{"", labels.Everything(), 3},
		{"a", labels.Everything(), 2},
		{"c", labels.Everything(), 0},
		{"", labels.SelectorFromSet(labels.Set{"data": "3"}), 1},
	} {
		got, err := lister.ConfigMaps(test.namespace).List(test.selector)
		if err != nil || len(got) != test.want {
			t.Errorf("%q, %s: got %d, %v; want %d", test.namespace, test.selector, len(got), err, test.want)
		}
	}
	for _, key := range []string{"x", "a/", "/x", "a/x/y", ""} {
		if _, ok, err := f.Core().V1().ConfigMaps().Informer().GetIndexer().GetByKey(key); ok || err != nil {
			t.Errorf("%q: found %v, %v", key, ok, err)
		}
	}
	generic, err := f.ForResource(configMaps)
	if err != nil {
		t.Fatal(err)
	}
	if obj, err := generic.Lister().ByNamespace("b").Get("x"); err != nil || obj.(*corev1.ConfigMap).Data["data"] != "3" {
		t.Errorf("got %v, %v", obj, err)
	}
	if _, err := f.ForResource(corev1.SchemeGroupVersion.WithResource("unknown")); err == nil {
		t.Error("a resource that is not served has an informer")
	}
}

func TestIndexers(t *testing.T) {
	f := newFixture(t)
	informer := f.Core().V1().ConfigMaps().Informer()
	byData := func(obj any) ([]string, error) { return []string{obj.(*corev1.ConfigMap).Data["data"]}, nil }
	if err := informer.AddIndexers(cache.Indexers{"data": byData}); err != nil {
		t.Fatal(err)
	}
	f.put("a", "x", "1")
	f.put("b", "y", "1")
	f.put("b", "z", "2")
	indexer := informer.GetIndexer()
	if keys, err := indexer.IndexKeys("data", "1"); fmt.Sprint(keys, err) != "[a/x b/y] <nil>" {
		t.Errorf("got %v, %v", keys, err)
	}
	if keys, err := indexer.IndexKeys(cache.NamespaceIndex, "b"); fmt.Sprint(keys, err) != "[b/y b/z] <nil>" {
		t.Errorf("got %v, %v", keys, err)
	}
	if values := indexer.ListIndexFuncValues("data"); fmt.Sprint(values) != "[1 2]" {
		t.Errorf("got %v", values)
	}
	if _, err := indexer.ByIndex("unknown", ""); err == nil {
		t.Error("an index that is not there is no error")
	}
	if err := indexer.Add(&corev1.ConfigMap{}); err == nil {
		t.Error("it can be written to")
	}
}

// told records what a handler is told.
type told struct {
	mu    sync.Mutex
	lines []string
	next  chan struct{}
}

func (w *told) add(format string, args ...any) {
	w.mu.Lock()
	w.lines = append(w.lines, fmt.Sprintf(format, args...))
	w.mu.Unlock()
	w.next <- struct{}{}
}

func (w *told) OnAdd(obj any, initial bool) { w.add("add %s %v", data(obj), initial) }
func (w *told) OnUpdate(old, obj any)       { w.add("update %s %s", data(old), data(obj)) }
func (w *told) OnDelete(obj any)            { w.add("delete %s", data(obj)) }

func data(obj any) string {
	c := obj.(*corev1.ConfigMap)
	return c.Name + "=" + c.Data["data"]
}

// expect waits for as many calls as there are lines.
func (w *told) expect(t *testing.T, lines ...string) {
	t.Helper()
	for range lines {
		<-w.next
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if got, want := fmt.Sprint(w.lines), fmt.Sprint(lines); got != want {
		t.Errorf("told %s, want %s", got, want)
	}
	w.lines = nil
}

func TestHandlers(t *testing.T) {
	f := newFixture(t)
	informer := f.Core().V1().ConfigMaps().Informer()
	early, late := &told{next: make(chan struct{}, 100)}, &told{next: make(chan struct{}, 100)}
	handle, err := informer.AddEventHandler(early)
	if err != nil {
		t.Fatal(err)
	}
	f.put("a", "x", "1")
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { f.Run(ctx) })
	early.expect(t, "add x=1 true")
	<-handle.HasSyncedChecker().Done()
	f.put("a", "x", "2")
	f.put("a", "y", "1")
	f.put("a", "x", "")
	early.expect(t, "update x=1 x=2", "add y=1 false", "delete x=2")

	if _, err := informer.AddEventHandler(late); err != nil {
		t.Fatal(err)
	}
	late.expect(t, "add y=1 true")
	if err := informer.RemoveEventHandler(handle); err != nil {
		t.Fatal(err)
	}
	f.put("a", "y", "2")
	late.expect(t, "update y=1 y=2")
	cancel()
	running.Wait()
	if len(early.lines) != 0 {
		t.Errorf("the removed handler was told of %v", early.lines)
	}
}

// Who was overtaken is told of what changed in all.
func TestOvertakenHandler(t *testing.T) {
	f := newFixture(t)
	w := &told{next: make(chan struct{}, 100)}
	r := &registration{informer: f.informer(corev1.SchemeGroupVersion.WithKind("ConfigMap")), handler: w, synced: make(chan struct{})}
	all := func() state.Snapshot { return f.state.Snapshot(f.storage.Prefix) }
	f.put("a", "same", "1")
	f.put("a", "changed", "1")
	f.put("a", "gone", "1")
	r.begin(all())
	w.expect(t, "add changed=1 true", "add gone=1 true", "add same=1 true")
	f.put("a", "changed", "2")
	f.put("a", "gone", "")
	f.put("a", "new", "1")
	r.begin(all())
	w.expect(t, "update changed=1 changed=2", "add new=1 false", "delete gone=1")
}
