package ownership

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/knarr-io/knarr/internal/kind"
)

// ForScale translates owners between an object of v, whose managed fields it
// takes, and its Scale: who owns spec.replicas of the one owns the field at the
// path replicas of the other. Custom resources may have it at another path in
// another version.
func ForScale(v *kind.Version, replicas fieldpath.Path, owners []metav1.ManagedFieldsEntry) *managedfields.ScaleHandler {
	in := func(string) fieldpath.Path { return replicas }
	if s := v.Subresource("scale"); s != nil {
		if view, ok := s.View.(kind.PartialView); ok {
			in = view.ReplicasIn
		}
	}
	paths := managedfields.ResourcePathMappings{}
	// Those that are no longer served too: upstream keeps their owners here.
	for _, gv := range v.Resource.Scheme.VersionsForGroupKind(schema.GroupKind{Group: v.Resource.Group, Kind: v.Resource.Kind}) {
		paths[gv.String()] = in(gv.Version)
	}
	return managedfields.NewScaleHandler(owners, v.GroupVersion(), paths)
}
