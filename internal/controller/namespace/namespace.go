// Package namespace empties namespaces that are to go, and lets them go, as
// kube-controller-manager's namespace-controller does: first their pods, in the time
// that these have, then the rest; what keeps them is told in their conditions.
//
// It looks into the state which resources have anything in a namespace, and sleeps
// until something of what remains has changed. Nothing can be created in a namespace
// that is to go (see admission), so what was seen empty stays so.
//
// It must not know what the objects in a namespace are for.
package namespace

import (
	"context"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/knarr-io/knarr/internal/controller"
	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/state"
	"github.com/knarr-io/knarr/internal/verb"
)

const (
	// slowRetry is how long a namespace waits that failed time and again, upstream's
	// longest pause.
	slowRetry = time.Minute
	// toldEvery is how often the conditions of a namespace change at most while its
	// content becomes less.
	toldEvery = time.Second
	// together is how many objects are deleted at a time: they share commits.
	together = 32
	// account is who this is to others.
	account = "namespace-controller"
	// manager owns what is written of a namespace.
	manager = "kube-controller-manager"
)

var namespaces = corev1.SchemeGroupVersion.WithResource("namespaces")

// Options say what a controller works with.
type Options struct {
	// Catalogue tells what is served now.
	Catalogue func() *kind.Catalogue
	// Elsewhere reaches the API of the server if anything of it is served by others
	// now, and is nil if not.
	Elsewhere func() *rest.Config
	// Concurrent is how many namespaces are looked at at a time; default 10.
	Concurrent int
	Clock      clock.Clock
}

// Controller empties the namespaces of one server.
type Controller struct {
	Options
	client   controller.Client
	state    *state.State
	resource *kind.Resource
}

// New returns a controller that writes through verbs; nil if there are no
// namespaces.
func New(verbs *verb.Verbs, o Options) *Controller {
	now := o.Catalogue()
	r := now.Resource(namespaces.GroupResource())
	if r == nil {
		return nil
	}
	if o.Concurrent <= 0 {
		o.Concurrent = 10
	}
	return &Controller{
		Options: o, state: verbs.State, resource: r,
		client: controller.Client{Verbs: verbs, Catalogue: now, User: controller.ServiceAccount(account), Manager: manager},
	}
}

// Run empties namespaces until ctx ends, and returns when nothing of it runs any
// more. It may be run again.
func (c *Controller) Run(ctx context.Context) {
	r := &run{Controller: c, ctx: ctx, schedule: controller.NewSchedule[string](c.Clock), waits: controller.NewWaits[string](c.state)}
	defer r.waits.Wait()
	var following sync.WaitGroup
	defer following.Wait()
	see := func(e *state.Event) {
		if e.Deleted || c.terminating(e) {
			r.schedule.Add(e.Object.Name)
		}
	}
	following.Go(func() { c.state.Follow(ctx, c.resource.Storage.Prefix, state.AsNew(see), see) })
	r.schedule.WorkMany(ctx, c.Concurrent, r.work, func(name string, err error) {
		klog.ErrorS(err, "A namespace cannot be removed; it will be tried again", "namespace", name)
		r.schedule.AddAfter(name, slowRetry)
	})
}

// terminating reports whether a namespace is to go. One that cannot be read is kept.
func (c *Controller) terminating(e *state.Event) bool {
	a, err := e.Object.Attributes(c.resource.Selector())
	return err == nil && a.Fields.Get("status.phase") == string(corev1.NamespaceTerminating)
}

// run is a controller while it runs.
type run struct {
	*Controller
	ctx      context.Context
	schedule *controller.Schedule[string] // names of namespaces
	waits    *controller.Waits[string]
}

// work looks at a namespace, and sees to it that it is looked at again when
// something has changed.
func (r *run) work(ctx context.Context, name string) error {
	r.waits.For(ctx, name) // nothing, while it is looked at
	left, err := r.terminate(ctx, name)
	if ctx.Err() != nil {
		return nil
	}
	r.wait(name, left)
	if err != nil {
		klog.V(2).InfoS("A namespace cannot be removed yet", "namespace", name, "err", err)
	}
	return err
}
