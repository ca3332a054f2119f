package knarr

import (
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"

	"github.com/knarr-io/knarr/internal/controller"
	"github.com/knarr-io/knarr/internal/controller/namespace"
)

// removers are the controllers that take objects away whose time is over.
func (s *Server) removers(w world) []controller.Row {
	now := clock.RealClock{}
	return []controller.Row{
		{Name: controller.Namespaces, Run: anew(func() *namespace.Controller {
			return namespace.New(w.verbs, namespace.Options{Catalogue: w.current, Elsewhere: s.reachElsewhere, Clock: now})
		})},
	}
}

// reachElsewhere is how to ask this server while others serve a part of its API; nil
// if none does.
func (s *Server) reachElsewhere() *rest.Config {
	if t := s.aggregation.table; t == nil || len(t.Current().All) == 0 {
		return nil
	}
	return s.loopback.Config()
}
