package verb

import (
	"context"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/admission"
)

// DeleteCollection deletes what list selects, one object after the other, and
// returns what it listed. It stops at the first object that cannot be deleted;
// those before it stay deleted, as upstream's do.
func (v *Verbs) DeleteCollection(ctx context.Context, t Target, list *metainternalversion.ListOptions, opts *metav1.DeleteOptions) (*List, error) {
	if before := t.resource().BeforeDelete; before != nil {
		if err := before(ctx, "", opts); err != nil {
			return nil, err
		}
	}
	attributes := t.attributes(ctx, nil, nil, admission.Delete, opts, len(opts.DryRun) > 0)
	validate := v.validateDelete(t, attributes)
	found, err := v.List(ctx, t, list)
	if err != nil {
		return nil, err
	}
	for _, o := range found.Objects {
		if _, err := t.resource().DecodeStored(o); err != nil {
			return nil, t.ListError(slices.Values(found.Objects), err)
		}
	}
	for _, o := range found.Objects {
		one := t
		one.Namespace, one.Name = o.Namespace, o.Name
		// A deletion fills in its options: each object gets its own.
		if _, err := v.delete(ctx, one, validate, opts.DeepCopy(), true); err != nil && !apierrors.IsNotFound(err) {
			return nil, err
		}
	}
	return found, nil
}
