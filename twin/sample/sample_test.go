package sample

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
		var o Object
		if err := yaml.UnmarshalStrict(content, &o); err != nil {
			t.Errorf("%s: %v", file, err)
			return nil
		}
		_, group, _ := strings.Cut(strings.TrimSuffix(path.Base(file), ".yaml"), ".")
		apiVersion, _ := o["apiVersion"].(string)
		inFile, version, found := strings.Cut(apiVersion, "/")
		if !found {
			inFile, version = "", apiVersion
		}
		if group != inFile && group != strings.TrimSuffix(version+"."+inFile, ".") {
			t.Errorf("%s holds an object of apiVersion %q", file, apiVersion)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestWithLeavesTheOriginal(t *testing.T) {
	original := Object{"metadata": Object{"name": "a"}}
	changed := With(original, "v", "metadata", "labels", "l")
	if got := Text(original); got != `{"metadata":{"name":"a"}}` {
		t.Errorf("the original became %s", got)
	}
	if got := Text(changed); got != `{"metadata":{"labels":{"l":"v"},"name":"a"}}` {
		t.Errorf("changed to %s", got)
	}
}
