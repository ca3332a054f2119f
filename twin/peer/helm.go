package peer

import (
	"context"
	"path/filepath"
)

// HelmVersions are the major versions of Helm that can be built; twin/helm pins the releases.
var HelmVersions = []string{"v3", "v4"}

// BuildHelm compiles a version of Helm into twin/.peers, if it is not there yet, and returns its path.
func BuildHelm(ctx context.Context, root, version string) (string, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return "", err
	}
	output := filepath.Join(root, "twin", ".peers", "helm-"+version)
	return output, buildOnce(ctx, filepath.Join(root, "twin", "helm", version), output, "build", "helm.sh/helm/"+version+"/cmd/helm", stripped)
}
