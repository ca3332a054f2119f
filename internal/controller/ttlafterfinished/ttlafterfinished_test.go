package ttlafterfinished_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/kubernetes/pkg/apis/batch"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/knarr-io/knarr/internal/controller"
	"github.com/knarr-io/knarr/internal/controller/ttlafterfinished"
	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/kind/native"
	"github.com/knarr-io/knarr/internal/state/statetest"
	"github.com/knarr-io/knarr/internal/verb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cluster is a server without its HTTP side whose Jobs are deleted.
type cluster struct {
	t     *testing.T
	verbs *verb.Verbs
	jobs  *kind.Version
	clock *clocktesting.FakeClock
}

func newCluster(t *testing.T) *cluster {
	catalogue, err := native.Catalogue(native.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t, &verb.Verbs{State: statetest.Start(t)}, catalogue.Lookup(batchv1.SchemeGroupVersion.WithResource("jobs")),
		clocktesting.NewFakeClock(time.Now().Truncate(time.Second))}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { ttlafterfinished.New(c.verbs, catalogue, c.clock).Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return c
}

func (c *cluster) target(name, subresource string) verb.Target {
	t := verb.Target{Version: c.jobs, Namespace: "default", Name: name}
	if subresource != "" {
		t.Subresource = c.jobs.Subresource(subresource)
	}
	return t
}

func (c *cluster) hub(job *batchv1.Job) runtime.Object {
	c.t.Helper()
	c.jobs.Resource.Scheme.Default(job)
	hub, err := c.jobs.Resource.ToHub(job)
	if err != nil {
		c.t.Fatal(err)
	}
	return hub
}

// create makes a Job; ttl is below zero for none.
func (c *cluster) create(name string, ttl int32) {
	c.t.Helper()
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
		RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "a", Image: "a"}},
	}}}}
	if ttl >= 0 {
		job.Spec.TTLSecondsAfterFinished = &ttl
	}
	t := c.target("", "")
	if _, err := c.verbs.Create(t.Context(c.t.Context(), "create", &user.DefaultInfo{Name: "admin"}), t, c.hub(job), &metav1.CreateOptions{}); err != nil {
		c.t.Fatal(err)
	}
}

// read returns a Job, nil if it is gone.
func (c *cluster) read(name string) *batch.Job {
	c.t.Helper()
	o := c.verbs.State.Get(c.jobs.Resource.Storage.Key("default", name))
	if o == nil {
		return nil
	}
	job, err := controller.Read[*batch.Job](c.jobs.Resource, o)
	if err != nil {
		c.t.Fatal(err)
	}
	return job
}

// finish says that a Job has come to an end now.
func (c *cluster) finish(name string, how batchv1.JobConditionType) {
	c.t.Helper()
	now := metav1.NewTime(c.clock.Now())
	job := &batchv1.Job{}
	versioned, err := c.jobs.FromHub(c.read(name))
	if err != nil {
		c.t.Fatal(err)
	}
	versioned.(*batchv1.Job).DeepCopyInto(job)
	condition := func(of batchv1.JobConditionType) batchv1.JobCondition {
		return batchv1.JobCondition{Type: of, Status: corev1.ConditionTrue, LastTransitionTime: now}
	}
	job.Status.StartTime = &now
	if how == batchv1.JobComplete {
		job.Status.CompletionTime = &now
		job.Status.Conditions = []batchv1.JobCondition{condition(batchv1.JobSuccessCriteriaMet), condition(how)}
	} else {
		job.Status.Conditions = []batchv1.JobCondition{condition(batchv1.JobFailureTarget), condition(how)}
	}
	t := c.target(name, "status")
	if _, err := c.verbs.Update(t.Context(c.t.Context(), "update", &user.DefaultInfo{Name: "admin"}), t, c.hub(job), &metav1.UpdateOptions{}); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) eventually(what string, is func() bool) {
	c.t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			c.t.Fatalf("it is not so that %s", what)
		}
	}
}

// Finished Jobs are deleted when it is time and not before, in the foreground; others
// stay.
func TestFinishedJobs(t *testing.T) {
	c := newCluster(t)
	for name, ttl := range map[string]int32{"at-once": 0, "failed": 0, "later": 100, "never": -1, "running": 0} {
		c.create(name, ttl)
	}
	for name, how := range map[string]batchv1.JobConditionType{
		"later": batchv1.JobComplete, "never": batchv1.JobComplete, "at-once": batchv1.JobComplete, "failed": batchv1.JobFailed,
	} {
		c.finish(name, how)
	}
	deleted := func(name string) func() bool {
		return func() bool {
			job := c.read(name)
			return job != nil && job.DeletionTimestamp != nil && job.Finalizers[0] == metav1.FinalizerDeleteDependents
		}
	}
	c.eventually("the Job is deleted at once", deleted("at-once"))
	c.eventually("the one that has failed, too", deleted("failed"))
	c.eventually("a timer waits", c.clock.HasWaiters)
	c.clock.Step(99 * time.Second)
	c.create("then", 0)
	c.finish("then", batchv1.JobComplete)
	c.eventually("another is deleted then", deleted("then"))
	for _, name := range []string{"later", "never", "running"} {
		if c.read(name).DeletionTimestamp != nil {
			t.Errorf("%s is deleted", name)
		}
	}
	c.eventually("a timer waits", c.clock.HasWaiters)
	c.clock.Step(time.Second)
	c.eventually("the later is deleted", deleted("later"))
}
