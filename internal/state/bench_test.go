package state

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/store"
	"github.com/knarr-io/knarr/internal/store/memory"
)

// valueSize is that of a small pod, encoded.
const valueSize = 1500

func podKey(i int) string { return fmt.Sprintf("%s/ns-%02d/web-%05d", pods, i%50, i) }

// fill creates n pods.
func fill(b *testing.B, s *State, n int) {
	b.Helper()
	for i := 0; i < n; {
		var changes []store.Change
		for range min(store.MaxChanges, n-i) {
			changes = append(changes, store.Change{Key: podKey(i), Value: make([]byte, valueSize)})
			i++
		}
		commit(b, s, changes...)
	}
}

func BenchmarkGet(b *testing.B) {
	s := startInMemory(b)
	fill(b, s, 10_000)
	key := podKey(4321)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if s.Get(key) == nil {
				b.Error("not found")
			}
		}
	})
}

// BenchmarkSnapshot takes one after each number of commits.
func BenchmarkSnapshot(b *testing.B) {
	for _, commits := range []int{0, 1, 10} {
		b.Run(fmt.Sprintf("commits=%d", commits), func(b *testing.B) {
			s := startInMemory(b)
			fill(b, s, 10_000)
			f := (*follower)(s)
			rev := s.Rev()
			value := make([]byte, valueSize)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				for range commits {
					rev++
					f.Apply([]store.Event{{Key: podKey(i * 7 % 10_000), Value: value, Rev: rev}})
				}
				if s.Snapshot(pods).Len("") != 10_000 {
					b.Fatal("objects are missing")
				}
			}
		})
	}
}

// BenchmarkSnapshotAt undoes a number of events, or finds them undone.
func BenchmarkSnapshotAt(b *testing.B) {
	for _, events := range []int{10, 10_000} {
		for _, kept := range []bool{false, true} {
			b.Run(fmt.Sprintf("events=%d/kept=%v", events, kept), func(b *testing.B) {
				s := startInMemory(b)
				fill(b, s, 10_000)
				rev := s.Rev()
				for i := range events {
					put(b, s, podKey(i*7%10_000), "new")
				}
				b.ReportAllocs()
				for b.Loop() {
					if !kept {
						s.roots = roots{}
					}
					if _, err := s.SnapshotAt(pods, rev); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkEach(b *testing.B) {
	s := startInMemory(b)
	fill(b, s, 10_000)
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		s.Snapshot(pods).Each(Range{}, func(*object.Object) bool { n++; return true })
	}
}

// BenchmarkCommit updates pods from a number of goroutines, on a store that
// costs next to nothing.
func BenchmarkCommit(b *testing.B) {
	for _, writers := range []int{1, 16} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			s := startInMemory(b)
			fill(b, s, 10_000)
			var turn atomic.Int64
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for range writers {
				wg.Go(func() {
					for {
						n := int(turn.Add(1))
						if n > b.N {
							return
						}
						if _, err := tryPut(s, podKey(n%10_000), string(make([]byte, valueSize))); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

// BenchmarkFanOut is a commit that 1,000 watchers are told of; it lasts until
// the last has it.
func BenchmarkFanOut(b *testing.B) {
	s := startInMemory(b)
	ctx, cancel := context.WithCancelCause(context.Background())
	var watchers, told sync.WaitGroup
	defer watchers.Wait()
	defer cancel(errNothing)
	for range 1000 {
		w := watch(b, s, pods, s.Rev())
		watchers.Go(func() {
			events := make([]Event, 64)
			for {
				n, err := w.Next(ctx, events)
				if errors.Is(err, errNothing) {
					return
				}
				if err != nil {
					b.Error(err)
				}
				told.Add(-n)
			}
		})
	}
	value := make([]byte, valueSize)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		told.Add(1000)
		commit(b, s, store.Change{Key: fmt.Sprintf("%s/ns/%d", pods, i), Value: value})
		told.Wait()
	}
}

// BenchmarkApply is a commit as the state sees it, in a state of 2,000
// resources whose history is full, so that it is trimmed now and then. What
// trimming adds to such a commit is told too: nobody reads while it lasts.
func BenchmarkApply(b *testing.B) {
	s := start(b, memory.New(memory.Options{}), Options{})
	f := (*follower)(s)
	rev := s.Rev()
	value := make([]byte, valueSize)
	keys := make([]string, 20_000)
	for i := range keys {
		keys[i] = fmt.Sprintf("/registry/group.example.com/kind-%d/ns/name-%d", i%2000, i)
	}
	apply := func() {
		rev++
		f.Apply([]store.Event{{Key: keys[rev%uint64(len(keys))], Value: value, Rev: rev, Time: time.Now()}})
	}
	for s.Floor() == 1 {
		apply()
	}
	var trims int
	var trimming time.Duration
	b.ReportAllocs()
	for b.Loop() {
		floor, begin := s.floor, time.Now()
		apply()
		if s.floor != floor {
			trimming += time.Since(begin)
			trims++
		}
	}
	if trims > 0 {
		b.ReportMetric(float64(trimming.Microseconds())/float64(trims), "µs/trim")
	}
}

type noRules struct{}

func (noRules) Attributes(o *object.Object) (object.Attributes, error) {
	return object.Attributes{
		Labels: labels.Set{"app": "web", "pod-template-hash": "7d4b9c", "tier": "front"},
		Fields: fields.Set{
			"metadata.name": o.Name, "metadata.namespace": o.Namespace, "spec.nodeName": "node-1",
			"spec.restartPolicy": "Always", "spec.schedulerName": "default-scheduler", "spec.serviceAccountName": "default",
			"spec.hostNetwork": "false", "status.phase": "Running", "status.podIP": "10.0.0.1", "status.nominatedNodeName": "",
		},
	}, nil
}

// BenchmarkMemory tells what an object of 1.5 KB takes in memory: when it is
// new, when it has been selected from, and in the history.
func BenchmarkMemory(b *testing.B) {
	const n = 10_000
	for range b.N {
		before := heap()
		s := start(b, memory.New(memory.Options{}), Options{HistoryBytes: 1 << 30})
		fill(b, s, n)
		created := heap()
		var rules noRules
		s.Snapshot(pods).Each(Range{}, func(o *object.Object) bool {
			_, err := o.Attributes(rules)
			return err == nil
		})
		selected := heap()
		for i := range n {
			put(b, s, podKey(i), string(make([]byte, valueSize)))
		}
		updated := heap()
		b.ReportMetric(float64(created-before)/n, "B/object")
		b.ReportMetric(float64(selected-created)/n, "B/attributes")
		b.ReportMetric(float64(updated-selected)/n, "B/update")
		runtime.KeepAlive(s)
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
