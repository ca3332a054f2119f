package cli

import (
	"context"
	"fmt"
	"io"
	"math"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/knarr-io/knarr"
	"github.com/knarr-io/knarr/internal/version"
)

func newServe() *cobra.Command {
	f := newServeFlags()
	cmd := &cobra.Command{
		Use:     "serve",
		GroupID: serving,
		Short:   "Serve the Kubernetes API",
		Long: `Serve the Kubernetes API until SIGINT or SIGTERM.

Flags that kube-apiserver has mean what they mean there.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			options, err := f.options()
			if err != nil {
				return err
			}
			if err := f.log(); err != nil {
				return err
			}
			// A second signal ends the process at once, as no one catches it.
			ctx, release := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer release()
			return serve(ctx, release, options, func(url string, took time.Duration) {
				printReady(cmd.OutOrStdout(), url, options, took)
			})
		},
	}
	f.addTo(cmd.Flags())
	return cmd
}

// gcPercent has the garbage collector run somewhat more often than by default:
// most of the heap is objects that stay, and of which half as much again is
// room enough for garbage.
const gcPercent = 50

// ballast is bytes that count as heap but are never touched, so that they take
// no memory: without them, half of a small heap would be collected after every
// twenty writes. Half of this is garbage that is let be.
const ballast = 24 << 20

// serve serves until ctx ends, then calls stopping and stops; it calls ready
// before. Requests have as long to finish as they had at most from the start.
func serve(ctx context.Context, stopping func(), o knarr.Options, ready func(url string, took time.Duration)) error {
	debug.SetGCPercent(gcPercent)
	began := time.Now()
	server, err := knarr.Start(ctx, o)
	if err != nil {
		if ctx.Err() != nil {
			return nil // told to stop before there was anything to stop
		}
		return err
	}
	ready(server.URL(), time.Since(began))
	releaseStartup()
	if unlimited := debug.SetMemoryLimit(-1) == math.MaxInt64; unlimited { // a limit would count it
		defer runtime.KeepAlive(make([]byte, ballast))
	}
	select {
	case <-ctx.Done():
	case <-server.Done(): // Stop says why
	}
	stopping()
	grace, cancel := context.WithTimeout(context.Background(), o.ShutdownDelayDuration+o.RequestTimeout)
	defer cancel()
	return server.Stop(grace)
}

// printReady tells that the server is ready, and how to reach it.
func printReady(w io.Writer, url string, o knarr.Options, took time.Duration) {
	objects := shown(o.DataDir) + " (disk)"
	switch o.Store {
	case knarr.Memory:
		objects = "in memory, gone when the server stops"
	case knarr.Etcd:
		objects = "in etcd at " + strings.Join(o.Etcd.Servers, ", ")
	}
	config := filepath.Join(o.DataDir, "admin.kubeconfig")
	export := quote(config)
	if !filepath.IsAbs(config) {
		export = `$PWD/` + export
	}
	fmt.Fprintf(w, `knarr v%s (Kubernetes %s) serves %s, ready in %d ms
objects     %s
kubeconfig  %s

  export KUBECONFIG=%s
  kubectl get namespaces        # no kubectl installed? %s kubectl get namespaces
`, version.Knarr, version.Kubernetes(), url, took.Milliseconds(), objects, shown(config), export, program())
}
