package admission

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/admission"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/state"
	"github.com/knarr-io/knarr/internal/store"
)

var (
	namespaces    = corev1.SchemeGroupVersion.WithResource("namespaces")
	namespaceKind = corev1.SchemeGroupVersion.WithKind("Namespace").GroupKind()
	// localReviews are answered in namespaces that do not exist: a refusal
	// would tell who may not know which namespaces there are.
	localReviews = schema.GroupResource{Group: "authorization.k8s.io", Resource: "localsubjectaccessreviews"}
)

// namespaceLifecycle is upstream's plugin NamespaceLifecycle: what is created
// in a namespace needs that namespace, and it must not be going away; some
// namespaces may not be deleted. Upstream's distrust of its caches has no
// place here, since the state is read as it is.
type namespaceLifecycle struct {
	*admission.Handler
	state     *state.State
	catalogue func() *kind.Catalogue
	immortal  sets.Set[string]
}

var _ admission.MutationInterface = &namespaceLifecycle{}

func newNamespaceLifecycle(st *state.State, catalogue func() *kind.Catalogue) *namespaceLifecycle {
	return &namespaceLifecycle{
		Handler:   admission.NewHandler(admission.Create, admission.Update, admission.Delete),
		state:     st,
		catalogue: catalogue,
		immortal:  sets.New(metav1.NamespaceDefault, metav1.NamespaceSystem, metav1.NamespacePublic),
	}
}

// concerns reports whether a write is a create in a namespace, or of a namespace
// or its end.
func (p *namespaceLifecycle) concerns(a admission.Attributes) bool {
	switch a.GetOperation() {
	case admission.Create:
		return a.GetNamespace() != ""
	case admission.Delete:
		return a.GetKind().GroupKind() == namespaceKind
	}
	return false
}

// Admit changes nothing, but decides among the mutating plugins, as upstream's
// does: those after it need not ask whether there is a namespace.
func (p *namespaceLifecycle) Admit(_ context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	if a.GetKind().GroupKind() == namespaceKind {
		if a.GetOperation() == admission.Delete && p.immortal.Has(a.GetName()) {
			return apierrors.NewForbidden(a.GetResource().GroupResource(), a.GetName(), errors.New("this namespace may not be deleted"))
		}
		return nil
	}
	if a.GetOperation() != admission.Create || a.GetNamespace() == "" || a.GetResource().GroupResource() == localReviews {
		return nil
	}
	_, err := p.active(a.GetNamespace(), func() admission.Attributes { return a })
	return err
}

// active returns what a namespace is as long as things can be created in it, or why
// the creation that write describes may not be.
func (p *namespaceLifecycle) active(name string, write func() admission.Attributes) (while store.Change, err error) {
	served := p.catalogue().Lookup(namespaces)
	if served == nil {
		return while, apierrors.NewNotFound(namespaces.GroupResource(), name)
	}
	key := served.Resource.Storage.Key("", name)
	o := p.state.Get(key)
	if o == nil {
		return while, apierrors.NewNotFound(namespaces.GroupResource(), name)
	}
	attributes, err := o.Attributes(served.Resource.Selector())
	if err != nil {
		return while, apierrors.NewInternalError(err)
	}
	if attributes.Fields.Get("status.phase") == string(corev1.NamespaceTerminating) {
		return while, terminating(write())
	}
	return store.Change{Key: key, If: o.Rev, Check: true}, nil
}

// Conditions has what is created in a namespace committed only if the namespace is
// still what it was: a create that was admitted before the namespace was to go never
// leaves anything behind in it, and the controller that empties it need not wait.
// One that was only written meanwhile is looked at again.
func (c *Chain) Conditions(resource schema.GroupResource, namespace string, write func() admission.Attributes) ([]store.Change, error) {
	if c.lifecycle == nil || namespace == "" || resource == localReviews {
		return nil, nil
	}
	while, err := c.lifecycle.active(namespace, write)
	if err != nil {
		return nil, err
	}
	return []store.Change{while}, nil
}

// terminating refuses what a would create in a namespace that is going away.
func terminating(a admission.Attributes) error {
	err := admission.NewForbidden(a, fmt.Errorf("unable to create new content in namespace %s because it is being terminated", a.GetNamespace()))
	var status *apierrors.StatusError
	if errors.As(err, &status) {
		status.ErrStatus.Details.Causes = append(status.ErrStatus.Details.Causes, metav1.StatusCause{
			Type:    corev1.NamespaceTerminatingCause,
			Message: fmt.Sprintf("namespace %s is being terminated", a.GetNamespace()),
			Field:   "metadata.namespace",
		})
	}
	return err
}
