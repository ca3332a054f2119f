// Package pods is what can be done to pods beside storing them: binding them
// to a node, and evicting them from it. The rules, and the words in which they
// refuse, are those of upstream's pkg/registry/core/pod/storage.
//
// It must not know about HTTP, nor what becomes of a pod on its node.
package pods

import (
	"context"
	"fmt"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	api "k8s.io/kubernetes/pkg/apis/core"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/verb"
)

var (
	pods     = corev1.SchemeGroupVersion.WithResource("pods")
	bindings = corev1.SchemeGroupVersion.WithResource("bindings")
	budgets  = policyv1.SchemeGroupVersion.WithResource("poddisruptionbudgets")
)

// Actions returns what can be done to pods. verbs read them, and write
// disruption budgets; catalogue tells what is served now and is called for
// every request.
func Actions(verbs *verb.Verbs, catalogue func() *kind.Catalogue) map[verb.ActionKey]verb.Action {
	o := objects{
		verbs:     verbs,
		plain:     &verb.Verbs{State: verbs.State, Companions: verbs.Companions},
		catalogue: catalogue,
	}
	binding := &Binding{o}
	return map[verb.ActionKey]verb.Action{
		{GroupResource: bindings.GroupResource()}:                      binding,
		{GroupResource: pods.GroupResource(), Subresource: "binding"}:  binding,
		{GroupResource: pods.GroupResource(), Subresource: "eviction"}: &Eviction{o},
	}
}

// objects are those that actions are about.
type objects struct {
	verbs *verb.Verbs
	// plain writes pods: who may bind or evict a pod need not be allowed to
	// write it, so that admission, which has seen the action, does not see that
	// again.
	plain     *verb.Verbs
	catalogue func() *kind.Catalogue
}

// target returns an object or, without a name, a collection.
func (o *objects) target(gvr schema.GroupVersionResource, namespace, name string) (verb.Target, error) {
	version := o.catalogue().Lookup(gvr)
	if version == nil {
		return verb.Target{}, apierrors.NewGenericServerResponse(http.StatusNotFound, "get", gvr.GroupResource(), name, "", 0, true)
	}
	return verb.Target{Version: version, Namespace: namespace, Name: name}, nil
}

// pod reads a pod.
func (o *objects) pod(ctx context.Context, namespace, name string) (*api.Pod, error) {
	t, err := o.target(pods, namespace, name)
	if err != nil {
		return nil, err
	}
	stored, err := o.verbs.Get(ctx, t, &metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	obj, err := t.Version.Resource.Decode(stored)
	if err != nil {
		return nil, err
	}
	return as[*api.Pod](obj)
}

// as returns obj as what the catalogue says that it is.
func as[P runtime.Object](obj runtime.Object) (P, error) {
	p, ok := obj.(P)
	if !ok {
		return p, apierrors.NewInternalError(fmt.Errorf("%T is no %T", obj, p))
	}
	return p, nil
}
