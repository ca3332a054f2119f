// Command e2e runs upstream's own end-to-end specs, those that need no containers, against a
// kube-apiserver with etcd and against knarr, each with upstream's kube-controller-manager
// beside it and one node that says it is ready. A spec that passes against the first
// and not against the second makes the command fail.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/knarr-io/knarr/twin/peer"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		cancel()
		os.Exit(1)
	}
}

// focus are the specs that are told without -focus: those of the API's own machinery that
// need no kubelet, and those of limits.
const focus = `\[sig-auth\]|\[sig-scheduling\] LimitRange|\[sig-api-machinery\] (AggregatedDiscovery|API Streaming|CustomResource|CRDValidation|Discovery|FieldValidation|Garbage collector|Generated clientset|` +
	`MutatingAdmissionPolicy|Namespaces|OpenAPIV3|ResourceQuota|Server request timeout|Servers with support|ServerSideApply|ValidatingAdmissionPolicy|Watchers|client-go should negotiate|health handlers|server version)`

type flags struct {
	root, knarr string
	focus       *regexp.Regexp
	skip        string
	timeout     time.Duration
	logs        string

	conformance bool
	sides       string
	again       bool
	atOnce      int
	more        string
	result      string
	alone       bool
}

func parse(arguments []string) (flags, error) {
	var f flags
	set := flag.NewFlagSet("e2e", flag.ContinueOnError)
	set.StringVar(&f.root, "root", "..", "the repository's root directory")
	set.StringVar(&f.knarr, "knarr", "", "the knarr to run against; built from the repository if empty")
	expression := set.String("focus", focus, "run the specs whose name matches this regular expression, less those that cannot pass here")
	set.StringVar(&f.skip, "skip", "", "skip the specs whose name matches this regular expression, too")
	set.DurationVar(&f.timeout, "timeout", time.Hour, "end the specs after so long")
	set.StringVar(&f.logs, "logs", "", "keep the specs' output and reports and the servers' logs and data in this directory")
	set.BoolVar(&f.conformance, "conformance", false, "run the conformance specs that are listed, with a scheduler and simulated nodes, too; those that have a result in -logs are not run again")
	set.StringVar(&f.sides, "sides", "knarr,kube-apiserver", "with -conformance: the servers to run against")
	set.BoolVar(&f.again, "again", false, "with -conformance: run those again that have not passed")
	set.IntVar(&f.atOnce, "at-once", 2, "with -conformance: how many clusters there are at once")
	set.StringVar(&f.more, "more", "", "with -conformance: a file with the names of further specs")
	set.StringVar(&f.result, "result", "CONFORMANCE.md", "with -conformance: the file to write what became of them to")
	set.BoolVar(&f.alone, "alone", false, "have knarr do by itself what it can do: beside it, kube-controller-manager runs the controllers of workloads alone")
	if err := set.Parse(arguments); err != nil {
		return f, err
	}
	focused := false
	set.Visit(func(given *flag.Flag) { focused = focused || given.Name == "focus" })
	if f.conformance && !focused {
		*expression = ""
	}
	var err error
	if f.focus, err = regexp.Compile(*expression); err != nil {
		return f, fmt.Errorf("-focus: %w", err)
	}
	if _, err := regexp.Compile(f.skip); err != nil {
		return f, fmt.Errorf("-skip: %w", err)
	}
	return f, nil
}

func run(ctx context.Context, arguments []string) error {
	f, err := parse(arguments)
	if err != nil {
		return err
	}
	if f.conformance {
		return conformance(ctx, f)
	}
	binaries, err := peer.Build(ctx, f.root, f.knarr)
	if err != nil {
		return err
	}
	suite, err := peer.BuildSuite(ctx, f.root)
	if err != nil {
		return err
	}
	dir, err := workingDirectory(f)
	if err != nil {
		return err
	}
	if f.logs == "" {
		defer os.RemoveAll(dir)
	}

	// Both at once: most specs wait for something most of the time.
	starters := []peer.Starter{peer.StartKubeAPIServer, peer.StartKnarr}
	results := make([]result, len(starters))
	errs := make([]error, len(starters))
	var both sync.WaitGroup
	for i, starter := range starters {
		both.Go(func() {
			results[i], errs[i] = against(ctx, f, binaries, suite, starter, filepath.Join(dir, fmt.Sprint(i+1)))
		})
	}
	both.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return compare(os.Stdout, f.focus, results[0], results[1])
}

