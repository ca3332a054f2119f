package ownership_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// sampleDir is where k8s.io/api keeps an object of each kind.
var sampleDir = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "k8s.io/api").Output()
	return filepath.Join(strings.TrimSpace(string(out)), "testdata", "HEAD"), err
})
