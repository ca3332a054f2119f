// Package everynamespace keeps what is in every namespace by itself: the
// ServiceAccount "default" and the ConfigMap "kube-root-ca.crt", with which
// clients verify the server. It does the work of kube-controller-manager's
// serviceaccount-controller and root-ca-certificate-publisher-controller, with
// the same result, so that both may run beside each other.
//
// The objects of a new namespace are committed together with it: nobody sees
// it without them. Afterwards, and for namespaces that were there before, a
// goroutine brings back what was deleted or changed. None is made in a
// namespace that is going away.
//
// It must not know about HTTP.
package everynamespace

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/knarr-io/knarr/internal/controller"
	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/state"
	"github.com/knarr-io/knarr/internal/store"
	"github.com/knarr-io/knarr/internal/verb"
)

// Resource is the resource that a Keeper is the companion of.
var Resource = schema.GroupResource{Resource: "namespaces"}

// manager owns the fields of the objects that are made here.
const manager = "kube-controller-manager"

// Options say what there is to be.
type Options struct {
	// Enabled tells which controllers run.
	Enabled controller.Enabled
	// RootCA is what clients verify the server with, PEM.
	RootCA []byte
	// Own, if set, records in a new hub object, which is written as v, that
	// manager owns its fields, and returns it. It is for objects that are
	// committed with their namespace; others are written through the verbs.
	Own func(v *kind.Version, obj runtime.Object, manager string) runtime.Object
}

// Keeper keeps the objects; see verb.Companion for its other methods. It is
// safe for concurrent use.
type Keeper struct {
	options    Options
	state      *state.State
	namespaces *kind.Version
	content    []*content
}

// content is an object that is in every namespace.
type content struct {
	// controller is the name of the one that keeps it.
	controller string
	version    *kind.Version
	name       string
	// as is who makes it.
	as user.Info
	// new makes a hub object, but for its name and namespace.
	new func() runtime.Object
	// mend makes of obj, a hub object, what it is to be, or returns false if it
	// is that.
	mend func(obj runtime.Object) bool
}

// New returns a keeper for the namespaces in st.
func New(st *state.State, catalogue *kind.Catalogue, o Options) *Keeper {
	k := &Keeper{options: o, state: st, namespaces: catalogue.Lookup(corev1.SchemeGroupVersion.WithResource(Resource.Resource))}
	add := func(enabled string, c *content) {
		if o.Enabled[enabled] && c.version != nil {
			c.controller = enabled
			k.content = append(k.content, c)
		}
	}
	add(controller.ServiceAccounts, defaultAccount(catalogue))
	add(controller.RootCAPublisher, rootCA(catalogue, o.RootCA))
	return k
}

// target is the object of c in a namespace.
func (c *content) target(namespace string) verb.Target {
	return verb.Target{Version: c.version, Namespace: namespace, Name: c.name, Agent: manager}
}

func (c *content) storage() *kind.Storage { return c.version.Resource.Storage }

// object makes the hub object for a namespace.
func (c *content) object(namespace string) (runtime.Object, error) {
	obj := c.new()
	m, err := meta.Accessor(obj)
	if err != nil {
		return nil, err
	}
	m.SetNamespace(namespace)
	m.SetName(c.name)
	return obj, nil
}

// Create makes the objects for a new namespace. Those that are there, of an
// earlier namespace of that name, are left as they are.
func (k *Keeper) Create(ctx context.Context, obj runtime.Object, dryRun bool) ([]store.Change, error) {
	m, err := meta.Accessor(obj)
	if err != nil {
		return nil, err
	}
	if dryRun || len(validation.ValidateNamespaceName(m.GetName(), false)) > 0 { // which the namespace's own rules refuse
		return nil, nil
	}
	var changes []store.Change
	for _, c := range k.content {
		key := c.storage().Key(m.GetName(), c.name)
		if k.state.Get(key) != nil {
			continue
		}
		value, err := k.encode(ctx, c, m.GetName())
		if err != nil {
			return nil, err
		}
		changes = append(changes, store.Change{Key: key, Value: value})
	}
	return changes, nil
}

// encode returns the storage form of a new object, made as verbs would.
func (k *Keeper) encode(ctx context.Context, c *content, namespace string) ([]byte, error) {
	obj, err := c.object(namespace)
	if err != nil {
		return nil, err
	}
	if k.options.Own != nil {
		obj = k.options.Own(c.version, obj, manager)
	}
	m, err := meta.Accessor(obj)
	if err != nil {
		return nil, err
	}
	rest.FillObjectMetaSystemFields(m)
	r := c.version.Resource
	if err := rest.BeforeCreate(r.Create, c.target(namespace).Context(ctx, "create", c.as), obj); err != nil {
		return nil, err
	}
	return r.Storage.Codec.Encode(obj)
}

