package bootstrap

import (
	"context"
	"fmt"
	"sync/atomic"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/state"
	"github.com/knarr-io/knarr/internal/verb"
)

// fieldManager is who writes, where the writer does not say.
const fieldManager = "kube-apiserver"

// apiserver is the user that kube-apiserver's own clients are.
var apiserver = &user.DefaultInfo{
	Name:   user.APIServerUser,
	Groups: []string{user.AllAuthenticated, user.SystemPrivilegedGroup},
}

// versioned is an object of a version of the API.
type versioned interface {
	runtime.Object
	metav1.Object
}

// objects reads and writes the objects of one kind in one version, as a client
// of client-go does, but in the same process. Its methods have the signatures
// of those clients, so that upstream's code can be given one. What they return
// is the caller's own, and what they are given is not modified.
type objects[P versioned] struct {
	verbs   *verb.Verbs
	version *kind.Version
	// namespace of the objects; empty for those of cluster scope.
	namespace string
	made      *atomic.Int64 // counts what is created and updated
}

// in returns the objects in a namespace.
func (o objects[P]) in(namespace string) objects[P] {
	o.namespace = namespace
	return o
}

func (o objects[P]) target(name string) verb.Target {
	return verb.Target{Version: o.version, Namespace: o.namespace, Name: name}
}

func (o objects[P]) key(name string) string { return o.version.Resource.Storage.Key(o.namespace, name) }

func (o objects[P]) stored(name string) *object.Object { return o.verbs.State.Get(o.key(name)) }

// Get returns an object as clients see it.
func (o objects[P]) Get(_ context.Context, name string, _ metav1.GetOptions) (P, error) {
	stored := o.stored(name)
	if stored == nil {
		return o.none(), apierrors.NewNotFound(o.target(name).GroupResource(), name)
	}
	return o.decode(stored)
}

func (o objects[P]) none() (none P) { return none }

func (o objects[P]) decode(stored *object.Object) (P, error) {
	hub, err := o.version.Resource.Decode(stored)
	if err != nil {
		return o.none(), err
	}
	obj, err := o.version.FromHub(hub)
	if err != nil {
		return o.none(), err
	}
	p, ok := obj.(P)
	if !ok {
		return p, fmt.Errorf("%T is not of the version %s", obj, o.version.Name)
	}
	return p, nil
}

// All returns all objects.
func (o objects[P]) All() ([]P, error) {
	var found []P
	var failed error
	o.each(func(stored *object.Object) bool {
		p, err := o.decode(stored)
		if err != nil {
			failed = err
			return false
		}
		found = append(found, p)
		return true
	})
	return found, failed
}

// each calls visit for all objects as they are stored, until it returns false.
func (o objects[P]) each(visit func(*object.Object) bool) {
	o.verbs.State.Snapshot(o.version.Resource.Storage.Prefix).Each(state.Range{Namespace: o.namespace}, visit)
}

// hub returns obj as rules see it, with its defaults.
func (o objects[P]) hub(obj P) (runtime.Object, error) {
	versioned := obj.DeepCopyObject()
	o.version.Resource.Scheme.Default(versioned)
	return o.version.Resource.ToHub(versioned)
}

// Create makes an object.
func (o objects[P]) Create(ctx context.Context, obj P, opts metav1.CreateOptions) (P, error) {
	hub, err := o.hub(obj)
	if err != nil {
		return obj, err
	}
	if opts.FieldManager == "" {
		opts.FieldManager = fieldManager
	}
	t := o.target("")
	if _, err = o.verbs.Create(t.Context(ctx, "create", apiserver), t, hub, &opts); err == nil {
		o.made.Add(1)
	}
	return obj, err
}

// Ensure makes an object, unless there is one of its name.
func (o objects[P]) Ensure(ctx context.Context, obj P) error {
	if o.stored(obj.GetName()) != nil {
		return nil
	}
	_, err := o.Create(ctx, obj, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// Update replaces an object.
func (o objects[P]) Update(ctx context.Context, obj P, opts metav1.UpdateOptions) (P, error) {
	return o.update(ctx, o.target(obj.GetName()), obj, opts)
}

// UpdateStatus replaces the status of an object.
func (o objects[P]) UpdateStatus(ctx context.Context, obj P, opts metav1.UpdateOptions) (P, error) {
	t := o.target(obj.GetName())
	t.Subresource = o.version.Subresource("status")
	return o.update(ctx, t, obj, opts)
}

func (o objects[P]) update(ctx context.Context, t verb.Target, obj P, opts metav1.UpdateOptions) (P, error) {
	hub, err := o.hub(obj)
	if err != nil {
		return obj, err
	}
	if opts.FieldManager == "" {
		opts.FieldManager = fieldManager
	}
	if _, err = o.verbs.Update(t.Context(ctx, "update", apiserver), t, hub, &opts); err == nil {
		o.made.Add(1)
	}
	return obj, err
}

// Delete removes an object.
func (o objects[P]) Delete(ctx context.Context, name string, opts metav1.DeleteOptions) error {
	t := o.target(name)
	_, err := o.verbs.Delete(t.Context(ctx, "delete", apiserver), t, &opts)
	return err
}

// called names an object in errors.
func (o objects[P]) called(obj P) string {
	if obj.GetNamespace() == "" {
		return o.version.Resource.Singular + " " + obj.GetName()
	}
	return o.version.Resource.Singular + " " + obj.GetNamespace() + "/" + obj.GetName()
}
