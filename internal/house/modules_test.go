package house

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Without replace, go install and embedding in another module work.
func TestNoReplace(t *testing.T) {
	for _, line := range goMod(t, "go.mod") {
		if regexp.MustCompile(`^(replace\b|.*=>)`).MatchString(line) {
			t.Errorf("go.mod: %s", line)
		}
	}
}

// unstaged are the modules of k8s.io that have versions of their own; all
// others are released with Kubernetes.
var unstaged = []string{"k8s.io/gengo/v2", "k8s.io/klog/v2", "k8s.io/kube-openapi", "k8s.io/utils"}

// Kubernetes' modules belong together: all are of one release, in every module
// of the repository.
func TestOneKubernetesRelease(t *testing.T) {
	modules, err := filepath.Glob(filepath.Join(root, "*", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	modules = append(modules, filepath.Join(root, "go.mod"))

	requirement := regexp.MustCompile(`^(?:require )?(k8s\.io/\S+) (v\S+)`)
	versions := map[string][]string{}
	for _, module := range modules {
		name, err := filepath.Rel(root, module)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range goMod(t, name) {
			match := requirement.FindStringSubmatch(line)
			if match == nil || slices.Contains(unstaged, match[1]) {
				continue
			}
			version := match[2]
			if match[1] == "k8s.io/kubernetes" { // v1.37.2 where the others have v0.37.2
				version = strings.Replace(version, "v1.", "v0.", 1)
			}
			versions[version] = append(versions[version], name+": "+match[1])
		}
	}
	if len(versions) != 1 {
		t.Errorf("%d releases, want one: %v", len(versions), versions)
	}
}

// goMod is the lines of a go.mod without comments and space around them.
func goMod(t *testing.T, name string) []string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(data)) {
		line, _, _ = strings.Cut(line, "//")
		lines = append(lines, strings.TrimSpace(line))
	}
	return lines
}
