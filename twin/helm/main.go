// Command helm has Helm 3 and Helm 4 install, upgrade, roll back and uninstall well-known charts
// on clusters of kube-apiserver and of knarr, and compares what became of the releases and their
// objects. What came of it is written to a file; what fails against knarr alone, or differs,
// makes the command fail.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/knarr-io/knarr/twin/peer"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "helm:", err)
		cancel()
		os.Exit(1)
	}
}

func run(ctx context.Context, arguments []string) error {
	set := flag.NewFlagSet("helm", flag.ContinueOnError)
	root := set.String("root", "..", "the repository's root directory")
	knarr := set.String("knarr", "", "the knarr to run against; built from the repository if empty")
	versions := set.String("versions", strings.Join(peer.HelmVersions, ","), "the versions of Helm")
	expression := set.String("run", "", "only charts whose name matches this regular expression")
	logs := set.String("logs", "", "keep what Helm said and all logs and data in this directory")
	path := set.String("result", "HELM.md", "the file to write what came of it to")
	self := set.Bool("self", false, "compare kube-apiserver with a second kube-apiserver, to prove the comparison itself")
	if err := set.Parse(arguments); err != nil {
		return err
	}
	wanted, err := regexp.Compile(*expression)
	if err != nil {
		return fmt.Errorf("-run: %w", err)
	}
	binaries, err := peer.Build(ctx, *root, *knarr)
	if err != nil {
		return err
	}
	programs, err := peer.BuildControlPlane(ctx, *root)
	if err != nil {
		return err
	}
	kubectl, err := peer.BuildKubectl(ctx, *root, peer.KubectlVersions[len(peer.KubectlVersions)-1])
	if err != nil {
		return err
	}
	charts, err := findCharts(ctx, *root, wanted)
	if err != nil {
		return err
	}
	dir := *logs
	if dir == "" {
		if dir, err = os.MkdirTemp(filepath.Join(*root, "twin", ".peers"), "helm-run-"); err != nil {
			return err
		}
		defer os.RemoveAll(dir)
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	starters := []peer.Starter{peer.StartKubeAPIServer, peer.StartKnarr}
	if *self {
		starters[1] = peer.StartKubeAPIServer
	}
	var told []outcome
	for _, version := range strings.Split(*versions, ",") {
		helm, err := peer.BuildHelm(ctx, *root, version)
		if err != nil {
			return err
		}
		var lives [2][]life
		var errs [2]error
		var both sync.WaitGroup
		for i, start := range starters {
			both.Go(func() {
				own := filepath.Join(dir, fmt.Sprintf("%s-%d", version, i+1))
				c := client{helm: helm, kubectl: kubectl, dir: own}
				lives[i], errs[i] = c.against(ctx, start, binaries, programs, charts)
			})
		}
		both.Wait()
		if err := errors.Join(errs[:]...); err != nil {
			return err
		}
		for i, chart := range charts {
			told = append(told, compared(version, chart, lives[0][i], lives[1][i]))
		}
	}
	return report(*path, told)
}

// against makes a cluster and has all charts live and die on it.
func (c client) against(ctx context.Context, start peer.Starter, binaries peer.Binaries, programs peer.ControlPlane, charts []chart) ([]life, error) {
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return nil, err
	}
	authority, err := peer.NewAuthority("signing-ca")
	if err != nil {
		return nil, err
	}
	server, err := start(ctx, binaries, peer.Options{Dir: c.dir, ClientCA: authority.CertPEM, Alone: true})
	if err != nil {
		return nil, err
	}
	defer server.Stop()
	plane, err := peer.StartPlane(ctx, programs, server, authority, c.dir)
	if err != nil {
		return nil, err
	}
	defer plane.Stop()
	if _, err := plane.AddNodes(ctx, 3); err != nil {
		return nil, err
	}
	c.kubeconfig = filepath.Join(c.dir, "kubeconfig")
	if err := peer.WriteKubeconfig(server.Config, c.kubeconfig); err != nil {
		return nil, err
	}
	var lives []life
	for _, chart := range charts {
		began := time.Now()
		l := c.live(ctx, chart)
		fmt.Fprintf(os.Stderr, "%s %s: %s %s: %.1f s %s\n", time.Now().Format(time.TimeOnly), server.Name, filepath.Base(c.helm), chart.name, time.Since(began).Seconds(), strings.Join(l.failures(), "; "))
		lives = append(lives, l)
		if err := errors.Join(ctx.Err(), plane.Failure()); err != nil {
			return nil, err
		}
	}
	return lives, nil
}
