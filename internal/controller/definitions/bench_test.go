package definitions_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/knarr-io/knarr/internal/controller/definitions"
	"github.com/knarr-io/knarr/internal/kind/custom"
	"github.com/knarr-io/knarr/internal/kind/native"
	"github.com/knarr-io/knarr/internal/ownership"
	"github.com/knarr-io/knarr/internal/state/statetest"
	"github.com/knarr-io/knarr/internal/verb"
)

// large is a definition of about the size that providers of Crossplane have.
func large(plural, group string) string {
	var properties strings.Builder
	for i := range 150 {
		fmt.Fprintf(&properties, "p%d: {type: object, description: %s, properties: {a: {type: string}, b: {type: integer}}}, ", i, strings.Repeat("x", 60))
	}
	return fmt.Sprintf(`
metadata: {name: %[1]s.%[2]s}
spec:
  group: %[2]s
  versions: [{name: v1, served: true, storage: true, subresources: {status: {}}, schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {%[3]s}}}}}}]`,
		plural, group, properties.String())
}

// What it costs to create many definitions, to start with them, and to hold them.
func BenchmarkManyDefinitions(b *testing.B) {
	const groups, inEach = 100, 20
	st := statetest.Start(b)
	c := newStill(b, st)
	began := time.Now()
	for g := range groups {
		for i := range inEach {
			c.must(c.define(fmt.Sprintf("w%ds", i), large(fmt.Sprintf("w%ds", i), fmt.Sprintf("g%d.example.com", g))))
		}
	}
	created := time.Since(began)
	heap := func() float64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc)
	}
	catalogue, err := native.Catalogue(native.Options{})
	if err != nil {
		b.Fatal(err)
	}
	maker, err := custom.NewMaker(nil)
	if err != nil {
		b.Fatal(err)
	}
	c.keeper, c.verbs = nil, nil
	before := heap()
	var kept []*definitions.Keeper
	for b.Loop() {
		k := definitions.New(catalogue, new(ownership.Managers), maker)
		k.Start(b.Context(), &verb.Verbs{State: st, Ownership: k.Ownership})
		kept = append(kept[:0], k)
	}
	b.ReportMetric(float64(created.Microseconds())/groups/inEach, "create-µs/definition")
	b.ReportMetric((heap()-before)/groups/inEach, "kept-B/definition")
	runtime.KeepAlive(kept)
}
