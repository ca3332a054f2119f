// Package podgc removes pods that nobody else will, as kube-controller-manager's
// pod-garbage-collector-controller does: those on nodes that are gone or out of
// service, those that are to go before they had a node, and, of those that have ended,
// the oldest if there are too many.
//
// Upstream looks at all pods every 20 seconds. This one reads from each event what
// matters and sleeps until something is due.
//
// It must not know how nodes are watched over.
package podgc

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/klog/v2"
	api "k8s.io/kubernetes/pkg/apis/core"
	"k8s.io/kubernetes/pkg/features"
	"k8s.io/utils/clock"

	"github.com/knarr-io/knarr/internal/controller"
	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/state"
	"github.com/knarr-io/knarr/internal/verb"
)

const (
	// quarantine is how long a node must be gone until its pods are removed, upstream's.
	quarantine = 40 * time.Second
	// gather is how long pods that end are waited for, so that they are counted together.
	gather = time.Second
	// together is how many pods are removed at a time.
	together = 16
	// evicted is the reason of pods that a kubelet has put out.
	evicted = "Evicted"
)

var pods = corev1.SchemeGroupVersion.WithResource("pods")

// Controller removes pods of one server.
type Controller struct {
	client      controller.Client
	state       *state.State
	pods, nodes *kind.Resource
	threshold   int
	clock       clock.Clock
}

// New returns a controller that writes through verbs; nil if pods or nodes are not
// served. threshold is how many pods that have ended may be kept; less than 1 is any
// number.
func New(verbs *verb.Verbs, catalogue *kind.Catalogue, threshold int, clock clock.Clock) *Controller {
	c := &Controller{
		client: controller.Client{
			Verbs: verbs, Catalogue: catalogue, User: controller.ServiceAccount("pod-garbage-collector"), Manager: "kube-controller-manager",
		},
		state: verbs.State, threshold: threshold, clock: clock,
		pods: catalogue.Resource(corev1.Resource("pods")), nodes: catalogue.Resource(corev1.Resource("nodes")),
	}
	if c.pods == nil || c.nodes == nil {
		return nil
	}
	return c
}

// task is what is to be looked at: a node, a pod or, if both are empty, all pods that
// have ended.
type task struct{ node, namespace, pod string }

// run is a controller while it runs.
type run struct {
	*Controller
	schedule *controller.Schedule[task]

	mu sync.Mutex // guards what follows
	// ended counts pods that have ended.
	ended int
	// dead are the nodes that are out of service.
	dead map[string]bool
}

// Run removes pods until ctx ends, and returns when nothing of it runs any more. It
// may be run again.
func (c *Controller) Run(ctx context.Context) {
	r := &run{Controller: c, schedule: controller.NewSchedule[task](c.clock), dead: map[string]bool{}}
	var following sync.WaitGroup
	defer following.Wait()
	following.Go(func() { c.state.Follow(ctx, c.nodes.Storage.Prefix, state.AsNew(r.seeNode), r.seeNode) })
	following.Go(func() {
		c.state.Follow(ctx, c.pods.Storage.Prefix, func(all state.Snapshot) {
			r.mu.Lock()
			r.ended = 0
			r.mu.Unlock()
			state.AsNew(r.seePod)(all)
		}, r.seePod)
	})
	r.schedule.Work(ctx, r.do, func(t task, err error) {
		klog.ErrorS(err, "Pods could not be removed", "node", t.node, "pod", klog.KRef(t.namespace, t.pod))
	})
}

// nodeAndPhase is what matters of a pod, which is known without decoding it.
func (c *Controller) nodeAndPhase(o *object.Object) (node string, phase corev1.PodPhase) {
	a, err := o.Attributes(c.pods.Selector())
	if err != nil {
		return "", corev1.PodUnknown
	}
	return a.Fields.Get("spec.nodeName"), corev1.PodPhase(a.Fields.Get("status.phase"))
}

