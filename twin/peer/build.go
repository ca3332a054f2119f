// Package peer builds, starts, measures and stops the servers that are compared:
// kube-apiserver with its etcd, and knarr. All of them run on loopback, each with
// its own directory, and are handed out as a Server that knows how to be reached.
//
// It must not know what is asked of a server: the twin and bench commands decide that.
package peer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

// KubernetesVersion is the release that kube-apiserver is built from; the go.mod
// beside this package pins it.
const KubernetesVersion = "v1.37.2"

// Binaries are the paths of the executables a comparison needs.
type Binaries struct {
	KubeAPIServer, Etcd, Knarr string
}

// Build compiles the peers into twin/.peers below the repository's root, each only if
// it is not there yet (the first time takes many minutes), and knarr too unless the
// path of one that is already built is given. Progress goes to standard error.
func Build(ctx context.Context, root, knarr string) (Binaries, error) {
	root, err := filepath.Abs(root) // builds have directories of their own
	if err != nil {
		return Binaries{}, err
	}
	module := filepath.Join(root, "twin")
	dir := filepath.Join(module, ".peers")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Binaries{}, err
	}
	b := Binaries{
		KubeAPIServer: filepath.Join(dir, "kube-apiserver"),
		Etcd:          filepath.Join(dir, "etcd"),
		Knarr:         filepath.Join(dir, "knarr"),
	}
	// Without these, kube-apiserver would call itself v0.0.0-master.
	const version = "k8s.io/component-base/version."
	ldflags := "-s -w -X " + version + "gitVersion=" + KubernetesVersion +
		" -X " + version + "gitMajor=1 -X " + version + "gitMinor=37"
	if err := buildOnce(ctx, module, b.KubeAPIServer, "k8s.io/kubernetes/cmd/kube-apiserver", ldflags); err != nil {
		return Binaries{}, err
	}
	if err := buildOnce(ctx, module, b.Etcd, "go.etcd.io/etcd/server/v3", "-s -w"); err != nil {
		return Binaries{}, err
	}
	if knarr != "" {
		b.Knarr = knarr
		return b, nil
	}
	return b, goBuild(ctx, root, b.Knarr, "./cmd/knarr", "-s -w")
}

func buildOnce(ctx context.Context, dir, output, pkg, ldflags string) error {
	if _, err := os.Stat(output); err == nil {
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return goBuild(ctx, dir, output, pkg, ldflags)
}

func goBuild(ctx context.Context, dir, output, pkg, ldflags string) error {
	fmt.Fprintf(os.Stderr, "building %s\n", pkg)
	// A build that is interrupted must not leave half a file that later counts as built.
	partial := output + ".partial"
	cmd := exec.CommandContext(ctx, "go", "build", "-ldflags", ldflags, "-o", partial, pkg)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go build %s: %w", pkg, err)
	}
	return os.Rename(partial, output)
}
