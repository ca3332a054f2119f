package verb

import (
	"context"

	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// Computed makes the objects of a resource that keeps none, when they are asked
// for. Its methods may be called at the same time; what they return is the
// caller's own, and their errors are those of the API.
type Computed interface {
	// Get returns the hub object of a name.
	Get(ctx context.Context, name string, opts *metav1.GetOptions) (runtime.Object, error)
	// List returns a hub list of those that opts select.
	List(ctx context.Context, opts *metainternalversion.ListOptions) (runtime.Object, error)
}
