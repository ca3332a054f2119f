package encrypted

import (
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/knarr-io/knarr/internal/store"
)

// What decrypting costs a start, for each value: go test -run XXX -bench .
func BenchmarkOpen(b *testing.B) {
	for _, provider := range []string{"aescbc", "aesgcm", "secretbox"} {
		for _, size := range []int{500, 5000} {
			b.Run(fmt.Sprint(provider, "/", size), func(b *testing.B) {
				keys := load(b, Options{ConfigFile: config(b, keyed(provider, "a")), Resource: func(string) (schema.GroupResource, bool) {
					return schema.GroupResource{Resource: "secrets"}, true
				}})
				defer keys.Close()
				kept, err := keys.lock(b.Context(), secretKey, make([]byte, size))
				if err != nil {
					b.Fatal(err)
				}
				f := &follower{keys: keys, next: newValues(), failed: map[string]failure{}, news: make(chan struct{}, 1)}
				for b.Loop() {
					if e := f.open(store.Event{Key: secretKey, Value: kept}); e.Err != nil {
						b.Fatal(e.Err)
					}
				}
			})
		}
	}
}
