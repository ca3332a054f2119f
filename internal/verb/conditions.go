package verb

import (
	"context"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"

	"github.com/knarr-io/knarr/internal/store"
)

// conditional is an admission whose decision about a create rests on an object
// that others may write meanwhile.
type conditional interface {
	// Conditions returns what must still be so when an object of a resource is
	// committed in a namespace, or the error of a write for which it is not so by
	// now.
	Conditions(resource schema.GroupResource, namespace string, write func() admission.Attributes) ([]store.Change, error)
}

// conditions returns what admission has the creation of obj depend on.
func (v *Verbs) conditions(ctx context.Context, t Target, obj runtime.Object, dryRun bool) ([]store.Change, error) {
	c, ok := v.Admission.(conditional)
	if !ok || !t.resource().Namespaced {
		return nil, nil
	}
	return c.Conditions(t.GroupResource(), t.Namespace, func() admission.Attributes {
		return t.attributes(ctx, obj, nil, admission.Create, nil, dryRun)
	})
}
