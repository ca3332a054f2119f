package main

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/knarr-io/knarr/twin/peer"
)

// A cost is what one operation took, of many.
type cost struct {
	count    int
	cpu      time.Duration // of the server, per operation
	p50, p99 time.Duration // at the client
	bytes    int64         // of an answer, where that is of interest
}

// timed does n operations, so many at a time, and returns what each cost the server
// and how long it took. The first error ends it.
func timed(ctx context.Context, server *peer.Server, n, inFlight int, do func(ctx context.Context, i int) error) (cost, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	took := make([]time.Duration, n)
	var next atomic.Int64
	before, err := server.CPU()
	if err != nil {
		return cost{}, err
	}
	var workers sync.WaitGroup
	for range inFlight {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				began := time.Now()
				if err := do(ctx, i); err != nil {
					cancel(err)
					return
				}
				took[i] = time.Since(began)
			}
		})
	}
	workers.Wait()
	if err := context.Cause(ctx); err != nil {
		return cost{}, err
	}
	after, err := server.CPU()
	if err != nil {
		return cost{}, err
	}
	c := cost{count: n, cpu: (after - before) / time.Duration(n)}
	c.p50, c.p99 = percentiles(took)
	return c, nil
}

// percentiles sorts the durations and returns their median and 99th percentile, by
// the nearest rank.
func percentiles(took []time.Duration) (p50, p99 time.Duration) {
	if len(took) == 0 {
		return 0, 0
	}
	slices.Sort(took)
	rank := func(percent int) time.Duration { return took[(len(took)*percent+99)/100-1] }
	return rank(50), rank(99)
}

func median(values []time.Duration) time.Duration {
	p50, _ := percentiles(slices.Clone(values))
	return p50
}
