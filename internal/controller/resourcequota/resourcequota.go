// Package resourcequota keeps what ResourceQuotas say is used, as
// kube-controller-manager's resourcequota-controller does: it counts anew when a
// quota is made or its limits change, and when something that a quota counts is
// deleted or needs less.
//
// It must not know what may exceed a quota: admission does.
package resourcequota

import (
	"context"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/apiserver/pkg/authentication/user"
	quota "k8s.io/apiserver/pkg/quota/v1"
	"k8s.io/client-go/informers"
	"k8s.io/klog/v2"
	api "k8s.io/kubernetes/pkg/apis/core"
	quotainstall "k8s.io/kubernetes/pkg/quota/v1/install"
	"k8s.io/utils/clock"

	"github.com/knarr-io/knarr/internal/controller"
	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/state"
	"github.com/knarr-io/knarr/internal/verb"
)

const (
	// trusted is how long a count is, as upstream's.
	trusted = 5 * time.Minute
	// definedAfter is how long it takes at most until a definition is served.
	definedAfter = time.Second
)

const manager = "kube-controller-manager"

// actingAs is who the controller is to others.
func actingAs() user.Info {
	u := serviceaccount.UserInfo(metav1.NamespaceSystem, "resourcequota-controller", "")
	return &user.DefaultInfo{Name: u.GetName(), Groups: append(u.GetGroups(), user.AllAuthenticated)}
}

// Options are what a controller gets to work with.
type Options struct {
	// Catalogue tells what is served now.
	Catalogue func() *kind.Catalogue
	// Informers read the state.
	Informers informers.SharedInformerFactory
	// Turn waits until nobody else changes the quotas of a namespace, and returns
	// what lets others go on.
	Turn  func(ctx context.Context, namespace string) (release func(), err error)
	Clock clock.Clock
}

// Controller keeps the quotas of one server.
type Controller struct {
	Options
	verbs      *verb.Verbs
	state      *state.State
	version    *kind.Version
	quotas     *kind.Resource
	evaluators []quota.Evaluator
	ignored    map[schema.GroupResource]struct{}
	needsLess  func(resource schema.GroupVersionResource, before, after any) bool
	schedule   *controller.Schedule[key]

	following sync.WaitGroup
	mu        sync.Mutex // guards what follows
	followed  map[schema.GroupResource]context.CancelFunc
}

// key names a quota.
type key struct{ namespace, name string }

// New returns a controller that writes through verbs; nil if there are no
// quotas.
func New(verbs *verb.Verbs, o Options) (*Controller, error) {
	c := &Controller{
		Options: o, verbs: verbs, state: verbs.State,
		version:   o.Catalogue().Lookup(corev1.SchemeGroupVersion.WithResource("resourcequotas")),
		needsLess: quotainstall.DefaultUpdateFilter(),
		schedule:  controller.NewSchedule[key](o.Clock),
		followed:  map[schema.GroupResource]context.CancelFunc{},
	}
	if c.version == nil {
		return nil, nil
	}
	c.quotas = c.version.Resource
	configuration, err := quotainstall.NewQuotaConfigurationForControllers(c.lister, o.Informers)
	if err != nil {
		return nil, err
	}
	c.evaluators, c.ignored = configuration.Evaluators(), configuration.IgnoredResources()
	return c, nil
}

// Run keeps quotas until ctx ends.
func (c *Controller) Run(ctx context.Context) {
	defer c.following.Wait()
	c.following.Go(func() {
		c.state.Follow(ctx, c.quotas.Storage.Prefix, state.AsNew(c.seeQuota), c.seeQuota)
	})
	c.schedule.Work(ctx, c.count, func(k key, err error) {
		klog.ErrorS(err, "What is used of a quota could not be counted", "resourceQuota", klog.KRef(k.namespace, k.name))
	})
}

// seeQuota has a quota counted that is new, or has other limits than before or
// than its status says.
func (c *Controller) seeQuota(e *state.Event) {
	if e.Deleted {
		if c.state.Snapshot(c.quotas.Storage.Prefix).Len("") == 0 {
			c.unfollow()
		}
		return
	}
	now, err := controller.Read[*api.ResourceQuota](c.quotas, e.Object)
	if err != nil {
		return
	}
	if e.Prev != nil {
		before, err := controller.Read[*api.ResourceQuota](c.quotas, e.Prev)
		if err == nil && apiequality.Semantic.DeepEqual(before.Spec, now.Spec) && apiequality.Semantic.DeepEqual(now.Spec.Hard, now.Status.Hard) {
			return
		}
	}
	c.schedule.Add(key{e.Object.Namespace, e.Object.Name})
}

