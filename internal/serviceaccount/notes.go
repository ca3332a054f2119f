package serviceaccount

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	corev1listers "k8s.io/client-go/listers/core/v1"

	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/verb"
)

// notes are what was read on behalf of one token.
type notes struct {
	read []note
	// fleeting is set when what was read may mean something else in a while,
	// though it stays: it is being deleted.
	fleeting bool
}

type note struct {
	objects *Objects
	target  verb.Target
	was     *object.Object
}

type noteKey struct{}

// Noting returns a context in which it is noted what o reads, and what reports
// whether all that was read has been the same since. It costs a look-up for each.
func (o *Objects) Noting(ctx context.Context) (context.Context, func() bool) {
	n := &notes{}
	return context.WithValue(ctx, noteKey{}, n), n.unchanged
}

func (n *notes) add(o *Objects, target verb.Target, stored *object.Object, obj runtime.Object) {
	m, err := meta.Accessor(obj)
	n.fleeting = n.fleeting || err != nil || m.GetDeletionTimestamp() != nil
	n.read = append(n.read, note{o, target, stored})
}

func (n *notes) unchanged() bool {
	if n.fleeting {
		return false
	}
	for i := range n.read {
		r := &n.read[i]
		if is, err := r.objects.verbs.Get(context.Background(), r.target, &metav1.GetOptions{}); err != nil || is != r.was {
			return false
		}
	}
	return true
}

// SystemSecrets returns the Secrets of kube-system, one by one: they cannot be
// listed by it.
func (o *Objects) SystemSecrets() corev1listers.SecretNamespaceLister {
	return systemSecrets{objects: o}
}

type systemSecrets struct {
	corev1listers.SecretNamespaceLister // nil: nothing else of it is called
	objects                             *Objects
}

func (s systemSecrets) Get(name string) (*corev1.Secret, error) {
	return s.objects.GetSecret(context.Background(), metav1.NamespaceSystem, name)
}
