// Command sharing has a kube-apiserver and two knarrs serve one etcd at the same time.
// Each writes what the others read, watch and update, native objects and custom ones;
// then all that there is has to be the same to all three, to the byte.
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

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/knarr-io/knarr/twin/peer"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "sharing:", err)
		cancel()
		os.Exit(1)
	}
}

// side is one of the servers.
type side struct {
	name    string
	server  *peer.Server
	objects dynamic.Interface
	typed   kubernetes.Interface
}

func run(ctx context.Context, arguments []string) error {
	set := flag.NewFlagSet("sharing", flag.ContinueOnError)
	root := set.String("root", "..", "the repository's root directory")
	knarr := set.String("knarr", "", "the knarr to run; built from the repository if empty")
	encrypted := set.Bool("encrypted", false, "keep Secrets, ConfigMaps and custom objects encrypted")
	writes := set.Int("writes", 1500, "how many objects are written and changed")
	seed := set.Uint64("seed", uint64(time.Now().UnixNano()), "what the writes are drawn from")
	paused := set.Bool("paused", false, "compare what they answer while etcd does not, instead")
	timeout := set.Duration("timeout", 10*time.Minute, "give up after so long")
	if err := set.Parse(arguments); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	binaries, err := peer.Build(ctx, *root, *knarr)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(filepath.Join(*root, "twin", ".peers"), "sharing-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	var flags []string
	if *paused {
		flags = []string{"--request-timeout=" + pausedTimeout.String()}
	}
	sides, stop, err := startAll(ctx, binaries, dir, *encrypted, flags)
	defer stop()
	if err != nil {
		return err
	}
	if *paused {
		return pause(ctx, sides)
	}
	fmt.Printf("to run this again: -seed %d\n", *seed)
	return share(ctx, sides, *writes, *seed)
}

// startAll starts a kube-apiserver with an etcd and two knarrs on the same.
func startAll(ctx context.Context, b peer.Binaries, dir string, encrypted bool, flags []string) (sides []*side, stop func(), err error) {
	var servers []*peer.Server
	stop = func() {
		for i := len(servers) - 1; i >= 0; i-- {
			servers[i].Stop()
		}
	}
	if encrypted {
		file := filepath.Join(dir, "encryption.yaml")
		if err := os.WriteFile(file, []byte(encryption), 0o600); err != nil {
			return nil, stop, err
		}
		flags = append(flags, "--encryption-provider-config="+file)
	}
	for i, start := range []peer.Starter{peer.StartKubeAPIServer, peer.StartKnarr, peer.StartKnarr} {
		own := filepath.Join(dir, fmt.Sprint(i+1))
		if err := os.Mkdir(own, 0o700); err != nil {
			return nil, stop, err
		}
		more := flags
		if i > 0 {
			more = append(flags[:len(flags):len(flags)], "--etcd-servers="+servers[0].Etcd)
		}
		server, err := start(ctx, b, peer.Options{Dir: own, Flags: more})
		if err != nil {
			return nil, stop, err
		}
		servers = append(servers, server)
		server.Config.QPS = -1
		s := &side{name: server.Name, server: server}
		if i > 0 {
			s.name = fmt.Sprint(server.Name, " ", i)
		}
		if s.objects, err = dynamic.NewForConfig(server.Config); err != nil {
			return nil, stop, err
		}
		if s.typed, err = kubernetes.NewForConfig(server.Config); err != nil {
			return nil, stop, err
		}
		sides = append(sides, s)
		fmt.Printf("%s is ready after %v\n", s.name, server.Ready.Round(time.Millisecond))
	}
	return sides, stop, nil
}

const encryption = `apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [secrets, configmaps, '*.sharing.example.com']
  providers: [{aesgcm: {keys: [{name: a, secret: MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=}]}}, {identity: {}}]
`

// share does everything, and returns what has not gone as it should.
func share(ctx context.Context, sides []*side, writes int, seed uint64) error {
	if err := define(ctx, sides); err != nil {
		return err
	}
	watches, err := watchAll(ctx, sides)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := writeAll(ctx, sides, writes, seed); err != nil {
		return err
	}
	fmt.Printf("%d objects were written and changed by all in turn, in %v\n", writes, time.Since(began).Round(time.Millisecond))
	return errors.Join(watches.compare(ctx), comparePages(ctx, sides), compareAll(ctx, sides))
}
