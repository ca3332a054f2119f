package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// report is what ginkgo writes, with the states of three specs.
func report(t *testing.T, server string, states ...string) result {
	t.Helper()
	setup, one, two, webhook := states[0], states[1], states[2], "skipped"
	content := `[{"SpecReports": [
		{"LeafNodeType": "BeforeSuite", "State": "` + setup + `", "Failure": {"Message": "no nodes"}},
		{"ContainerHierarchyTexts": ["[sig-api-machinery] Discovery"], "LeafNodeType": "It", "LeafNodeText": "one", "State": "` + one + `", "NumAttempts": 1, "RunTime": 2000000000},
		{"ContainerHierarchyTexts": ["[sig-api-machinery] Discovery"], "LeafNodeType": "It", "LeafNodeText": "two", "State": "` + two + `", "NumAttempts": 1,
			"Failure": {"Message": "told otherwise", "Location": {"FileName": "discovery.go", "LineNumber": 7}}},
		{"ContainerHierarchyTexts": ["[sig-api-machinery] CustomResourceConversionWebhook"], "LeafNodeType": "It", "LeafNodeText": "three", "State": "` + webhook + `"},
		{"ContainerHierarchyTexts": ["[sig-node] Pods"], "LeafNodeType": "It", "LeafNodeText": "four", "State": "skipped"}
	]}]`
	path := filepath.Join(t.TempDir(), "report.json")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := readReport(server, path)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestASpecThatIsLostIsAnError(t *testing.T) {
	for name, c := range map[string]struct {
		first, second []string
		wrong         string
	}{
		"all pass":             {[]string{passed, passed, passed}, []string{passed, passed, passed}, ""},
		"both fail":            {[]string{passed, passed, "failed"}, []string{passed, passed, "timedout"}, ""},
		"only upstream's does": {[]string{passed, passed, "failed"}, []string{passed, passed, passed}, ""},
		"one is lost":          {[]string{passed, passed, passed}, []string{passed, passed, "failed"}, "1 specs pass against first and not against second"},
		"nothing is compared":  {[]string{passed, "failed", "failed"}, []string{passed, passed, passed}, "nothing was compared"},
		"the suite fails":      {[]string{passed, passed, passed}, []string{"failed", passed, passed}, "second: BeforeSuite  failed: no nodes"},
	} {
		var out strings.Builder
		err := compare(&out, regexp.MustCompile(focus), report(t, "first", c.first...), report(t, "second", c.second...))
		if c.wrong == "" && err != nil || c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhatIsKnownIsNoErrorUntilItIsGone(t *testing.T) {
	before := known
	known = []reason{{"Discovery two", "not yet"}}
	defer func() { known = before }()
	var out strings.Builder
	if err := compare(&out, regexp.MustCompile(focus), report(t, "first", passed, passed, passed), report(t, "second", passed, passed, "failed")); err != nil {
		t.Error(err)
	}
	if !strings.Contains(out.String(), "known: not yet") {
		t.Errorf("the reason is not told:\n%s", out.String())
	}
	err := compare(&out, regexp.MustCompile(focus), report(t, "first", passed, passed, passed), report(t, "second", passed, passed, passed))
	if err == nil || !strings.Contains(err.Error(), "take it off the list") {
		t.Errorf("one that is gone: %v", err)
	}
}

func TestTheReportTellsOfEverySpec(t *testing.T) {
	var out strings.Builder
	_ = compare(&out, regexp.MustCompile(focus), report(t, "first", passed, passed, passed), report(t, "second", passed, passed, "failed"))
	for _, line := range []string{
		"| [sig-api-machinery] Discovery one | passed, 2 s | passed, 2 s |",
		"| [sig-api-machinery] CustomResourceConversionWebhook three | not run: the webhook that converts runs in a pod",
		"2 specs ran, 1 pass against both, 0 against first only, for a reason that is known, and 1 for none; 1 cannot pass here and were not run",
		"[sig-api-machinery] Discovery two against second: failed\ntold otherwise (discovery.go:7)",
	} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("no %q in\n%s", line, out.String())
		}
	}
	if strings.Contains(out.String(), "four") {
		t.Errorf("a spec out of focus is told of:\n%s", out.String())
	}
}
