package pods_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/kubernetes/pkg/apis/policy"
)

func newEviction(pod string, options ...*metav1.DeleteOptions) *policyv1.Eviction {
	e := &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: pod, Namespace: "default"}}
	if len(options) > 0 {
		e.DeleteOptions = options[0]
	}
	return e
}

// newBudget is one whose controller has seen it, with three healthy pods where
// two are needed, unless changed.
func newBudget(name string, change ...func(*policyv1.PodDisruptionBudget)) *policyv1.PodDisruptionBudget {
	two := intstr.FromInt32(2)
	b := &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"},
		Spec:       policyv1.PodDisruptionBudgetSpec{MinAvailable: &two, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}},
		Status: policyv1.PodDisruptionBudgetStatus{
			ObservedGeneration: 1, DisruptionsAllowed: 1, CurrentHealthy: 3, DesiredHealthy: 2, ExpectedPods: 3,
		},
	}
	for _, f := range change {
		f(b)
	}
	return b
}

func allows(n int32) func(*policyv1.PodDisruptionBudget) {
	return func(b *policyv1.PodDisruptionBudget) { b.Status.DisruptionsAllowed = n }
}

func healthy(current, desired int32) func(*policyv1.PodDisruptionBudget) {
	return func(b *policyv1.PodDisruptionBudget) {
		b.Status.CurrentHealthy, b.Status.DesiredHealthy = current, desired
	}
}

func unseen(b *policyv1.PodDisruptionBudget) { b.Status.ObservedGeneration = 0 }

func unhealthyAlways(b *policyv1.PodDisruptionBudget) {
	always := policyv1.AlwaysAllow
	b.Spec.UnhealthyPodEvictionPolicy = &always
}

func selecting(app string) func(*policyv1.PodDisruptionBudget) {
	return func(b *policyv1.PodDisruptionBudget) { b.Spec.Selector.MatchLabels["app"] = app }
}

func disallowed(reason, message string) func(*policyv1.PodDisruptionBudget) {
	return func(b *policyv1.PodDisruptionBudget) {
		b.Status.DisruptionsAllowed = 0
		b.Status.Conditions = []metav1.Condition{{
			Type: policyv1.DisruptionAllowedCondition, Status: metav1.ConditionFalse, Reason: reason, Message: message, LastTransitionTime: metav1.Now(),
		}}
	}
}

const wouldViolate = "Cannot evict pod as it would violate the pod's disruption budget."

