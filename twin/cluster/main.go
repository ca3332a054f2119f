// Command cluster makes clusters of a kube-apiserver with etcd and of knarr: upstream's
// kube-controller-manager and kube-scheduler and kwok's simulated nodes run beside each, with
// their own certificates. It does on both what people do on clusters, then has thousands of
// pods come up and measures what that takes, one server after the other, and reads all
// logs for errors. What came of it is written to a file; what fails makes the command fail.
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
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/knarr-io/knarr/twin/peer"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		cancel()
		os.Exit(1)
	}
}

type flags struct {
	root, knarr string
	run         *regexp.Regexp
	sides       []string
	nodes, pods int
	logs        string
	result      string
	timeout     time.Duration
}

func parse(arguments []string) (flags, error) {
	var f flags
	set := flag.NewFlagSet("cluster", flag.ContinueOnError)
	set.StringVar(&f.root, "root", "..", "the repository's root directory")
	set.StringVar(&f.knarr, "knarr", "", "the knarr to run against; built from the repository if empty")
	expression := set.String("run", "", "do only what this regular expression of names matches")
	sides := set.String("sides", "kube-apiserver,knarr", "the servers to make clusters of")
	set.IntVar(&f.nodes, "nodes", 100, "on how many nodes many pods come up")
	set.IntVar(&f.pods, "pods", 5000, "how many those pods are, a multiple of 10")
	set.StringVar(&f.logs, "logs", "", "keep all logs and data in this directory")
	set.StringVar(&f.result, "result", "CLUSTER.md", "the file to write what came of it to")
	set.DurationVar(&f.timeout, "timeout", 10*time.Minute, "give up on one thing after so long")
	if err := set.Parse(arguments); err != nil {
		return f, err
	}
	f.sides = strings.Split(*sides, ",")
	var err error
	if f.run, err = regexp.Compile(*expression); err != nil {
		return f, fmt.Errorf("-run: %w", err)
	}
	return f, nil
}

// A cluster is a server with all that runs beside it.
type cluster struct {
	server     *peer.Server
	plane      *peer.Plane
	kubectl    string // the binary
	kubeconfig string
	dir        string
	audit      string // the file that requests are recorded in
	timeout    time.Duration
}

