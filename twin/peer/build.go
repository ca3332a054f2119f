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
	// Aggregated is upstream's sample API server.
	Aggregated string
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
		Aggregated:    filepath.Join(dir, "sample-apiserver"),
	}
	if err := buildOnce(ctx, module, b.KubeAPIServer, "build", "k8s.io/kubernetes/cmd/kube-apiserver", versioned); err != nil {
		return Binaries{}, err
	}
	if err := buildOnce(ctx, module, b.Etcd, "build", "go.etcd.io/etcd/server/v3", stripped); err != nil {
		return Binaries{}, err
	}
	if err := buildOnce(ctx, module, b.Aggregated, "build", "k8s.io/sample-apiserver", stripped); err != nil {
		return Binaries{}, err
	}
	if knarr != "" {
		b.Knarr = knarr
		return b, nil
	}
	return b, compile(ctx, root, b.Knarr, "build", "./cmd/knarr", stripped)
}

// Linker flags: without symbols, and with the version; without that, upstream's binaries
// would call themselves v0.0.0-master.
const (
	stripped  = "-s -w"
	inVersion = " -X k8s.io/component-base/version."
	versioned = stripped + inVersion + "gitVersion=" + KubernetesVersion + inVersion + "gitMajor=1" + inVersion + "gitMinor=37"
)

// Suite are the paths of what runs upstream's end-to-end specs.
type Suite struct {
	// ControllerManager is kube-controller-manager, and Specs the test binary.
	ControllerManager, Specs string
	Kubectl                  string
}

// BuildSuite compiles upstream's end-to-end specs and what they need beside a server into
// twin/.peers, each only if it is not there yet: the first time takes many minutes.
func BuildSuite(ctx context.Context, root string) (Suite, error) {
	manager, err := BuildControllerManager(ctx, root)
	if err != nil {
		return Suite{}, err
	}
	kubectl, err := BuildKubectl(ctx, root, KubectlVersions[len(KubectlVersions)-1])
	if err != nil {
		return Suite{}, err
	}
	module, output, err := upstream(root, "e2e.test")
	if err != nil {
		return Suite{}, err
	}
	// Vetting it is upstream's business.
	err = buildOnce(ctx, module, output, "test", "k8s.io/kubernetes/test/e2e", versioned, "-c", "-vet=off")
	return Suite{ControllerManager: manager, Specs: output, Kubectl: kubectl}, err
}

// BuildProvider compiles the provider of OpenID Connect into twin/.peers, if it is not there yet.
func BuildProvider(ctx context.Context, root string) (string, error) {
	module, err := filepath.Abs(filepath.Join(root, "twin", "provider"))
	if err != nil {
		return "", err
	}
	output := filepath.Join(filepath.Dir(module), ".peers", "provider")
	return output, buildOnce(ctx, module, output, "build", ".", stripped)
}

// BuildControllerManager compiles kube-controller-manager into twin/.peers, if it is not there yet.
func BuildControllerManager(ctx context.Context, root string) (string, error) {
	module, output, err := upstream(root, "kube-controller-manager")
	if err != nil {
		return "", err
	}
	return output, buildOnce(ctx, module, output, "build", "k8s.io/kubernetes/cmd/kube-controller-manager", versioned)
}

// upstream returns the module that what is only for the specs is built in, and where
// the binary goes.
func upstream(root, name string) (module, output string, err error) {
	root, err = filepath.Abs(root)
	if err != nil {
		return "", "", err
	}
	dir := filepath.Join(root, "twin", ".peers")
	return filepath.Join(root, "twin", "e2e", "upstream"), filepath.Join(dir, name), os.MkdirAll(dir, 0o755)
}

func buildOnce(ctx context.Context, dir, output, verb, pkg, ldflags string, flags ...string) error {
	if _, err := os.Stat(output); err == nil {
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return compile(ctx, dir, output, verb, pkg, ldflags, flags...)
}

// compile runs go build or go test, which the verb says, in the directory.
func compile(ctx context.Context, dir, output, verb, pkg, ldflags string, flags ...string) error {
	fmt.Fprintf(os.Stderr, "building %s\n", pkg)
	// A build that is interrupted must not leave half a file that later counts as built.
	partial := output + ".partial"
	arguments := append([]string{verb, "-ldflags", ldflags, "-o", partial}, flags...)
	cmd := exec.CommandContext(ctx, "go", append(arguments, pkg)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go %s %s: %w", verb, pkg, err)
	}
	return os.Rename(partial, output)
}
