package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/knarr-io/knarr/twin/peer"
)

// report writes what came of everything, and fails if something did not work.
func report(path string, results []result) error {
	var text strings.Builder
	var errs []error
	fmt.Fprintf(&text, "# A whole control plane\n\nMade by `go run ./cluster` (`make twin-cluster`): kube-controller-manager and kube-scheduler %s and kwok's simulated nodes, each with a certificate\n"+
		"of its own and RBAC on, beside kube-apiserver with etcd and beside knarr, one after the other. knarr runs with its own\n"+
		"controllers, as by default.\n", peer.KubernetesVersion)
	errs = append(errs, tellSteps(&text, results))
	errs = append(errs, tellScale(&text, results))
	errs = append(errs, tellAsked(&text, results))
	tellErrors(&text, "## Errors in the logs while the scenarios were done", results, func(r result) []logged { return r.Errors })
	for _, r := range results {
		if r.Server == "knarr" {
			for _, l := range unexpected(r.Errors) {
				errs = append(errs, fmt.Errorf("an error in the log of %s beside knarr that has no known cause: %s", l.Program, l.First))
			}
		}
	}
	if err := os.WriteFile(path, []byte(text.String()), 0o644); err != nil {
		return err
	}
	fmt.Print(text.String())
	return errors.Join(errs...)
}

func head(text *strings.Builder, first string, results []result) {
	fmt.Fprintf(text, "| %s |", first)
	for _, r := range results {
		fmt.Fprintf(text, " %s |", r.Server)
	}
	fmt.Fprintf(text, "\n|---|%s\n", strings.Repeat("---|", len(results)))
}

func tellSteps(text *strings.Builder, results []result) error {
	var names []string
	var errs []error
	for _, r := range results {
		for _, s := range r.Steps {
			if !slices.Contains(names, s.Name) {
				names = append(names, s.Name)
			}
			if s.Err != "" {
				errs = append(errs, fmt.Errorf("%s: %s: %s", r.Server, s.Name, s.Err))
			}
		}
	}
	if len(names) == 0 {
		return nil
	}
	fmt.Fprint(text, "\n## Scenarios\n\n")
	head(text, "scenario", results)
	for _, name := range names {
		fmt.Fprintf(text, "| %s |", name)
		for _, r := range results {
			i := slices.IndexFunc(r.Steps, func(s step) bool { return s.Name == name })
			switch {
			case i < 0:
				fmt.Fprint(text, " |")
			case r.Steps[i].Err != "":
				fmt.Fprint(text, " **failed** |")
			default:
				fmt.Fprintf(text, " %.1f s", r.Steps[i].Took.Seconds())
				if r.Steps[i].Told != "" {
					fmt.Fprintf(text, " (%s)", r.Steps[i].Told)
				}
				fmt.Fprint(text, " |")
			}
		}
		fmt.Fprintln(text)
	}
	for _, err := range errs {
		fmt.Fprintf(text, "\n- %s\n", strings.ReplaceAll(err.Error(), "\n", "\n  "))
	}
	return errors.Join(errs...)
}

func tellScale(text *strings.Builder, results []result) error {
	results = slices.DeleteFunc(slices.Clone(results), func(r result) bool { return r.Scale == nil })
	if len(results) == 0 {
		return nil
	}
	var errs []error
	fmt.Fprintf(text, "\n## %d pods on %d simulated nodes\n\nTen Deployments in one namespace; from their creation until all pods are ready. CPU and memory are of the server, both processes\n"+
		"together where there are two.\n\n", results[0].Scale.Pods, results[0].Scale.Nodes)
	head(text, "", results)
	row := func(name string, value func(s *scale) string) {
		fmt.Fprintf(text, "| %s |", name)
		for _, r := range results {
			fmt.Fprintf(text, " %s |", value(r.Scale))
		}
		fmt.Fprintln(text)
	}
	row("nodes are ready after", func(s *scale) string { return seconds(s.NodesUp) })
	row("pods are ready after", func(s *scale) string { return seconds(s.Up) })
	row("CPU until then", func(s *scale) string { return usages(s.Busy, func(u peer.Usage) string { return seconds(u.CPU) }) })
	row("memory then", func(s *scale) string { return usages(s.Busy, func(u peer.Usage) string { return megabytes(u.Memory) }) })
	row("memory at most", func(s *scale) string {
		return usages(s.Busy, func(u peer.Usage) string { return megabytes(s.Most[u.Process]) })
	})
	row("CPU in 10 s with nothing to do but heartbeats", func(s *scale) string {
		return usages(s.Idle, func(u peer.Usage) string { return seconds(u.CPU) })
	})
	for _, part := range []string{peer.ControllerManagerPart, peer.SchedulerPart, peer.KwokPart} {
		row("CPU of "+part, func(s *scale) string { return seconds(s.Plane[part]) })
	}
	row("the namespace is gone after", func(s *scale) string { return seconds(s.Gone) })
	row("lines of errors while the pods came up, those without a known cause", func(s *scale) string { return fmt.Sprintf("%d, %d", total(s.Errors), total(unexpected(s.Errors))) })
	row("the same while they vanished", func(s *scale) string {
		return fmt.Sprintf("%d, %d", total(s.AfterErrors), total(unexpected(s.AfterErrors)))
	})
	for _, r := range results {
		if r.Scale.Err != "" {
			errs = append(errs, fmt.Errorf("%s: %s: %s", r.Server, scaleName, r.Scale.Err))
			fmt.Fprintf(text, "\n- %s failed: %s\n", r.Server, r.Scale.Err)
		}
		if n := total(unexpected(r.Scale.Errors)) + total(unexpected(r.Scale.AfterErrors)); n > 0 && r.Server == "knarr" {
			errs = append(errs, fmt.Errorf("%s: %d errors in the logs without a known cause", r.Server, n))
		}
	}
	tellErrors(text, "### Those errors", results, func(r result) []logged { return append(slices.Clone(r.Scale.Errors), r.Scale.AfterErrors...) })
	return errors.Join(errs...)
}

