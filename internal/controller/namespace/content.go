package namespace

import (
	"context"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	api "k8s.io/kubernetes/pkg/apis/core"

	"github.com/knarr-io/knarr/internal/controller"
	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/state"
	"github.com/knarr-io/knarr/internal/verb"
)

var pods = schema.GroupResource{Resource: "pods"}

// emptying is how far a namespace has been emptied.
type emptying struct {
	*Controller
	ns *api.Namespace
	findings
	remains
	// failures have it tried again; waits tells that something remains that goes by
	// itself.
	failures []error
	waits    bool
}

// empty deletes what is in a namespace: nothing else before its pods are gone.
func (c *Controller) empty(ctx context.Context, ns *api.Namespace) *emptying {
	e := &emptying{Controller: c, ns: ns}
	others := e.discover(ctx)
	var rest []*kind.Version
	for _, v := range deletable(c.Catalogue()) {
		if v.GVR().GroupResource() != pods {
			rest = append(rest, v)
			continue
		}
		e.clear(ctx, v)
		if e.left[pods] > 0 {
			// As upstream does, what remains is not told of while it is pods.
			e.left, e.finalizers = nil, nil
			e.waits = true
			return e
		}
	}
	for _, v := range rest {
		if ctx.Err() != nil {
			return e
		}
		e.clear(ctx, v)
	}
	for _, gvr := range others.resources {
		e.clearElsewhere(ctx, others, gvr)
	}
	return e
}

// deletable returns the resources of which there may be something in a namespace,
// each in the version that is preferred.
func deletable(c *kind.Catalogue) []*kind.Version {
	var all []*kind.Version
	for _, g := range c.Groups {
		seen := map[string]bool{}
		for _, version := range g.Versions {
			for _, r := range g.Resources {
				if !r.Namespaced || r.Storage == nil || seen[r.Name] || !slices.Contains(r.Verbs, "delete") {
					continue
				}
				if i := slices.IndexFunc(r.Versions, func(v *kind.Version) bool { return v.Name == version }); i >= 0 {
					seen[r.Name] = true
					all = append(all, r.Versions[i])
				}
			}
		}
	}
	return all
}

// fail records that objects could not be deleted.
func (e *emptying) fail(err error) {
	e.content = append(e.content, err)
	e.failures = append(e.failures, err)
}

// clear deletes the objects of a resource, and records what remains of them.
func (e *emptying) clear(ctx context.Context, v *kind.Version) {
	prefix := v.Resource.Storage.Prefix
	if !e.holds(prefix, e.ns.Name) {
		return
	}
	gr := v.GVR().GroupResource()
	var grace time.Duration
	if gr == pods {
		var err error
		if grace, err = e.grace(v.Resource); err != nil {
			e.fail(err)
			return
		}
	}
	if err := e.delete(ctx, v); err != nil {
		e.fail(err)
		e.changes = append(e.changes, change{prefix: prefix, since: e.state.Rev()})
		return
	}
	now := e.state.Snapshot(prefix)
	n, finalizers, err := e.count(v.Resource, now)
	switch {
	case err != nil:
		e.fail(err)
	case n > 0:
		e.findings.count(gr, n, finalizers)
		e.waits = true
		e.changes = append(e.changes, change{prefix: prefix, since: now.Rev})
	}
	if n == 0 || err != nil {
		return
	}
	switch {
	case grace > 0:
		e.soon(grace)
	case len(finalizers) == 0:
		// They should have gone. Where they are pods, that is who runs them.
		err := fmt.Errorf("unexpected items still remain in namespace: %s for gvr: %v", e.ns.Name, v.GVR())
		e.content = append(e.content, err)
		if gr != pods {
			e.failures = append(e.failures, err)
		}
	}
}

// grace returns how much of the time is left that pods have to end, at most.
func (e *emptying) grace(r *kind.Resource) (time.Duration, error) {
	var most int64
	err := e.each(r, e.state.Snapshot(r.Storage.Prefix), func(o *object.Object) error {
		pod, err := controller.Read[*api.Pod](r, o)
		if err != nil || pod.Status.Phase == api.PodSucceeded || pod.Status.Phase == api.PodFailed {
			return err
		}
		if s := pod.Spec.TerminationGracePeriodSeconds; s != nil {
			most = max(most, *s)
		}
		return nil
	})
	return max(0, time.Duration(most)*time.Second-e.Clock.Since(e.ns.DeletionTimestamp.Time)), err
}

// each calls do for the objects of a resource in the namespace until one fails.
func (e *emptying) each(r *kind.Resource, all state.Snapshot, do func(*object.Object) error) (err error) {
	all.Each(state.Range{Namespace: e.ns.Name}, func(o *object.Object) bool {
		err = do(o)
		return err == nil
	})
	return err
}

// delete asks for the deletion of the objects of a resource, whose dependents go
// with them or by themselves.
func (e *emptying) delete(ctx context.Context, v *kind.Version) error {
	background := metav1.DeletePropagationBackground
	options := func() *metav1.DeleteOptions { return &metav1.DeleteOptions{PropagationPolicy: &background} }
	verbs := e.client.Verbs
	t := verb.Target{Version: v, Namespace: e.ns.Name}
	if slices.Contains(v.Resource.Verbs, "deletecollection") {
		_, err := verbs.DeleteTogether(t.Context(ctx, "deletecollection", e.client.User), t, &metainternalversion.ListOptions{}, options(), together)
		return err
	}
	return e.each(v.Resource, e.state.Snapshot(v.Resource.Storage.Prefix), func(o *object.Object) error {
		one := t
		one.Name = o.Name
		_, err := verbs.Delete(one.Context(ctx, "delete", e.client.User), one, options())
		if apierrors.IsNotFound(err) {
			return nil
		}
		return err
	})
}

// count counts the objects of a resource in the namespace, and their finalizers.
func (e *emptying) count(r *kind.Resource, all state.Snapshot) (n int, finalizers map[string]int, err error) {
	finalizers = map[string]int{}
	err = e.each(r, all, func(o *object.Object) error {
		obj, err := r.Decode(o)
		if err != nil {
			return err
		}
		m, err := meta.Accessor(obj)
		if err != nil {
			return err
		}
		n++
		for _, f := range m.GetFinalizers() {
			finalizers[f]++
		}
		return nil
	})
	return n, finalizers, err
}
