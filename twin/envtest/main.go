// Command envtest runs test suites that start their servers by envtest, unmodified, with
// kube-apiserver and etcd and with knarr in their place (knarr envtest), and writes a table of
// what passes, how long it takes and what memory the servers take. Every test that fails with
// knarr only is a bug of knarr.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"time"

	"github.com/knarr-io/knarr/twin/peer"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "envtest:", err)
		cancel()
		os.Exit(1)
	}
}

// settings are the flags.
type settings struct {
	root, knarr, results string
	only                 *regexp.Regexp
	sides                *regexp.Regexp
	timeout              time.Duration
	dir                  string // where suites and what they leave are
}

func run(ctx context.Context, arguments []string) error {
	s := &settings{}
	set := flag.NewFlagSet("envtest", flag.ContinueOnError)
	set.StringVar(&s.root, "root", "..", "the repository's root directory")
	set.StringVar(&s.knarr, "knarr", "", "the knarr to run against; built from the repository if empty")
	set.StringVar(&s.results, "results", "", "a file to write the tables to, such as ENVTEST.md")
	only := set.String("run", "", "which packages, by a regular expression for suite/package")
	sides := set.String("servers", "", "which servers are run, by a regular expression for kube-apiserver and knarr; of the other, the last outcome counts")
	set.DurationVar(&s.timeout, "timeout", 10*time.Minute, "how long the tests of a package may take")
	if err := set.Parse(arguments); err != nil {
		return err
	}
	var err error
	if s.only, err = regexp.Compile(*only); err != nil {
		return fmt.Errorf("-run: %w", err)
	}
	if s.sides, err = regexp.Compile(*sides); err != nil {
		return fmt.Errorf("-servers: %w", err)
	}
	if s.root, err = filepath.Abs(s.root); err != nil {
		return err
	}
	s.dir = filepath.Join(s.root, "twin", ".peers", "envtest")
	if err := os.MkdirAll(filepath.Join(s.dir, "bin"), 0o755); err != nil {
		return err
	}
	binaries, err := os.MkdirTemp(s.dir, "assets-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(binaries)
	assets, err := s.assets(ctx, binaries)
	if err != nil {
		return err
	}
	var rows []row
	for _, suite := range suites {
		for _, pkg := range suite.packages {
			if !s.only.MatchString(suite.name + "/" + pkg) {
				continue
			}
			p, err := s.build(ctx, suite, pkg)
			if err != nil {
				return err
			}
			r := row{suite: suite, pkg: pkg}
			for _, side := range assets {
				o, ok := s.before(p, side.name)
				if s.sides.MatchString(side.name) {
					if o, err = s.test(ctx, p, side); err == nil {
						err = s.keep(p, o)
					}
					if err != nil {
						return fmt.Errorf("%s/%s: %w", suite.name, pkg, err)
					}
				} else if !ok {
					continue
				}
				r.outcomes = append(r.outcomes, o)
			}
			fmt.Println(r.line())
			rows = append(rows, r)
		}
	}
	text, unexpected := report(rows)
	fmt.Print("\n", text)
	if s.results != "" {
		if err := os.WriteFile(s.results, []byte(text), 0o644); err != nil {
			return err
		}
	}
	if unexpected > 0 {
		return fmt.Errorf("%d tests fail with knarr only", unexpected)
	}
	return nil
}

// side is one of the two that suites run with.
type side struct{ name, assets string }

// assets makes in dir the directories that KUBEBUILDER_ASSETS is to name: those of a run,
// by which its servers are known.
func (s *settings) assets(ctx context.Context, dir string) ([]side, error) {
	binaries, err := peer.Build(ctx, s.root, s.knarr)
	if err != nil {
		return nil, err
	}
	kubectl, err := peer.BuildKubectl(ctx, s.root, peer.KubectlVersions[len(peer.KubectlVersions)-1])
	if err != nil {
		return nil, err
	}
	real, own := side{"kube-apiserver", filepath.Join(dir, "kube-apiserver")}, side{"knarr", filepath.Join(dir, "knarr")}
	for _, one := range []side{real, own} {
		if err := os.MkdirAll(one.assets, 0o755); err != nil {
			return nil, err
		}
	}
	for name, path := range map[string]string{"kube-apiserver": binaries.KubeAPIServer, "etcd": binaries.Etcd, "kubectl": kubectl} {
		if path, err = filepath.Abs(path); err != nil {
			return nil, err
		}
		if err := os.Symlink(path, filepath.Join(real.assets, name)); err != nil {
			return nil, err
		}
	}
	if output, err := exec.CommandContext(ctx, binaries.Knarr, "envtest", own.assets).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("knarr envtest: %w\n%s", err, output)
	}
	return []side{real, own}, nil
}

// built is the tests of a package, ready to run.
type built struct {
	binary, dir string
}

// build compiles the tests of a package in its own module, if that has not been done.
func (s *settings) build(ctx context.Context, suite suite, pkg string) (built, error) {
	source, err := s.source(ctx, suite)
	if err != nil {
		return built{}, err
	}
	b := built{
		binary: filepath.Join(s.dir, "bin", suite.name+"-"+regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(pkg, "-")+".test"),
		dir:    filepath.Join(source, filepath.FromSlash(pkg)),
	}
	if _, err := os.Stat(b.binary); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return b, err
	}
	fmt.Fprintf(os.Stderr, "building the tests of %s/%s\n", suite.name, pkg)
	partial := b.binary + ".partial"
	cmd := exec.CommandContext(ctx, "go", "test", "-c", "-vet=off", "-o", partial, ".")
	cmd.Dir = b.dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := cmd.CombinedOutput(); err != nil {
		return built{}, fmt.Errorf("go test -c: %w\n%s", err, output)
	}
	return b, os.Rename(partial, b.binary)
}

// source returns a copy of the module that can be written to.
func (s *settings) source(ctx context.Context, suite suite) (string, error) {
	to := filepath.Join(s.dir, suite.name)
	if _, err := os.Stat(to); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return to, err
	}
	// In a module of nobody's, so that the twin's is left as it is.
	nobody, err := os.MkdirTemp("", "envtest-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(nobody)
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", suite.module+"@"+suite.version)
	cmd.Dir = nobody
	output, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go mod download %s: %w\n%s", suite.module, err, output)
	}
	from, err := downloaded(output)
	if err != nil {
		return "", err
	}
	partial := to + ".partial"
	if err := os.RemoveAll(partial); err != nil {
		return "", err
	}
	if err := os.CopyFS(partial, os.DirFS(from)); err != nil {
		return "", err
	}
	// What comes from the module cache is not to be written to, nor run; tests do both.
	if err := filepath.WalkDir(partial, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		mode := info.Mode() | 0o200
		if filepath.Ext(path) == ".sh" {
			mode |= 0o111
		}
		return os.Chmod(path, mode)
	}); err != nil {
		return "", err
	}
	return to, os.Rename(partial, to)
}
