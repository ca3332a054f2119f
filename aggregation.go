package knarr

import (
	"context"
	"net/url"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/kube-aggregator/pkg/apis/apiregistration"
	"k8s.io/utils/clock"

	"github.com/knarr-io/knarr/internal/aggregate"
	"github.com/knarr-io/knarr/internal/controller/apiservice"
	"github.com/knarr-io/knarr/internal/discovery"
	"github.com/knarr-io/knarr/internal/endpoint"
	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/kind/native"
	"github.com/knarr-io/knarr/internal/openapi"
	"github.com/knarr-io/knarr/internal/verb"
)

// aggregation is what is served by other servers, and how they are reached.
type aggregation struct {
	// resolver finds the addresses of Services, for whoever calls one.
	resolver  *aggregate.Resolver
	connector *aggregate.Connector
	// services is the resource of APIServices. If there is none, it and all that
	// follows is nil.
	services *kind.Resource
	table    *aggregate.Table
	proxy    *aggregate.Proxy
	// discovery and openapi are what other servers tell of what they serve.
	discovery *aggregate.Discovery
	openapi   *aggregate.OpenAPI
}

// newAggregation returns an aggregation of nothing yet.
func (s *Server) newAggregation(catalogue *kind.Catalogue, proxies *frontProxies) (*aggregation, error) {
	self, err := url.Parse(s.URL())
	if err != nil {
		return nil, err
	}
	a := &aggregation{
		resolver: aggregate.NewResolver(s.state, catalogue, s.options.EnableAggregatorRouting, self),
		services: catalogue.Resource(apiregistration.Resource("apiservices")),
	}
	a.connector = aggregate.NewConnector(a.resolver, proxies.certPEM, proxies.keyPEM)
	if a.services != nil {
		a.table = aggregate.NewTable(a.services, a.connector)

		a.proxy = aggregate.NewProxy(a.table, aggregate.ProxyOptions{
			ForwardRedirects: isFalse(s.options.AggregatorRejectForwardingRedirect), Stopping: s.stopping,
		})
	}
	return a, nil
}

// keepAggregation learns of what is served elsewhere, now and until background
// ends, and tells whether it can be reached.
func (s *Server) keepAggregation(background context.Context, verbs *verb.Verbs, catalogue *kind.Catalogue) {
	a := s.aggregation
	if a.table == nil {
		return
	}
	prefix := a.services.Storage.Prefix
	a.table.Load(s.state.Snapshot(prefix))
	// They begin with what is in the table.
	a.discovery = aggregate.NewDiscovery(a.table, clock.RealClock{})
	a.openapi = aggregate.NewOpenAPI(a.table, a.proxy, clock.RealClock{})
	s.background.Go(func() { a.discovery.Run(background) })
	s.background.Go(func() { a.openapi.Run(background) })
	s.background.Go(func() { s.state.Follow(background, prefix, a.table.Load, a.table.See) })
	c := apiservice.New(verbs, catalogue, apiservice.Options{
		ResolveEndpoint: a.resolver.ResolveEndpoint, Transport: a.connector.Transport, Clock: clock.RealClock{},
	})
	if c != nil {
		s.background.Go(func() { c.Run(background) })
	}
}

// elsewhere is what serves what other servers have; nil for nothing.
func (s *Server) elsewhere() endpoint.Mux {
	if s.aggregation.table == nil {
		return nil
	}
	return s.aggregation.proxy
}

// tellElsewhere has the handlers of discovery and OpenAPI tell of what other servers
// have.
func (a *aggregation) tellElsewhere(about *discovery.Options, description *openapi.Options) {
	if a.table == nil {
		return
	}
	about.Elsewhere, description.Elsewhere = a.discovery.Current, a.openapi.Current
	priorities := native.Priorities()
	about.Priority = func(gv schema.GroupVersion) (group, version int32, ok bool) {
		p, ok := priorities[gv]
		return p.Group, p.Version, ok
	}
}
