package tokensecrets

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/klog/v2"
	podutil "k8s.io/kubernetes/pkg/api/pod"
	api "k8s.io/kubernetes/pkg/apis/core"
	token "k8s.io/kubernetes/pkg/serviceaccount"
	"k8s.io/utils/clock"

	"github.com/knarr-io/knarr/internal/controller"
	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/state"
	"github.com/knarr-io/knarr/internal/verb"
)

const (
	// tracking and since name the ConfigMap in kube-system, and what it says: from when
	// on it is noted that tokens are used.
	tracking = "kube-apiserver-legacy-service-account-token-tracking"
	since    = "since"
	// lookAgain is how long a token waits that is old, but that something keeps: as
	// often as upstream looks at all of them.
	lookAgain = 24 * time.Hour
)

// Cleaner marks the tokens as invalid that were made by themselves once and that
// nobody has used for a long time, and removes them after as long again.
type Cleaner struct {
	world
	pods       *kind.Resource
	configMaps *kind.Resource
	period     time.Duration
	clock      clock.Clock
}

// NewCleaner returns a cleaner that writes through verbs; nil if a kind that it looks
// at is not served. period is how long a token must be unused.
func NewCleaner(verbs *verb.Verbs, catalogue *kind.Catalogue, period time.Duration, clock clock.Clock) *Cleaner {
	w, ok := newWorld(verbs, catalogue, controller.ServiceAccount("legacy-service-account-token-cleaner"))
	c := &Cleaner{
		world: w, period: period, clock: clock,
		pods: catalogue.Resource(corev1.Resource("pods")), configMaps: catalogue.Resource(corev1.Resource("configmaps")),
	}
	if !ok || c.pods == nil || c.configMaps == nil {
		return nil
	}
	return c
}

// Run looks at tokens when they are old enough, until ctx ends. It returns when
// nothing of it runs any more, and may be run again.
func (c *Cleaner) Run(ctx context.Context) {
	schedule := controller.NewSchedule[struct{}](c.clock)
	var following sync.WaitGroup
	defer following.Wait()
	following.Go(func() {
		c.state.Follow(ctx, c.secret.Resource.Storage.Prefix, func(state.Snapshot) { schedule.Add(struct{}{}) }, func(e *state.Event) {
			if e.Prev == nil && c.holdsToken(e.Object) {
				schedule.AddAfter(struct{}{}, c.period+time.Second)
			}
		})
	})
	for {
		if _, err := schedule.Next(ctx); err != nil {
			return
		}
		if next := c.clean(ctx); next > 0 {
			schedule.AddAfter(struct{}{}, next)
		}
	}
}

// clean looks at all tokens once, and returns how long until one may be due; 0 if
// there is none.
func (c *Cleaner) clean(ctx context.Context) (next time.Duration) {
	now := c.clock.Now().UTC()
	later := func(d time.Duration) {
		if next == 0 || d < next {
			next = d
		}
	}
	var old []*api.Secret
	c.tokens("", func(o *object.Object) bool {
		s, err := controller.Read[*api.Secret](c.secret.Resource, o)
		if err != nil {
			klog.ErrorS(err, "A token cannot be read", "secret", klog.KRef(o.Namespace, o.Name))
			return true
		}
		if wait := c.unused(s, now); wait > 0 {
			later(wait)
		} else if wait == 0 {
			old = append(old, s)
		}
		return true
	})
	if len(old) == 0 {
		return next
	}
	begun, err := c.trackedSince()
	if err != nil {
		klog.ErrorS(err, "It is not known since when the use of tokens is noted", "configMap", klog.KRef(metav1.NamespaceSystem, tracking))
		later(lookAgain)
		return next
	}
	if wait := begun.Add(c.period).Sub(now); wait > 0 {
		later(wait)
		return next
	}
	mounted := map[string]sets.Set[string]{}
	for _, s := range old {
		later(lookAgain)
		if !c.byItself(s) || c.mounted(mounted, s) {
			continue
		}
		if err := c.retire(ctx, s, now); err != nil && ctx.Err() == nil {
			klog.ErrorS(err, "An old token could not be removed", "secret", klog.KObj(s))
		}
	}
	return next
}

