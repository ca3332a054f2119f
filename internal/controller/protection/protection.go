// Package protection keeps what is in use from being removed, as
// kube-controller-manager's controllers do that protect PersistentVolumeClaims,
// PersistentVolumes and VolumeAttributesClasses: each object has a finalizer, which is
// taken off when the object is to go and nobody uses it.
//
// It must not know how volumes are made.
package protection

import (
	"context"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	api "k8s.io/kubernetes/pkg/apis/core"
	"k8s.io/utils/clock"

	"github.com/knarr-io/knarr/internal/controller"
	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/state"
	"github.com/knarr-io/knarr/internal/verb"
)

// The finalizers, which the admission plugin StorageObjectInUseProtection gives too.
const (
	claimFinalizer  = "kubernetes.io/pvc-protection"
	volumeFinalizer = "kubernetes.io/pv-protection"
	classFinalizer  = "kubernetes.io/vac-protection"
)

var (
	pods    = corev1.SchemeGroupVersion.WithResource("pods")
	claims  = corev1.SchemeGroupVersion.WithResource("persistentvolumeclaims")
	volumes = corev1.SchemeGroupVersion.WithResource("persistentvolumes")
	classes = storagev1.SchemeGroupVersion.WithResource("volumeattributesclasses")
)

// Controller protects the objects of one resource.
type Controller struct {
	client    controller.Client
	state     *state.State
	version   *kind.Version
	finalizer string
	clock     clock.Clock
	// users are the resources whose objects may use an object that is to go, if nothing
	// else tells of their changes.
	users []*kind.Resource
	// used reports whether an object that is to go is in use.
	used func(m metav1.Object, obj runtime.Object) (bool, error)
	// look, if set, looks at every object that is not to go.
	look func(ctx context.Context, obj runtime.Object) error
	// follow, if set, runs beside, and adds objects to be looked at.
	follow func(ctx context.Context, add func(types.NamespacedName))
}

// New returns the controller of that name, which writes through verbs; nil if its
// resource is not served.
func New(name string, verbs *verb.Verbs, catalogue *kind.Catalogue, clock clock.Clock) *Controller {
	make := func(account, finalizer string, gvr schema.GroupVersionResource) *Controller {
		v := catalogue.Lookup(gvr)
		if v == nil {
			return nil
		}
		return &Controller{
			client: controller.Client{Verbs: verbs, Catalogue: catalogue, User: controller.ServiceAccount(account), Manager: "kube-controller-manager"},
			state:  verbs.State, version: v, finalizer: finalizer, clock: clock,
		}
	}
	switch name {
	case controller.ClaimProtection:
		c := make("pvc-protection-controller", claimFinalizer, claims)
		if c == nil || catalogue.Lookup(pods) == nil {
			return nil
		}
		newClaims(c, catalogue.Lookup(pods).Resource)
		return c
	case controller.VolumeProtection:
		c := make("pv-protection-controller", volumeFinalizer, volumes)
		if c != nil {
			c.used = func(_ metav1.Object, obj runtime.Object) (bool, error) {
				return obj.(*api.PersistentVolume).Status.Phase == api.VolumeBound, nil
			}
		}
		return c
	case controller.ClassProtection:
		c := make("volumeattributesclass-protection-controller", classFinalizer, classes)
		if c == nil {
			return nil
		}
		for _, gvr := range []schema.GroupVersionResource{claims, volumes} {
			if v := catalogue.Lookup(gvr); v != nil {
				c.users = append(c.users, v.Resource)
			}
		}
		c.used = c.classUsed
		return c
	}
	return nil
}

// Run protects objects until ctx ends, and returns when nothing of it runs any more.
// It may be run again.
func (c *Controller) Run(ctx context.Context) {
	schedule := controller.NewSchedule[types.NamespacedName](c.clock)
	waits := controller.NewWaits[types.NamespacedName](c.state)
	defer waits.Wait()
	var following sync.WaitGroup
	defer following.Wait()
	see := func(e *state.Event) {
		schedule.Add(types.NamespacedName{Namespace: e.Object.Namespace, Name: e.Object.Name})
	}
	following.Go(func() { c.state.Follow(ctx, c.version.Resource.Storage.Prefix, state.AsNew(see), see) })
	if c.follow != nil {
		following.Go(func() { c.follow(ctx, schedule.Add) })
	}
	schedule.Work(ctx, func(ctx context.Context, key types.NamespacedName) error {
		var changes []controller.Change
		for _, r := range c.users {
			changes = append(changes, controller.Change{
				Prefix: r.Storage.Prefix, Since: c.state.Rev(), Lost: func() { schedule.Add(key) },
				See: func(e *state.Event) bool {
					if e.Prev != nil { // a new one cannot end what uses the object
						schedule.Add(key)
					}
					return e.Prev != nil
				},
			})
		}
		used, err := c.sync(ctx, key)
		if !used {
			changes = nil
		}
		waits.For(ctx, key, changes...)
		return err
	}, func(key types.NamespacedName, err error) {
		klog.ErrorS(err, "What protects an object could not be brought up to date", "resource", c.version.Resource.Name, "object", key)
	})
}

// sync looks at one object, and reports whether it is to go and still used.
func (c *Controller) sync(ctx context.Context, key types.NamespacedName) (used bool, err error) {
	o := c.state.Get(c.version.Resource.Storage.Key(key.Namespace, key.Name))
	if o == nil {
		return false, nil
	}
	obj, err := c.version.Resource.Decode(o)
	if err != nil {
		return false, err
	}
	m, err := meta.Accessor(obj)
	if err != nil {
		return false, err
	}
	has := slices.Contains(m.GetFinalizers(), c.finalizer)
	switch going := m.GetDeletionTimestamp() != nil; {
	case going && has:
		if used, err = c.used(m, obj); used || err != nil {
			return used, err
		}
		m.SetFinalizers(slices.DeleteFunc(m.GetFinalizers(), func(f string) bool { return f == c.finalizer }))
	case !going && !has: // it was made without the admission plugin
		m.SetFinalizers(append(m.GetFinalizers(), c.finalizer))
	case !going && c.look != nil:
		return false, c.look(ctx, obj)
	default:
		return false, nil
	}
	return false, settled(c.client.Update(ctx, c.version.GVR(), "", obj))
}

// settled is nil where somebody else has written: the event of that is on its way.
func settled(err error) error {
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

// classUsed reports whether a claim or a volume names a class.
func (c *Controller) classUsed(m metav1.Object, _ runtime.Object) (used bool, err error) {
	for _, r := range c.users {
		c.state.Snapshot(r.Storage.Prefix).Each(state.Range{}, func(o *object.Object) bool {
			var obj runtime.Object
			if obj, err = r.Decode(o); err == nil {
				used = slices.Contains(classesOf(obj), m.GetName())
			}
			return err == nil && !used
		})
		if used || err != nil {
			return used, err
		}
	}
	return false, nil
}

// classesOf are the VolumeAttributesClasses that a claim or a volume names.
func classesOf(obj runtime.Object) (all []string) {
	add := func(names ...*string) {
		for _, n := range names {
			if n != nil && *n != "" {
				all = append(all, *n)
			}
		}
	}
	switch o := obj.(type) {
	case *api.PersistentVolume:
		add(o.Spec.VolumeAttributesClassName)
	case *api.PersistentVolumeClaim:
		add(o.Spec.VolumeAttributesClassName, o.Status.CurrentVolumeAttributesClassName)
		if s := o.Status.ModifyVolumeStatus; s != nil {
			add(&s.TargetVolumeAttributesClassName)
		}
	}
	return all
}
