package stories

import (
	"io/fs"
	"path"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

func TestManifestsAreNamedForWhatTheyHold(t *testing.T) {
	err := fs.WalkDir(manifests, "manifests", func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := manifests.ReadFile(file)
		if err != nil {
			return err
		}
		var o object
		if err := yaml.UnmarshalStrict(content, &o); err != nil {
			t.Errorf("%s: %v", file, err)
			return nil
		}
		_, group, _ := strings.Cut(strings.TrimSuffix(path.Base(file), ".yaml"), ".")
		apiVersion, _ := o["apiVersion"].(string)
		inFile, _, found := strings.Cut(apiVersion, "/")
		if !found {
			inFile = ""
		}
		if inFile != group {
			t.Errorf("%s holds an object of apiVersion %q", file, apiVersion)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestStoriesHaveNamesOfTheirOwn(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range Features() {
		if seen[s.Name] {
			t.Errorf("two stories are called %s", s.Name)
		}
		seen[s.Name] = true
	}
}

func TestWithLeavesTheOriginal(t *testing.T) {
	original := object{"metadata": object{"name": "a"}}
	changed := with(original, "v", "metadata", "labels", "l")
	if got := text(original); got != `{"metadata":{"name":"a"}}` {
		t.Errorf("the original became %s", got)
	}
	if got := text(changed); got != `{"metadata":{"labels":{"l":"v"},"name":"a"}}` {
		t.Errorf("changed to %s", got)
	}
}