// unused returns how long it is at least until a token counts as unused; 0 if it does
// now, and less if it never will.
func (c *Cleaner) unused(s *api.Secret, now time.Time) time.Duration {
	if s.DeletionTimestamp != nil {
		return -1
	}
	at := s.CreationTimestamp.Time
	if label, ok := s.Labels[token.LastUsedLabelKey]; ok {
		used, err := time.Parse(time.DateOnly, label)
		if err != nil {
			return -1
		}
		// The whole day counts.
		if used = used.AddDate(0, 0, 1); used.After(at) {
			at = used
		}
	}
	return max(0, at.Add(c.period).Sub(now)+time.Nanosecond)
}

// trackedSince is the end of the first day on which it was noted that tokens are used.
func (c *Cleaner) trackedSince() (time.Time, error) {
	o := c.state.Get(c.configMaps.Storage.Key(metav1.NamespaceSystem, tracking))
	if o == nil {
		return time.Time{}, apierrors.NewNotFound(corev1.Resource("configmaps"), tracking)
	}
	m, err := controller.Read[*api.ConfigMap](c.configMaps, o)
	if err != nil {
		return time.Time{}, err
	}
	day, err := time.Parse(time.DateOnly, m.Data[since])
	return day.AddDate(0, 0, 1), err
}

// byItself reports whether a token was made by itself: its account lists it.
func (c *Cleaner) byItself(s *api.Secret) bool {
	name, uid := accountOf(s)
	a, err := c.readAccount(s.Namespace, name, uid)
	if err != nil {
		klog.ErrorS(err, "The account of a token cannot be read", "secret", klog.KObj(s))
	}
	if a == nil {
		return false
	}
	for _, r := range a.Secrets {
		if r.Name == s.Name {
			return true
		}
	}
	return false
}

// mounted reports whether a pod uses a Secret. What pods use is looked up once for a
// namespace.
func (c *Cleaner) mounted(known map[string]sets.Set[string], s *api.Secret) bool {
	names, ok := known[s.Namespace]
	if !ok {
		names = sets.New[string]()
		known[s.Namespace] = names
		c.state.Snapshot(c.pods.Storage.Prefix).Each(state.Range{Namespace: s.Namespace}, func(o *object.Object) bool {
			pod, err := controller.Read[*api.Pod](c.pods, o)
			if err != nil {
				return true
			}
			podutil.VisitPodSecretNames(pod, func(name string) bool { names.Insert(name); return true }, podutil.AllContainers)
			return true
		})
	}
	return names.Has(s.Name)
}

// retire marks a token as invalid or, if it has been for long, removes it.
func (c *Cleaner) retire(ctx context.Context, s *api.Secret, now time.Time) error {
	invalid := s.Labels[token.InvalidSinceLabelKey]
	if _, err := time.Parse(time.DateOnly, invalid); err != nil {
		patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
			"uid": s.UID, "labels": map[string]string{token.InvalidSinceLabelKey: now.Format(time.DateOnly)},
		}})
		if err != nil {
			return err
		}
		klog.InfoS("A token that nobody uses is marked as invalid", "secret", klog.KObj(s))
		return gone(c.client.Patch(ctx, secrets, s.Namespace, s.Name, patch))
	}
	if invalid >= now.Add(-c.period).Format(time.DateOnly) {
		return nil
	}
	klog.InfoS("A token that nobody uses is removed", "secret", klog.KObj(s))
	t := verb.Target{Version: c.secret, Namespace: s.Namespace, Name: s.Name}
	_, err := c.client.Verbs.Delete(t.Context(ctx, "delete", c.client.User), t, &metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{ResourceVersion: &s.ResourceVersion}, // it may have been used since
	})
	return gone(err)
}

// gone is nil where somebody else was quicker.
func gone(err error) error {
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}
