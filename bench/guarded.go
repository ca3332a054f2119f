package main

import (
	"context"
	"net/http"
	"os"
	"path/filepath"

	"github.com/knarr-io/knarr/twin/peer"
)

// A server is guarded when who asks is no administrator by birth, but somebody
// with a static token whom RBAC lets do it, and every request is recorded at
// Metadata in a file.
const (
	token  = "bench-token"
	tokens = token + ",bench,bench,benches\n"
	policy = `{"apiVersion":"audit.k8s.io/v1","kind":"Policy","rules":[{"level":"Metadata"}]}`
	// A binding of the kind that operators have: one role, one subject.
	binding = `{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRoleBinding","metadata":{"name":"bench"},` +
		`"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"cluster-admin"},` +
		`"subjects":[{"apiGroup":"rbac.authorization.k8s.io","kind":"Group","name":"benches"}]}`
)

// guardedOptions are those of a server that is guarded.
func guardedOptions(dir string) (peer.Options, error) {
	file := filepath.Join(dir, "audit-policy.json")
	if err := os.WriteFile(file, []byte(policy), 0o600); err != nil {
		return peer.Options{}, err
	}
	return peer.Options{Dir: dir, Tokens: tokens, Flags: []string{
		"--audit-policy-file=" + file, "--audit-log-path=" + filepath.Join(dir, "audit.log"),
	}}, nil
}

// admit lets the owner of the token do everything, and has all clients made from
// now on be his.
func admit(ctx context.Context, server *peer.Server) error {
	admin, err := newClient(server)
	if err != nil {
		return err
	}
	defer admin.close()
	if err := admin.write(ctx, http.MethodPost, "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", "application/json", []byte(binding), http.StatusCreated); err != nil {
		return err
	}
	server.Config.CertData, server.Config.KeyData = nil, nil
	server.Config.CertFile, server.Config.KeyFile = "", ""
	server.Config.BearerToken = token
	return nil
}
