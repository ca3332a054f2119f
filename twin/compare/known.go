package compare

import (
	"fmt"
	"os"
	"regexp"
	"strings"

	"sigs.k8s.io/yaml"
)

// Known is a difference that is known, with the reason why it is there.
type Known struct {
	// Reason says why the servers differ, and until when if that is foreseen.
	Reason string `json:"reason"`
	// Story and Request are regular expressions that the story's name and the
	// request's line must match; empty matches all.
	Story   string `json:"story,omitempty"`
	Request string `json:"request,omitempty"`
	// Lines are regular expressions. A line of the difference, with its - (only the
	// first server says so) or + (only the second), is explained if one matches.
	// None explains every line.
	Lines []string `json:"lines,omitempty"`

	story, request *regexp.Regexp
	lines          []*regexp.Regexp
	used           int
	told           bool // a story that the entry is about was told
}

// ReadKnown reads the list of known differences. A field that is misspelt or an
// expression that does not compile is an error.
func ReadKnown(path string) ([]*Known, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var list []*Known
	if err := yaml.UnmarshalStrict(content, &list); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for i, k := range list {
		if strings.TrimSpace(k.Reason) == "" {
			return nil, fmt.Errorf("%s: entry %d has no reason", path, i+1)
		}
		if err := k.compile(); err != nil {
			return nil, fmt.Errorf("%s: entry %d: %w", path, i+1, err)
		}
	}
	return list, nil
}

func (k *Known) compile() (err error) {
	if k.story, err = regexp.Compile(k.Story); err != nil {
		return err
	}
	if k.request, err = regexp.Compile(k.Request); err != nil {
		return err
	}
	for _, line := range k.Lines {
		pattern, err := regexp.Compile(line)
		if err != nil {
			return err
		}
		k.lines = append(k.lines, pattern)
	}
	return nil
}

// Used is how many differing requests the entry has helped to explain.
func (k *Known) Used() int { return k.used }

// Gone reports that a story the entry is about was told and showed no such difference.
func (k *Known) Gone() bool { return k.told && k.used == 0 }

// explain takes the lines of one request's difference that entries explain out and
// returns the rest, with the reasons that applied.
func explain(list []*Known, story, request string, changed []string) (rest, reasons []string) {
	rest = changed
	for _, k := range list {
		if len(rest) == 0 || !k.story.MatchString(story) || !k.request.MatchString(request) {
			continue
		}
		var left []string
		for _, line := range rest {
			if !k.matches(line) {
				left = append(left, line)
			}
		}
		if len(left) < len(rest) {
			k.used++
			reasons = append(reasons, k.Reason)
			rest = left
		}
	}
	return rest, reasons
}

func (k *Known) matches(line string) bool {
	if len(k.lines) == 0 {
		return true
	}
	for _, pattern := range k.lines {
		if pattern.MatchString(line) {
			return true
		}
	}
	return false
}
