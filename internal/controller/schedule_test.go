package controller

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"
)

// ready returns what is to be looked at now.
func ready(t *testing.T, s *Schedule[string]) (all []string) {
	t.Helper()
	for {
		k, ok, _ := s.take()
		if !ok {
			return all
		}
		all = append(all, k)
	}
}

func TestSchedule(t *testing.T) {
	clock := clocktesting.NewFakeClock(time.Now())
	s := NewSchedule[string](clock)
	want := func(what string, want ...string) {
		t.Helper()
		if got := ready(t, s); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	want("nothing")
	for _, k := range []string{"b", "a", "b"} {
		s.Add(k)
	}
	want("each once, in their order", "b", "a")

	s.AddAfter("c", 3*time.Second)
	s.AddAfter("c", time.Second)   // earlier counts
	s.AddAfter("c", 2*time.Second) // later does not
	want("too early")
	clock.Step(time.Second)
	want("when it is due", "c")
	clock.Step(time.Minute)
	want("once only")

	s.AddAfter("d", 0)
	want("at once", "d")
}

func TestScheduleRetries(t *testing.T) {
	clock := clocktesting.NewFakeClock(time.Now())
	s := NewSchedule[string](clock)
	delay := firstRetry
	for n := range maxRetries {
		if !s.Retry("a") {
			t.Fatalf("given up after %d times", n)
		}
		clock.Step(delay - 1)
		if got := ready(t, s); got != nil {
			t.Fatalf("retry %d comes before its time", n)
		}
		clock.Step(1)
		if got := ready(t, s); !slices.Equal(got, []string{"a"}) {
			t.Fatalf("retry %d: %q", n, got)
		}
		delay *= 2
	}
	if s.Retry("a") {
		t.Error("it is never given up")
	}
	s.Retry("b")
	clock.Step(firstRetry)
	ready(t, s)
	s.Succeeded("b")
	s.Retry("b")
	clock.Step(firstRetry)
	if got := ready(t, s); !slices.Equal(got, []string{"b"}) {
		t.Errorf("the first failure after a success waits longer: %q", got)
	}
}

// Next waits for what is added and what is due, and ends with its context.
func TestScheduleNext(t *testing.T) {
	clock := clocktesting.NewFakeClock(time.Now())
	s := NewSchedule[string](clock)
	next := make(chan string)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		for {
			k, err := s.Next(ctx)
			if err != nil {
				ended <- err
				return
			}
			next <- k
		}
	}()
	s.Add("now")
	if k := <-next; k != "now" {
		t.Errorf("got %q", k)
	}
	s.AddAfter("later", time.Minute)
	for !clock.HasWaiters() {
		time.Sleep(time.Millisecond)
	}
	clock.Step(time.Minute)
	if k := <-next; k != "later" {
		t.Errorf("got %q", k)
	}
	s.Add("never")
	cancel()
	select {
	case <-next: // it was on its way
		<-ended
	case <-ended:
	}
}

// Work tries again what fails, gives up in the end, and ends with its context.
func TestScheduleWork(t *testing.T) {
	clock := clocktesting.NewFakeClock(time.Now())
	s := NewSchedule[string](clock)
	s.Add("good")
	s.Add("bad")
	ctx, cancel := context.WithCancel(t.Context())
	tried, gaveUp := map[string]int{}, 0
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.Work(ctx, func(_ context.Context, k string) error {
			if tried[k]++; k == "bad" {
				return errors.New("as ever")
			}
			return nil
		}, func(k string, err error) {
			if k != "bad" || err.Error() != "as ever" {
				t.Errorf("gave up %s: %v", k, err)
			}
			gaveUp++
			cancel()
		})
	}()
	for done := false; !done; {
		select {
		case <-ended:
			done = true
		default:
			if clock.HasWaiters() {
				clock.Step(time.Hour)
			}
		}
	}
	if tried["good"] != 1 || tried["bad"] != maxRetries+1 || gaveUp != 1 {
		t.Errorf("tried %v, gave up %d times", tried, gaveUp)
	}
}

// WorkMany looks at many things at once, at none twice at once, and again at what
// was added meanwhile.
func TestScheduleWorkMany(t *testing.T) {
	s := NewSchedule[int](clocktesting.NewFakeClock(time.Now()))
	ctx, cancel := context.WithCancel(t.Context())
	const things, most = 50, 8
	var mu sync.Mutex // guards what follows
	at, now, peak, looked := map[int]bool{}, 0, 0, map[int]int{}
	full := make(chan struct{}) // closed when as many are looked at as may be
	for k := range things {
		s.Add(k)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.WorkMany(ctx, most, func(_ context.Context, k int) error {
			mu.Lock()
			if at[k] {
				t.Errorf("%d is looked at twice at once", k)
			}
			at[k] = true
			now++
			peak = max(peak, now)
			if now == most && looked[k] == 0 {
				select {
				case <-full:
				default:
					close(full)
				}
			}
			looked[k]++
			again := looked[k] < 3
			mu.Unlock()
			<-full
			if again {
				s.Add(k)
			}
			mu.Lock()
			defer mu.Unlock()
			at[k] = false
			now--
			return nil
		}, nil)
	}()
	done := func() bool {
		mu.Lock()
		defer mu.Unlock()
		for k := range things {
			if looked[k] < 3 {
				return false
			}
		}
		return now == 0
	}
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not end")
		}
	}
	cancel()
	<-ended
	if peak != most {
		t.Errorf("%d at once, want %d", peak, most)
	}
	for k, n := range looked {
		if n != 3 {
			t.Errorf("%d was looked at %d times", k, n)
		}
	}
}

// WorkMany tries again what fails, ends with its context, and waits for who works.
func TestScheduleWorkManyFails(t *testing.T) {
	clock := clocktesting.NewFakeClock(time.Now())
	s := NewSchedule[string](clock)
	s.Add("bad")
	ctx, cancel := context.WithCancel(t.Context())
	tried, ended := 0, make(chan struct{})
	go func() {
		defer close(ended)
		s.WorkMany(ctx, 2, func(context.Context, string) error {
			tried++
			return errors.New("as ever")
		}, func(string, error) { cancel() })
	}()
	for done := false; !done; {
		select {
		case <-ended:
			done = true
		default:
			if clock.HasWaiters() {
				clock.Step(time.Hour)
			}
		}
	}
	if tried != maxRetries+1 {
		t.Errorf("tried %d times", tried)
	}
}
