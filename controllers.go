package knarr

import (
	"context"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/knarr-io/knarr/internal/admission"
	"github.com/knarr-io/knarr/internal/controller"
	issue "github.com/knarr-io/knarr/internal/controller/certificates"
	"github.com/knarr-io/knarr/internal/controller/clusterroleaggregation"
	"github.com/knarr-io/knarr/internal/controller/everynamespace"
	"github.com/knarr-io/knarr/internal/controller/gc"
	"github.com/knarr-io/knarr/internal/controller/policystatus"
	"github.com/knarr-io/knarr/internal/controller/resourcequota"
	"github.com/knarr-io/knarr/internal/controller/servicecidr"
	"github.com/knarr-io/knarr/internal/controller/ttlafterfinished"
	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/verb"
)

// world is what the controllers work with.
type world struct {
	verbs *verb.Verbs
	// native is the catalogue without what is defined, current with it.
	native  *kind.Catalogue
	current func() *kind.Catalogue
	certs   *certificates
	content *everynamespace.Keeper
	chain   *admission.Chain
}

// control runs, until ctx ends, the controllers that are kube-controller-manager's
// elsewhere and were asked for.
func (s *Server) control(ctx context.Context, w world, enabled controller.Enabled) error {
	rows, err := s.lifecycle(w)
	if err != nil {
		return err
	}
	l := &controller.Lifecycle{
		State: s.state, Leases: w.native.Resource(coordinationv1.SchemeGroupVersion.WithResource("leases").GroupResource()),
		Enabled: enabled, Named: controller.Named(s.options.Controllers), Clock: clock.RealClock{}, Rows: rows,
	}
	s.background.Go(func() { l.Run(ctx) })
	return nil
}

// lifecycle is the table of them.
func (s *Server) lifecycle(w world) ([]controller.Row, error) {
	now := clock.RealClock{}
	rows := []controller.Row{
		{Name: controller.ServiceAccounts, Run: func(ctx context.Context) { w.content.Run(ctx, w.verbs, controller.ServiceAccounts) }},
		{Name: controller.RootCAPublisher, Beside: true, Run: func(ctx context.Context) { w.content.Run(ctx, w.verbs, controller.RootCAPublisher) }},
		{Name: controller.ClusterRoleAggregation, Run: anew(func() *clusterroleaggregation.Controller {
			return clusterroleaggregation.New(w.verbs, w.native, now)
		})},
		{Name: controller.PolicyStatus, Run: anew(func() *policystatus.Controller { return policystatus.New(w.verbs, w.current, now) })},
		{Name: controller.ServiceCIDRs, Run: anew(func() *servicecidr.Controller { return servicecidr.New(w.verbs, w.native, now) })},
		{Name: controller.ResourceQuotas, Run: anew(func() *resourcequota.Controller {
			c, err := resourcequota.New(w.verbs, resourcequota.Options{
				Catalogue: w.current, Informers: s.informers, Turn: w.chain.QuotaTurn, Clock: now,
			})
			if err != nil {
				klog.ErrorS(err, "What is used of quotas is not counted")
			}
			return c
		})},
	}
	rows = append(rows,
		controller.Row{Name: controller.GarbageCollector, Run: gc.New(w.verbs, gc.Options{Catalogue: w.current, Clock: now}).Run},
		controller.Row{Name: controller.TTLAfterFinished, Run: anew(func() *ttlafterfinished.Controller { return ttlafterfinished.New(w.verbs, w.native, now) })},
	)
	signers, err := s.options.ClusterSigning.authorities(w.certs.bundle.CA)
	if err != nil {
		return nil, err
	}
	for _, c := range issue.New(w.verbs, w.native, issue.Options{
		Signers: signers, Duration: s.options.ClusterSigning.Duration,
		Authorizer: s.authorizer, TrustBundle: w.certs.trust, Clock: now,
	}) {
		byFiles := c.Name() == controller.CertificateSigning || c.Name() == controller.TrustBundlePublisher
		rows = append(rows, controller.Row{Name: c.Name(), Beside: byFiles, Run: c.Run})
	}
	return append(rows, s.removers(w)...), nil
}

// anew returns what runs a new controller each time. There is none, nil, where
// its kinds are not served.
func anew[C interface {
	comparable
	Run(context.Context)
}](make func() C) func(context.Context) {
	return func(ctx context.Context) {
		var none C
		if c := make(); c != none {
			c.Run(ctx)
		}
	}
}
