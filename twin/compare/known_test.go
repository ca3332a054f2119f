package compare

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestExplain(t *testing.T) {
	list := []*Known{
		{Reason: "one header", Lines: []string{`^-X-One: `}},
		{Reason: "one story", Story: "^media/", Request: "^GET "},
		{Reason: "another story", Story: "^list/"},
	}
	for _, k := range list {
		if err := k.compile(); err != nil {
			t.Fatal(err)
		}
	}
	changed := []string{"-X-One: a", "-200 OK", "+404 Not Found"}
	for _, test := range []struct {
		story, request string
		rest, reasons  []string
	}{
		{"watch/a", "GET /x", changed[1:], []string{"one header"}},
		{"media/a", "GET /x", nil, []string{"one header", "one story"}},
		{"media/a", "POST /x", changed[1:], []string{"one header"}},
	} {
		rest, reasons := explain(list, test.story, test.request, changed)
		if !slices.Equal(rest, test.rest) || !slices.Equal(reasons, test.reasons) {
			t.Errorf("explain(%s, %s) leaves %q for %q", test.story, test.request, rest, reasons)
		}
	}
	if list[0].Used() != 3 || list[1].Used() != 1 || list[2].Used() != 0 {
		t.Errorf("used %d, %d and %d times", list[0].Used(), list[1].Used(), list[2].Used())
	}
}

func TestReadKnownRefuses(t *testing.T) {
	for content, want := range map[string]string{
		"- story: x\n":                  "no reason",
		"- reason: r\n  stroy: x\n":     "stroy",
		"- reason: r\n  lines: ['(']\n": "missing closing",
		"- reason: r\n  request: '['\n": "missing closing",
		"reason: not a list\n":          "cannot unmarshal",
	} {
		path := filepath.Join(t.TempDir(), "known.yaml")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadKnown(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want an error that says %q", content, err, want)
		}
	}
}

func TestKnownDifferencesAreWellFormed(t *testing.T) {
	if _, err := ReadKnown("../known-differences.yaml"); err != nil {
		t.Error(err)
	}
}
