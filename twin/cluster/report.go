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
	tellAsked(&text, results)
	tellErrors(&text, "## Errors in the logs while the scenarios were done", results, func(r result) []logged { return r.errors })
	if err := os.WriteFile(path, []byte(text.String()), 0o644); err != nil {
		return err
	}
	fmt.Print(text.String())
	return errors.Join(errs...)
}

func head(text *strings.Builder, first string, results []result) {
	fmt.Fprintf(text, "| %s |", first)
	for _, r := range results {
		fmt.Fprintf(text, " %s |", r.server)
	}
	fmt.Fprintf(text, "\n|---|%s\n", strings.Repeat("---|", len(results)))
}

func tellSteps(text *strings.Builder, results []result) error {
	var names []string
	var errs []error
	for _, r := range results {
		for _, s := range r.steps {
			if !slices.Contains(names, s.name) {
				names = append(names, s.name)
			}
			if s.err != nil {
				errs = append(errs, fmt.Errorf("%s: %s: %w", r.server, s.name, s.err))
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
			i := slices.IndexFunc(r.steps, func(s step) bool { return s.name == name })
			switch {
			case i < 0:
				fmt.Fprint(text, " |")
			case r.steps[i].err != nil:
				fmt.Fprint(text, " **failed** |")
			default:
				fmt.Fprintf(text, " %.1f s", r.steps[i].took.Seconds())
				if r.steps[i].told != "" {
					fmt.Fprintf(text, " (%s)", r.steps[i].told)
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
	results = slices.DeleteFunc(slices.Clone(results), func(r result) bool { return r.scale == nil })
	if len(results) == 0 {
		return nil
	}
	var errs []error
	fmt.Fprintf(text, "\n## %d pods on %d simulated nodes\n\nTen Deployments in one namespace; from their creation until all pods are ready. CPU and memory are of the server, both processes\n"+
		"together where there are two.\n\n", results[0].scale.pods, results[0].scale.nodes)
	head(text, "", results)
	row := func(name string, value func(s *scale) string) {
		fmt.Fprintf(text, "| %s |", name)
		for _, r := range results {
			fmt.Fprintf(text, " %s |", value(r.scale))
		}
		fmt.Fprintln(text)
	}
	row("nodes are ready after", func(s *scale) string { return seconds(s.nodesUp) })
	row("pods are ready after", func(s *scale) string { return seconds(s.up) })
	row("CPU until then", func(s *scale) string { return usages(s.busy, func(u peer.Usage) string { return seconds(u.CPU) }) })
	row("memory then", func(s *scale) string { return usages(s.busy, func(u peer.Usage) string { return megabytes(u.Memory) }) })
	row("memory at most", func(s *scale) string {
		return usages(s.busy, func(u peer.Usage) string { return megabytes(s.most[u.Process]) })
	})
	row("CPU in 10 s with nothing to do but heartbeats", func(s *scale) string {
		return usages(s.idle, func(u peer.Usage) string { return seconds(u.CPU) })
	})
	for _, part := range []string{peer.ControllerManagerPart, peer.SchedulerPart, peer.KwokPart} {
		row("CPU of "+part, func(s *scale) string { return seconds(s.plane[part]) })
	}
	row("the namespace is gone after", func(s *scale) string { return seconds(s.gone) })
	row("errors in all logs while the pods came up", func(s *scale) string { return fmt.Sprint(total(s.errors)) })
	row("errors while they vanished", func(s *scale) string { return fmt.Sprint(total(s.afterErrors)) })
	for _, r := range results {
		if r.scale.err != nil {
			errs = append(errs, fmt.Errorf("%s: %s: %w", r.server, scaleName, r.scale.err))
			fmt.Fprintf(text, "\n- %s failed: %s\n", r.server, r.scale.err)
		}
		if n := total(r.scale.errors); n > 0 && r.server == "knarr" {
			errs = append(errs, fmt.Errorf("%s: %d errors in the logs while pods came up", r.server, n))
		}
	}
	tellErrors(text, "### Those errors", results, func(r result) []logged { return append(slices.Clone(r.scale.errors), r.scale.afterErrors...) })
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
		sum += l.count
	}
	return sum
}

// tellAsked tells who asked how much while the scenarios were done: who fights over objects
// has conflicts.
func tellAsked(text *strings.Builder, results []result) {
	results = slices.DeleteFunc(slices.Clone(results), func(r result) bool { return len(r.asked) == 0 })
	if len(results) == 0 {
		return
	}
	programs := map[string]bool{}
	for _, r := range results {
		for program, a := range r.asked {
			if a.writes > 0 || a.conflicts > 0 || a.failed > 0 {
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
			a := r.asked[program]
			fmt.Fprintf(text, " %d, %d, %d, %d |", a.requests, a.writes, a.conflicts, a.failed)
		}
		fmt.Fprintln(text)
	}
	for _, r := range results {
		for _, program := range slices.Sorted(maps.Keys(r.asked)) {
			if a := r.asked[program]; a.failed > 0 {
				fmt.Fprintf(text, "\n- %s, refused to %s: %s\n", r.server, program, a.example)
			}
		}
	}
}

func tellErrors(text *strings.Builder, title string, results []result, of func(r result) []logged) {
	var found bool
	for _, r := range results {
		for _, l := range of(r) {
			if !found {
				fmt.Fprintf(text, "\n%s\n\n| server | program | times | the first of its kind |\n|---|---|---:|---|\n", title)
				found = true
			}
			first := l.first
			if len(first) > 400 {
				first = first[:400] + "…"
			}
			fmt.Fprintf(text, "| %s | %s | %d | `%s` |\n", r.server, l.program, l.count, strings.NewReplacer("|", "\\|", "`", "'").Replace(first))
		}
	}
}