// TestEviction has a pod p evicted under the budgets of each case. What is
// refused is refused in a dry run too, and what is allowed changes nothing in it.
func TestEviction(t *testing.T) {
	manyDisrupted := func(b *policyv1.PodDisruptionBudget) {
		b.Status.DisruptedPods = map[string]metav1.Time{}
		for i := range 2001 {
			b.Status.DisruptedPods[fmt.Sprintf("p-%d", i)] = metav1.Now()
		}
	}
	for _, tt := range []struct {
		name    string
		pod     *corev1.Pod
		budgets []*policyv1.PodDisruptionBudget
		code    int32
		message string
		cause   string
		retry   int32
		// gone pods had no node to be stopped on; spent tells that the budget
		// has paid.
		gone, spent bool
	}{
		{name: "no budget", pod: newPod("p"), code: 201},
		{name: "another's budget", pod: newPod("p"), budgets: list(newBudget("b", selecting("db"), allows(0))), code: 201},
		{name: "a budget that allows it", pod: newPod("p"), budgets: list(newBudget("b")), code: 201, spent: true},
		{name: "not ready, under a budget that allows it", pod: newPod("p", unready), budgets: list(newBudget("b", healthy(1, 2))), code: 201, spent: true},
		{
			name: "a budget without disruptions", pod: newPod("p"), budgets: list(newBudget("b", allows(0), healthy(2, 2))),
			code: 429, message: wouldViolate, cause: "The disruption budget b needs 2 healthy pods and has 2 currently",
		},
		{
			name: "no disruptions in spite of healthy pods", pod: newPod("p"), budgets: list(newBudget("b", allows(0))),
			code: 429, message: wouldViolate, cause: "The disruption budget b does not allow evicting pods currently",
		},
		{
			name: "its controller says why", pod: newPod("p"), budgets: list(newBudget("b", disallowed("Sleepy", "later"))),
			code: 429, message: wouldViolate, cause: "The disruption budget b does not allow evicting pods currently (Sleepy): later",
		},
		{
			name: "its controller could not count", pod: newPod("p"), budgets: list(newBudget("b", disallowed(policyv1.SyncFailedReason, "no scale"), healthy(0, 0))),
			code: 429, message: wouldViolate, cause: "The disruption budget b does not allow evicting pods currently because it failed sync: no scale",
		},
		{
			name: "its controller has not seen it", pod: newPod("p"), budgets: list(newBudget("b", unseen)),
			code: 429, message: wouldViolate, cause: "The disruption budget b is still being processed by the server.", retry: 10,
		},
		{
			name: "too many evictions pending", pod: newPod("p"), budgets: list(newBudget("b", manyDisrupted)),
			code: 403, message: `poddisruptionbudget.policy "b" is forbidden: DisruptedPods map too big - too many evictions not confirmed by PDB controller`,
			cause: "The disruption budget b does not allow evicting pods currently: too many pending evictions not confirmed by PDB controller",
		},
		{
			name: "two budgets", pod: newPod("p"), budgets: list(newBudget("a"), newBudget("b")),
			code: 500, message: "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
		},
		{name: "two budgets, but pending", pod: newPod("p", in(corev1.PodPending)), budgets: list(newBudget("a"), newBudget("b")), code: 201},
		{name: "pending, no node", pod: newPod("p", unscheduled, in(corev1.PodPending)), budgets: list(newBudget("b", allows(0))), code: 201, gone: true},
		{name: "pending", pod: newPod("p", in(corev1.PodPending)), budgets: list(newBudget("b", allows(0))), code: 201},
		{name: "succeeded", pod: newPod("p", in(corev1.PodSucceeded)), budgets: list(newBudget("b", unseen)), code: 201, gone: true},
		{name: "failed", pod: newPod("p", in(corev1.PodFailed)), budgets: list(newBudget("b", allows(0))), code: 201, gone: true},
		{name: "not ready while enough others are", pod: newPod("p", unready), budgets: list(newBudget("b", allows(0), healthy(2, 2))), code: 201},
		{
			name: "not ready while too few others are", pod: newPod("p", unready), budgets: list(newBudget("b", allows(0), healthy(1, 2))),
			code: 429, message: wouldViolate, cause: "The disruption budget b needs 2 healthy pods and has 1 currently",
		},
		{
			name: "not ready where none is needed", pod: newPod("p", unready), budgets: list(newBudget("b", allows(0), healthy(0, 0))),
			code: 429, message: wouldViolate, cause: "The disruption budget b needs 0 healthy pods and has 0 currently",
		},
		{name: "not ready, always allowed", pod: newPod("p", unready), budgets: list(newBudget("b", unseen, allows(0), healthy(1, 2), unhealthyAlways)), code: 201},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCluster(t)
			c.make(podResource, tt.pod)
			for _, b := range tt.budgets {
				c.make(budgetResource, b)
			}
			rev := c.verbs.State.Rev()
			check := func(err error) {
				t.Helper()
				s := metav1.Status{}
				if err != nil {
					s = status(err)
				}
				cause, retry := "", int32(0)
				if s.Details != nil {
					retry = s.Details.RetryAfterSeconds
					if len(s.Details.Causes) == 1 && s.Details.Causes[0].Type == policyv1.DisruptionBudgetCause {
						cause = s.Details.Causes[0].Message
					}
				}
				if code(err) != tt.code || s.Message != tt.message || cause != tt.cause || retry != tt.retry {
					t.Fatalf("got  %d %s (%s) after %ds\nwant %d %s (%s) after %ds", code(err), s.Message, cause, retry, tt.code, tt.message, tt.cause, tt.retry)
				}
			}
			_, err := c.act(podResource, "p", "eviction", newEviction("p"), dry)
			check(err)
			_, err = c.act(podResource, "p", "eviction", newEviction("p", &metav1.DeleteOptions{DryRun: []string{"All"}}), wet)
			check(err)
			if c.verbs.State.Rev() != rev {
				t.Fatal("a dry run has changed something")
			}
			_, err = c.act(podResource, "p", "eviction", newEviction("p"), wet)
			check(err)
			if err != nil {
				if c.verbs.State.Rev() != rev {
					t.Error("a refused eviction has changed something")
				}
				return
			}
			c.checkEvicted("p", tt.gone)
			for _, b := range tt.budgets {
				c.checkBudget(b, tt.spent)
			}
		})
	}
}

func list(b ...*policyv1.PodDisruptionBudget) []*policyv1.PodDisruptionBudget { return b }

// checkEvicted expects a pod to be gone or, if it is still to be stopped on its
// node, to say why.
func (c *cluster) checkEvicted(name string, gone bool) {
	c.t.Helper()
	pod := c.pod(name)
	if gone || pod == nil {
		if pod != nil || !gone {
			c.t.Errorf("gone: %v, want %v", pod == nil, gone)
		}
		return
	}
	if pod.DeletionTimestamp == nil {
		c.t.Error("the pod is not being deleted")
	}
	i := slices.IndexFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == corev1.DisruptionTarget })
	if i < 0 {
		c.t.Fatalf("the pod does not say why it goes: %v", pod.Status.Conditions)
	}
	got := pod.Status.Conditions[i]
	got.LastTransitionTime = metav1.Time{}
	want := corev1.PodCondition{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: "EvictionByEvictionAPI", Message: "Eviction API: evicting"}
	if diff := cmp.Diff(want, got); diff != "" {
		c.t.Errorf("condition (-want +got):\n%s", diff)
	}
}

