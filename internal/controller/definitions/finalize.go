package definitions

import (
	"context"
	"fmt"
	"slices"

	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/state"
	"github.com/knarr-io/knarr/internal/verb"
)

// terminating is what upstream says about the end of a definition.
func terminating(status apiextensions.ConditionStatus, reason, message string) apiextensions.CustomResourceDefinitionCondition {
	return apiextensions.CustomResourceDefinitionCondition{Type: apiextensions.Terminating, Status: status, Reason: reason, Message: message}
}

func failed(format string, args ...any) apiextensions.CustomResourceDefinitionCondition {
	return terminating(apiextensions.ConditionTrue, "InstanceDeletionFailed", fmt.Sprintf(format, args...))
}

// overlaps reports whether the objects of a definition are stored where native
// ones are.
func overlaps(gr schema.GroupResource) bool {
	return gr == Resource || gr == schema.GroupResource{Group: servicesGVR.Group, Resource: servicesGVR.Resource}
}

// finalize takes the objects of a definition away that is to go, and lets it
// go. While there are objects that stay for a time, it returns where they are
// stored. It is for one goroutine.
func (k *Keeper) finalize(ctx context.Context, name string) (waitFor string, err error) {
	o := k.stored(name)
	if o == nil {
		return "", nil
	}
	crd, err := k.read(o)
	if err != nil {
		return "", nil // said already
	}
	if crd.DeletionTimestamp == nil || !apihelpers.CRDHasFinalizer(crd, apiextensionsv1.CustomResourceCleanupFinalizer) {
		return "", nil
	}
	if err := k.tell(ctx, name, crd.UID, terminating(apiextensions.ConditionTrue, "InstanceDeletionInProgress", "CustomResource deletion is in progress"), false); err != nil {
		return "", err
	}
	var end apiextensions.CustomResourceDefinitionCondition
	switch {
	case overlaps(schema.GroupResource{Group: crd.Spec.Group, Resource: crd.Spec.Names.Plural}):
		end = terminating(apiextensions.ConditionFalse, "OverlappingBuiltInResource", "instances overlap with built-in resources in storage")
	case !apihelpers.IsCRDConditionTrue(crd, apiextensionsv1.Established):
		end = terminating(apiextensions.ConditionFalse, "NeverEstablished", "resource was never established")
	default:
		left, c, err := k.deleteObjects(ctx, crd)
		if err != nil {
			_ = k.tell(ctx, name, crd.UID, c, false) // that it failed is told in any case
			return "", err
		}
		if left != "" {
			return left, nil
		}
		end = c
	}
	if err := k.tell(ctx, name, crd.UID, end, true); err != nil {
		return "", err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return "", k.settle(ctx, name)
}

// deleteObjects deletes the objects of a definition. It returns where those are
// stored that stay for a time, or what is to be told.
func (k *Keeper) deleteObjects(ctx context.Context, crd *apiextensionsv1.CustomResourceDefinition) (left string, c apiextensions.CustomResourceDefinitionCondition, err error) {
	v, err := k.storageKind(crd)
	if err != nil {
		err = fmt.Errorf("unable to find a custom resource client for %s.%s: %w", crd.Status.AcceptedNames.Plural, crd.Spec.Group, err)
		return "", failed("could not list instances: %v", err), err
	}
	prefix := v.Resource.Storage.Prefix
	var errs []error
	for _, namespace := range k.namespaces(prefix) {
		t := verb.Target{Version: v, Namespace: namespace}
		_, err := k.unchecked.DeleteCollection(t.Context(ctx, "deletecollection", actingAs()), t, &metainternalversion.ListOptions{}, &metav1.DeleteOptions{})
		if err != nil {
			errs = append(errs, err)
		}
	}
	if err := utilerrors.NewAggregate(errs); err != nil {
		return "", failed("could not issue all deletes: %v", err), err
	}
	if k.state().Snapshot(prefix).Len("") > 0 {
		return prefix, c, nil
	}
	return "", terminating(apiextensions.ConditionFalse, "InstanceDeletionCompleted", "removed all instances"), nil
}

// storageKind is the version in which objects are stored, whether or not it is
// served.
func (k *Keeper) storageKind(crd *apiextensionsv1.CustomResourceDefinition) (*kind.Version, error) {
	stored := *crd
	stored.Spec.Versions = slices.Clone(crd.Spec.Versions)
	for i := range stored.Spec.Versions {
		stored.Spec.Versions[i].Served = stored.Spec.Versions[i].Storage
	}
	kinds, err := k.maker.Kinds(&stored)
	if err != nil {
		return nil, err
	}
	return kinds[0].Versions[0], nil
}

// namespaces are those of the objects stored under prefix; "" for those that
// are in none.
func (k *Keeper) namespaces(prefix string) []string {
	var all []string
	k.state().Snapshot(prefix).Each(state.Range{}, func(o *object.Object) bool {
		if len(all) == 0 || all[len(all)-1] != o.Namespace {
			all = append(all, o.Namespace)
		}
		return true
	})
	return all
}

// tell sets a condition of a definition and, if it may go, takes the finalizer
// off it.
func (k *Keeper) tell(ctx context.Context, name string, uid types.UID, c apiextensions.CustomResourceDefinitionCondition, mayGo bool) error {
	for {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		o := k.stored(name)
		if o == nil {
			return nil
		}
		_, err := k.write(ctx, o, func(crd *apiextensions.CustomResourceDefinition) error {
			if crd.UID != uid {
				return apierrors.NewNotFound(Resource, name)
			}
			apiextensions.SetCRDCondition(crd, c)
			if mayGo {
				apiextensions.CRDRemoveFinalizer(crd, apiextensions.CustomResourceCleanupFinalizer)
			}
			return nil
		})
		switch {
		case apierrors.IsNotFound(err):
			return nil
		case !apierrors.IsConflict(err):
			return err
		}
	}
}
