package native

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/object"
)

// The metadata is at one place in the storage form of all kinds.
func TestMetaOfEveryKind(t *testing.T) {
	moreFeatures(t)
	seen := 0
	for _, g := range catalogue(t, Options{RuntimeConfig: allOn()}).Groups {
		for _, r := range g.Resources {
			if r.Storage == nil {
				continue
			}
			seen++
			obj := r.New()
			m, err := meta.Accessor(obj)
			if err != nil {
				t.Fatalf("%s: %v", r.Name, err)
			}
			m.SetUID("u")
			m.SetName("n")
			m.SetFinalizers([]string{"f"})
			m.SetDeletionTimestamp(new(metav1.Now()))
			m.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: "v1", Kind: "K", Name: "o", UID: "p", BlockOwnerDeletion: new(true)}})
			value, err := r.Storage.Codec.Encode(obj)
			if err != nil {
				t.Fatalf("%s: %v", r.Name, err)
			}
			var got kind.Meta
			if err := got.Read(&object.Object{Value: value}); err != nil {
				t.Errorf("%s: %v", r.Name, err)
			}
			text := func(s string) []byte { return []byte(s) }
			want := kind.Meta{UID: text("u"), Deleting: true, Finalizers: [][]byte{text("f")}, Owners: []kind.Owner{
				{APIVersion: text("v1"), Kind: text("K"), Name: text("o"), UID: text("p"), Blocks: true},
			}}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got)\n%s", r.Name, diff)
			}
			whole, err := kind.Metadata(&object.Object{Value: value})
			if err != nil || whole.Name != "n" || whole.OwnerReferences[0].UID != "p" {
				t.Errorf("%s: %v, %v", r.Name, whole, err)
			}
		}
	}
	if seen < 60 {
		t.Errorf("only %d kinds", seen)
	}
}