// hasEnded reports whether a pod of a phase runs no more.
func hasEnded(phase corev1.PodPhase) bool {
	return phase != corev1.PodPending && phase != corev1.PodRunning && phase != corev1.PodUnknown
}

func (r *run) seePod(e *state.Event) {
	node, phase := r.nodeAndPhase(e.Object)
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.Prev != nil {
		if _, before := r.nodeAndPhase(e.Prev); hasEnded(before) {
			r.ended--
		}
	}
	if e.Deleted {
		return
	}
	if hasEnded(phase) {
		if r.ended++; r.threshold > 0 && r.ended > r.threshold {
			r.schedule.AddAfter(task{}, gather)
		}
	}
	switch {
	case node == "" || r.dead[node]:
		r.schedule.Add(task{namespace: e.Object.Namespace, pod: e.Object.Name})
	case r.state.Get(r.nodes.Storage.Key("", node)) == nil:
		r.schedule.AddAfter(task{node: node}, quarantine)
	}
}

func (r *run) seeNode(e *state.Event) {
	name := e.Object.Name
	dead := false
	if !e.Deleted {
		node, err := controller.Read[*api.Node](r.nodes, e.Object)
		dead = err == nil && outOfService(node)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.Deleted {
		r.schedule.AddAfter(task{node: name}, quarantine)
	}
	if dead {
		r.dead[name] = true
		r.schedule.Add(task{node: name})
	} else {
		delete(r.dead, name)
	}
}

// outOfService reports whether somebody has said that a node is, and it is not ready.
func outOfService(node *api.Node) bool {
	return slices.ContainsFunc(node.Spec.Taints, func(t api.Taint) bool { return t.Key == corev1.TaintNodeOutOfService }) &&
		!slices.ContainsFunc(node.Status.Conditions, func(c api.NodeCondition) bool {
			return c.Type == api.NodeReady && c.Status == api.ConditionTrue
		})
}

func (r *run) do(ctx context.Context, t task) error {
	switch {
	case t.node != "":
		return r.ofNode(ctx, t.node)
	case t.pod != "":
		return r.ofPod(ctx, t)
	}
	return r.oldest(ctx)
}

// ofPod removes a pod that is to go and that no kubelet will let go.
func (r *run) ofPod(ctx context.Context, t task) error {
	o := r.state.Get(r.pods.Storage.Key(t.namespace, t.pod))
	if o == nil {
		return nil
	}
	pod, err := controller.Read[*api.Pod](r.pods, o)
	if err != nil || pod.DeletionTimestamp == nil {
		return err
	}
	if name := pod.Spec.NodeName; name != "" {
		node := r.state.Get(r.nodes.Storage.Key("", name))
		if node == nil {
			return nil
		}
		is, err := controller.Read[*api.Node](r.nodes, node)
		if err != nil || !outOfService(is) {
			return err
		}
	}
	return r.remove(ctx, pod, nil)
}

// ofNode removes the pods of a node that is gone, and those of one that is out of
// service that are to go.
func (r *run) ofNode(ctx context.Context, name string) error {
	gone := r.state.Get(r.nodes.Storage.Key("", name)) == nil
	var failed []error
	r.state.Snapshot(r.pods.Storage.Prefix).Each(state.Range{}, func(o *object.Object) bool {
		if node, _ := r.nodeAndPhase(o); node != name {
			return ctx.Err() == nil
		}
		if !gone {
			failed = append(failed, r.ofPod(ctx, task{namespace: o.Namespace, pod: o.Name}))
			return ctx.Err() == nil
		}
		pod, err := controller.Read[*api.Pod](r.pods, o)
		if err == nil {
			klog.V(2).InfoS("A pod is removed since its node is gone", "pod", klog.KObj(pod), "node", name)
			err = r.remove(ctx, pod, &api.PodCondition{
				Type: api.DisruptionTarget, Status: api.ConditionTrue, Reason: "DeletionByPodGC", Message: "PodGC: node no longer exists",
			})
		}
		failed = append(failed, err)
		return ctx.Err() == nil
	})
	return errors.Join(failed...)
}

// oldest removes pods that have ended until there are no more than may be: first those
// that were put out, then by age.
func (r *run) oldest(ctx context.Context) error {
	var ended []*api.Pod
	r.state.Snapshot(r.pods.Storage.Prefix).Each(state.Range{}, func(o *object.Object) bool {
		if _, phase := r.nodeAndPhase(o); hasEnded(phase) {
			if pod, err := controller.Read[*api.Pod](r.pods, o); err == nil {
				ended = append(ended, pod)
			}
		}
		return true
	})
	if len(ended) <= r.threshold {
		return nil
	}
	wasEvicted := func(p *api.Pod) bool { return p.Status.Phase == api.PodFailed && p.Status.Reason == evicted }
	slices.SortFunc(ended, func(a, b *api.Pod) int {
		switch {
		case wasEvicted(a) != wasEvicted(b):
			if wasEvicted(a) {
				return -1
			}
			return 1
		case a.CreationTimestamp.Equal(&b.CreationTimestamp):
			return strings.Compare(a.Name, b.Name)
		}
		return a.CreationTimestamp.Compare(b.CreationTimestamp.Time)
	})
	klog.InfoS("Pods are removed that have ended", "pods", len(ended)-r.threshold)
	var removing errgroup.Group
	removing.SetLimit(together)
	for _, pod := range ended[:len(ended)-r.threshold] {
		removing.Go(func() error { return r.remove(ctx, pod, nil) })
	}
	return removing.Wait()
}

// remove takes a pod away at once. One that has not ended has failed, by a condition if
// there is one: nobody else would ever say so.
func (c *Controller) remove(ctx context.Context, pod *api.Pod, why *api.PodCondition) error {
	if pod.Status.Phase != api.PodSucceeded && pod.Status.Phase != api.PodFailed {
		if err := c.fail(ctx, pod, why); err != nil {
			return err
		}
	}
	t := verb.Target{Version: c.client.Catalogue.Lookup(pods), Namespace: pod.Namespace, Name: pod.Name}
	_, err := c.client.Verbs.Delete(t.Context(ctx, "delete", c.client.User), t, metav1.NewDeleteOptions(0))
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// fail says that a pod has failed, again for as long as others write meanwhile.
func (c *Controller) fail(ctx context.Context, pod *api.Pod, why *api.PodCondition) error {
	for {
		o := c.state.Get(c.pods.Storage.Key(pod.Namespace, pod.Name))
		if o == nil {
			return nil
		}
		now, err := controller.Read[*api.Pod](c.pods, o)
		if err != nil || now.UID != pod.UID {
			return err
		}
		now.Status.Phase = api.PodFailed
		tracked := utilfeature.DefaultFeatureGate.Enabled(features.PodObservedGenerationTracking)
		if tracked || now.Status.ObservedGeneration != 0 {
			now.Status.ObservedGeneration = now.Generation
		}
		if why != nil {
			is := *why
			is.LastTransitionTime = metav1.NewTime(c.clock.Now())
			at := slices.IndexFunc(now.Status.Conditions, func(c api.PodCondition) bool { return c.Type == is.Type })
			if tracked || at >= 0 && now.Status.Conditions[at].ObservedGeneration != 0 {
				is.ObservedGeneration = now.Generation
			}
			if at < 0 {
				now.Status.Conditions = append(now.Status.Conditions, is)
			} else {
				if now.Status.Conditions[at].Status == is.Status {
					is.LastTransitionTime = now.Status.Conditions[at].LastTransitionTime
				}
				now.Status.Conditions[at] = is
			}
		}
		err = c.client.Update(ctx, pods, "status", now)
		switch {
		case apierrors.IsNotFound(err):
			return nil
		case !apierrors.IsConflict(err):
			return err
		}
	}
}
