package namespace

import (
	"context"
	"errors"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	api "k8s.io/kubernetes/pkg/apis/core"

	"github.com/knarr-io/knarr/internal/controller"
)

// errOther is the end of what was to be done with a namespace that is gone, or not to
// go.
var errOther = errors.New("the namespace is another one")

// terminate empties a namespace that is to go and, if nothing is left in it, lets it
// go. What remains is told in its status, and returned.
func (c *Controller) terminate(ctx context.Context, name string) (remains, error) {
	ns, err := c.read(name, "")
	if errors.Is(err, errOther) {
		return remains{}, nil
	}
	if err != nil {
		return remains{}, err
	}
	if len(ns.Spec.Finalizers) == 0 {
		return remains{}, nil // what else keeps it is not ours
	}
	e := c.empty(ctx, ns)
	if err := ctx.Err(); err != nil {
		return e.remains, err
	}
	// What is told is told in any case: others may have finalizers of their own.
	if err := c.tell(ctx, ns, e.findings); err != nil {
		e.failures = append(e.failures, err)
	}
	if err := errors.Join(e.failures...); err != nil || e.waits {
		return e.remains, err
	}
	return remains{}, c.finalize(ctx, ns)
}

// read returns a namespace that is to go, and has a uid if one is given.
func (c *Controller) read(name string, uid types.UID) (*api.Namespace, error) {
	o := c.state.Get(c.resource.Storage.Key("", name))
	if o == nil {
		return nil, errOther
	}
	ns, err := controller.Read[*api.Namespace](c.resource, o)
	if err == nil && (ns.DeletionTimestamp == nil || uid != "" && ns.UID != uid) {
		err = errOther
	}
	return ns, err
}

// write writes a namespace as change makes it, again if others write meanwhile.
// change returns false if nothing is to be written.
func (c *Controller) write(ctx context.Context, ns *api.Namespace, subresource string, change func(*api.Namespace) bool) error {
	for {
		now, err := c.read(ns.Name, ns.UID)
		if err == nil && change(now) {
			err = c.client.Update(ctx, namespaces, subresource, now)
		}
		switch {
		case apierrors.IsConflict(err):
		case apierrors.IsNotFound(err), errors.Is(err, errOther):
			return nil
		default:
			return err
		}
	}
}

// tell sets the conditions of a namespace.
func (c *Controller) tell(ctx context.Context, ns *api.Namespace, f findings) error {
	return c.write(ctx, ns, "status", func(ns *api.Namespace) bool {
		changed := ns.Status.Phase != api.NamespaceTerminating
		ns.Status.Phase = api.NamespaceTerminating
		return f.update(&ns.Status, c.Clock.Now()) || changed
	})
}

// finalize takes the finalizer of what is in a namespace off it, with which it goes,
// unless it has others.
func (c *Controller) finalize(ctx context.Context, ns *api.Namespace) error {
	return c.write(ctx, ns, "finalize", func(ns *api.Namespace) bool {
		others := slices.DeleteFunc(slices.Clone(ns.Spec.Finalizers), func(f api.FinalizerName) bool { return f == api.FinalizerKubernetes })
		slices.Sort(others)
		others = slices.Compact(others)
		changed := len(others) != len(ns.Spec.Finalizers)
		ns.Spec.Finalizers = others
		return changed
	})
}
