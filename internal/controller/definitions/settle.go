package definitions

import (
	"context"
	"reflect"
	"slices"
	"sync/atomic"

	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"github.com/knarr-io/knarr/internal/kind/custom"
	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/verb"
)

// definition is what the keeper knows of a definition as it is stored, or is
// about to be.
type definition struct {
	rev uint64
	// settled tells that its status is what it should be.
	settled bool

	uid        types.UID
	generation int64
	group      string
	accepted   names
	// waits tells that it wants other names than it has.
	waits                    bool
	established, terminating bool
	// ending tells that its objects are being deleted.
	ending bool
	// served are the versions that it has served, established or not.
	served []string
	// kinds are there once it is established; gone is closed when they no
	// longer are what is served.
	kinds []custom.Kind
	gone  chan struct{}
	// source is where they are read from: the definition as it was stored last.
	source *atomic.Pointer[object.Object]
}

// asStored is a definition as it was found at the start.
func (k *Keeper) asStored(o *object.Object) *definition {
	crd, err := k.outlined(o)
	if err != nil {
		return unreadable(o, err)
	}
	is := *crd
	is.Status = *crd.Status.DeepCopy()
	settleStatus(&is, newClaims(), nil)
	d := k.define(nil, crd, o)
	d.settled = !d.waits && !mayBeNonStructural(crd) && equality.Semantic.DeepEqual(is.Status, crd.Status)
	return d
}

// unreadable stands for a definition that cannot be read. This is said once.
func unreadable(o *object.Object, err error) *definition {
	klog.ErrorS(err, "A CustomResourceDefinition cannot be read and is not served", "name", o.Name)
	return &definition{rev: o.Rev, settled: true, group: groupOf(o.Name)}
}

// define returns what crd says, the outline of o, which is kept. Its kinds are
// those of before if they mean the same.
func (k *Keeper) define(before *definition, crd *apiextensionsv1.CustomResourceDefinition, o *object.Object) *definition {
	d := &definition{
		rev: o.Rev, uid: crd.UID, generation: crd.Generation, group: crd.Spec.Group, accepted: crd.Status.AcceptedNames,
		waits:       !equality.Semantic.DeepEqual(crd.Spec.Names, crd.Status.AcceptedNames),
		established: apihelpers.IsCRDConditionTrue(crd, apiextensionsv1.Established),
		ending:      apihelpers.IsCRDConditionTrue(crd, apiextensionsv1.Terminating),
	}
	d.terminating = crd.DeletionTimestamp != nil || d.ending
	for _, v := range crd.Spec.Versions {
		if v.Served {
			d.served = append(d.served, v.Name)
		}
	}
	if !d.established {
		return d
	}
	if before != nil && before.established && before.uid == d.uid && before.generation == d.generation && reflect.DeepEqual(before.accepted, d.accepted) {
		d.kinds, d.gone, d.source = before.kinds, before.gone, before.source
		d.source.Store(o)
		return d
	}
	d.source = &atomic.Pointer[object.Object]{}
	d.source.Store(o)
	var err error
	if d.kinds, err = k.maker.Outlined(crd, k.whole(d.source, d.accepted)); err != nil {
		klog.ErrorS(err, "What a CustomResourceDefinition defines cannot be served", "name", crd.Name)
	}
	d.gone = make(chan struct{})
	for i := range d.kinds {
		d.kinds[i].Gone = d.gone
	}
	return d
}

// settle gives a definition the status that it should have, serves what it
// defines, and does so for those that wait for the names that it had. k.mu is
// held.
func (k *Keeper) settle(ctx context.Context, name string) error {
	freed, err := k.settleOne(ctx, name)
	if err != nil || !freed {
		return err
	}
	queue := k.waiting(name)
	for len(queue) > 0 {
		other := queue[0]
		queue = queue[1:]
		freed, err := k.settleOne(ctx, other)
		switch {
		case err != nil:
			k.retry(item{name: other}, err)
		case freed:
			queue = append(queue, k.waiting(other)...)
		}
	}
	return nil
}

