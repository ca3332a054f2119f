package namespace

import (
	"fmt"
	"testing"

	"github.com/knarr-io/knarr/internal/state"
	"github.com/knarr-io/knarr/internal/state/statetest"
)

// BenchmarkGone is the time from the deletion of a namespace until it is gone: one
// that holds what it has by itself, and one with a thousand objects more.
func BenchmarkGone(b *testing.B) {
	for name, start := range map[string]func(b *testing.B) *state.State{
		"memory": func(b *testing.B) *state.State { return statetest.Start(b) },
		"disk":   func(b *testing.B) *state.State { return diskState(b, b.TempDir()) },
	} {
		for _, objects := range []int{0, 1000} {
			b.Run(fmt.Sprintf("%s/%d", name, objects), func(b *testing.B) {
				c := newCluster(b, start(b))
				c.run()
				for b.Loop() {
					b.StopTimer()
					c.Namespace("shop")
					for i := range objects {
						c.Must(c.configMap("shop", fmt.Sprint("c-", i)))
					}
					b.StartTimer()
					c.Delete("namespaces", "", "shop")
					c.awaitGone("shop")
				}
			})
		}
	}
}
