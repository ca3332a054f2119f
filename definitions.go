package knarr

import (
	"context"
	"runtime/debug"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/util/webhook"

	"github.com/knarr-io/knarr/internal/controller/definitions"
	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/kind/custom"
	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/ownership"
	"github.com/knarr-io/knarr/internal/verb"
)

// newDefinitions returns the keeper of definitions, which serves what is native
// alone until keepDefinitions. Webhooks that are Services are found by resolver.
func newDefinitions(native *kind.Catalogue, resolver webhook.ServiceResolver) (*definitions.Keeper, error) {
	converter, err := custom.NewConverter(resolver, nil)
	if err != nil {
		return nil, err
	}
	maker, err := custom.NewMaker(converter)
	if err != nil {
		return nil, err
	}
	return definitions.New(native, new(ownership.Managers), maker), nil
}

// keepDefinitions serves what is defined, and has that kept until background
// ends. No write was made through verbs yet.
func (s *Server) keepDefinitions(ctx, background context.Context, verbs *verb.Verbs, keeper *definitions.Keeper) {
	verbs.Committed = map[schema.GroupResource]func(context.Context, *object.Object){definitions.Resource: keeper.Committed}
	keeper.Start(ctx, verbs)
	s.background.Go(func() { keeper.Run(background) })
	s.background.Go(func() {
		every(background, unusedInterval, func() {
			if description := s.description.Load(); description != nil {
				description.DropUnused()
			}
			if keeper.DropUnused() >= manyDropped {
				debug.FreeOSMemory() // which else is kept for a heap as large as it was
			}
		})
	})
}

// unusedInterval is how often what is large and was not used since the last time
// is dropped.
const unusedInterval = 5 * time.Minute

// manyDropped is how many definitions it takes, of some hundred kilobytes each,
// for the memory to be given back at once.
const manyDropped = 50

// every does something at intervals until ctx ends.
func every(ctx context.Context, interval time.Duration, do func()) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			do()
		case <-ctx.Done():
			return
		}
	}
}
