package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/knarr-io/knarr/twin/compare"
	"github.com/knarr-io/knarr/twin/peer"
	"github.com/knarr-io/knarr/twin/stories"
)

// startBoth starts the reference and the server that is compared with it, each with an
// aggregated server beside it if one is needed, and recording requests if that is.
func startBoth(ctx context.Context, f flags, binaries peer.Binaries, aggregated, audited bool) (first, second compare.Side, stop func(), err error) {
	// Beside the binaries, so that every server's data is on the same, real disk.
	dir, err := os.MkdirTemp(filepath.Join(f.root, "twin", ".peers"), "run-")
	if err != nil {
		return first, second, nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return first, second, nil, err
	}
	var servers []*peer.Server
	var beside []*peer.Aggregated
	stop = func() {
		for _, a := range beside {
			a.Close()
		}
		for _, s := range servers {
			s.Stop()
		}
		if f.logs != "" {
			keepLogs(dir, f.logs)
		}
		os.RemoveAll(dir)
	}
	starters := []peer.Starter{peer.StartKubeAPIServer, peer.StartKnarr}
	if f.self {
		starters[1] = peer.StartKubeAPIServer
	}
	var by *byThemselves
	if f.certificates || f.lifecycle {
		if by, err = newByThemselves(ctx, f, dir); err != nil {
			stop()
			return first, second, nil, err
		}
	}
	for i, starter := range starters {
		own := filepath.Join(dir, fmt.Sprint(i+1))
		if err = os.Mkdir(own, 0o700); err != nil {
			break
		}
		arguments := f.servers
		if audited {
			if arguments, err = auditFlags(own, arguments); err != nil {
				break
			}
		}
		arguments = append(slices.Clone(arguments), by.flags(i == 1 && !f.self)...)
		var server *peer.Server
		if server, err = starter(ctx, binaries, peer.Options{Dir: own, Tokens: stories.Tokens, Flags: arguments}); err != nil {
			break
		}
		servers = append(servers, server)
		if err = by.beside(ctx, server, own); err != nil {
			break
		}
	}
	if err == nil && aggregated {
		beside, err = startAggregated(ctx, binaries, servers, dir)
	}
	if err != nil {
		stop()
		return first, second, nil, errors.Join(err, ctx.Err())
	}
	if first, err = side(servers[0], dir, 1); err == nil {
		second, err = side(servers[1], dir, 2)
	}
	if err != nil {
		stop()
		return first, second, nil, err
	}
	if aggregated {
		first.Aggregated, second.Aggregated = beside[0], beside[1]
	}
	if audited {
		first.AuditLog, second.AuditLog = filepath.Join(dir, "1", auditLog), filepath.Join(dir, "2", auditLog)
	}
	if f.self {
		second.Name = "kube-apiserver again"
	}
	return first, second, stop, nil
}

// auditLog is the file in a server's directory that it records requests in.
const auditLog = "audit.log"

// auditFlags has a server record requests in its directory.
func auditFlags(dir string, others []string) ([]string, error) {
	policy := filepath.Join(dir, "policy.yaml")
	if err := os.WriteFile(policy, []byte(stories.AuditPolicy), 0o600); err != nil {
		return nil, err
	}
	return append(slices.Clone(others), "--audit-policy-file="+policy, "--audit-log-path="+filepath.Join(dir, auditLog)), nil
}

// startAggregated starts an aggregated server beside each. They are of one authority, which
// is named in bodies that are compared. Those that were started are returned with an error, too.
func startAggregated(ctx context.Context, binaries peer.Binaries, servers []*peer.Server, dir string) ([]*peer.Aggregated, error) {
	authority, err := peer.NewAuthority("aggregated-ca")
	if err != nil {
		return nil, err
	}
	var all []*peer.Aggregated
	for i, server := range servers {
		a, err := peer.StartAggregated(ctx, binaries, server, authority, filepath.Join(dir, fmt.Sprint(i+1)))
		if err != nil {
			return all, err
		}
		all = append(all, a)
	}
	return all, nil
}

func side(s *peer.Server, dir string, number int) (compare.Side, error) {
	kubeconfig := filepath.Join(dir, fmt.Sprintf("%d.kubeconfig", number))
	return compare.Side{
		Name:       s.Name,
		Config:     s.Config,
		Kubeconfig: kubeconfig,
		Addresses:  []string{peer.AdvertiseAddress},
	}, peer.WriteKubeconfig(s.Config, kubeconfig)
}

// keepLogs copies the servers' logs, numbered as the servers are.
func keepLogs(dir, to string) {
	logs, _ := filepath.Glob(filepath.Join(dir, "*", "*.log")) // the patterns are well formed
	more, _ := filepath.Glob(filepath.Join(dir, "*", "aggregated", "*.log"))
	logs = append(logs, more...)
	for _, path := range logs {
		content, err := os.ReadFile(path)
		if err == nil {
			err = os.MkdirAll(to, 0o755)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(to, filepath.Base(filepath.Dir(path))+"-"+filepath.Base(path)), content, 0o644)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "twin: the log is lost:", err)
		}
	}
}

// byThemselves is what happens by itself on both servers: by a kube-controller-manager
// beside kube-apiserver, by knarr alone. It may be nil, for nothing.
type byThemselves struct {
	manager string   // the binary
	own     []string // flags of the server that does it itself
	start   func(ctx context.Context, server *peer.Server, manager, dir string) error
}

func newByThemselves(ctx context.Context, f flags, dir string) (*byThemselves, error) {
	manager, err := peer.BuildControllerManager(ctx, f.root)
	if err != nil {
		return nil, err
	}
	if f.lifecycle {
		return &byThemselves{manager, []string{"--controllers=*"}, func(ctx context.Context, server *peer.Server, manager, dir string) error {
			return server.StartLifecycle(ctx, manager, dir)
		}}, nil
	}
	authority, err := peer.NewAuthority("signing-ca")
	if err != nil {
		return nil, err
	}
	cert, key, err := authority.Write(dir)
	how := []string{"--cluster-signing-cert-file=" + cert, "--cluster-signing-key-file=" + key, "--cluster-signing-duration=" + stories.SigningDuration}
	own := append([]string{"--controllers=" + peer.CertificateControllers}, how...)
	return &byThemselves{manager, own, func(_ context.Context, server *peer.Server, manager, dir string) error {
		return server.StartSigners(manager, dir, how...)
	}}, err
}

// flags are what a server does it itself by, if it does.
func (b *byThemselves) flags(itself bool) []string {
	if b == nil || !itself {
		return nil
	}
	return b.own
}

// beside starts who does it beside a server that does not itself.
func (b *byThemselves) beside(ctx context.Context, server *peer.Server, dir string) error {
	if b == nil || server.Name == "knarr" {
		return nil
	}
	return b.start(ctx, server, b.manager, dir)
}
