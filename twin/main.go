// Command twin tells the same stories to a kube-apiserver with etcd and to knarr and
// reports where the two answer differently. Differences that are known are listed,
// with the reason of each, in known-differences.yaml; any other, or a known one that
// is no longer there, makes the command fail.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/knarr-io/knarr/twin/compare"
	"github.com/knarr-io/knarr/twin/peer"
	"github.com/knarr-io/knarr/twin/sample"
	"github.com/knarr-io/knarr/twin/stories"
	"github.com/knarr-io/knarr/twin/story"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "twin:", err)
		cancel()
		os.Exit(1)
	}
}

type flags struct {
	root    string
	knarr   string
	self    bool
	run     *regexp.Regexp
	all     bool // every story is told and compared whole
	kubectl string
	// published has definitions applied that others have published.
	published bool
	// admissionOff has the stories told of plugins that are off by default.
	admissionOff bool
	ignore       []string
	verbose      bool
	lines        int
	keep         string
	logs         string
	servers      []string // flags for both servers
	// authorizers has the stories told of other authorizers than those by default.
	authorizers bool
	// certificates has requests for certificates looked after, and only those told of.
	certificates bool
	// lifecycle has what is to go deleted, and only that told of.
	lifecycle bool
	fuzz      fuzzFlags
}

func parse(arguments []string) (flags, error) {
	var f flags
	set := flag.NewFlagSet("twin", flag.ContinueOnError)
	set.StringVar(&f.root, "root", "..", "the repository's root directory")
	set.StringVar(&f.knarr, "knarr", "", "the knarr to compare; built from the repository if empty")
	set.BoolVar(&f.self, "self", false, "compare kube-apiserver with a second kube-apiserver, to prove the comparison itself")
	run := set.String("run", "", "tell only the stories whose name matches this regular expression")
	set.BoolVar(&f.published, "published", false, "also tell how kubectl applies definitions that others have published in Go modules, which are downloaded")
	set.StringVar(&f.kubectl, "kubectl", "", "also tell the stories of kubectl, by these releases of k8s.io/kubectl (v0.30.14,..., or built-in for the one within knarr) or all; each is built once")
	ignore := set.String("ignore", "", "do not compare these members of bodies (managedFields,...)")
	set.BoolVar(&f.verbose, "v", false, "show known differences too, and the stories that are equal")
	set.IntVar(&f.lines, "lines", 60, "show this many lines of one request's difference at most, 0 for all")
	set.StringVar(&f.keep, "transcripts", "", "write what the first server said into files below this directory")
	runtimeConfig := set.String("runtime-config", "", "start both servers with this --runtime-config (api/all=true, to have all kinds)")
	set.BoolVar(&f.authorizers, "authorizers", false, "configure both servers with webhooks and a policy of ABAC, and tell only what those decide")
	set.BoolVar(&f.admissionOff, "admission-off", false, "start both servers with the admission plugins that are off by default, and tell the stories of these alone")
	set.BoolVar(&f.certificates, "certificates", false, "have requests for certificates looked after, by kube-controller-manager beside kube-apiserver, and tell only what comes of them")
	set.BoolVar(&f.lifecycle, "lifecycle", false, "have deleted what has lost its owner, is in a namespace that goes or has had its time, by kube-controller-manager beside kube-apiserver, and tell only what comes of it")
	gates := set.String("feature-gates", "", "start both servers with these --feature-gates")
	encryption := set.String("encryption", "", "start both servers with this --encryption-provider-config")
	set.StringVar(&f.logs, "logs", "", "keep the servers' logs in this directory")
	set.DurationVar(&f.fuzz.time, "fuzz", 0, "tell made-up stories instead, for so long")
	set.Uint64Var(&f.fuzz.seed, "seed", 1, "make up the stories of this seed")
	set.BoolVar(&f.fuzz.custom, "custom", false, "make up stories of custom resources: schemas that are made up and, with -published, those that others have published")
	set.Int64Var(&f.fuzz.only, "case", -1, "tell only the made-up story of this number")
	set.IntVar(&f.fuzz.stop, "stop", 20, "make up no more stories after so many different differences")
	set.IntVar(&f.fuzz.parallel, "parallel", 2, "tell so many made-up stories at a time")
	if err := set.Parse(arguments); err != nil {
		return f, err
	}
	if *ignore != "" {
		f.ignore = strings.Split(*ignore, ",")
	}
	if *runtimeConfig != "" {
		f.servers = append(f.servers, "--runtime-config="+*runtimeConfig)
	}
	if *gates != "" {
		f.servers = append(f.servers, "--feature-gates="+*gates)
	}
	if *encryption != "" {
		f.servers = append(f.servers, "--encryption-provider-config="+*encryption)
	}
	if f.admissionOff {
		config, err := filepath.Abs(filepath.Join(f.root, "twin", "stories", "admission-off.yaml"))
		if err != nil {
			return f, err
		}
		f.servers = append(f.servers, "--enable-admission-plugins="+strings.Join(stories.OffByDefault, ","), "--admission-control-config-file="+config)
	}
	f.all = *run == "" && *ignore == "" && f.servers == nil && !f.certificates && !f.lifecycle
	if f.self {
		f.knarr = "not needed"
	}
	var err error
	if f.run, err = regexp.Compile(*run); err != nil {
		return f, fmt.Errorf("-run: %w", err)
	}
	return f, nil
}

