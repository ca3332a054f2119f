// Command bench puts the same work on a kube-apiserver with etcd and on knarr, one
// after the other, over the same client, and prints what it cost each: time to
// ready, memory, and per operation the server's processor time and the latency.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/knarr-io/knarr/twin/peer"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		cancel()
		os.Exit(1)
	}
}

// sizes are how much work is done.
type sizes struct {
	starts   int           // of which the median counts
	settle   time.Duration // before memory is read
	inFlight int           // requests at a time
	pods     int
	patches  int
	configs  int
	gets     int
	lists    int
	watchers int
	updates  int
}

var (
	full  = sizes{starts: 5, settle: 15 * time.Second, inFlight: 8, pods: 10000, patches: 3000, configs: 3000, gets: 20000, lists: 10, watchers: 1000, updates: 200}
	quick = sizes{starts: 1, settle: 2 * time.Second, inFlight: 8, pods: 1000, patches: 300, configs: 300, gets: 2000, lists: 3, watchers: 100, updates: 20}
)

type flags struct {
	root    string
	only    string
	knarr   string
	results string
	quick   bool
	guarded bool
	sizes   sizes
	// definitions, if not zero, has many definitions measured instead, and
	// definitionsUnused is how long nothing is done with them at the end.
	definitions       int
	definitionsUnused time.Duration
}

func parse(arguments []string) (flags, error) {
	var f flags
	set := flag.NewFlagSet("bench", flag.ContinueOnError)
	set.StringVar(&f.root, "root", "..", "the repository's root directory")
	set.StringVar(&f.only, "only", "", "measure only this server: kube-apiserver or knarr")
	set.StringVar(&f.knarr, "knarr", "", "the knarr to measure; built from the repository if empty")
	set.StringVar(&f.results, "results", "", "also write the report into this file")
	set.BoolVar(&f.quick, "quick", false, "do a tenth of the work; the figures are for development only")
	set.BoolVar(&f.guarded, "guarded", false, "ask with a token whose owner has his rights by RBAC, and have every request recorded at Metadata")
	set.IntVar(&f.definitions, "definitions", 0, "measure what so many CustomResourceDefinitions cost (see DEFINITIONS.md), and nothing else; -only says which server if not knarr")
	set.DurationVar(&f.definitionsUnused, "unused", 0, "with -definitions, read memory once more after so long without a request")
	n := full
	set.IntVar(&n.pods, "pods", full.pods, "how many pods to create and list")
	set.IntVar(&n.watchers, "watchers", full.watchers, "how many watchers to fan out to")
	set.IntVar(&n.updates, "updates", full.updates, "how many updates each watcher is told of")
	set.IntVar(&n.inFlight, "in-flight", full.inFlight, "how many requests are sent at a time, lists apart")
	set.IntVar(&n.starts, "starts", full.starts, "how many times each server is started")
	if err := set.Parse(arguments); err != nil {
		return f, err
	}
	f.sizes = n
	if f.quick {
		f.sizes = quick
	}
	if f.only != "" && f.only != "kube-apiserver" && f.only != "knarr" {
		return f, fmt.Errorf("-only=%s: there are kube-apiserver and knarr", f.only)
	}
	return f, nil
}

func run(ctx context.Context, arguments []string) error {
	f, err := parse(arguments)
	if err != nil {
		return err
	}
	if f.only == "kube-apiserver" {
		f.knarr = "not needed"
	}
	binaries, err := peer.Build(ctx, f.root, f.knarr)
	if err != nil {
		return err
	}
	if f.definitions > 0 {
		return runMany(ctx, f, binaries, "go run . "+strings.Join(arguments, " "))
	}
	var reports [2]*report
	for i, candidate := range candidates() {
		if f.only != "" && f.only != candidate.name {
			continue
		}
		if reports[i], err = measure(ctx, f, binaries, candidate.start, candidate.name); err != nil {
			return errors.Join(fmt.Errorf("%s: %w", candidate.name, err), ctx.Err())
		}
	}
	text := render(reports[0], reports[1], f, "go run . "+strings.Join(arguments, " "))
	fmt.Print(text)
	if f.results != "" {
		return os.WriteFile(f.results, []byte(text), 0o644)
	}
	return nil
}

type candidate struct {
	name  string
	start peer.Starter
}

func candidates() []candidate {
	return []candidate{{"kube-apiserver", peer.StartKubeAPIServer}, {"knarr", peer.StartKnarr}}
}

// runMany measures one server with many definitions.
func runMany(ctx context.Context, f flags, b peer.Binaries, command string) error {
	c := candidates()[1]
	if f.only == "kube-apiserver" {
		c = candidates()[0]
	}
	r, err := many(ctx, f, b, c.start, c.name)
	if err != nil {
		return errors.Join(fmt.Errorf("%s: %w", c.name, err), ctx.Err())
	}
	text := r.render(command)
	fmt.Print(text)
	if f.results != "" {
		return os.WriteFile(f.results, []byte(text), 0o644)
	}
	return nil
}

// measure starts a server as often as asked for and does all the work on the last one.
func measure(ctx context.Context, f flags, b peer.Binaries, start peer.Starter, name string) (*report, error) {
	r := &report{}
	for i := range f.sizes.starts {
		if err := measureStart(ctx, f, b, start, name, r, i == f.sizes.starts-1); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func measureStart(ctx context.Context, f flags, b peer.Binaries, start peer.Starter, name string, r *report, last bool) error {
	// All data is on the disk that the repository is on.
	dir, err := os.MkdirTemp(filepath.Join(f.root, "twin", ".peers"), "bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	options := peer.Options{Dir: dir}
	if f.guarded {
		if options, err = guardedOptions(dir); err != nil {
			return err
		}
	}
	server, err := start(ctx, b, options)
	if err != nil {
		return err
	}
	defer server.Stop()
	progress(name, "ready after %s", server.Ready.Round(time.Millisecond))
	r.ready = append(r.ready, server.Ready)
	if !last {
		return nil
	}
	if f.guarded {
		if err := admit(ctx, server); err != nil {
			return err
		}
	}
	w, err := newWork(ctx, name, server, f.sizes)
	if err != nil {
		return err
	}
	return w.do(r)
}

func progress(server, format string, arguments ...any) {
	fmt.Fprintf(os.Stderr, "%s  %-14s  %s\n", time.Now().Format(time.TimeOnly), server, fmt.Sprintf(format, arguments...))
}
