package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
)

// An outcome is how the lives of one chart's releases compare.
type outcome struct {
	version     string
	chart       chart
	objects     int
	took        [2]time.Duration
	failed      [2][]string
	differences []string
}

// compared finds where two lives differ.
func compared(version string, chart chart, first, second life) outcome {
	o := outcome{version: version, chart: chart, took: [2]time.Duration{first.took, second.took}, failed: [2][]string{first.failures(), second.failures()}}
	for i, a := range first.steps {
		if i >= len(second.steps) || second.steps[i].name != a.name {
			o.differences = append(o.differences, "other steps were taken")
			break
		}
		b := second.steps[i]
		o.objects = max(o.objects, len(a.objects), len(b.objects))
		differ := func(what, x, y string) {
			if x != y {
				o.differences = append(o.differences, fmt.Sprintf("%s: %s\n%s", a.name, what, firstDifference(x, y)))
			}
		}
		differ("error", a.err, b.err)
		differ("status", a.status, b.status)
		differ("history", a.history, b.history)
		names := maps.Clone(a.objects)
		if names == nil {
			names = map[string]string{}
		}
		maps.Copy(names, b.objects)
		for _, name := range slices.Sorted(maps.Keys(names)) {
			differ(name, a.objects[name], b.objects[name])
		}
	}
	return o
}

// firstDifference shows where two texts begin to differ, some lines of each.
func firstDifference(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	i := 0
	for i < len(x) && i < len(y) && x[i] == y[i] {
		i++
	}
	from := max(0, i-2)
	part := func(lines []string) string {
		return strings.Join(lines[min(from, len(lines)):min(i+4, len(lines))], "\n")
	}
	return "kube-apiserver:\n" + part(x) + "\nknarr:\n" + part(y)
}

// report writes what came of all charts.
func report(path string, all []outcome) error {
	var text, details strings.Builder
	var errs []error
	fmt.Fprint(&text, "# Helm\n\nMade by `go run ./helm` (`make twin-helm`): each chart installed, upgraded to other values, rolled back, upgraded to the same values, and\n"+
		"uninstalled, waiting each time until all is ready, on a cluster of kube-apiserver and on one of knarr. Compared are errors, the release's status\n"+
		"and history, and after each step every object, with the fields that Helm owns, without what each server chooses for itself.\n\n"+
		"| chart | from | helm | objects | kube-apiserver | knarr | the same |\n|---|---|---|---:|---|---|---|\n")
	for _, o := range all {
		from := o.chart.module
		if from == "" {
			from = "ours: hooks, tests, lookups"
		}
		worked := func(i int) string {
			if n := len(o.failed[i]); n > 0 {
				return fmt.Sprintf("%d failed", n)
			}
			return fmt.Sprintf("ok, %.0f s", o.took[i].Seconds())
		}
		if n := len(o.failed[1]); n > 0 {
			errs = append(errs, fmt.Errorf("%s by helm %s: %d steps failed on knarr", o.chart.name, o.version, n))
		}
		same := "yes"
		if len(o.differences) > 0 {
			same = fmt.Sprintf("**%d differences**", len(o.differences))
			errs = append(errs, fmt.Errorf("%s by helm %s: %d differences", o.chart.name, o.version, len(o.differences)))
		}
		fmt.Fprintf(&text, "| %s | %s | %s | %d | %s | %s | %s |\n", o.chart.name, from, o.version, o.objects, worked(0), worked(1), same)
		for i, server := range []string{"kube-apiserver", "knarr"} {
			for _, failure := range o.failed[i] {
				fmt.Fprintf(&details, "\n- %s by helm %s on %s: %s\n", o.chart.name, o.version, server, strings.ReplaceAll(failure, "\n", "\n  "))
			}
		}
		for _, d := range o.differences {
			fmt.Fprintf(&details, "\n- %s by helm %s differs: %s\n", o.chart.name, o.version, strings.ReplaceAll(d, "\n", "\n      "))
		}
	}
	if details.Len() > 0 {
		fmt.Fprintf(&text, "\n## What failed or differs\n%s", details.String())
	}
	if err := os.WriteFile(path, []byte(text.String()), 0o644); err != nil {
		return err
	}
	fmt.Print(text.String())
	if len(all) == 0 {
		errs = append(errs, errors.New("no chart was installed"))
	}
	return errors.Join(errs...)
}
