package sample

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Full holds upstream's samples of its own kinds in which every field is set. They
// break most rules of validation; what they are good for is that nothing is missing.
type Full struct{ dir string }

// FindFull looks the samples up in the module k8s.io/api that the module at dir requires.
func FindFull(ctx context.Context, dir string) (Full, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "k8s.io/api")
	cmd.Dir = dir
	cmd.Stderr = os.Stderr
	output, err := cmd.Output()
	if err != nil {
		return Full{}, fmt.Errorf("go list -m k8s.io/api: %w", err)
	}
	return Full{filepath.Join(strings.TrimSpace(string(output)), "testdata", "HEAD")}, nil
}

// Object reads the sample of the resource's kind. ok is false if upstream has none,
// as for the kinds that are not in k8s.io/api.
func (f Full) Object(r Resource) (o Object, ok bool, err error) {
	content, err := os.ReadFile(f.path(r, "json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	if err := json.Unmarshal(content, &o); err != nil {
		return nil, false, fmt.Errorf("%s: %w", f.path(r, "json"), err)
	}
	return o, true, nil
}

// Encoded is the sample as it is in a file of the given extension: json, yaml or pb.
func (f Full) Encoded(r Resource, extension string) ([]byte, error) {
	return os.ReadFile(f.path(r, extension))
}

func (f Full) path(r Resource, extension string) string {
	group := r.Group
	if group == "" {
		group = "core"
	}
	return filepath.Join(f.dir, group+"."+r.Version+"."+r.Kind+"."+extension)
}
