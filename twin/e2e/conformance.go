package main

import (
	"bufio"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/knarr-io/knarr/twin/peer"
)

// lists name upstream's conformance specs that pass against kube-apiserver where no container
// ever runs, a line each: all of them have to pass against knarr.
//
//go:embed conformance/*.passed.txt
var lists embed.FS

const (
	// atATime is how many specs at most run against one cluster, after which there is a new one.
	atATime = 20
	// conformanceNodes are simulated.
	conformanceNodes = 3
)

// conformanceSpecs are the names in all lists, and those in a further file, if there is one.
func conformanceSpecs(more string) ([]string, error) {
	files, err := lists.ReadDir("conformance")
	if err != nil {
		return nil, err
	}
	var content []byte
	for _, file := range files {
		list, err := lists.ReadFile("conformance/" + file.Name())
		if err != nil {
			return nil, err
		}
		content = append(append(content, list...), '\n')
	}
	if more != "" {
		list, err := os.ReadFile(more)
		if err != nil {
			return nil, err
		}
		content = append(content, list...)
	}
	var names []string
	for line := range strings.Lines(string(content)) {
		if name := strings.TrimSpace(line); name != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// An attempt is what became of one spec, once.
type attempt struct {
	Spec    string
	State   string
	Seconds float64
	Reason  string `json:",omitempty"`
}

// conformance runs the listed specs that have no result yet, a few against each new cluster,
// and writes what became of all of them. What is known is kept in a file for each
// build of a server, so that a run that was interrupted goes on where it was.
func conformance(ctx context.Context, f flags) error {
	names, err := conformanceSpecs(f.more)
	if err != nil {
		return err
	}
	binaries, err := peer.Build(ctx, f.root, f.knarr)
	if err != nil {
		return err
	}
	suite, err := peer.BuildSuite(ctx, f.root)
	if err != nil {
		return err
	}
	programs, err := peer.BuildControlPlane(ctx, f.root)
	if err != nil {
		return err
	}
	dir := f.logs
	if dir == "" {
		dir = filepath.Join(f.root, "twin", ".peers", "conformance")
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	starters := map[string]peer.Starter{"kube-apiserver": peer.StartKubeAPIServer, "knarr": peer.StartKnarr}
	build, err := peer.Digest(binaries.Knarr)
	if err != nil {
		return err
	}
	builds := map[string]string{"kube-apiserver": peer.KubernetesVersion, "knarr": build}
	var both [2]map[string][]attempt
	for i, side := range []string{"kube-apiserver", "knarr"} {
		own := filepath.Join(dir, side+"-"+builds[side])
		if err := os.MkdirAll(own, 0o700); err != nil {
			return err
		}
		results := filepath.Join(own, "results.jsonl")
		before, err := readAttempts(results)
		if err != nil {
			return err
		}
		if slices.Contains(strings.Split(f.sides, ","), side) {
			var left []string
			for _, name := range names {
				tried := before[name]
				if f.focus.MatchString(name) && (len(tried) == 0 || f.again && tried[len(tried)-1].State != passed) {
					left = append(left, name)
				}
			}
			run := clusterRun{f, binaries, suite, programs, starters[side], own}
			if err := run.all(ctx, left, results); err != nil {
				return fmt.Errorf("%s: %w", side, err)
			}
		}
		if both[i], err = readAttempts(results); err != nil {
			return err
		}
	}
	return tellConformance(f.result, names, both[0], both[1])
}

// chunks divides specs so that those of one interest group are together.
func chunks(names []string) [][]string {
	var all [][]string
	group := func(name string) string { before, _, _ := strings.Cut(name, "]"); return before }
	for _, name := range names {
		last := len(all) - 1
		if last < 0 || len(all[last]) == atATime || group(all[last][0]) != group(name) {
			all = append(all, nil)
			last++
		}
		all[last] = append(all[last], name)
	}
	return all
}

func readAttempts(path string) (map[string][]attempt, error) {
	all := map[string][]attempt{}
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return all, nil
	} else if err != nil {
		return nil, err
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var a attempt
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		all[a.Spec] = append(all[a.Spec], a)
	}
	return all, lines.Err()
}

// clusterRun runs specs against clusters of one kind of server.
type clusterRun struct {
	flags    flags
	binaries peer.Binaries
	suite    peer.Suite
	programs peer.ControlPlane
	start    peer.Starter
	dir      string
}

// all runs the specs and adds what became of them to the file of results.
func (r clusterRun) all(ctx context.Context, names []string, results string) error {
	var writing sync.Mutex
	var errs []error
	var running sync.WaitGroup
	slots := make(chan struct{}, r.flags.atOnce)
	for _, chunk := range chunks(names) {
		slots <- struct{}{}
		running.Go(func() {
			defer func() { <-slots }()
			if ctx.Err() != nil {
				return
			}
			attempts, err := r.chunk(ctx, chunk)
			writing.Lock()
			defer writing.Unlock()
			errs = append(errs, err, appendAttempts(results, attempts))
		})
	}
	running.Wait()
	return errors.Join(append(errs, ctx.Err())...)
}

// chunk runs specs against one new cluster, of which nothing is kept if all pass.
func (r clusterRun) chunk(ctx context.Context, names []string) (attempts []attempt, err error) {
	dir, err := os.MkdirTemp(r.dir, "cluster-")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err == nil && !slices.ContainsFunc(attempts, func(a attempt) bool { return a.State != passed }) {
			err = os.RemoveAll(dir)
		}
	}()
	fmt.Fprintf(os.Stderr, "%s %s: %d specs from %s\n", time.Now().Format(time.TimeOnly), dir, len(names), names[0])
	authority, err := peer.NewAuthority("signing-ca")
	if err != nil {
		return nil, err
	}
	server, err := r.start(ctx, r.binaries, peer.Options{Dir: dir, ClientCA: authority.CertPEM, Alone: true, Flags: []string{"--enable-admission-plugins=NodeRestriction"}})
	if err != nil {
		return nil, err
	}
	defer server.Stop()
	plane, err := peer.StartPlane(ctx, r.programs, server, authority, dir)
	if err != nil {
		return nil, err
	}
	defer plane.Stop()
	if _, err := plane.AddNodes(ctx, conformanceNodes); err != nil {
		return nil, err
	}
	kubeconfig, report := filepath.Join(dir, "kubeconfig"), filepath.Join(dir, "specs.json")
	if err := peer.WriteKubeconfig(server.Config, kubeconfig); err != nil {
		return nil, err
	}
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = regexp.QuoteMeta(name)
	}
	s := specRun{focus: strings.Join(quoted, "|"), nodes: conformanceNodes, timeout: r.flags.timeout, kubeconfig: kubeconfig, report: report, dir: dir}
	if err := s.run(ctx, r.suite); err != nil {
		return nil, err
	}
	if err := plane.Failure(); err != nil {
		return nil, err
	}
	result, err := readReport(server.Name, report)
	if err != nil {
		return nil, err
	}
	for _, failure := range result.failures {
		err = errors.Join(err, errors.New(failure))
	}
	for _, name := range names {
		is, known := result.specs[name]
		if !known {
			err = errors.Join(err, fmt.Errorf("there is no spec %q", name))
			continue
		}
		if is.ran {
			attempts = append(attempts, attempt{name, is.state, is.took.Seconds(), cut(is.reason)})
		}
	}
	return attempts, err
}

