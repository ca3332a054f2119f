package native

import (
	"context"
	"errors"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
)

// NamespaceGetter finds namespaces.
type NamespaceGetter interface {
	// Namespace returns a namespace as it is now, or the API's error.
	Namespace(ctx context.Context, name string) (*corev1.Namespace, error)
}

// namespaceClient is the client that upstream's strategies ask for; they only
// get with it.
type namespaceClient struct {
	typedcorev1.NamespaceInterface
	getter NamespaceGetter
}

func (c namespaceClient) Get(ctx context.Context, name string, _ metav1.GetOptions) (*corev1.Namespace, error) {
	if c.getter == nil {
		return nil, errors.New("this server does not look at namespaces")
	}
	return c.getter.Namespace(ctx, name)
}