// checkBudget expects a budget to have paid for p, or to be as it was.
func (c *cluster) checkBudget(was *policyv1.PodDisruptionBudget, spent bool) {
	c.t.Helper()
	now := c.budget(was.Name)
	if !spent {
		if now.Status.DisruptionsAllowed != was.Status.DisruptionsAllowed || len(now.Status.DisruptedPods) != 0 {
			c.t.Errorf("the budget has paid: %+v", now.Status)
		}
		return
	}
	if now.Status.DisruptionsAllowed != was.Status.DisruptionsAllowed-1 || len(now.Status.DisruptedPods) != 1 || now.Status.DisruptedPods["p"].Time.IsZero() {
		c.t.Errorf("the budget has not paid for one pod: %+v", now.Status)
	}
	if conditions := now.Status.Conditions; len(conditions) != 1 || conditions[0].Reason != policyv1.InsufficientPodsReason || conditions[0].Status != metav1.ConditionFalse {
		c.t.Errorf("the budget does not say that nothing is left: %+v", conditions)
	}
	owners := now.ManagedFields[len(now.ManagedFields)-1]
	for _, o := range now.ManagedFields {
		if o.Manager == "kube-apiserver" {
			owners = o
		}
	}
	if owners.Manager != "kube-apiserver" || owners.Subresource != "status" {
		c.t.Errorf("the status is not the server's: %+v", owners)
	}
}

func TestEvictionIsRefused(t *testing.T) {
	c := newCluster(t)
	c.make(podResource, newPod("p"))
	c.make(podResource, newPod("pending", in(corev1.PodPending)))
	c.make(podResource, newPod("sick", unready))
	c.make(budgetResource, newBudget("b", allows(5), healthy(3, 2)))
	pod, sick := c.pod("p"), c.pod("sick")
	yes := true
	uid, old := types.UID("u"), "1"
	for _, tt := range []struct {
		name, path string
		eviction   *policyv1.Eviction
		opts       *metav1.CreateOptions
		code       int32
		message    string
	}{
		{"no pod", "none", newEviction("none"), wet, 404, `pods "none" not found`},
		{"other name", "p", newEviction("q"), wet, 400, "name in URL does not match name in Eviction object"},
		{"two minds about a dry run", "p", newEviction("p", &metav1.DeleteOptions{DryRun: []string{"Some"}}), dry, 500,
			"Non-matching dry-run options in request and content: [All] and [Some]"},
		{"an unreadable pod", "p", newEviction("p", &metav1.DeleteOptions{IgnoreStoreReadErrorWithClusterBreakingPotential: &yes}), wet, 422,
			`Eviction.policy "p" is invalid: deleteOptions.ignoreStoreReadErrorWithClusterBreakingPotential: Invalid value: true: can not be set for pod eviction, try after removing the option`},
		{"other uid, pending", "pending", newEviction("pending", &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}}), wet, 409,
			`Operation cannot be fulfilled on Pod "pending": the UID in the precondition (u) does not match the UID in record (` + string(c.pod("pending").UID) + `). The object might have been deleted and then recreated`},
		{"other version, pending", "pending", newEviction("pending", &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{ResourceVersion: &old}}), wet, 409,
			`Operation cannot be fulfilled on Pod "pending": the ResourceVersion in the precondition (1) does not match the ResourceVersion in record (` + c.pod("pending").ResourceVersion + `). The object might have been modified`},
		{"other uid, unhealthy", "sick", newEviction("sick", &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}}), wet, 429, wouldViolate},
		{"other uid, dry run", "sick", newEviction("sick", &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid, ResourceVersion: &sick.ResourceVersion}}), dry, 409,
			`Operation cannot be fulfilled on Pod "sick": the UID in the precondition (u) does not match the UID in record (` + string(sick.UID) + `). The object might have been deleted and then recreated`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rev := c.verbs.State.Rev()
			_, err := c.act(podResource, tt.path, "eviction", tt.eviction, tt.opts)
			if code(err) != tt.code || err.Error() != tt.message {
				t.Errorf("got  %d %v\nwant %d %s", code(err), err, tt.code, tt.message)
			}
			if c.verbs.State.Rev() != rev {
				t.Error("something has changed")
			}
		})
	}

	// A condition that is met lets it go, with the deletion options of the client.
	grace := int64(7)
	_, err := c.act(podResource, "p", "eviction", newEviction("p", &metav1.DeleteOptions{
		GracePeriodSeconds: &grace, Preconditions: &metav1.Preconditions{UID: &pod.UID, ResourceVersion: &pod.ResourceVersion},
	}), wet)
	if err != nil {
		t.Fatal(err)
	}
	c.checkEvicted("p", false)
	if got := c.pod("p").DeletionGracePeriodSeconds; got == nil || *got != grace {
		t.Errorf("the grace period is %v, want %d", got, grace)
	}
}