// follow follows the resources that a quota counts.
func (c *Controller) follow(ctx context.Context, q *api.ResourceQuota) {
	var limited []corev1.ResourceName
	for name := range q.Spec.Hard {
		limited = append(limited, corev1.ResourceName(name))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for gr, counted := range c.counted() {
		if len(counted.evaluator.MatchingResources(limited)) > 0 {
			c.followResource(ctx, gr, counted.resource, c.seeAll, func(e *state.Event) { c.see(counted, e) })
		}
	}
	// What a quota counts may be defined only later.
	if r := c.Catalogue().Resource(definitions); r != nil {
		c.followResource(ctx, definitions, r, func(state.Snapshot) {}, func(*state.Event) { c.recountAfter(definedAfter) })
	}
}

var definitions = schema.GroupResource{Group: "apiextensions.k8s.io", Resource: "customresourcedefinitions"}

// followResource follows a resource, if it is not followed yet. c.mu is held.
func (c *Controller) followResource(ctx context.Context, gr schema.GroupResource, r *kind.Resource, begin func(state.Snapshot), see func(*state.Event)) {
	if c.followed[gr] != nil {
		return
	}
	following, cancel := context.WithCancel(ctx)
	c.followed[gr] = cancel
	c.following.Go(func() {
		defer cancel()
		c.state.Follow(following, r.Storage.Prefix, begin, see)
	})
}

// unfollow follows nothing any more but quotas.
func (c *Controller) unfollow() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, cancel := range c.followed {
		cancel()
	}
	clear(c.followed)
}

// seeAll has all quotas counted: anything may have happened.
func (c *Controller) seeAll(state.Snapshot) { c.recount("") }

// see has the quotas of a namespace counted where something went or needs less.
func (c *Controller) see(counted counted, e *state.Event) {
	namespace := e.Object.Namespace
	if c.state.Snapshot(c.quotas.Storage.Prefix).Len(namespace) == 0 {
		return
	}
	if e.Deleted || e.Prev != nil && counted.needsLess(c.needsLess, e) {
		c.recount(namespace)
	}
}

// recount has the quotas of a namespace counted, or all if it is empty.
func (c *Controller) recount(namespace string) { c.each(namespace, c.schedule.Add) }

// recountAfter has all quotas counted after a while.
func (c *Controller) recountAfter(while time.Duration) {
	c.each("", func(k key) { c.schedule.AddAfter(k, while) })
}

// each calls do for the quotas of a namespace, or all if it is empty.
func (c *Controller) each(namespace string, do func(key)) {
	c.state.Snapshot(c.quotas.Storage.Prefix).Each(state.Range{Namespace: namespace}, func(o *object.Object) bool {
		do(key{o.Namespace, o.Name})
		return true
	})
}

// count counts what is used of a quota and says so in its status.
func (c *Controller) count(ctx context.Context, k key) error {
	release, err := c.Turn(ctx, k.namespace)
	if err != nil {
		return err
	}
	defer release()
	o := c.state.Get(c.quotas.Storage.Key(k.namespace, k.name))
	if o == nil {
		return nil
	}
	hub, err := controller.Read[*api.ResourceQuota](c.quotas, o)
	if err != nil {
		return err
	}
	c.follow(ctx, hub)
	obj, err := c.quotas.Convertor.ConvertToVersion(hub, corev1.SchemeGroupVersion)
	if err != nil {
		return err
	}
	q := obj.(*corev1.ResourceQuota).DeepCopy()
	counted, failed := quota.CalculateUsage(k.namespace, q.Spec.Scopes, q.Spec.Hard, c.registry(), q.Spec.ScopeSelector)
	used := quota.Add(corev1.ResourceList{}, q.Status.Used)
	for name, value := range counted { // those that failed stay as they were
		used[name] = value
	}
	status := corev1.ResourceQuotaStatus{
		Hard: quota.Add(corev1.ResourceList{}, q.Spec.Hard),
		Used: quota.Mask(used, quota.ResourceNames(q.Spec.Hard)),
	}
	c.schedule.AddAfter(k, trusted)
	before := q.Status
	if before.Used != nil && before.Hard != nil && quota.Equals(before.Used, status.Used) && apiequality.Semantic.DeepEqual(before.Hard, q.Spec.Hard) {
		return failed
	}
	q.Status = status
	if obj, err = c.quotas.Convertor.ConvertToVersion(q, api.SchemeGroupVersion); err != nil {
		return err
	}
	t := verb.Target{Version: c.version, Subresource: c.version.Subresource("status"), Namespace: k.namespace, Name: k.name}
	if _, err := c.verbs.Update(t.Context(ctx, "update", actingAs()), t, obj, &metav1.UpdateOptions{FieldManager: manager}); err != nil {
		return err
	}
	return failed
}
