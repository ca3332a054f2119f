package bootstrap

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/client-go/util/retry"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/knarr-io/knarr/internal/controller"
	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/state"
	"github.com/knarr-io/knarr/internal/verb"
)

// keepInterval is how often upstream looks whether what stands for the server
// is there. Here it is how soon something is put right again after it was: it
// may be that another does not agree.
const keepInterval = 10 * time.Second

// KeepKubernetes keeps what stands for the server, as Run has made it: what is
// deleted is made anew at once, and endpoints that were changed are put right; and
// what tells since when the use of tokens is noted. It returns when ctx ends. clock
// tells the time.
func KeepKubernetes(ctx context.Context, verbs *verb.Verbs, catalogue *kind.Catalogue, o Options, clock clock.Clock) {
	r := &run{ctx: ctx, verbs: verbs, catalogue: catalogue, options: o}
	r.keep(clock, append(r.standing(), r.tracking()...))
}

// keep keeps what stands there until r's context ends.
func (r *run) keep(clock clock.Clock, all []standing) {
	k := keeper{
		state: r.verbs.State, clock: clock, all: all, writes: &r.made,
		schedule: controller.NewSchedule[int](clock), written: make([]time.Time, len(all)),
	}
	k.run(r.ctx)
}

type keeper struct {
	state    *state.State
	clock    clock.Clock
	all      []standing
	writes   *atomic.Int64             // how many writes that made
	schedule *controller.Schedule[int] // of all, by index
	written  []time.Time               // when each was put right last
}

func (k *keeper) run(ctx context.Context) {
	var following sync.WaitGroup
	defer following.Wait()
	for i, s := range k.all {
		for _, key := range s.keys {
			prefix := state.ResourceOf(key)
			want := object.New(prefix, key, nil, 0, nil)
			see := func(e *state.Event) {
				if e.Object.Name == want.Name && e.Object.Namespace == want.Namespace {
					k.schedule.Add(i)
				}
			}
			following.Go(func() {
				k.state.Follow(ctx, prefix, func(state.Snapshot) { k.schedule.Add(i) }, see)
			})
		}
	}
	for {
		i, err := k.schedule.Next(ctx)
		if err != nil {
			return
		}
		if wait := max(keepInterval, k.all[i].rarely) - k.clock.Since(k.written[i]); wait > 0 && !k.written[i].IsZero() {
			k.schedule.AddAfter(i, wait)
			continue
		}
		if err := k.keep(ctx, i); err != nil && ctx.Err() == nil {
			klog.ErrorS(err, "What stands for the server could not be kept; it will be tried again", "object", k.all[i].what)
			k.schedule.AddAfter(i, keepInterval)
		}
	}
}

// keep puts one thing right, and notes when it had to. What becomes of its
// objects meanwhile says nothing of that: it may be another's doing.
func (k *keeper) keep(ctx context.Context, i int) error {
	now, before := k.clock.Now(), k.writes.Load()
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error { return k.all[i].write(ctx) })
	if k.writes.Load() != before {
		k.written[i] = now
	}
	return err
}
