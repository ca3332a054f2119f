package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestOnlyWhatIsTheReleasesOwnIsCompared(t *testing.T) {
	const text = `{"kind": "Service", "metadata": {"name": "a", "uid": "u-%", "resourceVersion": "%", "labels": {"app": "a"}, "managedFields": [
		{"manager": "helm", "operation": "Update", "time": "2026-11-28T05:00:0%Z"}, {"manager": "kube-controller-manager", "time": "%"}]},
		"spec": {"clusterIP": "10.0.0.%", "ports": [{"port": 80, "nodePort": 3000%}]}, "status": {"replicas": %}}`
	var both []string
	for _, server := range []string{"1", "2"} {
		var object map[string]any
		if err := json.Unmarshal([]byte(strings.ReplaceAll(text, "%", server)), &object); err != nil {
			t.Fatal(err)
		}
		own(object)
		left, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		both = append(both, string(left))
	}
	const wanted = `{"kind":"Service","metadata":{"labels":{"app":"a"},"managedFields":[{"manager":"helm","operation":"Update"}],"name":"a"},"spec":{"ports":[{"port":80}]}}`
	if both[0] != wanted || both[1] != wanted {
		t.Errorf("left are\n%s\n%s", both[0], both[1])
	}
}

func TestWhatDiffersOrFailsIsAnError(t *testing.T) {
	one := func(change func(s *step)) life {
		s := step{name: "install", status: "deployed", history: "1", objects: map[string]string{"ConfigMap a/b": "x"}}
		change(&s)
		return life{chart: "a", steps: []step{s}}
	}
	same := one(func(*step) {})
	for name, c := range map[string]struct {
		second life
		wrong  string
	}{
		"nothing":           {same, ""},
		"an object":         {one(func(s *step) { s.objects = map[string]string{"ConfigMap a/b": "y"} }), "ConfigMap a/b"},
		"an object is gone": {one(func(s *step) { s.objects = nil }), "ConfigMap a/b"},
		"the status":        {one(func(s *step) { s.status = "failed" }), "status"},
		"an error":          {one(func(s *step) { s.err = "timed out" }), "timed out"},
		"a step is missing": {life{chart: "a"}, "other steps"},
	} {
		path := filepath.Join(t.TempDir(), "table.md")
		err := report(path, []outcome{compared("v4", chart{name: "a"}, same, c.second)})
		content, readErr := os.ReadFile(path)
		if readErr != nil {
			t.Fatal(readErr)
		}
		if (err == nil) != (c.wrong == "") || !strings.Contains(string(content), c.wrong) {
			t.Errorf("%s: %v, and\n%s", name, err, content)
		}
	}
}
