package bootstrap

import (
	"context"
	"sync"
	"time"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/knarr-io/knarr/internal/controller"
	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/state"
	"github.com/knarr-io/knarr/internal/verb"
)

// ensureInterval is how often upstream puts the objects of priority and
// fairness right. Here it is how soon that is done again: they are looked at
// when they change, but another server may not agree on how they should be.
const ensureInterval = time.Minute

// KeepFlowControl keeps the objects of priority and fairness that Run has made
// as upstream does: the mandatory ones as they were, the others as long as
// nobody has taken them over. It returns when ctx ends. clock tells the time.
func KeepFlowControl(ctx context.Context, verbs *verb.Verbs, catalogue *kind.Catalogue, clock clock.Clock) {
	r := &run{verbs: verbs, catalogue: catalogue}
	schemas, hasSchemas := served[*flowcontrolv1.FlowSchema](r, flowcontrolv1.SchemeGroupVersion.WithResource("flowschemas"))
	levels, hasLevels := served[*flowcontrolv1.PriorityLevelConfiguration](r, flowcontrolv1.SchemeGroupVersion.WithResource("prioritylevelconfigurations"))
	if !hasSchemas || !hasLevels {
		return
	}
	k := &flowKeeper{
		run: r, clock: clock, schemas: schemas, levels: levels,
		schedule: controller.NewSchedule[struct{}](clock),
	}
	k.keep(ctx)
}

type flowKeeper struct {
	*run
	clock    clock.Clock
	schemas  objects[*flowcontrolv1.FlowSchema]
	levels   objects[*flowcontrolv1.PriorityLevelConfiguration]
	schedule *controller.Schedule[struct{}]
	ensured  time.Time // when something was put right last
}

func (k *flowKeeper) keep(ctx context.Context) {
	var following sync.WaitGroup
	defer following.Wait()
	for _, v := range []*kind.Version{k.schemas.version, k.levels.version} {
		following.Go(func() {
			see := func(*state.Event) { k.schedule.Add(struct{}{}) }
			k.verbs.State.Follow(ctx, v.Resource.Storage.Prefix, state.AsNew(see), see)
		})
	}
	for {
		if _, err := k.schedule.Next(ctx); err != nil {
			return
		}
		if err := k.ensure(ctx); err != nil && ctx.Err() == nil {
			klog.ErrorS(err, "An object of priority and fairness could not be kept; it will be tried again")
			k.schedule.AddAfter(struct{}{}, keepInterval)
		}
	}
}

// ensure puts the objects right, unless that was done just now.
func (k *flowKeeper) ensure(ctx context.Context) error {
	if wait := ensureInterval - k.clock.Since(k.ensured); wait > 0 && !k.ensured.IsZero() {
		k.schedule.AddAfter(struct{}{}, wait)
		return nil
	}
	before := k.revisions()
	err := k.all(ctx, k.flowSchemas, k.priorityLevels)
	if k.revisions() != before {
		k.ensured = k.clock.Now()
	}
	return err
}

// revisions is different when an object has been written.
func (k *flowKeeper) revisions() (sum uint64) {
	add := func(o *object.Object) bool {
		sum += o.Rev
		return true
	}
	k.schemas.each(add)
	k.levels.each(add)
	return sum
}