// Many who want pods gone get no more than the budget has, whoever comes first.
func TestConcurrentEvictions(t *testing.T) {
	const many, allowed = 50, 3
	c := newCluster(t)
	c.make(budgetResource, newBudget("b", allows(allowed), healthy(many, many-allowed)))
	for i := range many {
		c.make(podResource, newPod(fmt.Sprintf("p-%d", i)))
	}
	answers := make([]error, many)
	var all sync.WaitGroup
	for i := range many {
		all.Go(func() {
			name := fmt.Sprintf("p-%d", i)
			_, answers[i] = c.act(podResource, name, "eviction", newEviction(name), wet)
		})
	}
	all.Wait()
	evicted := map[string]bool{}
	for i, err := range answers {
		name := fmt.Sprintf("p-%d", i)
		if going := c.pod(name).DeletionTimestamp != nil; going != (err == nil) {
			t.Errorf("%s: going is %v, the answer was %v", name, going, err)
		}
		if err == nil {
			evicted[name] = true
		} else if code(err) != 429 {
			t.Errorf("%s: %d %v", name, code(err), err)
		}
	}
	b := c.budget("b")
	if len(evicted) != allowed || b.Status.DisruptionsAllowed != 0 || len(b.Status.DisruptedPods) != allowed {
		t.Errorf("%d were evicted; the budget says %+v", len(evicted), b.Status)
	}
	for name := range b.Status.DisruptedPods {
		if !evicted[name] {
			t.Errorf("the budget has paid for %s, which stays", name)
		}
	}
}

// gate is admission that tells what it sees, and may act on it first.
type gate struct {
	seen []string
	on   func(ctx context.Context, a admission.Attributes) error
}

func (*gate) Handles(admission.Operation) bool { return true }

func (g *gate) Validate(ctx context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	g.seen = append(g.seen, fmt.Sprintf("%s %s of %s/%s %s by %s", a.GetOperation(), a.GetKind().Kind, a.GetResource().Resource, a.GetSubresource(), a.GetName(), a.GetUserInfo().GetName()))
	return g.on(ctx, a)
}

// Admission sees the eviction and what it costs the budget, but not the
// deletion. A budget that changes in between is read again.
func TestEvictionMeetsAnotherWriter(t *testing.T) {
	c := newCluster(t)
	c.make(podResource, newPod("p"))
	c.make(podResource, newPod("q"))
	c.make(budgetResource, newBudget("b", allows(2)))
	plain := &cluster{t, c.verbs, c.catalogue}
	admitting := *c.verbs
	plain.verbs = &admitting

	meddle := func() {
		b := c.budget("b")
		b.Status.DisruptionsAllowed--
		plain.setStatus(budgetResource, b)
	}
	meddled := false
	g := &gate{on: func(_ context.Context, a admission.Attributes) error {
		if a.GetKind().Kind == "PodDisruptionBudget" && !meddled {
			meddled = true
			meddle()
		}
		return nil
	}}
	c.verbs.Admission = g
	if _, err := c.act(podResource, "p", "eviction", newEviction("p"), wet); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"CREATE Eviction of pods/eviction p by scheduler",
		"UPDATE PodDisruptionBudget of poddisruptionbudgets/status b by system:apiserver",
		"UPDATE PodDisruptionBudget of poddisruptionbudgets/status b by system:apiserver",
	}
	if diff := cmp.Diff(want, g.seen); diff != "" {
		t.Errorf("admission has seen (-want +got):\n%s", diff)
	}
	if got := c.budget("b").Status.DisruptionsAllowed; got != 0 {
		t.Errorf("%d disruptions are left of two, after another's and one of ours", got)
	}
	c.checkEvicted("p", false)
	if _, err := c.act(podResource, "q", "eviction", newEviction("q"), wet); code(err) != 429 {
		t.Errorf("one too many: %v", err)
	}

	// What admission refuses changes nothing.
	rev := c.verbs.State.Rev()
	g.on = func(_ context.Context, a admission.Attributes) error {
		if e, ok := a.GetObject().(*policy.Eviction); ok {
			return admission.NewForbidden(a, fmt.Errorf("%s stays", e.Name))
		}
		return nil
	}
	if _, err := c.act(podResource, "q", "eviction", newEviction("q"), wet); code(err) != 403 || c.verbs.State.Rev() != rev {
		t.Errorf("%v", err)
	}
}
