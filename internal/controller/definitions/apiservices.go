package definitions

import (
	"context"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/kube-aggregator/pkg/apis/apiregistration"

	"github.com/knarr-io/knarr/internal/controller"
	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/state"
	"github.com/knarr-io/knarr/internal/verb"
)

// managedLabel marks APIServices that a server keeps: always, if it is "true".
const managedLabel = "kube-aggregator.kubernetes.io/automanaged"

// The place of what is defined in discovery: after all that is native.
const (
	groupPriority   = 1000
	versionPriority = 100
)

// keepAllServices makes the APIServices that are missing, and removes those
// that are for nothing. k.mu is held.
func (k *Keeper) keepAllServices(ctx context.Context) {
	if k.services == nil {
		return
	}
	names := map[string]bool{}
	for _, d := range k.byName {
		for _, v := range d.served {
			names[v+"."+d.group] = true
		}
	}
	k.state().Snapshot(k.services.Resource.Storage.Prefix).Each(state.Range{}, func(o *object.Object) bool {
		names[o.Name] = true
		return true
	})
	for name := range names {
		if err := k.keepService(ctx, name); err != nil {
			k.retry(item{name: name, service: true}, err)
		}
	}
}

// keepServices is keepAllServices for some versions of a group. k.mu is held.
func (k *Keeper) keepServices(ctx context.Context, group string, versions []string) error {
	for i, v := range versions {
		if slices.Contains(versions[:i], v) {
			continue
		}
		if err := k.keepService(ctx, v+"."+group); err != nil {
			return err
		}
	}
	return nil
}

// syncService puts one APIService right.
func (k *Keeper) syncService(ctx context.Context, name string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.keepService(ctx, name)
}

// keepService makes the APIService of a version that is defined, puts it right,
// or removes that of one that is not. Those of native versions, and those that
// are not marked as kept, it leaves alone. k.mu is held.
func (k *Keeper) keepService(ctx context.Context, name string) error {
	version, group, _ := strings.Cut(name, ".")
	gv := schema.GroupVersion{Group: group, Version: version}
	if g := k.native.Group(group); k.services == nil || g != nil && g.Serves(version) {
		return nil
	}
	o, wanted := k.state().Get(k.services.Resource.Storage.Key("", name)), k.defines(gv)
	if o == nil {
		if !wanted {
			return nil
		}
		return k.createService(ctx, name, gv)
	}
	service, err := controller.Read[*apiregistration.APIService](k.services.Resource, o)
	if err != nil || service.Labels[managedLabel] != "true" {
		return nil
	}
	if spec := serviceSpec(gv); !wanted {
		err = k.deleteService(ctx, service)
	} else if !equality.Semantic.DeepEqual(service.Spec, spec) {
		service.Spec = spec
		t := verb.Target{Version: k.services, Name: name}
		_, err = k.verbs.Update(t.Context(ctx, "update", actingAs()), t, service, &metav1.UpdateOptions{FieldManager: manager})
	}
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) { // another is at it, and it will be looked at again
		return nil
	}
	return err
}

// defines reports whether any definition has the version served. As upstream,
// it need not be established.
func (k *Keeper) defines(gv schema.GroupVersion) bool {
	if g := k.groups[gv.Group]; g != nil {
		for _, d := range g.definitions {
			if slices.Contains(d.served, gv.Version) {
				return true
			}
		}
	}
	return false
}

func serviceSpec(gv schema.GroupVersion) apiregistration.APIServiceSpec {
	return apiregistration.APIServiceSpec{
		Group: gv.Group, Version: gv.Version, GroupPriorityMinimum: groupPriority, VersionPriority: versionPriority,
	}
}

func (k *Keeper) createService(ctx context.Context, name string, gv schema.GroupVersion) error {
	service := &apiregistration.APIService{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{managedLabel: "true"}}, Spec: serviceSpec(gv),
	}
	t := verb.Target{Version: k.services}
	_, err := k.verbs.Create(t.Context(ctx, "create", actingAs()), t, service, &metav1.CreateOptions{FieldManager: manager})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

func (k *Keeper) deleteService(ctx context.Context, service *apiregistration.APIService) error {
	t := verb.Target{Version: k.services, Name: service.Name}
	_, err := k.verbs.Delete(t.Context(ctx, "delete", actingAs()), t, &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &service.UID}})
	return err
}
