// Package gc deletes what has lost its owners, as kube-controller-manager's
// garbage-collector-controller does: in the background, in the foreground, or
// leaving dependents behind. Who owns what is an index that follows the logs of all
// resources; whether an owner is there is looked up in the state.
//
// It must not know what a kind means. Owners that are served elsewhere, by
// APIServices, are taken to be there.
package gc

import (
	"context"

	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/knarr-io/knarr/internal/controller"
	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/state"
	"github.com/knarr-io/knarr/internal/verb"
)

// workers is how many objects are dealt with at once: as many as make one sync of
// the store worth its time. While there is nothing to do there is none.
const workers = 64

// Options are what a collector gets to work with.
type Options struct {
	// Catalogue tells what is served now.
	Catalogue func() *kind.Catalogue
	Clock     clock.Clock
}

// Controller collects the garbage of one server.
type Controller struct {
	Options
	verbs *verb.Verbs
	state *state.State
}

// New returns a collector that writes through verbs.
func New(verbs *verb.Verbs, o Options) *Controller {
	return &Controller{o, verbs, verbs.State}
}

// Run collects until ctx ends. It may be called again then.
func (c *Controller) Run(ctx context.Context) {
	r := &run{
		Controller: c,
		schedule:   controller.NewSchedule[task](c.Clock),
		recorder:   controller.NewCoreRecorder("garbage-collector-controller", c.Clock),
	}
	r.graph = newGraph(c.state, c.Catalogue, r.schedule.Add)
	working := make(chan struct{})
	go func() {
		defer close(working)
		r.schedule.WorkMany(ctx, workers, r.do, func(t task, err error) {
			klog.ErrorS(err, "An object could not be collected; it is tried again later", "resource", t.resource.GroupResource, "object", klog.KRef(t.namespace, t.name))
			r.schedule.AddAfter(t, muchLater)
		})
	}()
	for {
		rev := c.state.Rev()
		r.graph.catchUp()
		if c.state.WaitFor(ctx, rev+1) != nil {
			break
		}
	}
	<-working
}

// run is one Run.
type run struct {
	*Controller
	graph    *graph
	schedule *controller.Schedule[task]
	recorder *controller.CoreRecorder
}

// task is what is to be done.
type task struct {
	ref
	// note, if it is not empty, is what is to be told of the object, which has this
	// uid; else the object is looked at.
	uid, note string
}
