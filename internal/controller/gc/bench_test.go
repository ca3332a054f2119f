package gc_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/knarr-io/knarr/internal/state"
	"github.com/knarr-io/knarr/internal/state/statetest"
	"github.com/knarr-io/knarr/internal/store/disk"
)

// How long it takes from the deletion of an owner until its 1,000 dependents are
// gone, with the store on disk; once more where all wait for the last, and where they
// are left behind.
func BenchmarkThousandDependents(b *testing.B) {
	for _, policy := range []metav1.DeletionPropagation{background, foreground, orphan} {
		b.Run(string(policy), func(b *testing.B) {
			dir := b.TempDir()
			store, err := disk.Open(dir, disk.Options{})
			if err != nil {
				b.Fatal(err)
			}
			st, err := state.Start(b.Context(), store, state.Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer st.Stop()
			c := newCluster(b, st)
			defer c.collect()()
			var all []made
			for n := 0; b.Loop(); n++ {
				b.StopTimer()
				owner := c.make(maps, "a", fmt.Sprint("owner-", n))
				all = all[:0]
				for i := range 1000 {
					all = append(all, c.make(secrets, "a", fmt.Sprint("dependent-", n, "-", i), owner.owner(blocking)))
				}
				b.StartTimer()
				c.delete(owner, policy)
				if policy == orphan {
					c.goes(owner)
					continue
				}
				c.goes(all...)
				c.goes(owner)
			}
		})
	}
}

// What the index holds of 100,000 dependents.
func BenchmarkMemory(b *testing.B) {
	for _, each := range []int{1, 10, 100_000} {
		b.Run(fmt.Sprint("dependents-of-each=", each), func(b *testing.B) {
			c := newCluster(b, statetest.Start(b))
			var owner made
			for i := range 100_000 {
				if i%each == 0 {
					owner = c.make(maps, "a", fmt.Sprint("owner-", i))
				}
				c.make(secrets, "a", fmt.Sprint("dependent-", i), owner.owner())
			}
			heap := func() float64 {
				runtime.GC()
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				return float64(m.HeapAlloc)
			}
			for b.Loop() {
				before := heap()
				began := time.Now()
				stop := c.collect()
				c.goes(c.make(maps, "a", "canary", absent())) // all before is in the index
				b.ReportMetric(float64(time.Since(began).Milliseconds()), "ms-to-begin")
				b.ReportMetric((heap()-before)/(1<<20), "MB")
				stop()
			}
		})
	}
}