func run(ctx context.Context, arguments []string) error {
	f, err := parse(arguments)
	if err != nil {
		return err
	}
	var known []*compare.Known
	if !f.self {
		if known, err = compare.ReadKnown(filepath.Join(f.root, "twin", "known-differences.yaml")); err != nil {
			return err
		}
	}
	binaries, err := peer.Build(ctx, f.root, f.knarr)
	if err != nil {
		return err
	}
	var authorizers *stories.Authorizers
	if f.authorizers {
		dir, err := os.MkdirTemp("", "authorizers-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		if authorizers, err = stories.StartAuthorizers(dir); err != nil {
			return err
		}
		defer authorizers.Close()
		f.servers, f.all = append(f.servers, authorizers.Flags...), false
	}
	aggregation := matching(f, stories.Aggregation(binaries.Knarr, "kubectl"))
	audit := matching(f, stories.Audit())
	if f.authorizers || f.admissionOff || f.certificates || f.lifecycle {
		aggregation, audit = nil, nil
	}
	first, second, stop, err := startBoth(ctx, f, binaries, len(aggregation) > 0, len(audit) > 0)
	if err != nil {
		return err
	}
	defer stop()
	pair, err := compare.New(first, second, known)
	if err != nil {
		return err
	}
	pair.Ignore = f.ignore
	if f.fuzz.on() {
		return fuzzing(ctx, f, os.Stdout, pair, first)
	}
	var told []story.Story
	if authorizers != nil {
		told = matching(f, authorizers.Stories())
	} else if f.certificates {
		told = matching(f, stories.Certificates())
	} else if f.lifecycle {
		told = matching(f, stories.Lifecycle())
	} else if told, err = collect(ctx, f, binaries, first); err != nil {
		return err
	}
	told = slices.Concat(told, aggregation, audit)
	report := newReport(os.Stdout, f.verbose, f.lines)
	for _, s := range told {
		began := time.Now()
		result, err := pair.Tell(ctx, s)
		if err != nil {
			return err
		}
		if !result.Explained() { // a port or an address may have been given twice by chance
			report.again(result)
			if result, err = pair.Tell(ctx, s); err != nil {
				return err
			}
		}
		report.add(result, time.Since(began))
		if f.keep != "" {
			if err := keep(f.keep, result); err != nil {
				return err
			}
		}
	}
	return report.finish(known, f.all)
}

// collect returns the stories that are to be told.
func collect(ctx context.Context, f flags, binaries peer.Binaries, reference compare.Side) ([]story.Story, error) {
	resources, err := sample.Discover(ctx, reference.Config)
	if err != nil {
		return nil, err
	}
	kinds, err := stories.Kinds(resources)
	if err != nil {
		return nil, err
	}
	if f.admissionOff {
		off, err := stories.Admission("admission-off")
		return matching(f, off), err
	}
	admission, err := stories.Admission("admission")
	if err != nil {
		return nil, err
	}
	bad, err := stories.Bad(resources)
	if err != nil {
		return nil, err
	}
	full, err := sample.FindFull(ctx, filepath.Join(f.root, "twin"))
	if err != nil {
		return nil, err
	}
	fields, err := stories.Fields(resources, full)
	if err != nil {
		return nil, err
	}
	custom, err := stories.Custom()
	if err != nil {
		return nil, err
	}
	var published []story.Story
	if f.published {
		if published, err = stories.Published(ctx, binaries.Knarr, "kubectl"); err != nil {
			return nil, err
		}
	}
	kubectl, err := kubectlStories(ctx, f, binaries.Knarr)
	if err != nil {
		return nil, err
	}
	return matching(f, slices.Concat(stories.Features(), kinds, stories.Subresources(resources), fields, bad, admission, kubectl, custom, published)), nil
}

// matching are the stories that are to be told.
func matching(f flags, all []story.Story) []story.Story {
	return slices.DeleteFunc(all, func(s story.Story) bool { return !f.run.MatchString(s.Name) })
}

// builtIn is the name, among kubectl's releases, of the kubectl within knarr.
const builtIn = "built-in"

func kubectlStories(ctx context.Context, f flags, knarr string) ([]story.Story, error) {
	if f.kubectl == "" {
		return nil, nil
	}
	versions := strings.Split(f.kubectl, ",")
	if f.kubectl == "all" {
		versions = append([]string{builtIn}, peer.KubectlVersions...)
	}
	var all []story.Story
	for _, version := range versions {
		if version == builtIn {
			all = append(all, stories.Kubectl(version, knarr, "kubectl")...)
			continue
		}
		binary, err := peer.BuildKubectl(ctx, f.root, version)
		if err != nil {
			return nil, err
		}
		all = append(all, stories.Kubectl(version, binary)...)
	}
	return all, nil
}

func keep(dir string, result compare.Result) error {
	path := filepath.Join(dir, filepath.FromSlash(result.Story)+".txt")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(strings.Join(result.Transcript, "\n")), 0o644)
}
