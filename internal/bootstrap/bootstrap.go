// Package bootstrap makes the objects that every server holds from its start,
// as kube-apiserver's controllers and start hooks do: namespaces, the
// kubernetes Service, the RBAC policy and so on. What is there already is
// touched only where upstream keeps it up to date. While the server runs, it
// keeps the Lease that says so.
//
// It writes through the verbs, as any client does. It must not know how
// objects are kept or served.
package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/util/retry"
	"k8s.io/klog/v2"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/verb"
)

// Options says what the objects tell about the server.
type Options struct {
	// ServiceRanges are the networks of Services' addresses, masked: one, or
	// one of each family. The kubernetes Service gets the first address of the
	// first.
	ServiceRanges []netip.Prefix
	// ServiceCIDRController says that the controller of that name runs in this
	// server. The first ServiceCIDR is made as it leaves one, so that it has
	// nothing to do at start.
	ServiceCIDRController bool
	// Fairness says that API priority and fairness is on.
	Fairness bool
	// AdvertiseAddress is where others reach the server. If it is nil, it
	// follows from BindAddress, or is an address of this machine, as upstream
	// chooses it; if there is none, the server has no Endpoints.
	AdvertiseAddress, BindAddress net.IP
	// Port is the server's.
	Port int
	// ClientCA is the authorities, PEM, that verify clients; empty for none.
	ClientCA []byte
	// FrontProxies are those that may tell this server and others who asks.
	FrontProxies FrontProxies
}

// Run makes the objects of the resources that catalogue has. They are written
// at the same time, so that the store can make them durable together; the
// order of their revisions is therefore not always the same. Run returns when
// all are there, or the first error; it may be run again then, and at every
// start.
func Run(ctx context.Context, verbs *verb.Verbs, catalogue *kind.Catalogue, o Options) error {
	r := &run{verbs: verbs, catalogue: catalogue, options: o}
	return r.all(ctx,
		r.clusterRoles, r.clusterRoleBindings, r.roles, r.roleBindings,
		r.firstFlowSchemas, r.priorityLevels, r.apiServices,
		r.systemNamespaces, r.kubernetesObjects,
		r.authenticationTrust, r.legacyTokenTracking, r.priorityClasses,
	)
}

// all runs parts and what they have to write, and returns when all is done, or
// the first error.
func (r *run) all(ctx context.Context, all ...func() error) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	r.ctx, r.writes = ctx, make(chan func() error)
	var parts, writers sync.WaitGroup
	for range maxWriters {
		writers.Go(func() {
			for write := range r.writes {
				if err := readable(write()); err != nil {
					fail(err) // those that follow fail at once
				}
			}
		})
	}
	for _, part := range all {
		parts.Go(func() {
			if err := readable(part()); err != nil {
				fail(err)
			}
		})
	}
	parts.Wait()
	close(r.writes)
	writers.Wait()
	return context.Cause(ctx)
}

// readable returns err, unless it is about an object that is there but cannot be
// read, such as one encrypted with a key that is gone: that must not keep the
// server from starting, and who looks at the object learns of it.
func readable(err error) error {
	if u := (*kind.Unreadable)(nil); !errors.As(err, &u) {
		return err
	}
	klog.ErrorS(err, "An object that every server has cannot be read, and is left alone")
	return nil
}

// maxWriters is how many writes go on at once: enough to share each sync of
// the store, but not one goroutine each, whose stacks take longer to grow than
// the writes themselves.
const maxWriters = 64

// run is one Run. Each of its parts is about one kind of objects. It looks at
// what there is itself, which is quick, and leaves the writing to do.
type run struct {
	ctx       context.Context
	verbs     *verb.Verbs
	catalogue *kind.Catalogue
	options   Options
	writes    chan func() error
	made      atomic.Int64 // how many objects were created and updated
}

// do has a writer write one object, again for as long as others write it at
// the same time. what names it in an error. Only parts may call it, not writes.
func (r *run) do(what string, write func(ctx context.Context) error) {
	r.writes <- func() error {
		err := retry.RetryOnConflict(retry.DefaultRetry, func() error { return write(r.ctx) })
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		return nil
	}
}

// served returns the objects of a kind, or false if it is not served.
func served[P versioned](r *run, gvr schema.GroupVersionResource) (objects[P], bool) {
	version := r.catalogue.Lookup(gvr)
	return objects[P]{verbs: r.verbs, version: version, made: &r.made}, version != nil
}

// ensure makes an object if there is none of its name.
func ensure[P versioned](r *run, all objects[P], want P) {
	all = all.in(want.GetNamespace())
	if all.stored(want.GetName()) == nil {
		r.do(all.called(want), func(ctx context.Context) error { return all.Ensure(ctx, want) })
	}
}
