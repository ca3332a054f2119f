package controller

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/verb"
)

// Client writes objects in the name of a component. It is a value, safe for
// concurrent use. A namespace is empty for objects of cluster scope.
type Client struct {
	Verbs     *verb.Verbs
	Catalogue *kind.Catalogue
	// User is who writes, Manager whom the written fields belong to.
	User    user.Info
	Manager string
}

// ServiceAccount is who a controller is to others: kube-controller-manager's, where
// each has credentials of its own.
func ServiceAccount(name string) user.Info {
	u := serviceaccount.UserInfo(metav1.NamespaceSystem, name, "")
	return &user.DefaultInfo{Name: u.GetName(), Groups: append(u.GetGroups(), user.AllAuthenticated)}
}

// target returns what a write is about.
func (c Client) target(gvr schema.GroupVersionResource, namespace, name string) (verb.Target, error) {
	v := c.Catalogue.Lookup(gvr)
	if v == nil {
		return verb.Target{}, fmt.Errorf("%s is not served", gvr)
	}
	return verb.Target{Version: v, Namespace: namespace, Name: name}, nil
}

// Create makes an object of obj, a hub object with its defaults, which it
// modifies.
func (c Client) Create(ctx context.Context, gvr schema.GroupVersionResource, namespace string, obj runtime.Object) error {
	t, err := c.target(gvr, namespace, "")
	if err != nil {
		return err
	}
	_, err = c.Verbs.Create(t.Context(ctx, "create", c.User), t, obj, &metav1.CreateOptions{FieldManager: c.Manager})
	return err
}

// Delete removes the object of a name if it is still the one with that uid.
func (c Client) Delete(ctx context.Context, gvr schema.GroupVersionResource, namespace, name string, uid types.UID) error {
	return c.DeleteBy(ctx, gvr, namespace, name, &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
}

// DeleteBy removes the object of a name as options say, which it modifies.
func (c Client) DeleteBy(ctx context.Context, gvr schema.GroupVersionResource, namespace, name string, options *metav1.DeleteOptions) error {
	t, err := c.target(gvr, namespace, name)
	if err != nil {
		return err
	}
	_, err = c.Verbs.Delete(t.Context(ctx, "delete", c.User), t, options)
	return err
}

// Update replaces an object, or what a subresource is of it, by obj, a hub object
// as it was read, which it modifies. If others have written in between, it is a conflict.
func (c Client) Update(ctx context.Context, gvr schema.GroupVersionResource, subresource string, obj runtime.Object) error {
	m, err := meta.Accessor(obj)
	if err != nil {
		return err
	}
	t, err := c.target(gvr, m.GetNamespace(), m.GetName())
	if err != nil {
		return err
	}
	if subresource != "" {
		t.Subresource = t.Version.Subresource(subresource)
	}
	_, err = c.Verbs.Update(t.Context(ctx, "update", c.User), t, obj, &metav1.UpdateOptions{FieldManager: c.Manager})
	return err
}

// Patch changes an object by a strategic merge patch.
func (c Client) Patch(ctx context.Context, gvr schema.GroupVersionResource, namespace, name string, patch []byte) error {
	return c.patch(ctx, gvr, namespace, name, types.StrategicMergePatchType, patch)
}

// MergePatch changes an object by a JSON merge patch, which custom resources take, too.
func (c Client) MergePatch(ctx context.Context, gvr schema.GroupVersionResource, namespace, name string, patch []byte) error {
	return c.patch(ctx, gvr, namespace, name, types.MergePatchType, patch)
}

func (c Client) patch(ctx context.Context, gvr schema.GroupVersionResource, namespace, name string, how types.PatchType, patch []byte) error {
	t, err := c.target(gvr, namespace, name)
	if err != nil {
		return err
	}
	_, err = c.Verbs.Patch(t.Context(ctx, "patch", c.User), t, how, patch, &metav1.PatchOptions{FieldManager: c.Manager})
	return err
}

// ApplyStatus makes the status of an object say what patch does, whoever said
// otherwise before. What it says belongs to manager.
func (c Client) ApplyStatus(ctx context.Context, gvr schema.GroupVersionResource, namespace, name, manager string, patch []byte) error {
	t, err := c.target(gvr, namespace, name)
	if err != nil {
		return err
	}
	t.Subresource = t.Version.Subresource("status")
	return c.apply(ctx, t, manager, patch)
}

// Apply makes an object say what patch does, whoever said otherwise before.
func (c Client) Apply(ctx context.Context, gvr schema.GroupVersionResource, namespace, name string, patch []byte) error {
	t, err := c.target(gvr, namespace, name)
	if err != nil {
		return err
	}
	return c.apply(ctx, t, c.Manager, patch)
}

func (c Client) apply(ctx context.Context, t verb.Target, manager string, patch []byte) error {
	force := true
	_, err := c.Verbs.Patch(t.Context(ctx, "patch", c.User), t, types.ApplyYAMLPatchType, patch, &metav1.PatchOptions{FieldManager: manager, Force: &force})
	return err
}

// Read returns a stored object as clients see it: a hub object of the type P,
// the caller's own.
func Read[P runtime.Object](r *kind.Resource, o *object.Object) (P, error) {
	var none P
	obj, err := r.Decode(o)
	if err != nil {
		return none, err
	}
	p, ok := obj.(P)
	if !ok {
		return none, fmt.Errorf("%T is no %T", obj, none)
	}
	return p, nil
}
