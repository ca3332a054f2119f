package memory_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/knarr-io/knarr/internal/store"
	"github.com/knarr-io/knarr/internal/store/memory"
	"github.com/knarr-io/knarr/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Backend {
		clock := clocktesting.NewFakeClock(time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC))
		return storetest.Backend{
			Open:     func(testing.TB) store.Store { return memory.New(memory.Options{Clock: clock}) },
			Embedded: true,
			Clock:    clock,
		}
	})
}
