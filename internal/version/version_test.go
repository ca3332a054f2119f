package version

import (
	"encoding/json"
	"os"
	"regexp"
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/version"
)

func TestInfoIsUpstreams(t *testing.T) {
	content, err := os.ReadFile("testdata/version.json")
	if err != nil {
		t.Fatal(err)
	}
	var want version.Info
	if err := json.Unmarshal(content, &want); err != nil {
		t.Fatal(err)
	}
	// These are of the machine that builds.
	want.GoVersion = runtime.Version()
	want.Platform = runtime.GOOS + "/" + runtime.GOARCH
	if diff := cmp.Diff(want, Info()); diff != "" {
		t.Errorf("not as kube-apiserver's (-want +got):\n%s", diff)
	}
}

// Programs whose build information lacks the module tell what go.mod requires.
func TestBuiltIsWhatGoModRequires(t *testing.T) {
	content, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	match := regexp.MustCompile(`(?m)^\s*k8s\.io/kubernetes (\S+)`).FindSubmatch(content)
	if match == nil || string(match[1]) != built {
		t.Errorf("go.mod requires %q, the constant says %q", match, built)
	}
}

func TestRelease(t *testing.T) {
	for name, test := range map[string]struct {
		module debug.Module
		want   string
	}{
		"as linked":           {debug.Module{Path: "k8s.io/kubernetes", Version: "v1.38.4"}, "v1.38.4"},
		"a directory instead": {debug.Module{Path: "k8s.io/kubernetes", Version: "(devel)"}, built},
		"a fork instead": {debug.Module{Path: "k8s.io/kubernetes", Version: "v1.38.4",
			Replace: &debug.Module{Path: "example.com/fork", Version: "v0.0.1"}}, built},
		"another module": {debug.Module{Path: "k8s.io/api", Version: "v0.38.4"}, built},
	} {
		if got := release(&debug.BuildInfo{Deps: []*debug.Module{&test.module}}); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}
