package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	cliflag "k8s.io/component-base/cli/flag"

	"github.com/knarr-io/knarr/internal/version"
)

// etcdVersion is the release of etcd that Kubernetes 1.37 is tested with.
const etcdVersion = "3.7.0"

// newEtcd is the program etcd as envtest needs it: it says that it is well, and
// keeps nothing. kube-apiserver, which is knarr too, keeps objects in memory.
func newEtcd() *cobra.Command {
	urls := []string{"http://127.0.0.1:2379"}
	cmd := &cobra.Command{
		Use:   etcdName,
		Short: "Stand in for etcd, for tests",
		Long: `knarr called as etcd: it stands in for etcd where kube-apiserver is knarr too, which
then keeps its objects in memory. It keeps nothing and speaks no protocol of etcd's.

It ends with the process that started it.`,
		Version: etcdVersion,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, release := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer release()
			ctx, cancel := untilOrphaned(ctx)
			defer cancel()
			return serveEtcd(ctx, urls)
		},
	}
	cmd.SetVersionTemplate("etcd Version: {{.Version}} (knarr)\n")
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.SetNormalizeFunc(cliflag.WordSepNormalizeFunc)
	fs.StringSliceVar(&urls, "listen-client-urls", urls, "where to listen: http://<address>:<port>; may be several")
	addIdle(fs, ofEtcd)
	return cmd
}

// serveEtcd answers at urls until ctx ends.
func serveEtcd(ctx context.Context, urls []string) error {
	var listeners []net.Listener
	defer func() {
		for _, l := range listeners {
			_ = l.Close() // it may be closed already
		}
	}()
	for _, one := range urls {
		u, err := url.Parse(one)
		if err != nil || u.Scheme != "http" || u.Port() == "" {
			return fmt.Errorf("--listen-client-urls: %q is not of the form http://<address>:<port>, the only one there is here", one)
		}
		l, err := net.Listen("tcp", u.Host)
		if err != nil {
			return fmt.Errorf("cannot listen on %s: %w", u.Host, err)
		}
		listeners = append(listeners, l)
	}
	server := &http.Server{Handler: standIn(), ReadHeaderTimeout: 10 * time.Second}
	var serving sync.WaitGroup
	errs := make(chan error, len(listeners))
	for _, l := range listeners {
		serving.Go(func() { errs <- server.Serve(l) })
	}
	releaseStartup()
	var err error
	select {
	case <-ctx.Done():
	case err = <-errs:
	}
	err = errors.Join(err, server.Close())
	serving.Wait()
	return err
}

// standInVersion is what the stand-in answers at /version: as etcd does, and by
// what kube-apiserver tells it from etcd.
type standInVersion struct {
	Server  string `json:"etcdserver"`
	Cluster string `json:"etcdcluster"`
	Knarr   string `json:"knarr,omitempty"`
}

func standIn() http.Handler {
	mux := http.NewServeMux()
	answer := func(path string, body any) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(body) // the client may have gone
		})
	}
	well := map[string]string{"health": "true", "reason": ""}
	for _, path := range []string{"/health", "/livez", "/readyz"} {
		answer(path, well)
	}
	answer("/version", standInVersion{Server: etcdVersion, Cluster: etcdVersion, Knarr: version.Knarr})
	return mux
}

// findStandIn returns nil if one of servers is the stand-in. One that is not
// there yet is waited for, as kube-apiserver does.
func findStandIn(ctx context.Context, servers []string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for {
		var last error
		for _, server := range servers {
			stands, err := isStandIn(ctx, client, server)
			switch {
			case err != nil:
				last = fmt.Errorf("--etcd-servers: no answer from %s: %w", server, err)
			case !stands:
				return fmt.Errorf("--etcd-servers: %s is not the etcd that knarr envtest makes; knarr keeps no objects in others", server)
			default:
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return last
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func isStandIn(ctx context.Context, client *http.Client, server string) (bool, error) {
	u, err := url.Parse(server)
	if err != nil {
		return false, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.JoinPath("version").String(), nil)
	if err != nil {
		return false, err
	}
	res, err := client.Do(req)
	if err != nil {
		return false, err
	}
	defer res.Body.Close()
	var v standInVersion
	return json.NewDecoder(http.MaxBytesReader(nil, res.Body, 1<<16)).Decode(&v) == nil && v.Knarr != "", nil
}