// workingDirectory is where everything is kept: beside the binaries, on a real disk,
// unless it is to stay.
func workingDirectory(f flags) (string, error) {
	if f.logs != "" {
		if entries, err := os.ReadDir(f.logs); err == nil && len(entries) > 0 {
			return "", fmt.Errorf("-logs: %s is not empty", f.logs)
		}
		return filepath.Abs(f.logs)
	}
	dir, err := os.MkdirTemp(filepath.Join(f.root, "twin", ".peers"), "e2e-")
	if err != nil {
		return "", err
	}
	return filepath.Abs(dir)
}

// against starts a server and what belongs to it in a directory, and runs the specs.
func against(ctx context.Context, f flags, b peer.Binaries, suite peer.Suite, start peer.Starter, dir string) (result, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return result{}, err
	}
	// Some specs ask for a certificate and use it, others act as a node that may not do all.
	signer, err := peer.NewAuthority("signing-ca")
	if err != nil {
		return result{}, err
	}
	cert, key, err := signer.Write(dir)
	if err != nil {
		return result{}, err
	}
	server, err := start(ctx, b, peer.Options{Dir: dir, ClientCA: signer.CertPEM, Flags: []string{"--enable-admission-plugins=NodeRestriction"}, Alone: f.alone})
	if err != nil {
		return result{}, err
	}
	defer server.Stop()
	if f.alone && server.Name == "knarr" {
		err = server.StartWorkloads(suite.ControllerManager, dir)
	} else {
		err = server.StartControllerManager(ctx, suite.ControllerManager, dir, "--cluster-signing-cert-file="+cert, "--cluster-signing-key-file="+key)
	}
	if err != nil {
		return result{}, err
	}
	if err := addNode(ctx, server.Config); err != nil {
		return result{}, fmt.Errorf("%s: the node: %w", server.Name, err)
	}
	kubeconfig, report := filepath.Join(dir, "kubeconfig"), filepath.Join(dir, "specs.json")
	if err := peer.WriteKubeconfig(server.Config, kubeconfig); err != nil {
		return result{}, err
	}
	// Of several such flags the last alone counts.
	var skip []string
	for _, s := range skipped {
		skip = append(skip, s.specs)
	}
	if f.skip != "" {
		skip = append(skip, f.skip)
	}
	s := specRun{focus: f.focus.String(), skip: strings.Join(skip, "|"), nodes: 1, timeout: f.timeout, kubeconfig: kubeconfig, report: report, dir: dir}
	if err := s.run(ctx, suite); err != nil {
		return result{}, fmt.Errorf("%s: %w", server.Name, err)
	}
	return readReport(server.Name, report)
}

// specRun is one run of upstream's specs.
type specRun struct {
	focus, skip             string // regular expressions of names
	nodes                   int
	timeout                 time.Duration
	kubeconfig, report, dir string
}

// run runs the specs and leaves their report. That some fail is no error.
func (r specRun) run(ctx context.Context, suite peer.Suite) error {
	output, err := os.Create(filepath.Join(r.dir, "specs.log"))
	if err != nil {
		return err
	}
	defer output.Close()
	arguments := []string{
		"-test.timeout=0", // ginkgo's ends in order
		"-ginkgo.timeout=" + r.timeout.String(),
		"-ginkgo.seed=1",
		"-ginkgo.v", "-ginkgo.no-color",
		"-ginkgo.json-report=" + r.report,
		"-ginkgo.focus=" + r.focus,
		"-kubeconfig=" + r.kubeconfig,
		"-kubectl-path=" + suite.Kubectl,
		"-provider=skeleton",
		fmt.Sprintf("-num-nodes=%d", r.nodes),
		"-allowed-not-ready-nodes=-1",
		"-minStartupPods=0",
		"-disable-log-dump",
		"-e2e-output-dir=" + r.dir,
	}
	if r.skip != "" { // an empty expression would match all
		arguments = append(arguments, "-ginkgo.skip="+r.skip)
	}
	cmd := exec.CommandContext(ctx, suite.Specs, arguments...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 30 * time.Second
	cmd.Dir = r.dir
	cmd.Stdout, cmd.Stderr = output, output
	err = cmd.Run()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return err
	}
	if _, statErr := os.Stat(r.report); statErr != nil {
		return fmt.Errorf("the specs left no report (%w); see %s", err, output.Name())
	}
	return nil
}
