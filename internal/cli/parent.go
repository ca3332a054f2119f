package cli

import (
	"context"
	"os"
	"time"
)

// untilOrphaned returns a context that ends with ctx, or soon after the process
// that started this one: what a test has started must not outlive it, also when
// the test was killed. Looking at who the parent is works on every system; the
// signal that Linux sends when the parent's thread ends does not serve, since a
// Go program's threads come and go.
func untilOrphaned(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	parent := os.Getppid()
	go func() {
		tick := time.NewTicker(500 * time.Millisecond)
		defer tick.Stop()
		for os.Getppid() == parent {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
		cancel()
	}()
	return ctx, cancel
}
