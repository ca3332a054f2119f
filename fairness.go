package knarr

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/util/flowcontrol"
	flowcontrolrequest "k8s.io/apiserver/pkg/util/flowcontrol/request"
	flowcontrolclient "k8s.io/client-go/kubernetes/typed/flowcontrol/v1"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/state"
)

// newFairness returns upstream's API priority and fairness, which follows the
// flow schemas and priority levels until background ends and writes what it
// finds wrong with them into their status. The limits of requests in flight are
// what it shares out.
func (s *Server) newFairness(background context.Context) (flowcontrol.Interface, error) {
	client, err := flowcontrolclient.NewForConfig(s.loopback.Config())
	if err != nil {
		return nil, err
	}
	limit := inFlight(s.options.MaxRequestsInflight, 400) + inFlight(s.options.MaxMutatingRequestsInflight, 200)
	fairness := flowcontrol.New(s.informers, client, limit)
	s.background.Go(func() { _ = fairness.Run(background.Done()) }) // it fails only at its end
	return fairness, nil
}

// inFlight is a limit that is not infinite: it is to be shared.
func inFlight(limit, otherwise int) int {
	if limit <= 0 {
		return otherwise
	}
	return limit
}

// estimator tells priority and fairness what a request costs: a list by what is
// stored, a write by who watches.
func (s *Server) estimator(current func() *kind.Catalogue, fairness flowcontrol.Interface) flowcontrolrequest.WorkEstimatorFunc {
	size := func(resource string) (storage.Stats, error) { return stored(s.state, current(), resource) }
	return flowcontrolrequest.NewWorkEstimator(size, fairness.GetInterestedWatchCount, flowcontrolrequest.DefaultWorkEstimatorConfig(), fairness.GetMaxSeats)
}

// stored tells how much there is of a resource, named as in "pods" or
// "deployments.apps".
func stored(st *state.State, c *kind.Catalogue, resource string) (storage.Stats, error) {
	r := c.Resource(schema.ParseGroupResource(resource))
	if r == nil || r.Storage == nil {
		return storage.Stats{}, flowcontrolrequest.ObjectCountNotFoundErr
	}
	objects, bytes := st.Size(r.Storage.Prefix)
	stats := storage.Stats{ObjectCount: int64(objects)}
	if objects > 0 {
		stats.EstimatedAverageObjectSizeBytes = bytes / int64(objects)
	}
	return stats, nil
}

var _ = fmt.Sprint
