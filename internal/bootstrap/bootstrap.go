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
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/util/retry"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/verb"
)

// Options says what the objects tell about the server.
type Options struct {
	// ServiceRange is the network of Services' addresses, masked. The
	// kubernetes Service gets the first.
	ServiceRange netip.Prefix
	// AdvertiseAddress is where others reach the server. If it is nil, it
	// follows from BindAddress, or is an address of this machine, as upstream
	// chooses it; if there is none, the server has no Endpoints.
	AdvertiseAddress, BindAddress net.IP
	// Port is the server's.
	Port int
	// ClientCA is the authorities, PEM, that verify clients; empty for none.
	ClientCA []byte
}

// Run makes the objects of the resources that catalogue has. They are written
// at the same time, so that the store can make them durable together; the
// order of their revisions is therefore not always the same. Run returns when
// all are there, or the first error; it may be run again then, and at every
// start.
func Run(ctx context.Context, verbs *verb.Verbs, catalogue *kind.Catalogue, o Options) error {
	group, ctx := errgroup.WithContext(ctx)
	r := &run{ctx: ctx, group: group, verbs: verbs, catalogue: catalogue, options: o}
	for _, part := range []func() error{
		r.clusterRoles, r.clusterRoleBindings, r.roles, r.roleBindings,
		r.flowSchemas, r.priorityLevels, r.apiServices,
		r.systemNamespaces, r.kubernetesService, r.kubernetesEndpoints,
		r.clientAuthorities, r.legacyTokenTracking, r.priorityClasses,
	} {
		group.Go(part)
	}
	return group.Wait()
}

// run is one Run. Each of its parts is about one kind of objects. It looks at
// what there is itself, which is quick, and leaves the writing to do.
type run struct {
	ctx       context.Context
	group     *errgroup.Group
	verbs     *verb.Verbs
	catalogue *kind.Catalogue
	options   Options
}

// do writes one object in a goroutine of its own, again for as long as others
// write it at the same time. what names it in an error.
func (r *run) do(what string, write func(ctx context.Context) error) {
	r.group.Go(func() error {
		err := retry.RetryOnConflict(retry.DefaultRetry, func() error { return write(r.ctx) })
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		return nil
	})
}

// served returns the objects of a kind, or false if it is not served.
func served[P versioned](r *run, gvr schema.GroupVersionResource) (objects[P], bool) {
	version := r.catalogue.Lookup(gvr)
	return objects[P]{verbs: r.verbs, version: version}, version != nil
}

// ensure makes an object if there is none of its name.
func ensure[P versioned](r *run, all objects[P], want P) {
	all = all.in(want.GetNamespace())
	if all.stored(want.GetName()) == nil {
		r.do(all.called(want), func(ctx context.Context) error { return all.Ensure(ctx, want) })
	}
}
