package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// k runs kubectl, and returns what it prints; that it fails is an error that says why.
func (c *cluster) k(ctx context.Context, arguments ...string) (string, error) {
	return c.apply(ctx, "", arguments...)
}

// apply runs kubectl with a manifest as its standard input.
func (c *cluster) apply(ctx context.Context, manifest string, arguments ...string) (string, error) {
	cmd := exec.CommandContext(ctx, c.kubectl, arguments...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.kubeconfig, "HOME="+c.dir)
	cmd.Stdin = strings.NewReader(manifest)
	var out, wrong bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &wrong
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("kubectl %s: %w: %s", strings.Join(arguments, " "), err, strings.TrimSpace(wrong.String()))
	}
	return strings.TrimSpace(out.String()), nil
}

// all runs kubectl several times, with the words of each line.
func (c *cluster) all(ctx context.Context, lines ...string) error {
	for _, line := range lines {
		if _, err := c.k(ctx, strings.Fields(line)...); err != nil {
			return err
		}
	}
	return nil
}

// expect has kubectl print what is wanted.
func (c *cluster) expect(ctx context.Context, wanted string, arguments ...string) error {
	got, err := c.k(ctx, arguments...)
	if err == nil && got != wanted {
		err = fmt.Errorf("kubectl %s: %q, not %q", strings.Join(arguments, " "), got, wanted)
	}
	return err
}

// until waits until kubectl prints what is wanted.
func (c *cluster) until(ctx context.Context, wanted string, arguments ...string) error {
	for {
		err := c.expect(ctx, wanted, arguments...)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// count returns how many objects kubectl names.
func (c *cluster) count(ctx context.Context, arguments ...string) (int, error) {
	out, err := c.k(ctx, append(append([]string{"get"}, arguments...), "-o", "name")...)
	return len(strings.Fields(out)), err
}

// counts has kubectl name so many objects.
func (c *cluster) counts(ctx context.Context, wanted int, arguments ...string) error {
	got, err := c.count(ctx, arguments...)
	if err == nil && got != wanted {
		err = fmt.Errorf("kubectl get %s: %d, not %d", strings.Join(arguments, " "), got, wanted)
	}
	return err
}
