package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestARunOfAPartLeavesTheRest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cluster.json")
	builds := map[string]string{"knarr": "a", "kube-apiserver": "v1"}
	first, err := kept(path, builds)
	if err != nil {
		t.Fatal(err)
	}
	first.add(result{Server: "knarr", Build: "a", Steps: []step{{Name: "drain"}}, Scale: &scale{Pods: 10}})
	if err := first.keep(); err != nil {
		t.Fatal(err)
	}
	second, err := kept(path, builds)
	if err != nil {
		t.Fatal(err)
	}
	second.add(result{Server: "knarr", Build: "a", Scale: &scale{Pods: 20}})
	second.add(result{Server: "kube-apiserver", Steps: []step{{Name: "drain"}}})
	if len(second.all) != 2 || len(second.all[0].Steps) != 1 || second.all[0].Scale.Pods != 20 {
		t.Errorf("%+v", second.all)
	}
	builds["knarr"] = "b"
	third, err := kept(path, builds)
	if err != nil {
		t.Fatal(err)
	}
	if len(third.all) != 0 {
		t.Errorf("of another build is kept %+v", third.all)
	}
}

func TestWhatFailsIsAnError(t *testing.T) {
	strange := []logged{{Program: "knarr", First: "panic: no", Count: 1}}
	known := []logged{{Program: "kwok", First: `failed to delete pod a-1: pods "a-1" not found`, Count: 7}}
	for name, c := range map[string]struct {
		of    result
		wrong bool
	}{
		"nothing":                  {result{Steps: []step{{Name: "drain"}}, Scale: &scale{Errors: known}, Errors: known}, false},
		"a step":                   {result{Steps: []step{{Name: "drain", Err: "no"}}}, true},
		"many pods":                {result{Scale: &scale{Err: "no"}}, true},
		"a log while pods came up": {result{Scale: &scale{Errors: strange}}, true},
		"a fight":                  {result{Asked: map[string]asked{"kube-controller-manager": {Requests: 900, Writes: 900, Conflicts: 700}}}, true},
		"a log":                    {result{Steps: []step{{Name: "drain"}}, Errors: strange}, true},
	} {
		path := filepath.Join(t.TempDir(), "table.md")
		c.of.Server = "knarr"
		usual := result{Server: "kube-apiserver", Asked: map[string]asked{"kube-controller-manager": {Requests: 300, Writes: 300, Conflicts: 7}}}
		if err := report(path, []result{usual, c.of}); (err != nil) != c.wrong {
			t.Errorf("%s: %v", name, err)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if len(c.of.Errors) > 0 && !strings.Contains(string(content), c.of.Errors[0].First) {
			t.Errorf("%s: the error is not told of", name)
		}
	}
}
