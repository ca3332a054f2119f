package pods

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/authentication/user"
	pdbhelper "k8s.io/component-helpers/apps/poddisruptionbudget"
	api "k8s.io/kubernetes/pkg/apis/core"
	"k8s.io/kubernetes/pkg/apis/policy"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/object"
)

// maxDisruptedPods is how many evictions may wait for the controller of
// budgets to notice them; upstream's bound.
const maxDisruptedPods = 2000

// budgetOf returns the budget that counts the pod, nil if none does. Several
// are an error.
func (e *evicting) budgetOf(ctx context.Context, pod *api.Pod) (*policyv1.PodDisruptionBudget, error) {
	t, err := e.target(budgets, pod.Namespace, "")
	if err != nil {
		return nil, err
	}
	list, err := e.verbs.List(ctx, t, &metainternalversion.ListOptions{})
	if err != nil {
		return nil, err
	}
	var found *policyv1.PodDisruptionBudget
	for _, o := range list.Objects {
		budget, err := decodeBudget(t.Version, o)
		if err != nil {
			return nil, err
		}
		selector, err := metav1.LabelSelectorAsSelector(budget.Spec.Selector)
		if err != nil || !selector.Matches(labels.Set(pod.Labels)) {
			continue // a selector that means nothing selects nothing
		}
		if found != nil {
			return nil, &apierrors.StatusError{ErrStatus: metav1.Status{
				Status: metav1.StatusFailure, Code: http.StatusInternalServerError,
				Message: "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
			}}
		}
		found = budget
	}
	return found, nil
}

func decodeBudget(v *kind.Version, o *object.Object) (*policyv1.PodDisruptionBudget, error) {
	obj, err := v.Resource.Decode(o)
	if err != nil {
		return nil, err
	}
	if obj, err = v.FromHub(obj); err != nil {
		return nil, err
	}
	return as[*policyv1.PodDisruptionBudget](obj)
}

// allowsUnhealthy reports whether a pod that is not ready may go at no cost.
func allowsUnhealthy(b *policyv1.PodDisruptionBudget) bool {
	if p := b.Spec.UnhealthyPodEvictionPolicy; p != nil && *p == policyv1.AlwaysAllow {
		return true
	}
	return b.Status.CurrentHealthy >= b.Status.DesiredHealthy && b.Status.DesiredHealthy > 0
}

// spend takes one disruption off the budget, or refuses with what it says.
func (e *evicting) spend(ctx context.Context, budget *policyv1.PodDisruptionBudget) error {
	name := budget.Name
	err := wait.ExponentialBackoffWithContext(ctx, attempts(), func(ctx context.Context) (bool, error) {
		if budget == nil {
			var err error
			if budget, err = e.readBudget(ctx, name); err != nil {
				return false, err
			}
		}
		if err := refusal(budget); err != nil {
			return false, err
		}
		if e.dryRun() {
			return true, nil
		}
		err := e.takeOne(budget)
		budget = nil
		if apierrors.IsConflict(err) {
			return false, nil
		}
		return true, err
	})
	if wait.Interrupted(err) {
		return apierrors.NewTimeoutError(fmt.Sprintf("couldn't update PodDisruptionBudget %q due to conflicts", name), 10)
	}
	return err
}

func (e *evicting) readBudget(ctx context.Context, name string) (*policyv1.PodDisruptionBudget, error) {
	t, err := e.target(budgets, e.pod.Namespace, name)
	if err != nil {
		return nil, err
	}
	o, err := e.verbs.Get(ctx, t, &metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return decodeBudget(t.Version, o)
}

// takeOne writes the budget's status with one disruption less, for this pod.
// It does so as the server itself, whom admission sees as the writer, and to
// the end, whatever becomes of the request.
func (e *evicting) takeOne(budget *policyv1.PodDisruptionBudget) error {
	budget.Status.DisruptionsAllowed--
	if budget.Status.DisruptionsAllowed == 0 {
		pdbhelper.UpdateDisruptionAllowedCondition(budget)
	}
	if budget.Status.DisruptedPods == nil {
		budget.Status.DisruptedPods = map[string]metav1.Time{}
	}
	// So that the controller does not count the pod, while it is going.
	budget.Status.DisruptedPods[e.pod.Name] = metav1.Now()

	t, err := e.target(budgets, budget.Namespace, budget.Name)
	if err != nil {
		return err
	}
	t.Subresource, t.Agent = t.Version.Subresource("status"), "kube-apiserver"
	obj, err := t.Version.Resource.ToHub(budget)
	if err != nil {
		return err
	}
	apiserver := &user.DefaultInfo{Name: user.APIServerUser, Groups: []string{user.AllAuthenticated, user.SystemPrivilegedGroup}}
	_, err = e.verbs.Update(t.Context(context.Background(), "update", apiserver), t, obj, &metav1.UpdateOptions{})
	return err
}

// refusal is why a budget allows no disruption now; nil if it does.
func refusal(b *policyv1.PodDisruptionBudget) error {
	status := b.Status
	switch {
	case status.ObservedGeneration < b.Generation:
		return tooEarly(b.Name)
	case status.DisruptionsAllowed < 0:
		return withCause(apierrors.NewForbidden(policy.Resource("poddisruptionbudget"), b.Name, errors.New("pdb disruptions allowed is negative")),
			"The disruption budget %s does not allow evicting pods currently: pdb disruptions allowed is negative", b.Name)
	case len(status.DisruptedPods) > maxDisruptedPods:
		return withCause(apierrors.NewForbidden(policy.Resource("poddisruptionbudget"), b.Name,
			errors.New("DisruptedPods map too big - too many evictions not confirmed by PDB controller")),
			"The disruption budget %s does not allow evicting pods currently: too many pending evictions not confirmed by PDB controller", b.Name)
	case status.DisruptionsAllowed > 0:
		return nil
	}
	err := apierrors.NewTooManyRequests(wouldViolate, 0)
	condition := meta.FindStatusCondition(status.Conditions, policyv1.DisruptionAllowedCondition)
	told := condition != nil && condition.Status == metav1.ConditionFalse && condition.Message != ""
	switch {
	case told && condition.Reason == policyv1.SyncFailedReason: // then the numbers are not to be trusted
		return withCause(err, "The disruption budget %s does not allow evicting pods currently because it failed sync: %s", b.Name, condition.Message)
	case status.CurrentHealthy <= status.DesiredHealthy:
		return withCause(err, "The disruption budget %s needs %d healthy pods and has %d currently", b.Name, status.DesiredHealthy, status.CurrentHealthy)
	case told:
		return withCause(err, "The disruption budget %s does not allow evicting pods currently (%s): %s", b.Name, condition.Reason, condition.Message)
	}
	return withCause(err, "The disruption budget %s does not allow evicting pods currently", b.Name)
}

const wouldViolate = "Cannot evict pod as it would violate the pod's disruption budget."

// tooEarly is the refusal while what a budget says is not settled. Ten seconds
// are upstream's advice.
func tooEarly(name string) error {
	return withCause(apierrors.NewTooManyRequests(wouldViolate, 10), "The disruption budget %s is still being processed by the server.", name)
}

// withCause adds that a budget is the cause of err, and why.
func withCause(err *apierrors.StatusError, format string, args ...any) error {
	err.ErrStatus.Details.Causes = append(err.ErrStatus.Details.Causes, metav1.StatusCause{
		Type: policyv1.DisruptionBudgetCause, Message: fmt.Sprintf(format, args...),
	})
	return err
}
