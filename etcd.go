package knarr

import (
	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"
	"time"

	"github.com/knarr-io/knarr/internal/health"
	"github.com/knarr-io/knarr/internal/store/etcd"
)

// Etcd keeps objects in an etcd cluster, which other knarrs and kube-apiservers
// may serve at the same time.
const Etcd StoreKind = "etcd"

// EtcdOptions say which cluster, v3.5.13 or later, holds the objects.
type EtcdOptions struct {
	// Servers are the URLs of its members.
	Servers []string
	// CAFile is the authority of their certificates; CertFile and KeyFile are what
	// the server shows them.
	CAFile, CertFile, KeyFile string
	// Prefix is what all keys begin with; default /registry.
	Prefix string
	// CompactionInterval is how often revisions older than that are removed, for
	// which the servers of a cluster take turns; default 5 minutes, less than 0
	// leaves it to others.
	CompactionInterval time.Duration
	// HealthcheckTimeout and ReadycheckTimeout are how long the cluster may take to
	// answer until the server is told to be ill, and not ready; default 2 seconds.
	HealthcheckTimeout, ReadycheckTimeout time.Duration
}

func (o *Options) completeEtcd() error {
	e := &o.Etcd
	switch {
	case o.Store == Etcd && len(e.Servers) == 0:
		return errors.New("the etcd store needs servers: Etcd.Servers (--etcd-servers)")
	case o.Store != Etcd && len(e.Servers) > 0:
		return fmt.Errorf("objects are kept in store %q, so etcd servers have no use; leave out one of the two", o.Store)
	case o.Store != Etcd:
		return nil
	case slices.Contains(e.Servers, ""):
		return errors.New("an etcd server has no URL")
	case (e.CertFile == "") != (e.KeyFile == ""):
		return errors.New("the certificate for etcd and its key go together: Etcd.CertFile and KeyFile (--etcd-certfile, --etcd-keyfile)")
	}
	if e.Prefix == "" {
		e.Prefix = "/registry"
	}
	if e.Prefix = path.Join("/", e.Prefix); e.Prefix == "/" {
		return errors.New("the prefix of keys in etcd must have a name in it: Etcd.Prefix (--etcd-prefix)")
	}
	if e.CompactionInterval == 0 {
		e.CompactionInterval = 5 * time.Minute
	}
	if e.HealthcheckTimeout <= 0 {
		e.HealthcheckTimeout = 2 * time.Second
	}
	if e.ReadycheckTimeout <= 0 {
		e.ReadycheckTimeout = 2 * time.Second
	}
	return nil
}

func openEtcd(e EtcdOptions) (*etcd.Store, error) {
	return etcd.New(etcd.Options{
		Servers: e.Servers, CAFile: e.CAFile, CertFile: e.CertFile, KeyFile: e.KeyFile,
		Root: "/registry", Prefix: e.Prefix, CompactionInterval: max(e.CompactionInterval, 0),
	})
}

// storeHealth is how the store is: named as if it were etcd, whatever it is.
// checks are the further ones of what encrypts it.
func (s *Server) storeHealth(checks []health.Check) []health.Check {
	s.storeErr = func() error { return s.state.Err() }
	var ready []health.Check
	if s.cluster != nil {
		// That a commit has failed says little of the next.
		s.storeErr = s.cluster.Probe(s.options.Etcd.HealthcheckTimeout)
		readiness := s.cluster.Probe(s.options.Etcd.ReadycheckTimeout)
		ready = []health.Check{{Name: "etcd-readiness", On: health.Readyz, Check: func(*http.Request) error { return readiness() }}}
	}
	is := health.Check{Name: "etcd", On: health.All, Check: func(*http.Request) error { return s.storeErr() }}
	return slices.Concat([]health.Check{is}, ready, checks)
}