func appendAttempts(path string, attempts []attempt) error {
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	for _, a := range attempts {
		line, err := json.Marshal(a)
		if err == nil {
			_, err = file.Write(append(line, '\n'))
		}
		if err != nil {
			file.Close()
			return err
		}
	}
	return file.Close()
}

// tellConformance writes what became of each spec, and fails if one has not passed against
// knarr or has no result.
func tellConformance(path string, names []string, upstream, knarr map[string][]attempt) error {
	var table, reasons strings.Builder
	count, alone := 0, 0
	var missing []string
	for _, name := range names {
		fmt.Fprintf(&table, "| %s | %s | %s |\n", name, told(upstream[name], "passed before"), told(knarr[name], "not run"))
		if tried := knarr[name]; len(tried) > 0 && tried[len(tried)-1].State == passed {
			count++
		} else {
			missing = append(missing, name)
		}
		if tried := upstream[name]; len(tried) > 0 && tried[len(tried)-1].State == passed {
			alone++
		}
		for _, side := range []struct {
			name  string
			tried []attempt
		}{{"kube-apiserver", upstream[name]}, {"knarr", knarr[name]}} {
			for i, a := range side.tried {
				if a.State != passed {
					fmt.Fprintf(&reasons, "\n- %s against %s, attempt %d: %s\n\n%s\n", name, side.name, i+1, a.State, indented(a.Reason))
				}
			}
		}
	}
	var text strings.Builder
	fmt.Fprintf(&text, "# Conformance\n\nMade by `go run ./e2e -conformance` (`make twin-conformance`): upstream's end-to-end conformance specs of %s that pass against kube-apiserver where no\n"+
		"container ever runs (the lists in `e2e/conformance/`; \"passed before\" is from there), against knarr, each with upstream's\n"+
		"kube-controller-manager and kube-scheduler and kwok's simulated nodes beside it, with their own certificates. knarr runs as by default.\n\n"+
		"Of %d specs %d pass against knarr; %d were run against kube-apiserver here, too, and passed.\n\n| spec | kube-apiserver | knarr |\n|---|---|---|\n%s",
		peer.KubernetesVersion, len(names), count, alone, table.String())
	if reasons.Len() > 0 {
		fmt.Fprintf(&text, "\n## What did not pass at first or at all\n%s", reasons.String())
	}
	if err := os.WriteFile(path, []byte(text.String()), 0o644); err != nil {
		return err
	}
	fmt.Printf("%d of %d specs pass against knarr; see %s\n", count, len(names), path)
	if len(missing) > 0 {
		return fmt.Errorf("%d specs do not pass against knarr, or were not run: %s", len(missing), strings.Join(missing, "; "))
	}
	return nil
}

// told is what became of a spec at last, and at which attempt.
func told(tried []attempt, otherwise string) string {
	if len(tried) == 0 {
		return otherwise
	}
	last := tried[len(tried)-1]
	text := fmt.Sprintf("%s, %.0f s", last.State, last.Seconds)
	if len(tried) > 1 {
		text += fmt.Sprintf(", attempt %d", len(tried))
	}
	return text
}

func indented(text string) string {
	return "      " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n      ")
}