func run(ctx context.Context, arguments []string) error {
	f, err := parse(arguments)
	if err != nil {
		return err
	}
	binaries, err := peer.Build(ctx, f.root, f.knarr)
	if err != nil {
		return err
	}
	programs, err := peer.BuildControlPlane(ctx, f.root)
	if err != nil {
		return err
	}
	kubectl, err := peer.BuildKubectl(ctx, f.root, peer.KubectlVersions[len(peer.KubectlVersions)-1])
	if err != nil {
		return err
	}
	dir := f.logs
	if dir == "" {
		if dir, err = os.MkdirTemp(filepath.Join(f.root, "twin", ".peers"), "cluster-"); err != nil {
			return err
		}
		defer os.RemoveAll(dir)
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	m := maker{f, binaries, programs, kubectl, dir}
	build, err := peer.Digest(binaries.Knarr)
	if err != nil {
		return err
	}
	builds := map[string]string{"kube-apiserver": peer.KubernetesVersion, "knarr": build}
	results, err := kept(filepath.Join(f.root, "twin", ".peers", "cluster.json"), builds)
	if err != nil {
		return err
	}
	for _, side := range []struct {
		name  string
		start peer.Starter
	}{{"kube-apiserver", peer.StartKubeAPIServer}, {"knarr", peer.StartKnarr}} {
		if slices.Contains(f.sides, side.name) {
			done := m.against(ctx, side.name, side.start)
			done.Build = builds[side.name]
			results.add(done)
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
	if err := results.keep(); err != nil {
		return err
	}
	return report(f.result, results.all)
}

// maker makes clusters.
type maker struct {
	flags    flags
	binaries peer.Binaries
	programs peer.ControlPlane
	kubectl  string
	dir      string
}

// A result is what came of everything on the clusters of one kind of server.
type result struct {
	Server string
	Build  string
	Steps  []step
	Errors []logged // in the logs while the steps were done
	Asked  map[string]asked
	Scale  *scale // nil if it was not asked for
}

// A step is one thing that was done.
type step struct {
	Name string
	Took time.Duration
	Told string // what is worth telling beside that it worked
	Err  string
}

// against does everything on clusters of one kind of server.
func (m maker) against(ctx context.Context, name string, start peer.Starter) result {
	r := result{Server: name}
	all := scenarios
	if name == "knarr" {
		all = slices.Concat(scenarios, aloneScenarios)
	}
	if slices.ContainsFunc(all, func(s scenario) bool { return m.flags.run.MatchString(s.name) }) {
		m.scenarios(ctx, &r, start, all)
	}
	if m.flags.run.MatchString(scaleName) {
		r.Scale = m.scale(ctx, name, start)
	}
	return r
}

// make makes a cluster without nodes; the function ends it.
func (m maker) make(ctx context.Context, name string, start peer.Starter, audited bool) (*cluster, func(), error) {
	if err := os.MkdirAll(m.dir, 0o700); err != nil {
		return nil, nil, err
	}
	dir, err := os.MkdirTemp(m.dir, name+"-")
	if err != nil {
		return nil, nil, err
	}
	authority, err := peer.NewAuthority("signing-ca")
	if err != nil {
		return nil, nil, err
	}
	c := &cluster{kubectl: m.kubectl, dir: dir, kubeconfig: filepath.Join(dir, "kubeconfig"), timeout: m.flags.timeout}
	options := peer.Options{Dir: dir, ClientCA: authority.CertPEM, Alone: true}
	if audited {
		policy := filepath.Join(dir, "audit-policy.yaml")
		if err := os.WriteFile(policy, []byte(auditPolicy), 0o600); err != nil {
			return nil, nil, err
		}
		c.audit = filepath.Join(dir, "audit.jsonl")
		options.Flags = append(options.Flags, "--audit-policy-file="+policy, "--audit-log-path="+c.audit)
	}
	if c.server, err = start(ctx, m.binaries, options); err != nil {
		return nil, nil, err
	}
	if c.plane, err = peer.StartPlane(ctx, m.programs, c.server, authority, dir); err != nil {
		c.server.Stop()
		return nil, nil, err
	}
	end := func() { c.plane.Stop(); c.server.Stop() }
	if err := peer.WriteKubeconfig(c.server.Config, c.kubeconfig); err != nil {
		end()
		return nil, nil, err
	}
	return c, end, nil
}

// scenarios does what is asked for on a new cluster, and finds out which errors the logs have
// then, and who asked how much.
func (m maker) scenarios(ctx context.Context, r *result, start peer.Starter, all []scenario) {
	c, end, err := m.make(ctx, r.Server, start, true)
	if err != nil {
		r.Steps = []step{{Name: "start", Err: err.Error()}}
		return
	}
	r.Steps = m.tell(ctx, c, all)
	end()
	r.Errors, err = errorsIn(c.plane.Logs())
	if err == nil {
		r.Asked, err = audited(c.audit)
	}
	if err != nil {
		r.Steps = append(r.Steps, step{Name: "logs", Err: err.Error()})
	}
}

// tell does what is asked for on a cluster, the first of which is always done.
func (m maker) tell(ctx context.Context, c *cluster, all []scenario) []step {
	var steps []step
	for i, s := range all {
		if i > 0 && !m.flags.run.MatchString(s.name) {
			continue
		}
		limited, cancel := context.WithTimeout(ctx, c.timeout)
		began := time.Now()
		told, err := s.run(limited, c)
		cancel()
		err = errors.Join(err, c.plane.Failure())
		done := step{Name: s.name, Took: time.Since(began), Told: told}
		if err != nil {
			done.Err = err.Error()
		}
		steps = append(steps, done)
		fmt.Fprintf(os.Stderr, "%s %s: %s: %.1f s %s %v\n", time.Now().Format(time.TimeOnly), c.server.Name, s.name, time.Since(began).Seconds(), told, err)
		if ctx.Err() != nil || i == 0 && err != nil {
			break
		}
	}
	return steps
}
