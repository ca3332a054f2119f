package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheListsNameSpecsOnce(t *testing.T) {
	names, err := conformanceSpecs("")
	if err != nil {
		t.Fatal(err)
	}
	if len(names) < 151 {
		t.Errorf("%d specs, fewer than pass against kube-apiserver", len(names))
	}
	for i, name := range names {
		if !strings.HasPrefix(name, "[sig-") || i > 0 && names[i-1] == name {
			t.Errorf("%q is no spec, or there twice", name)
		}
	}
}

func TestChunksKeepGroupsTogether(t *testing.T) {
	var names []string
	for range atATime + 1 {
		names = append(names, "[sig-apps] one")
	}
	names = append(names, "[sig-auth] two")
	sizes := []int{}
	for _, chunk := range chunks(names) {
		sizes = append(sizes, len(chunk))
	}
	if len(sizes) != 3 || sizes[0] != atATime || sizes[1] != 1 || sizes[2] != 1 {
		t.Errorf("chunks of %v", sizes)
	}
}

func TestASpecThatHasNotPassedIsAnError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.jsonl")
	pass, fail := attempt{Spec: "one", State: passed, Seconds: 2}, attempt{Spec: "one", State: "failed", Reason: "told otherwise"}
	for name, c := range map[string]struct {
		attempts []attempt
		wrong    bool
		row      string
	}{
		"passes":         {[]attempt{pass}, false, "| one | passed before | passed, 2 s |"},
		"fails":          {[]attempt{fail}, true, "| one | passed before | failed, 0 s |"},
		"passes at last": {[]attempt{fail, pass}, false, "| one | passed before | passed, 2 s, attempt 2 |"},
		"was not run":    {nil, true, "| one | passed before | not run |"},
	} {
		os.Remove(path)
		if err := appendAttempts(path, c.attempts); err != nil {
			t.Fatal(err)
		}
		known, err := readAttempts(path)
		if err != nil {
			t.Fatal(err)
		}
		table := filepath.Join(t.TempDir(), "table.md")
		err = tellConformance(table, []string{"one"}, nil, known)
		if (err != nil) != c.wrong {
			t.Errorf("%s: %v", name, err)
		}
		content, err := os.ReadFile(table)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(content), c.row) {
			t.Errorf("%s: no %q in\n%s", name, c.row, content)
		}
		if told := strings.Contains(string(content), "told otherwise"); told != (len(c.attempts) > 0 && c.attempts[0].State != passed) {
			t.Errorf("%s: the reason is told: %v", name, told)
		}
	}
}
