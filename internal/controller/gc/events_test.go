package gc

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	api "k8s.io/kubernetes/pkg/apis/core"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/kind/native"
	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/state"
	"github.com/knarr-io/knarr/internal/state/statetest"
)

// What one event costs: of an object without owners, of one whose owners stay the
// same, and a new one of an owner that is there.
func BenchmarkEvent(b *testing.B) {
	catalogue, err := native.Catalogue(native.Options{})
	if err != nil {
		b.Fatal(err)
	}
	st := statetest.Start(b)
	added := 0
	g := newGraph(st, func() *kind.Catalogue { return catalogue }, func(task) { added++ })
	g.catchUp()
	pods := g.byPrefix["/registry/pods"]
	pod := func(name string, owners ...metav1.OwnerReference) *object.Object {
		obj := &api.Pod{ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: name, UID: "0a1b2c3d-0000-4000-8000-0123456789ab", OwnerReferences: owners,
			Labels: map[string]string{"app": "web", "pod-template-hash": "5d4f8c7b9"}, CreationTimestamp: metav1.Now(),
		}}
		value, err := catalogue.Resource(pods.GroupResource).Storage.Codec.Encode(obj)
		if err != nil {
			b.Fatal(err)
		}
		return object.New(pods.prefix, pods.prefix+"/shop/"+name, value, 1, nil)
	}
	owner := metav1.OwnerReference{APIVersion: "v1", Kind: "Node", Name: "n", UID: "0a1b2c3d-0000-4000-8000-0123456789ac"}
	for name, owners := range map[string][]metav1.OwnerReference{"update/owners=0": nil, "update/owners=1": {owner}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			e := &state.Event{Object: pod("a", owners...), Prev: pod("a", owners...)}
			for b.Loop() {
				g.see(pods, e)
			}
		})
	}
	b.Run("create-and-delete/owners=1", func(b *testing.B) {
		b.ReportAllocs()
		o := pod("a", owner)
		for b.Loop() {
			g.see(pods, &state.Event{Object: o})
			g.see(pods, &state.Event{Object: o, Prev: o, Deleted: true})
			g.ended = g.ended[:0]
		}
	})
	if added == 0 {
		b.Error("nobody looks at who has lost its owner")
	}
}
