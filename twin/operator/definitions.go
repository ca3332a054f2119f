package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// gatewayAPI is the module whose definitions are applied: the one the Go types are from.
const gatewayAPI = "sigs.k8s.io/gateway-api"

// applyDefinitions has kubectl apply the module's definitions, two times, and waits until
// they are established.
func applyDefinitions(ctx context.Context, knarr, kubeconfig string) error {
	output, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", gatewayAPI).Output()
	if err != nil {
		return fmt.Errorf("go list: %w", err)
	}
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(output)), "config", "crd", "standard", "*.yaml"))
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("%s has no definitions", gatewayAPI)
	}
	apply := []string{"apply", "--server-side"}
	for _, file := range files {
		apply = append(apply, "--filename="+file)
	}
	for _, arguments := range [][]string{apply, apply, {"wait", "crd", "--all", "--for=condition=established", "--timeout=60s"}} {
		cmd := exec.CommandContext(ctx, knarr, append([]string{"kubectl"}, arguments...)...)
		cmd.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig)
		if output, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("kubectl %s: %w\n%s", arguments[0], err, output)
		}
	}
	return nil
}