func usages(all []peer.Usage, value func(u peer.Usage) string) string {
	var texts []string
	for _, u := range all {
		text := value(u)
		if len(all) > 1 {
			text += " " + u.Process
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, ", ")
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

func megabytes(n int64) string { return fmt.Sprintf("%d MB", n/1_000_000) }

func total(all []logged) int {
	sum := 0
	for _, l := range all {
		sum += l.Count
	}
	return sum
}

// tellAsked tells who asked how much while the scenarios were done: who fights over objects
// has conflicts, and many more than beside another server are an error.
func tellAsked(text *strings.Builder, results []result) error {
	results = slices.DeleteFunc(slices.Clone(results), func(r result) bool { return len(r.Asked) == 0 })
	if len(results) == 0 {
		return nil
	}
	programs := map[string]bool{}
	for _, r := range results {
		for program, a := range r.Asked {
			if a.Writes > 0 || a.Conflicts > 0 || a.Failed > 0 {
				programs[program] = true
			}
		}
	}
	fmt.Fprint(text, "\n## Who asked how much\n\nBy the audit log, while the scenarios were done: requests, writes, conflicts (409), and what nobody expects (403, 5xx). Two that fight\n"+
		"over objects have conflicts.\n\n")
	head(text, "who writes", results)
	for _, program := range slices.Sorted(maps.Keys(programs)) {
		fmt.Fprintf(text, "| %s |", program)
		for _, r := range results {
			a := r.Asked[program]
			fmt.Fprintf(text, " %d, %d, %d, %d |", a.Requests, a.Writes, a.Conflicts, a.Failed)
		}
		fmt.Fprintln(text)
	}
	var errs []error
	for _, r := range results {
		for _, program := range slices.Sorted(maps.Keys(r.Asked)) {
			a, usual := r.Asked[program], results[0].Asked[program]
			if a.Failed > 0 {
				fmt.Fprintf(text, "\n- %s, refused to %s: %s\n", r.Server, program, a.Example)
			}
			if a.Conflicts > 2*usual.Conflicts+fewConflicts {
				errs = append(errs, fmt.Errorf("%s had %d conflicts with %s, and %d with %s", program, a.Conflicts, r.Server, usual.Conflicts, results[0].Server))
			}
		}
	}
	return errors.Join(errs...)
}

// fewConflicts are nothing that is worth a word.
const fewConflicts = 20

func tellErrors(text *strings.Builder, title string, results []result, of func(r result) []logged) {
	var found bool
	for _, r := range results {
		for _, l := range byCause(of(r)) {
			if !found {
				fmt.Fprintf(text, "\n%s\n\n| server | program | times | the first of its kind | cause |\n|---|---|---:|---|---|\n", title)
				found = true
			}
			first := l.First
			if len(first) > 300 {
				first = first[:300] + "…"
			}
			fmt.Fprintf(text, "| %s | %s | %d | `%s` | %s |\n", r.Server, l.Program, l.Count, strings.NewReplacer("|", "\\|", "`", "'").Replace(first), l.cause())
		}
	}
}

// byCause puts errors of a program together that have one cause.
func byCause(all []logged) []logged {
	var together []logged
	for _, l := range all {
		cause := l.cause()
		i := slices.IndexFunc(together, func(t logged) bool { return t.Program == l.Program && cause != "" && t.cause() == cause })
		if i < 0 {
			together = append(together, l)
		} else {
			together[i].Count += l.Count
		}
	}
	return together
}
