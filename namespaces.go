package knarr

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/state"
)

// namespaces finds namespaces for the rules that depend on them.
type namespaces struct {
	state *state.State
	// catalogue is set when there is one, which rules make part of.
	catalogue *kind.Catalogue
}

// Namespace returns a namespace as it is now.
func (n *namespaces) Namespace(_ context.Context, name string) (*corev1.Namespace, error) {
	gvr := corev1.SchemeGroupVersion.WithResource("namespaces")
	missing := apierrors.NewNotFound(gvr.GroupResource(), name)
	version := n.catalogue.Lookup(gvr)
	if version == nil {
		return nil, missing
	}
	stored := n.state.Get(version.Resource.Storage.Key("", name))
	if stored == nil {
		return nil, missing
	}
	hub, err := version.Resource.Decode(stored)
	if err != nil {
		return nil, err
	}
	obj, err := version.FromHub(hub)
	if err != nil {
		return nil, err
	}
	return obj.(*corev1.Namespace), nil
}
