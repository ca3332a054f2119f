package openapi

import (
	"net/http"
	"runtime"
	"testing"

	"github.com/knarr-io/knarr/internal/kind/native"
)

// BenchmarkFirst makes what the first client after a start asks for, and tells
// the heap in use after it that was not there before.
func BenchmarkFirst(b *testing.B) {
	c := catalogue(b, native.Options{})
	for _, bench := range []struct{ name, path, accept string }{
		{"index", "/openapi/v3", ""},
		{"core", "/openapi/v3/api/v1", ""},
		{"core-proto", "/openapi/v3/api/v1", protoV3},
		{"apps-proto", "/openapi/v3/apis/apps/v1", protoV3},
		{"v2", "/openapi/v2", ""},
		{"v2-proto", "/openapi/v2", protoV2},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			before := inUse()
			var h *Handler
			for b.Loop() {
				h = newHandler(c)
				if response := serve(h, "GET", bench.path, "Accept", bench.accept, "Accept-Encoding", "gzip"); response.StatusCode != http.StatusOK {
					b.Fatal(response.Status)
				}
			}
			b.StopTimer()
			b.ReportMetric(float64(inUse()-before)/1024, "KB-kept")
			runtime.KeepAlive(h)
		})
	}
}

func inUse() int64 {
	runtime.GC()
	runtime.GC() // what finalizers and pools held
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// BenchmarkAgain is what every further client costs.
func BenchmarkAgain(b *testing.B) {
	h := newHandler(catalogue(b, native.Options{}))
	for name, encoding := range map[string]string{"gzip": "gzip", "plain": ""} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				serve(h, "GET", "/openapi/v3/apis/apps/v1", "Accept", protoV3, "Accept-Encoding", encoding)
			}
		})
	}
}
