package knarr

import (
	"fmt"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"

	"github.com/knarr-io/knarr/internal/controller"
	"github.com/knarr-io/knarr/internal/controller/bootstraptokens"
	"github.com/knarr-io/knarr/internal/controller/namespace"
	"github.com/knarr-io/knarr/internal/controller/podgc"
	"github.com/knarr-io/knarr/internal/controller/protection"
	"github.com/knarr-io/knarr/internal/controller/tokensecrets"
)

// removers are the controllers that take objects away whose time is over.
func (s *Server) removers(w world) []controller.Row {
	now := clock.RealClock{}
	rows := []controller.Row{
		{Name: controller.Namespaces, Run: anew(func() *namespace.Controller {
			return namespace.New(w.verbs, namespace.Options{Catalogue: w.current, Elsewhere: s.reachElsewhere, Clock: now})
		})},
		{Name: controller.ServiceAccountTokens, Run: anew(func() *tokensecrets.Controller {
			return tokensecrets.New(w.verbs, w.native, tokensecrets.Options{Generator: w.certs.issuer.Legacy, RootCA: w.certs.trust, Clock: now})
		})},
		{Name: controller.LegacyTokenCleaner, Run: anew(func() *tokensecrets.Cleaner {
			return tokensecrets.NewCleaner(w.verbs, w.native, s.options.LegacyServiceAccountTokenCleanUpPeriod, now)
		})},
		{Name: controller.BootstrapTokenCleaner, Run: anew(func() *bootstraptokens.Controller {
			return bootstraptokens.New(w.verbs, w.native, now)
		})},
		{Name: controller.PodCollector, Run: anew(func() *podgc.Controller {
			return podgc.New(w.verbs, w.native, s.options.TerminatedPodGCThreshold, now)
		})},
	}
	for _, name := range []string{controller.ClaimProtection, controller.VolumeProtection, controller.ClassProtection} {
		rows = append(rows, controller.Row{Name: name, Run: anew(func() *protection.Controller { return protection.New(name, w.verbs, w.native, now) })})
	}
	return rows
}

// reachElsewhere is how to ask this server while others serve a part of its API; nil
// if none does.
func (s *Server) reachElsewhere() *rest.Config {
	if t := s.aggregation.table; t == nil || len(t.Current().All) == 0 {
		return nil
	}
	return s.loopback.Config()
}

// completeLifecycle checks the options about what is removed, and fills in defaults.
func (o *Options) completeLifecycle() error {
	switch d := &o.LegacyServiceAccountTokenCleanUpPeriod; {
	case *d == 0:
		*d = 365 * 24 * time.Hour
	case *d < 0:
		return fmt.Errorf("legacy-service-account-token-clean-up-period %v must be more than 0", *d)
	}
	if o.TerminatedPodGCThreshold == 0 {
		o.TerminatedPodGCThreshold = 12500
	}
	return nil
}
