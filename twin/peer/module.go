package peer

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

// ModuleFiles downloads a Go module, as path@version, and returns the files in it
// that match a pattern of slashes, sorted.
func ModuleFiles(ctx context.Context, module, pattern string) ([]string, error) {
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", module)
	cmd.Stderr = os.Stderr
	output, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	var downloaded struct{ Dir string }
	if err := json.Unmarshal(output, &downloaded); err != nil {
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(downloaded.Dir, filepath.FromSlash(pattern)))
	slices.Sort(files)
	return files, err
}
