package peer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// KubectlVersions are the releases of k8s.io/kubectl whose kubectl can be compared:
// the last of each minor version from v1.27 that the module proxy serves.
var KubectlVersions = []string{
	"v0.27.3", "v0.28.3", "v0.29.6", "v0.30.14", "v0.31.3", "v0.32.3", "v0.33.13", "v0.34.13", "v0.35.10", "v0.36.6", "v0.37.2",
}

// kubectlMain is kubectl as upstream's own cmd/kubectl makes it from the module: that
// command is in k8s.io/kubernetes, whose older releases cannot be built as a module.
const kubectlMain = `package main

import (
	"k8s.io/component-base/cli"
	_ "k8s.io/client-go/plugin/pkg/client/auth"
	"k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/util"
)

func main() {
	if err := cli.RunNoErrOutput(cmd.NewDefaultKubectlCommand()); err != nil {
		util.CheckErr(err)
	}
}
`

// BuildKubectl compiles the kubectl of a release of k8s.io/kubectl into twin/.peers,
// if it is not there yet, and returns its path.
func BuildKubectl(ctx context.Context, root, version string) (string, error) {
	dir := filepath.Join(root, "twin", ".peers")
	binary, err := filepath.Abs(filepath.Join(dir, "kubectl-"+version))
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(binary); err == nil {
		return binary, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	// A module of its own for each, since they need different releases of the same modules.
	module, err := os.MkdirTemp(dir, "kubectl-source-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(module)
	if err := os.WriteFile(filepath.Join(module, "main.go"), []byte(kubectlMain), 0o644); err != nil {
		return "", err
	}
	for _, arguments := range [][]string{
		{"mod", "init", "kubectl"},
		{"mod", "edit", "-require=k8s.io/kubectl@" + version},
		{"mod", "tidy"},
	} {
		cmd := exec.CommandContext(ctx, "go", arguments...)
		cmd.Dir = module
		if output, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("kubectl %s: go %s: %w\n%s", version, arguments[0], err, output)
		}
	}
	return binary, compile(ctx, module, binary, "build", ".", stripped+inVersion+"gitVersion="+version)
}

// WriteKubeconfig writes a file with which kubectl reaches the server as the
// administrator.
func WriteKubeconfig(config *rest.Config, path string) error {
	const name = "peer"
	file := api.NewConfig()
	file.Clusters[name] = &api.Cluster{Server: config.Host, CertificateAuthorityData: config.CAData}
	file.AuthInfos[name] = &api.AuthInfo{ClientCertificateData: config.CertData, ClientKeyData: config.KeyData}
	file.Contexts[name] = &api.Context{Cluster: name, AuthInfo: name}
	file.CurrentContext = name
	return clientcmd.WriteToFile(*file, path)
}
