package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
)

// A result is what became of the specs against one server.
type result struct {
	server string
	specs  map[string]spec
	// failures are of what is no spec: what is done before and after them.
	failures []string
}

// A spec is what became of one of them.
type spec struct {
	state  string // as ginkgo says: passed, failed, skipped, ...
	ran    bool
	took   time.Duration
	reason string // why it did not pass
}

const passed = "passed"

// The part of ginkgo's report that is read.
type ginkgoReport struct {
	SpecReports []struct {
		ContainerHierarchyTexts []string
		LeafNodeType            string
		LeafNodeText            string
		State                   string
		RunTime                 time.Duration
		NumAttempts             int
		Failure                 struct {
			Message  string
			Location struct {
				FileName   string
				LineNumber int
			}
		}
	}
}

func readReport(server, path string) (result, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return result{}, err
	}
	var reports []ginkgoReport
	if err := json.Unmarshal(content, &reports); err != nil {
		return result{}, fmt.Errorf("%s: %w", path, err)
	}
	r := result{server: server, specs: map[string]spec{}}
	for _, report := range reports {
		for _, s := range report.SpecReports {
			name := strings.Join(append(slices.Clone(s.ContainerHierarchyTexts), s.LeafNodeText), " ")
			reason := strings.TrimSpace(s.Failure.Message)
			if reason != "" {
				reason += fmt.Sprintf(" (%s:%d)", s.Failure.Location.FileName, s.Failure.Location.LineNumber)
			}
			if s.LeafNodeType == "It" {
				r.specs[name] = spec{s.State, s.NumAttempts > 0, s.RunTime, reason}
			} else if s.State != passed {
				r.failures = append(r.failures, fmt.Sprint(s.LeafNodeType, " ", s.LeafNodeText, " ", s.State, ": ", reason))
			}
		}
	}
	return r, nil
}

// compare prints what became of each spec in the focus. The error says which of them
// pass against the first server only.
func compare(out io.Writer, focus *regexp.Regexp, first, second result) error {
	var ran, left []string
	for name, s := range first.specs {
		if s.ran || second.specs[name].ran {
			ran = append(ran, name)
		} else if focus.MatchString(name) && why(skipped, name) != "" {
			left = append(left, name)
		}
	}
	slices.Sort(ran)
	slices.Sort(left)

	fmt.Fprintf(out, "| spec | %s | %s |\n|---|---|---|\n", first.server, second.server)
	var lost, found []string
	both, expected := 0, 0
	for _, name := range ran {
		a, b := first.specs[name], second.specs[name]
		fmt.Fprintf(out, "| %s | %s | %s |\n", name, a, b)
		switch {
		case a.state == passed && b.state == passed:
			both++
			if why(known, name) != "" {
				found = append(found, name)
			}
		case a.state == passed && why(known, name) != "":
			expected++
		case a.state == passed:
			lost = append(lost, name)
		}
	}
	for _, name := range left {
		fmt.Fprintf(out, "| %s | not run: %s | |\n", name, why(skipped, name))
	}
	fmt.Fprintf(out, "\n%d specs ran, %d pass against both, %d against %s only, for a reason that is known, and %d for none; %d cannot pass here and were not run\n",
		len(ran), both, expected, first.server, len(lost), len(left))

	for _, name := range ran {
		for _, r := range []result{first, second} {
			if s := r.specs[name]; s.state != passed {
				fmt.Fprintf(out, "\n%s against %s: %s\n%s\n", name, r.server, s.state, cut(s.reason))
				if known := why(known, name); known != "" && r.server == second.server {
					fmt.Fprintf(out, "known: %s\n", known)
				}
			}
		}
	}
	var errs []error
	for _, r := range []result{first, second} {
		for _, failure := range r.failures {
			errs = append(errs, fmt.Errorf("%s: %s", r.server, failure))
		}
	}
	if both == 0 {
		errs = append(errs, errors.New("no spec passes against both servers, so nothing was compared"))
	}
	for _, name := range found {
		errs = append(errs, fmt.Errorf("a spec that is known not to pass does, take it off the list: %s", name))
	}
	if len(lost) > 0 {
		errs = append(errs, fmt.Errorf("%d specs pass against %s and not against %s", len(lost), first.server, second.server))
	}
	return errors.Join(errs...)
}

func (s spec) String() string { return fmt.Sprintf("%s, %.0f s", s.state, s.took.Seconds()) }

// cut is the beginning of a long reason.
func cut(reason string) string {
	const most = 1500
	if len(reason) > most {
		return reason[:most] + "..."
	}
	return reason
}
