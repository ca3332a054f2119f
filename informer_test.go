package knarr_test

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/knarr-io/knarr"
)

// record is what an informer told about each object, in order.
type record struct {
	mu     sync.Mutex
	events map[string][]string
	last   map[string]uint64
	faults []string
	count  int
}

func (r *record) add(what string, obj any) {
	m, ok := obj.(metav1.Object)
	if !ok { // a deletion that the informer only learned of from a list
		unknown := obj.(cache.DeletedFinalStateUnknown)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.faults = append(r.faults, "deletion of "+unknown.Key+" was missed")
		return
	}
	rev, err := strconv.ParseUint(m.GetResourceVersion(), 10, 64)
	r.mu.Lock()
	defer r.mu.Unlock()
	name := m.GetName()
	if err != nil || rev <= r.last[name] {
		r.faults = append(r.faults, fmt.Sprintf("%s %s at %s after %d", what, name, m.GetResourceVersion(), r.last[name]))
	}
	r.last[name] = rev
	r.events[name] = append(r.events[name], what)
	r.count++
}

func (r *record) seen() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count
}

// An informer sees every creation, update and deletion exactly once and in
// order, also when the server is restarted in between.
func TestInformerAcrossRestart(t *testing.T) {
	objects := 10_000
	if testing.Short() {
		objects = 500
	}
	port := freePort(t)
	options := knarr.Options{DataDir: t.TempDir(), SecurePort: port}
	server := start(t, options)
	client, err := kubernetes.NewForConfig(server.ClientConfig())
	if err != nil {
		t.Fatal(err)
	}

	seen := &record{events: map[string][]string{}, last: map[string]uint64{}}
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace("default"))
	informer := factory.Core().V1().ConfigMaps().Informer()
	if _, err := informer.AddEventHandler(cache.FilteringResourceEventHandler{
		FilterFunc: func(obj any) bool { // the namespace has a ConfigMap of its own
			m, ok := obj.(metav1.Object)
			return !ok || strings.HasPrefix(m.GetName(), "story-")
		},
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    func(obj any) { seen.add("add", obj) },
			UpdateFunc: func(_, obj any) { seen.add("update", obj) },
			DeleteFunc: func(obj any) { seen.add("delete", obj) },
		},
	}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer factory.Shutdown()
	defer cancel()
	factory.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		t.Fatal("the informer does not sync")
	}

	story := func(from, to int) {
		parallel(t, from, to, func(i int) error {
			maps := client.CoreV1().ConfigMaps("default")
			cm, err := maps.Create(ctx, &corev1.ConfigMap{
				ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("story-%d", i)},
				Data:       map[string]string{"step": "created"},
			}, metav1.CreateOptions{})
			if err != nil {
				return err
			}
			cm.Data["step"] = "updated"
			if cm, err = maps.Update(ctx, cm, metav1.UpdateOptions{}); err != nil {
				return err
			}
			return maps.Delete(ctx, cm.Name, metav1.DeleteOptions{})
		})
	}
	story(0, objects/2)
	stop(t, server)
	server = start(t, options)
	defer stop(t, server)
	story(objects/2, objects)

	deadline := time.Now().Add(time.Minute)
	for seen.seen() < 3*objects && time.Now().Before(deadline) {
		time.Sleep(20 * time.Millisecond)
	}
	seen.mu.Lock()
	defer seen.mu.Unlock()
	for i := range objects {
		if got := fmt.Sprint(seen.events[fmt.Sprintf("story-%d", i)]); got != "[add update delete]" {
			t.Fatalf("the informer told %s about object %d", got, i)
		}
	}
	if len(seen.faults) > 0 {
		t.Fatalf("%d faults, the first: %s", len(seen.faults), seen.faults[0])
	}
}

// parallel calls f for each number, some at a time, and fails at the first error.
func parallel(t *testing.T, from, to int, f func(int) error) {
	t.Helper()
	work := make(chan int)
	failed := make(chan error, 1)
	var workers sync.WaitGroup
	for range 16 {
		workers.Go(func() {
			for i := range work {
				if err := f(i); err != nil {
					select {
					case failed <- err:
					default:
					}
				}
			}
		})
	}
	for i := from; i < to; i++ {
		work <- i
	}
	close(work)
	workers.Wait()
	select {
	case err := <-failed:
		t.Fatal(err)
	default:
	}
}

func start(t *testing.T, o knarr.Options) *knarr.Server {
	t.Helper()
	server, err := knarr.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return server
}

func stop(t *testing.T, server *knarr.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := server.Stop(ctx); err != nil {
		t.Fatal(err)
	}
}

// freePort returns a port that was free a moment ago.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
