package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"github.com/knarr-io/knarr/twin/compare"
)

// A report tells what became of the stories, as they are told and in the end.
type report struct {
	out     io.Writer
	verbose bool
	lines   int // of one difference that are shown; 0 for all

	stories, equal, explained int
	requests, differing       int
	unexpected                []string // names of stories
	repeated                  []string // names of stories that were told a second time
}

func newReport(out io.Writer, verbose bool, lines int) *report {
	return &report{out: out, verbose: verbose, lines: lines}
}

func (r *report) add(result compare.Result, took time.Duration) {
	r.stories++
	r.requests += result.Requests
	r.differing += len(result.Differences)
	word := "differs"
	switch {
	case result.Equal():
		r.equal++
		word = "equal"
	case result.Explained():
		r.explained++
		word = "known"
	default:
		r.unexpected = append(r.unexpected, result.Story)
	}
	if word == "differs" || r.verbose {
		fmt.Fprintf(r.out, "%-7s %s (%d requests, %.1fs)\n", word, result.Story, result.Requests, took.Seconds())
	}
	for _, d := range result.Differences {
		r.difference(d)
	}
}

// again notes that a story differed, is told a second time, and counts as it goes then.
func (r *report) again(first compare.Result) {
	r.repeated = append(r.repeated, first.Story)
	if r.verbose {
		fmt.Fprintf(r.out, "again   %s (%d differences the first time)\n", first.Story, len(first.Differences))
	}
}

func (r *report) difference(d compare.Difference) {
	if len(d.Unexplained) == 0 && !r.verbose {
		return
	}
	fmt.Fprintf(r.out, "\n    %s\n", d.Request)
	for _, reason := range d.Reasons {
		fmt.Fprintf(r.out, "    known: %s\n", reason)
	}
	if len(d.Sent) > 0 {
		fmt.Fprintf(r.out, "    sent: %s\n", printable(string(d.Sent)))
	}
	lines := strings.Split(strings.TrimSuffix(d.Diff, "\n"), "\n")
	for i, line := range lines {
		if i >= r.lines && r.lines > 0 {
			fmt.Fprintf(r.out, "    ... and %d more lines (-lines 0 shows all)\n", len(lines)-i)
			break
		}
		other := ""
		if strings.HasPrefix(line, "-") && i+1 < len(lines) {
			other = lines[i+1]
		} else if strings.HasPrefix(line, "+") && i > 0 {
			other = lines[i-1]
		}
		fmt.Fprintf(r.out, "    %s\n", printable(fromDifference(line, other)))
	}
	fmt.Fprintln(r.out)
}

// fromDifference is the line without most of what it has in common with the other's
// beginning, if it is too long to be shown whole.
func fromDifference(line, other string) string {
	const context = 80
	same := 1
	for same < len(line) && same < len(other) && line[same] == other[same] {
		same++
	}
	if len(line) <= longest || same <= 2*context {
		return line
	}
	return line[:context] + " ... " + line[same-context:]
}

// longest is how much of a line is shown.
const longest = 400

// printable shows what a terminal would not as escapes, and cuts long lines.
func printable(line string) string {
	line = strings.ToValidUTF8(line, "\uFFFD")
	line = strings.Map(func(c rune) rune {
		if unicode.IsPrint(c) || c == '\t' {
			return c
		}
		return '\uFFFD'
	}, line)
	if len(line) > longest {
		line = strings.ToValidUTF8(line[:longest], "") + "..."
	}
	return line
}

// finish prints the table and the known differences. It returns an error if a story
// differs unexpectedly or, where all stories were told, a known difference is gone.
func (r *report) finish(known []*compare.Known, all bool) error {
	fmt.Fprintf(r.out, "\n| stories | equal | known differences only | unexpected differences | requests | differing requests |\n")
	fmt.Fprintf(r.out, "|---|---|---|---|---|---|\n")
	fmt.Fprintf(r.out, "| %d | %d | %d | %d | %d | %d |\n",
		r.stories, r.equal, r.explained, len(r.unexpected), r.requests, r.differing)

	if len(r.repeated) > 0 {
		fmt.Fprintf(r.out, "\ntold a second time since they differed the first: %s\n", strings.Join(r.repeated, ", "))
	}

	var errs []error
	if len(known) > 0 {
		fmt.Fprintf(r.out, "\n| requests | known difference |\n|---|---|\n")
		for _, k := range known {
			fmt.Fprintf(r.out, "| %d | %s |\n", k.Used(), k.Reason)
			if all && k.Gone() {
				errs = append(errs, fmt.Errorf("a known difference is gone, take it off the list: %s", k.Reason))
			}
		}
	}
	if len(r.unexpected) > 0 {
		errs = append(errs, fmt.Errorf("unexpected differences in %d stories: %s",
			len(r.unexpected), strings.Join(r.unexpected, ", ")))
	}
	return errors.Join(errs...)
}
