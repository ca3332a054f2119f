package knarr

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	api "k8s.io/kubernetes/pkg/apis/core"
	"k8s.io/utils/clock"

	"github.com/knarr-io/knarr/internal/bootstrap"
	"github.com/knarr-io/knarr/internal/controller/serviceip"
	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/service"
	"github.com/knarr-io/knarr/internal/verb"
)

// minServiceAddresses is how many addresses a network of Services has at
// least, minServicePrefix how long the prefix of one of IPv6 is: upstream's.
const (
	minServiceAddresses = 8
	minServicePrefix    = 64
)

// serviceRanges returns the networks of Services' addresses, masked: one, or
// one of each family.
func (o *Options) serviceRanges() ([]netip.Prefix, error) {
	var ranges []netip.Prefix
	for _, s := range strings.Split(o.ServiceClusterIPRange, ",") {
		p, err := netip.ParsePrefix(s)
		switch {
		case err != nil:
			return nil, fmt.Errorf("service-cluster-ip-range %q is not a network such as 10.0.0.0/24", s)
		case 1<<min(p.Addr().BitLen()-p.Bits(), 16) < minServiceAddresses:
			return nil, fmt.Errorf("the service cluster IP range must be at least %d IP addresses; %s has fewer", minServiceAddresses, s)
		case p.Addr().Is6() && p.Bits() < minServicePrefix:
			return nil, fmt.Errorf("shortest allowed prefix length for service CIDR is %d; %s is shorter", minServicePrefix, s)
		}
		ranges = append(ranges, p.Masked())
	}
	switch {
	case len(ranges) > 2:
		return nil, errors.New("--service-cluster-ip-range must not contain more than two entries")
	case len(ranges) == 2 && family(ranges[0]) == family(ranges[1]):
		return nil, errors.New("--service-cluster-ip-range[0] and --service-cluster-ip-range[1] must be of different IP family")
	}
	return ranges, nil
}

// families returns the family of each network.
func families(ranges []netip.Prefix) []api.IPFamily {
	var all []api.IPFamily
	for _, p := range ranges {
		all = append(all, api.IPFamily(family(p)))
	}
	return all
}

// keepServices keeps, until ctx ends, what goes with Services: their addresses
// and ports, and the server's own Service.
func (s *Server) keepServices(ctx context.Context, verbs *verb.Verbs, catalogue *kind.Catalogue, allocator *service.Allocator, first bootstrap.Options) {
	now := clock.RealClock{}
	if repairer := serviceip.New(verbs, catalogue, allocator, now); repairer != nil {
		s.background.Go(func() { repairer.Run(ctx) })
	}
	s.background.Go(func() { bootstrap.KeepKubernetes(ctx, verbs, catalogue, first, now) })
}