// Update changes nothing: a namespace keeps what it has.
func (k *Keeper) Update(context.Context, runtime.Object, runtime.Object, bool) ([]store.Change, error) {
	return nil, nil
}

// Delete changes nothing: a namespace is empty when it goes.
func (k *Keeper) Delete(context.Context, runtime.Object) ([]store.Change, error) { return nil, nil }

// Run keeps what the controller of that name keeps through verbs until ctx ends,
// and returns when nothing of it runs any more.
func (k *Keeper) Run(ctx context.Context, verbs *verb.Verbs, name string) {
	i := slices.IndexFunc(k.content, func(c *content) bool { return c.controller == name })
	if i >= 0 && k.namespaces != nil {
		k.keep(ctx, verbs, k.content[i])
	}
}

// slowRetry is how long a namespace waits at least that failed time and again.
const slowRetry = 1000 * time.Second

// keep keeps one object in every namespace until ctx ends.
func (k *Keeper) keep(ctx context.Context, verbs *verb.Verbs, c *content) {
	schedule := controller.NewSchedule[string](clock.RealClock{})
	prefix := k.namespaces.Resource.Storage.Prefix
	all := func(state.Snapshot) {
		state.AsNew(func(e *state.Event) { schedule.Add(e.Object.Name) })(k.state.Snapshot(prefix))
	}
	var following sync.WaitGroup
	defer following.Wait()
	following.Go(func() {
		k.state.Follow(ctx, prefix, all, func(e *state.Event) {
			if !e.Deleted {
				schedule.Add(e.Object.Name)
			}
		})
	})
	following.Go(func() {
		k.state.Follow(ctx, c.storage().Prefix, all, func(e *state.Event) {
			if e.Object.Name == c.name && e.Prev != nil { // changed or deleted
				schedule.Add(e.Object.Namespace)
			}
		})
	})
	settle := func(ctx context.Context, namespace string) error {
		err := k.settle(ctx, verbs, c, namespace)
		if err != nil && ctx.Err() == nil {
			klog.V(2).InfoS("A namespace does not have what it should yet", "err", err, "namespace", namespace, "resource", c.version.Resource.Name, "name", c.name)
		}
		return err
	}
	schedule.Work(ctx, settle, func(namespace string, err error) {
		klog.ErrorS(err, "A namespace does not have what it should", "namespace", namespace, "resource", c.version.Resource.Name, "name", c.name)
		schedule.AddAfter(namespace, slowRetry)
	})
}

// settle makes or mends the object of a namespace.
func (k *Keeper) settle(ctx context.Context, verbs *verb.Verbs, c *content, namespace string) error {
	active, err := k.active(namespace)
	if err != nil || !active {
		return err
	}
	t := c.target(namespace)
	stored := k.state.Get(c.storage().Key(namespace, c.name))
	if stored == nil {
		obj, err := c.object(namespace)
		if err != nil {
			return err
		}
		_, err = verbs.Create(t.Context(ctx, "create", c.as), t, obj, &metav1.CreateOptions{FieldManager: manager})
		if settledOtherwise(err) {
			return nil
		}
		return err
	}
	obj, err := c.version.Resource.Decode(stored)
	if err != nil {
		return fmt.Errorf("reading %s %s/%s: %w", c.version.Resource.Name, namespace, c.name, err)
	}
	if !c.mend(obj) {
		return nil
	}
	_, err = verbs.Update(t.Context(ctx, "update", c.as), t, obj, &metav1.UpdateOptions{FieldManager: manager})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil // the event of what came in between is on its way
	}
	return err
}

// active reports whether there is a namespace that is not going away.
func (k *Keeper) active(namespace string) (bool, error) {
	r := k.namespaces.Resource
	o := k.state.Get(r.Storage.Key("", namespace))
	if o == nil {
		return false, nil
	}
	attributes, err := o.Attributes(r.Selector())
	if err != nil {
		return false, err
	}
	return attributes.Fields.Get("status.phase") == string(corev1.NamespaceActive), nil
}

// settledOtherwise reports whether an object was not created since it is there
// by now, or must not be any more.
func settledOtherwise(err error) bool {
	return apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err) || apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause)
}
