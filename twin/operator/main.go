// Command operator runs an operator made with controller-runtime against a kube-apiserver with
// etcd and against knarr: it reconciles Gateways, whose definitions the Gateway API
// project publishes, with caches, server-side apply, finalizers, owners and the election of
// a leader among two managers. The same is asserted of both servers.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/knarr-io/knarr/twin/peer"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	log.SetLogger(logr.Discard()) // what fails is counted
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "operator:", err)
		cancel()
		os.Exit(1)
	}
}

func run(ctx context.Context, arguments []string) error {
	set := flag.NewFlagSet("operator", flag.ContinueOnError)
	root := set.String("root", "..", "the repository's root directory")
	knarr := set.String("knarr", "", "the knarr to run against; built from the repository if empty")
	objects := set.Int("objects", 200, "how many Gateways there are")
	timeout := set.Duration("timeout", 10*time.Minute, "give up against a server after so long")
	if err := set.Parse(arguments); err != nil {
		return err
	}
	if *objects < leastObjects {
		return fmt.Errorf("-objects: at least %d, so that each step is about some", leastObjects)
	}
	binaries, err := peer.Build(ctx, *root, *knarr)
	if err != nil {
		return err
	}
	manager, err := peer.BuildControllerManager(ctx, *root)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(filepath.Join(*root, "twin", ".peers"), "operator-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	var errs []error
	fmt.Printf("| server | step | seconds | reconciled |\n|---|---|---:|---:|\n")
	for i, start := range []peer.Starter{peer.StartKubeAPIServer, peer.StartKnarr} {
		own := filepath.Join(dir, fmt.Sprint(i+1))
		if err := os.Mkdir(own, 0o700); err != nil {
			return err
		}
		errs = append(errs, against(ctx, start, binaries, manager, own, *objects, *timeout))
	}
	return errors.Join(errs...)
}

// against starts a server with a controller manager, which collects what has lost its owner
// and what is in namespaces that go, and goes through all steps.
func against(ctx context.Context, start peer.Starter, b peer.Binaries, manager, dir string, objects int, timeout time.Duration) error {
	server, err := start(ctx, b, peer.Options{Dir: dir})
	if err != nil {
		return err
	}
	defer server.Stop()
	if err := server.StartControllerManager(ctx, manager, dir); err != nil {
		return err
	}
	kubeconfig := filepath.Join(dir, "kubeconfig")
	if err := peer.WriteKubeconfig(server.Config, kubeconfig); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := applyDefinitions(ctx, b.Knarr, kubeconfig); err != nil {
		return fmt.Errorf("%s: %w", server.Name, err)
	}
	if err := scenario(ctx, server, objects); err != nil {
		return fmt.Errorf("%s: %w", server.Name, err)
	}
	return nil
}
