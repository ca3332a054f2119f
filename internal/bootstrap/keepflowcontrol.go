package bootstrap

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
// nobody has taken them over. Every flow schema tells whether its priority
// level exists. It returns when ctx ends. clock tells the time.
func KeepFlowControl(ctx context.Context, verbs *verb.Verbs, catalogue *kind.Catalogue, clock clock.Clock) {
	r := &run{verbs: verbs, catalogue: catalogue}
	schemas, hasSchemas := served[*flowcontrolv1.FlowSchema](r, flowcontrolv1.SchemeGroupVersion.WithResource("flowschemas"))
	levels, hasLevels := served[*flowcontrolv1.PriorityLevelConfiguration](r, flowcontrolv1.SchemeGroupVersion.WithResource("prioritylevelconfigurations"))
	if !hasSchemas || !hasLevels {
		return
	}
	k := &flowKeeper{
		run: r, clock: clock, schemas: schemas, levels: levels,
		client:   controller.Client{Verbs: verbs, Catalogue: catalogue, User: apiserver},
		schedule: controller.NewSchedule[flowWork](clock),
	}
	k.keep(ctx)
}

type flowKeeper struct {
	*run
	clock    clock.Clock
	schemas  objects[*flowcontrolv1.FlowSchema]
	levels   objects[*flowcontrolv1.PriorityLevelConfiguration]
	client   controller.Client
	schedule *controller.Schedule[flowWork]
	ensured  time.Time // when something was put right last
}

// flowWork is to look at the condition of the flow schema of that name; if it
// is empty, at the specs of all objects.
type flowWork string

const everySpec flowWork = ""

func (k *flowKeeper) keep(ctx context.Context) {
	var following sync.WaitGroup
	defer following.Wait()
	follow := func(v *kind.Version, see func(*state.Event)) {
		following.Go(func() {
			k.verbs.State.Follow(ctx, v.Resource.Storage.Prefix, state.AsNew(see), see)
		})
	}
	follow(k.schemas.version, func(e *state.Event) {
		k.schedule.Add(everySpec)
		k.schedule.Add(flowWork(e.Object.Name))
	})
	follow(k.levels.version, func(e *state.Event) {
		k.schedule.Add(everySpec)
		if e.Prev != nil && !e.Deleted {
			return
		}
		k.schemas.each(func(o *object.Object) bool {
			k.schedule.Add(flowWork(o.Name))
			return true
		})
	})
	for {
		work, err := k.schedule.Next(ctx)
		if err != nil {
			return
		}
		if err := k.do(ctx, work); err != nil && ctx.Err() == nil {
			klog.ErrorS(err, "An object of priority and fairness could not be kept; it will be tried again", "name", work)
			k.schedule.AddAfter(work, keepInterval)
		}
	}
}

func (k *flowKeeper) do(ctx context.Context, work flowWork) error {
	if work != everySpec {
		return k.mark(ctx, string(work))
	}
	if wait := ensureInterval - k.clock.Since(k.ensured); wait > 0 && !k.ensured.IsZero() {
		k.schedule.AddAfter(work, wait)
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

// mark has a flow schema tell whether its priority level exists.
func (k *flowKeeper) mark(ctx context.Context, name string) error {
	schema, err := k.schemas.Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	want := dangling(schema, k.levels.stored(schema.Spec.PriorityLevelConfiguration.Name) != nil)
	if want == nil {
		return nil
	}
	patch, err := json.Marshal(map[string]any{
		"apiVersion": flowcontrolv1.SchemeGroupVersion.String(), "kind": "FlowSchema",
		"metadata": map[string]any{"name": name},
		"status":   map[string]any{"conditions": []*flowcontrolv1.FlowSchemaCondition{want}},
	})
	if err != nil {
		return err
	}
	err = k.client.ApplyStatus(ctx, flowcontrolv1.SchemeGroupVersion.WithResource("flowschemas"), "", name, conditionOwner, patch)
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
