package main

import (
	"strings"
	"testing"

	"github.com/knarr-io/knarr/twin/compare"
)

func TestLikeDifferencesAreShownOnce(t *testing.T) {
	var out strings.Builder
	r := &fuzzRun{out: &out, seen: map[string]int{}, flags: flags{lines: 10}}
	difference := func(line string) compare.Difference {
		return compare.Difference{Request: "PUT /x", Diff: line + "\n", Unexplained: []string{line}}
	}
	r.show("fuzz/v1/pods/1-5", 5, difference("+port 80"))
	r.show("fuzz/v1/pods/1-6", 6, difference("+port 81")) // the same but for a number
	r.show("fuzz/v1/pods/1-7", 7, difference("+image"))
	r.show("fuzz/v1/nodes/1-8", 8, difference("+image"))
	if got := strings.Count(out.String(), "\ndiffers "); got != 3 {
		t.Errorf("%d differences shown:\n%s", got, out.String())
	}
	if !strings.Contains(out.String(), "twin -seed 0 -case 7") {
		t.Errorf("how to see it again is not said:\n%s", out.String())
	}
}

func TestLongLinesAreShownFromTheDifference(t *testing.T) {
	same := strings.Repeat("x", 1000)
	got := fromDifference("-"+same+"first", "+"+same+"other")
	if !strings.HasSuffix(got, "xfirst") || len(got) > longest {
		t.Errorf("shown as %q", got)
	}
	if got := fromDifference("-short", "+other"); got != "-short" {
		t.Errorf("shown as %q", got)
	}
}
