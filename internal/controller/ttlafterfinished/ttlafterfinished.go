// Package ttlafterfinished deletes Jobs that were finished for as long as their
// ttlSecondsAfterFinished says, as kube-controller-manager's
// ttl-after-finished-controller does.
//
// It must not know what becomes of their pods: the garbage collector does.
package ttlafterfinished

import (
	"bytes"
	"context"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/apis/batch"
	api "k8s.io/kubernetes/pkg/apis/core"
	"k8s.io/utils/clock"

	"github.com/knarr-io/knarr/internal/controller"
	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/state"
	"github.com/knarr-io/knarr/internal/verb"
)

// Controller deletes the Jobs of one server.
type Controller struct {
	client controller.Client
	jobs   *kind.Resource
	clock  clock.Clock
}

// key names a Job.
type key struct{ namespace, name string }

// New returns a controller that writes through verbs; nil if there are no Jobs.
func New(verbs *verb.Verbs, catalogue *kind.Catalogue, clock clock.Clock) *Controller {
	v := catalogue.Lookup(jobs())
	if v == nil {
		return nil
	}
	client := controller.Client{
		Verbs: verbs, Catalogue: catalogue,
		User: controller.ServiceAccount("ttl-after-finished-controller"), Manager: "kube-controller-manager",
	}
	return &Controller{client, v.Resource, clock}
}

// Run deletes Jobs when it is time, until ctx ends. It may be called again then.
func (c *Controller) Run(ctx context.Context) {
	schedule := controller.NewSchedule[key](c.clock)
	see := func(e *state.Event) {
		if e.Deleted {
			return
		}
		if _, _, finite := c.end(e.Object); finite {
			schedule.Add(key{e.Object.Namespace, e.Object.Name})
		}
	}
	following := make(chan struct{})
	go func() {
		defer close(following)
		c.client.Verbs.State.Follow(ctx, c.jobs.Storage.Prefix, state.AsNew(see), see)
	}()
	schedule.Work(ctx, func(ctx context.Context, k key) error {
		wait, err := c.sync(ctx, k)
		if wait > 0 {
			schedule.AddAfter(k, wait)
		}
		return err
	}, func(k key, err error) {
		klog.ErrorS(err, "A finished Job could not be deleted", "job", klog.KRef(k.namespace, k.name))
	})
	<-following
}

// end returns a Job and when it is to be deleted; false if never, or not yet known.
func (c *Controller) end(o *object.Object) (job *batch.Job, at time.Time, finite bool) {
	if o == nil || !bytes.Contains(o.Value, []byte(batch.JobComplete)) && !bytes.Contains(o.Value, []byte(batch.JobFailed)) {
		return nil, at, false // it has not finished, which need not be decoded
	}
	job, err := controller.Read[*batch.Job](c.jobs, o)
	if err != nil || job.DeletionTimestamp != nil || job.Spec.TTLSecondsAfterFinished == nil {
		return nil, at, false
	}
	for _, condition := range job.Status.Conditions {
		finished := condition.Type == batch.JobComplete || condition.Type == batch.JobFailed
		if finished && condition.Status == api.ConditionTrue && !condition.LastTransitionTime.IsZero() {
			ttl := time.Duration(*job.Spec.TTLSecondsAfterFinished) * time.Second
			return job, condition.LastTransitionTime.Add(ttl), true
		}
	}
	return nil, at, false
}

// sync deletes a Job if it is time, or returns how long it is until then.
func (c *Controller) sync(ctx context.Context, k key) (wait time.Duration, err error) {
	job, at, finite := c.end(c.client.Verbs.State.Get(c.jobs.Storage.Key(k.namespace, k.name)))
	if !finite {
		return 0, nil
	}
	if wait := at.Sub(c.clock.Now()); wait > 0 {
		return wait, nil
	}
	err = c.client.DeleteBy(ctx, jobs(), k.namespace, k.name, &metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &job.UID}, PropagationPolicy: new(metav1.DeletePropagationForeground),
	})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return 0, nil // it is gone, or there is another of its name
	}
	return 0, err
}

func jobs() schema.GroupVersionResource { return batchv1.SchemeGroupVersion.WithResource("jobs") }
