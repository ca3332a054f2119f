package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/knarr-io/knarr/twin/compare"
	"github.com/knarr-io/knarr/twin/fuzz"
	"github.com/knarr-io/knarr/twin/sample"
	"github.com/knarr-io/knarr/twin/stories"
	"github.com/knarr-io/knarr/twin/story"
)

// fuzzFlags say how long and how stories are made up.
type fuzzFlags struct {
	time     time.Duration // 0: not at all, unless only is set
	seed     uint64
	only     int64 // the number of the one story to tell, or -1
	stop     int   // at so many differences
	parallel int
	custom   bool // of custom resources
}

func (f fuzzFlags) on() bool { return f.time > 0 || f.only >= 0 }

// fuzzing tells stories that are made up until the time is over or enough differ.
func fuzzing(ctx context.Context, f flags, out io.Writer, pair *compare.Pair, reference compare.Side) error {
	resources, err := sample.Discover(ctx, reference.Config)
	if err != nil {
		return err
	}
	full, err := sample.FindFull(ctx, filepath.Join(f.root, "twin"))
	if err != nil {
		return err
	}
	maker, err := newTeller(ctx, f, resources, full)
	if err != nil {
		return err
	}
	run := &fuzzRun{flags: f, out: out, pair: pair, maker: maker, seen: map[string]int{}, deadline: time.Now().Add(f.fuzz.time)}
	if f.fuzz.only >= 0 {
		run.next, run.last = uint64(f.fuzz.only), uint64(f.fuzz.only)+1
		run.deadline = time.Now().Add(time.Hour)
	}
	began := time.Now()
	var workers sync.WaitGroup
	for range max(1, f.fuzz.parallel) {
		workers.Go(func() { run.work(ctx) })
	}
	workers.Wait()
	return run.finish(time.Since(began))
}

// A teller makes up stories. That of a number is always the same.
type teller interface {
	Story(number uint64) story.Story
}

// newTeller returns what makes up the stories that are asked for.
func newTeller(ctx context.Context, f flags, resources []sample.Resource, full sample.Full) (teller, error) {
	if !f.fuzz.custom {
		return fuzz.New(f.fuzz.seed, resources, full)
	}
	var published []map[string]any
	if f.published {
		var err error
		if published, err = stories.PublishedDefinitions(ctx); err != nil {
			return nil, err
		}
	}
	return fuzz.NewCustom(f.fuzz.seed, published), nil
}

// A fuzzRun is shared by its workers; mu guards what is below it.
type fuzzRun struct {
	flags    flags
	out      io.Writer
	pair     *compare.Pair
	maker    teller
	deadline time.Time
	last     uint64 // stories from this number on are not told; 0 for no end

	mu                          sync.Mutex
	next                        uint64
	stories, requests, failures int
	accepted, refused           int
	known, chance               int            // stories with known differences only, and with ones not seen every time
	seen                        map[string]int // differing stories, by what differs
	err                         error
}

func (r *fuzzRun) work(ctx context.Context) {
	for {
		number, more := r.take()
		if !more || ctx.Err() != nil {
			return
		}
		if err := r.tell(ctx, number); err != nil && ctx.Err() == nil {
			r.mu.Lock()
			r.err = err
			r.mu.Unlock()
			return
		}
	}
}

func (r *fuzzRun) take() (uint64, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	number := r.next
	if r.err != nil || !time.Now().Before(r.deadline) || len(r.seen) >= r.flags.fuzz.stop || (r.last > 0 && number >= r.last) {
		return 0, false
	}
	r.next++
	return number, true
}

// tellings is how often a story that differs is told: what is not seen every time was
// chance, such as which of two unknown fields upstream finds first in a map.
const tellings = 8

// tell tells a story, again if it differs.
func (r *fuzzRun) tell(ctx context.Context, number uint64) error {
	s := r.maker.Story(number)
	if !r.flags.run.MatchString(s.Name) {
		return nil
	}
	result, err := r.pair.Tell(ctx, s)
	if err != nil {
		return err
	}
	if r.flags.keep != "" && r.last > 0 {
		if err := keep(r.flags.keep, result); err != nil {
			return err
		}
	}
	first, differs := unexplained(result)
	always := differs
	for told := 1; always && told < tellings; told++ {
		repeated, err := r.pair.Tell(ctx, s)
		if err != nil {
			return err
		}
		first, always = unexplained(repeated)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stories++
	r.requests += result.Requests
	r.failures += result.Failures
	r.accepted += result.Accepted
	r.refused += result.Refused
	switch {
	case always:
		r.show(s.Name, number, first)
	case differs:
		r.chance++
	case !result.Equal():
		r.known++
	}
	return nil
}

// unexplained is the first difference that no known one explains; what comes after it
// in a story may follow from it.
func unexplained(result compare.Result) (compare.Difference, bool) {
	for _, d := range result.Differences {
		if len(d.Unexplained) > 0 {
			return d, true
		}
	}
	return compare.Difference{}, false
}

var digits = regexp.MustCompile(`[0-9]+`)

// show prints a difference unless the like of it was shown before.
func (r *fuzzRun) show(name string, number uint64, d compare.Difference) {
	method, _, _ := strings.Cut(d.Request, " ")
	like := digits.ReplaceAllString(filepath.Dir(name)+" "+method+" "+strings.Join(d.Unexplained, "\n"), "0")
	r.seen[like]++
	if r.seen[like] > 1 {
		return
	}
	fmt.Fprintf(r.out, "\ndiffers %s\n    again: twin -seed %d -case %d\n", name, r.flags.fuzz.seed, number)
	report := newReport(r.out, false, r.flags.lines)
	report.difference(d)
}

func (r *fuzzRun) finish(took time.Duration) error {
	differing := 0
	for _, n := range r.seen {
		differing += n
	}
	fmt.Fprintf(r.out, "\n| seed | time | stories | requests | accepted | refused | known differences only | not seen every time | differing stories | different differences | answers 500 |\n")
	fmt.Fprintf(r.out, "|---|---|---|---|---|---|---|---|---|---|---|\n")
	fmt.Fprintf(r.out, "| %d | %s | %d | %d | %d | %d | %d | %d | %d | %d | %d |\n", r.flags.fuzz.seed, took.Round(time.Second),
		r.stories, r.requests, r.accepted, r.refused, r.known, r.chance, differing, len(r.seen), r.failures)
	if r.err == nil && differing > 0 {
		return fmt.Errorf("%d stories differ", differing)
	}
	return r.err
}
