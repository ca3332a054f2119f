// Package kubeconfig tells clients how to reach a server: as a kubeconfig file
// for kubectl and as a rest.Config for Go. It must not know where the
// certificates come from.
package kubeconfig

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/knarr-io/knarr/internal/atomicfile"
)

// name is the cluster's, the context's and the user's name in the file.
const name = "knarr"

// Access is what a client needs to reach a server as one user. The slices are
// PEM; they are kept, not copied, and must not be modified.
type Access struct {
	Server string // URL, such as https://127.0.0.1:6443
	CA     []byte // certificates that the serving certificate is verified with
	Cert   []byte // the user's certificate
	Key    []byte // and its key
}

// Config is the kubeconfig, with all certificates inside it.
func (a Access) Config() *clientcmdapi.Config {
	cluster := clientcmdapi.NewCluster()
	cluster.Server = a.Server
	cluster.CertificateAuthorityData = a.CA

	user := clientcmdapi.NewAuthInfo()
	user.ClientCertificateData = a.Cert
	user.ClientKeyData = a.Key

	context := clientcmdapi.NewContext()
	context.Cluster = name
	context.AuthInfo = name

	config := clientcmdapi.NewConfig()
	config.Clusters[name] = cluster
	config.AuthInfos[name] = user
	config.Contexts[name] = context
	config.CurrentContext = name
	return config
}

// REST is the same for client-go. Each call returns a new value.
func (a Access) REST() *rest.Config {
	return &rest.Config{
		Host: a.Server,
		TLSClientConfig: rest.TLSClientConfig{
			CAData:   a.CA,
			CertData: a.Cert,
			KeyData:  a.Key,
		},
	}
}

// Render returns the kubeconfig file's content, YAML. It holds the key.
func (a Access) Render() ([]byte, error) {
	return clientcmd.Write(*a.Config())
}

// WriteFile makes path the kubeconfig file, readable by its owner only (0600).
// It replaces the file as a whole or not at all, and leaves it alone where it
// is right already. An error is one line that names the file and the remedy.
func (a Access) WriteFile(path string) error {
	data, err := a.Render()
	if err != nil {
		return err
	}
	if upToDate(path, data) {
		return nil
	}
	if err := atomicfile.Write(path, data, 0o600); err != nil {
		if errors.Is(err, fs.ErrPermission) {
			return fmt.Errorf("%w; choose a directory that this user can write to", err)
		}
		return err
	}
	return nil
}

func upToDate(path string, data []byte) bool {
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != 0o600 {
		return false
	}
	old, err := os.ReadFile(path)
	return err == nil && bytes.Equal(old, data)
}
