//go:build unix

package disk

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/knarr-io/knarr/internal/store"
)

// benchValue is of the size of a small object.
var benchValue = make([]byte, 2<<10)

// ignore is a follower that keeps nothing.
type ignore struct{}

func (ignore) Load(l store.Load) error {
	drop := func(store.Event) error { return nil }
	if err := l.Base(drop); err != nil {
		return err
	}
	return l.Events(drop)
}
func (ignore) Apply([]store.Event) {}
func (ignore) Progress(uint64)     {}

func openBench(b *testing.B, dir string) store.Store {
	b.Helper()
	s, err := Open(dir, Options{})
	if err != nil {
		b.Fatal(err)
	}
	if err := s.Start(b.Context(), ignore{}); err != nil {
		b.Fatal(err)
	}
	return s
}

// BenchmarkCommit creates keys. Beside the time per commit it reports the
// processor time, which is the process's, the kernel's part included.
func BenchmarkCommit(b *testing.B) {
	for _, committers := range []int{1, 4, 16, 64} {
		b.Run(fmt.Sprint("committers=", committers), func(b *testing.B) {
			s := openBench(b, b.TempDir())
			defer s.Close()
			var next atomic.Int64
			var wg sync.WaitGroup
			b.ReportAllocs()
			b.ResetTimer()
			cpu := cpuTime()
			for range committers {
				wg.Go(func() {
					for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
						key := fmt.Sprintf("/registry/configmaps/default/config-%d", i)
						if _, err := s.Commit(b.Context(), []store.Change{{Key: key, Value: benchValue}}); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64((cpuTime()-cpu).Microseconds())/float64(b.N), "cpu-µs/op")
		})
	}
}

// BenchmarkOpen opens and loads stores, and reports what memory they hold then.
func BenchmarkOpen(b *testing.B) {
	for _, keys := range []int{0, 10_000} {
		b.Run(fmt.Sprint("keys=", keys), func(b *testing.B) {
			dir := b.TempDir()
			s := openBench(b, dir)
			fillBench(b, s, keys)
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
			cpu := cpuTime()
			for b.Loop() {
				s = openBench(b, dir)
				b.StopTimer()
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
			b.ReportMetric(float64((cpuTime()-cpu).Microseconds())/1e3/float64(b.N), "cpu-ms/op")
			s = openBench(b, dir)
			defer s.Close()
			heap, mapped := memory()
			b.ReportMetric(heap, "heap-MB")
			b.ReportMetric(mapped, "file-rss-MB")
			b.ReportMetric(diskSize(b, dir), "disk-MB")
		})
	}
}

func fillBench(b *testing.B, s store.Store, keys int) {
	for i := 0; i < keys; i += 100 {
		var changes []store.Change
		for j := range 100 {
			changes = append(changes, store.Change{Key: fmt.Sprintf("/registry/configmaps/default/config-%d", i+j), Value: benchValue})
		}
		if _, err := s.Commit(b.Context(), changes); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkChurn updates 100 keys over and over, keeping the last 10,000
// revisions, and reports how large the file gets.
func BenchmarkChurn(b *testing.B) {
	dir := b.TempDir()
	s := openBench(b, dir)
	defer s.Close()
	at := make([]uint64, 100)
	peak := 0.0
	cpu := cpuTime()
	for i := range b.N {
		changes := make([]store.Change, 10)
		for j := range changes {
			k := (i*10 + j) % len(at)
			changes[j] = store.Change{Key: fmt.Sprint("/registry/leases/", k), Value: benchValue, If: at[k]}
		}
		revs, err := s.Commit(b.Context(), changes)
		if err != nil {
			b.Fatal(err)
		}
		for j := range changes {
			at[(i*10+j)%len(at)] = revs[j]
		}
		if last := revs[9]; i%500 == 0 && last > 10_000 {
			peak = max(peak, diskSize(b, dir))
			if err := s.Compact(b.Context(), last-10_000); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64((cpuTime()-cpu).Microseconds())/float64(b.N), "cpu-µs/op")
	b.ReportMetric(peak, "peak-MB")
	b.ReportMetric(diskSize(b, dir), "disk-MB")
	start := time.Now()
	if err := s.Compact(b.Context(), at[(b.N*10-1)%len(at)]); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(time.Since(start).Milliseconds()), "compact-all-ms")
	b.ReportMetric(diskSize(b, dir), "compacted-MB")
}

// memory returns the megabytes of live heap and of mapped file in memory.
func memory() (heap, mapped float64) {
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) / 1e6, mappedFile(FileName)
}

func diskSize(b *testing.B, dir string) float64 {
	var total int64
	err := filepath.Walk(dir, func(_ string, fi os.FileInfo, err error) error {
		if err == nil && !fi.IsDir() {
			total += fi.Size()
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return float64(total) / 1e6
}

// cpuTime is the processor time this process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// mappedFile returns how many megabytes of mapped files with this name are in
// memory; 0 where the system does not tell.
func mappedFile(name string) (mb float64) {
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		return 0
	}
	defer f.Close()
	ours := false
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := lines.Text()
		if fields := strings.Fields(line); len(fields) >= 5 && strings.Contains(fields[0], "-") {
			ours = strings.HasSuffix(line, name)
		}
		var kb float64
		if n, _ := fmt.Sscanf(line, "Rss: %g kB", &kb); n == 1 && ours {
			mb += kb / 1e3
		}
	}
	return mb
}