// waiting returns the definitions of the group that may want names which that
// of the name had, in their order.
func (k *Keeper) waiting(name string) []string {
	g := k.groups[groupOf(name)]
	if g == nil {
		return nil
	}
	var waiting []string
	for other, d := range g.definitions {
		if d.waits && other != name {
			waiting = append(waiting, other)
			d.settled = false
		}
	}
	slices.Sort(waiting)
	return waiting
}

// settleOne is settle for one definition. It tells whether names became free.
func (k *Keeper) settleOne(ctx context.Context, name string) (freed bool, err error) {
	for {
		if err := context.Cause(ctx); err != nil {
			return freed, err
		}
		before, o := k.byName[name], k.stored(name)
		switch {
		case o == nil && before == nil:
			return freed, nil
		case o == nil:
			k.forget(name, before)
			k.publish()
			return true, k.keepServices(ctx, before.group, before.served)
		case before != nil && before.settled && before.rev == o.Rev:
			return freed, nil
		}
		crd, err := k.outlined(o)
		var whole *apiextensionsv1.CustomResourceDefinition
		if err == nil && mayBeNonStructural(crd) {
			whole, err = k.read(o)
		}
		if err != nil {
			k.record(name, unreadable(o, err))
			k.publish()
			return true, nil
		}
		next := *crd
		next.Status = *crd.Status.DeepCopy()
		settleStatus(&next, k.claimed(crd.Spec.Group), whole)
		d := k.define(before, &next, o)
		k.record(name, d)
		// What is told to be established is served already.
		k.publish()
		versions := d.served
		if before != nil {
			freed = freed || !reflect.DeepEqual(before.accepted, d.accepted)
			versions = slices.Concat(before.served, d.served)
		}
		if err := k.keepServices(ctx, d.group, versions); err != nil {
			return freed, err
		}
		if equality.Semantic.DeepEqual(crd.Status, next.Status) {
			d.settled = true
			return freed, nil
		}
		written, err := k.writeStatus(ctx, o, &next.Status)
		switch {
		case err == nil:
			d.rev, d.settled = written.Rev, true
			if d.source != nil {
				d.source.Store(written)
			}
			return freed, nil
		case !apierrors.IsConflict(err) && !apierrors.IsNotFound(err):
			return freed, err
		}
	}
}

// claimed returns the names that definitions of a group have.
func (k *Keeper) claimed(group string) claims {
	c := newClaims()
	if g := k.groups[group]; g != nil {
		for _, d := range g.definitions {
			c.add(&d.accepted)
		}
	}
	return c
}

// writeStatus writes a status over the definition that is stored as o.
func (k *Keeper) writeStatus(ctx context.Context, o *object.Object, status *apiextensionsv1.CustomResourceDefinitionStatus) (*object.Object, error) {
	return k.write(ctx, o, func(crd *apiextensions.CustomResourceDefinition) error {
		crd.Status = apiextensions.CustomResourceDefinitionStatus{}
		return apiextensionsv1.Convert_v1_CustomResourceDefinitionStatus_To_apiextensions_CustomResourceDefinitionStatus(status.DeepCopy(), &crd.Status, nil)
	})
}

// write writes what edit makes of a definition by its status, which may change
// its finalizers too.
func (k *Keeper) write(ctx context.Context, o *object.Object, edit func(*apiextensions.CustomResourceDefinition) error) (*object.Object, error) {
	hub, err := k.definitions.Resource.Decode(o)
	if err != nil {
		return nil, err
	}
	if err := edit(hub.(*apiextensions.CustomResourceDefinition)); err != nil {
		return nil, err
	}
	t := verb.Target{Version: k.definitions, Subresource: k.definitions.Subresource("status"), Name: o.Name}
	result, err := k.verbs.Update(t.Context(ctx, "update", actingAs()), t, hub, &metav1.UpdateOptions{FieldManager: manager})
	if err != nil {
		return nil, err
	}
	return result.Object, nil
}
