package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// row is what came of the tests of one package.
type row struct {
	suite    suite
	pkg      string
	outcomes []outcome
}

const head = `# envtest: with kube-apiserver and etcd, and with knarr

Test suites that start their servers by envtest, as they were published, with KUBEBUILDER_ASSETS naming first kube-apiserver
v1.37.2 and etcd, then the directory that ` + "`knarr envtest`" + ` fills. The first number is with kube-apiserver, the second with knarr.
Seconds are of the whole test binary, memory the most that the servers had at once (proportional set size, sampled), CPU
what they used. Made on two cores, busy with other things besides, by ` + "`cd twin && go run ./envtest -results ENVTEST.md`" + `; packages may have been run
one by one (-run, -servers), some at the same time, and what was not run again is as it was the last time.

| suite | package | passed | failed | skipped | seconds | servers, MB | servers, CPU s |
|---|---|---:|---:|---:|---:|---:|---:|
`

func (r row) line() string {
	cell := func(of func(o outcome) string) string {
		var all []string
		for _, o := range r.outcomes {
			all = append(all, of(o))
		}
		return strings.Join(all, " / ")
	}
	return fmt.Sprintf("| %s %s | %s | %s | %s | %s | %s | %s | %s |", r.suite.name, r.suite.version, r.pkg,
		cell(func(o outcome) string { return fmt.Sprint(o.passed) }),
		cell(func(o outcome) string {
			if o.unfinished {
				return fmt.Sprintf("%d, unfinished", len(o.failed))
			}
			return fmt.Sprint(len(o.failed))
		}),
		cell(func(o outcome) string { return fmt.Sprint(o.skipped) }),
		cell(func(o outcome) string { return fmt.Sprintf("%.1f", o.took.Seconds()) }),
		cell(func(o outcome) string { return fmt.Sprint(o.memory >> 20) }),
		cell(func(o outcome) string { return fmt.Sprintf("%.1f", o.cpu.Seconds()) }),
	)
}

// report makes the tables, and counts what is a bug of knarr and not known.
func report(rows []row) (text string, unexpected int) {
	var out strings.Builder
	out.WriteString(head)
	total := map[string]*outcome{}
	var sides []string
	for _, r := range rows {
		out.WriteString(r.line() + "\n")
		for _, o := range r.outcomes {
			t := total[o.side]
			if t == nil {
				t = &outcome{side: o.side}
				total[o.side] = t
				sides = append(sides, o.side)
			}
			t.passed, t.skipped, t.took, t.cpu = t.passed+o.passed, t.skipped+o.skipped, t.took+o.took, t.cpu+o.cpu
			t.failed = append(t.failed, o.failed...)
			t.memory = max(t.memory, o.memory)
		}
	}
	out.WriteString("\n")
	for _, s := range sides {
		t := total[s]
		fmt.Fprintf(&out, "With %s: %d passed, %d failed, in %s; the servers had %d MB at most and used %s of CPU.\n\n",
			s, t.passed, len(t.failed), t.took.Round(time.Second), t.memory>>20, t.cpu.Round(time.Second))
	}
	for _, r := range rows {
		if len(r.outcomes) != 2 {
			continue
		}
		real, own := r.outcomes[0], r.outcomes[1]
		for _, name := range own.failed {
			if slices.Contains(real.failed, name) {
				continue
			}
			if cause(name) == "" {
				unexpected++
			}
			fmt.Fprintf(&out, "- only with knarr fails %s/%s: %s — %s\n", r.suite.name, r.pkg, name, cmp.Or(cause(name), "not looked into"))
		}
		for _, name := range real.failed {
			if slices.Contains(own.failed, name) {
				fmt.Fprintf(&out, "- with both fails %s/%s: %s — %s\n", r.suite.name, r.pkg, name, cmp.Or(cause(name), "not looked into"))
			} else {
				fmt.Fprintf(&out, "- only with kube-apiserver fails %s/%s: %s\n", r.suite.name, r.pkg, name)
			}
		}
		for _, o := range r.outcomes {
			if o.left {
				fmt.Fprintf(&out, "- %s/%s: %s has outlived the tests\n", r.suite.name, r.pkg, o.side)
				if o.side == "knarr" {
					unexpected++
				}
			}
			if o.unfinished {
				fmt.Fprintf(&out, "- %s/%s did not end by itself with %s\n", r.suite.name, r.pkg, o.side)
				if o.side == "knarr" && !real.unfinished {
					unexpected++
				}
			}
		}
	}
	return out.String(), unexpected
}
