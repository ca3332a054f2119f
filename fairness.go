package knarr

import (
	"context"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/util/flowcontrol"
	flowcontrolrequest "k8s.io/apiserver/pkg/util/flowcontrol/request"
	flowcontrolclient "k8s.io/client-go/kubernetes/typed/flowcontrol/v1"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/state"
)

// fairness reports whether API priority and fairness is on.
func (o *Options) fairness() bool {
	return o.EnablePriorityAndFairness == nil || *o.EnablePriorityAndFairness
}

// startFairness starts upstream's API priority and fairness, if it is on. It
// follows the flow schemas and priority levels until background ends, and writes
// what it finds wrong with them into their status. What it shares out are the
// limits of requests in flight; where there is none, their defaults.
func (s *Server) startFairness(background context.Context) error {
	if !s.options.fairness() {
		return nil
	}
	client, err := flowcontrolclient.NewForConfig(s.loopback.Config())
	if err != nil {
		return err
	}
	share := func(limit, otherwise int) int {
		if limit <= 0 {
			return otherwise
		}
		return limit
	}
	limit := share(s.options.MaxRequestsInflight, 400) + share(s.options.MaxMutatingRequestsInflight, 200)
	s.fairness = flowcontrol.New(s.informers, client, limit)
	s.background.Go(func() { _ = s.fairness.Run(background.Done()) }) // it fails only at its end
	return nil
}

// estimator tells priority and fairness what a request costs: a list by what is
// stored, a write by who watches. It is nil without.
func (s *Server) estimator(current func() *kind.Catalogue) flowcontrolrequest.WorkEstimatorFunc {
	if s.fairness == nil {
		return nil
	}
	size := func(resource string) (storage.Stats, error) { return stored(s.state, current(), resource) }
	return flowcontrolrequest.NewWorkEstimator(size, s.fairness.GetInterestedWatchCount, flowcontrolrequest.DefaultWorkEstimatorConfig(), s.fairness.GetMaxSeats)
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
