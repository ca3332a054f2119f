package custom_test

import (
	"runtime"
	"testing"

	"github.com/knarr-io/knarr/internal/kind/custom"
)

// benchSpec has some of all that schemas have.
const benchSpec = `{type: object, required: [text], properties: {
	text: {type: string, maxLength: 100, default: t, x-kubernetes-validations: [{rule: "self != 'bad'"}]}, count: {type: integer, minimum: 1},
	items: {type: array, maxItems: 100, x-kubernetes-list-type: map, x-kubernetes-list-map-keys: [name],
		items: {type: object, required: [name], properties: {name: {type: string}, value: {type: string, default: v}}}}}}`

// What a definition costs that nobody uses, and what its use adds.
func BenchmarkKinds(b *testing.B) {
	maker, err := custom.NewMaker(nil)
	if err != nil {
		b.Fatal(err)
	}
	for _, bench := range []struct {
		name string
		use  func(custom.Kind)
	}{
		{"idle", func(custom.Kind) {}},
		{"validated", func(k custom.Kind) { k.Create.Validate(b.Context(), k.New()) }},
		{"owned", func(k custom.Kind) { k.Owned(nil) }},
	} {
		b.Run(bench.name, func(b *testing.B) {
			crd := simple(b, benchSpec)
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			kept := make([]custom.Kind, b.N)
			b.ReportAllocs()
			b.ResetTimer()
			for i := range kept {
				kinds, err := maker.Kinds(crd)
				if err != nil {
					b.Fatal(err)
				}
				kept[i] = kinds[0]
				bench.use(kept[i])
			}
			b.StopTimer()
			runtime.GC()
			runtime.ReadMemStats(&after)
			b.ReportMetric((float64(after.HeapAlloc)-float64(before.HeapAlloc))/float64(b.N), "kept-B/op")
			runtime.KeepAlive(kept)
		})
	}
}

func BenchmarkDecodeStored(b *testing.B) {
	maker, err := custom.NewMaker(nil)
	if err != nil {
		b.Fatal(err)
	}
	kinds, err := maker.Kinds(simple(b, benchSpec))
	if err != nil {
		b.Fatal(err)
	}
	value := []byte(`{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"w","namespace":"ns","uid":"u","generation":1,"creationTimestamp":"2020-01-01T00:00:00Z"},"spec":{"text":"a","count":2,"items":[{"name":"a"},{"name":"b","value":"c"}]}}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := kinds[0].Storage.Codec.Decode(value); err != nil {
			b.Fatal(err)
		}
	}
}
