package aggregate

import (
	"context"
	"sync"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"
)

func TestDoubling(t *testing.T) {
	backoff := doubling(500*time.Millisecond, time.Minute)
	for failures, want := range map[int]time.Duration{
		0: 500 * time.Millisecond, 1: time.Second, 3: 4 * time.Second, 6: 32 * time.Second, 7: time.Minute, 1000: time.Minute,
	} {
		if got := backoff(failures); got != want {
			t.Errorf("after %d failures: %s, want %s", failures, got, want)
		}
	}
}

// What was dropped while it was fetched is not fetched again; what was wanted
// meanwhile is, right after.
func TestRoundsWhileFetching(t *testing.T) {
	clock := clocktesting.NewFakeClock(time.Now())
	fetches, proceed := make(chan string, 4), make(chan struct{})
	r := &rounds[string]{
		clock: clock, again: time.Minute, backoff: doubling(time.Second, time.Minute),
		fetch: func(_ context.Context, key string) error {
			fetches <- key
			<-proceed
			return nil
		},
	}
	changes := make(chan chan struct{}, 1)
	step := 0
	learned := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	next := make(chan struct{})
	changes <- next
	running.Go(func() {
		r.run(ctx, func() <-chan struct{} { return <-changes }, func() {
			switch step {
			case 0:
				r.want("again", 0)
			case 1:
				r.want("again", 0)
				r.want("dropped", 0)
			case 2:
				r.drop("dropped")
			}
			step++
			learned <- struct{}{}
		})
	})
	change := func() {
		now := next
		next = make(chan struct{})
		changes <- next
		close(now)
		<-learned
	}
	<-learned
	if got := <-fetches; got != "again" {
		t.Fatalf("%q is fetched first", got)
	}
	change()
	if got := <-fetches; got != "dropped" {
		t.Fatalf("%q is fetched while it is being fetched", got)
	}
	change()
	proceed <- struct{}{}
	proceed <- struct{}{}
	if got := <-fetches; got != "again" {
		t.Errorf("%q is fetched again", got)
	}
	proceed <- struct{}{}
	for !clock.HasWaiters() {
		time.Sleep(time.Millisecond)
	}
	clock.Step(time.Minute)
	if got := <-fetches; got != "again" {
		t.Errorf("%q is fetched again", got)
	}
	cancel()
	close(proceed)
	running.Wait()
	if n := len(fetches); n > 0 {
		t.Errorf("%d more are fetched", n)
	}
}
