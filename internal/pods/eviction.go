package pods

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	policyv1 "k8s.io/api/policy/v1"
	policyv1beta1 "k8s.io/api/policy/v1beta1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/registry/rest"
	podutil "k8s.io/kubernetes/pkg/api/pod"
	api "k8s.io/kubernetes/pkg/apis/core"
	"k8s.io/kubernetes/pkg/apis/policy"

	"github.com/knarr-io/knarr/internal/verb"
)

// attempts is how an eviction goes on after another's write got in its way:
// as often as upstream, but sooner, since what it waits for is done by this
// server. It gives up after ten seconds at most.
func attempts() wait.Backoff {
	return wait.Backoff{Steps: 20, Duration: 10 * time.Millisecond, Factor: 1.3, Jitter: 1}
}

// Eviction deletes a pod unless its disruption budget forbids that: it is the
// action of pods/eviction.
type Eviction struct{ objects }

var (
	_ verb.Action               = &Eviction{}
	_ rest.GroupVersionAcceptor = &Eviction{}
)

// New returns an empty Eviction.
func (e *Eviction) New() runtime.Object { return &policy.Eviction{} }

// AcceptsGroupVersion lets clients send the older Eviction too, which has the
// same fields.
func (e *Eviction) AcceptsGroupVersion(gv schema.GroupVersion) bool {
	return gv == policyv1.SchemeGroupVersion || gv == policyv1beta1.SchemeGroupVersion
}

// Do evicts the pod that body, an Eviction, names.
func (e *Eviction) Do(ctx context.Context, t verb.Target, body runtime.Object, opts *metav1.CreateOptions, validate rest.ValidateObjectFunc) (runtime.Object, error) {
	eviction, err := as[*policy.Eviction](body)
	if err != nil {
		return nil, err
	}
	if eviction.Name != t.Name {
		return nil, apierrors.NewBadRequest("name in URL does not match name in Eviction object")
	}
	if o := eviction.DeleteOptions; o != nil && o.IgnoreStoreReadErrorWithClusterBreakingPotential != nil && *o.IgnoreStoreReadErrorWithClusterBreakingPotential {
		return nil, apierrors.NewInvalid(policy.Kind("Eviction"), t.Name, field.ErrorList{
			field.Invalid(field.NewPath("deleteOptions").Child("ignoreStoreReadErrorWithClusterBreakingPotential"), true,
				"can not be set for pod eviction, try after removing the option"),
		})
	}
	options, err := deleteOptions(eviction, opts.DryRun)
	if err != nil {
		return nil, err
	}
	if err := validate(ctx, eviction); err != nil {
		return nil, err
	}
	pod, err := e.target(pods, t.Namespace, t.Name)
	if err != nil {
		return nil, err
	}
	if err := (&evicting{objects: e.objects, pod: pod, options: options}).run(ctx); err != nil {
		return nil, err
	}
	return &metav1.Status{Status: metav1.StatusSuccess}, nil
}

// deleteOptions are those of an eviction, which is a dry run if they or the
// request say so.
func deleteOptions(e *policy.Eviction, dryRun []string) (*metav1.DeleteOptions, error) {
	options := e.DeleteOptions
	switch {
	case options == nil:
		return &metav1.DeleteOptions{DryRun: dryRun}, nil
	case len(options.DryRun) == 0:
		options.DryRun = dryRun
	case len(dryRun) != 0 && !slices.Equal(dryRun, options.DryRun):
		return nil, fmt.Errorf("Non-matching dry-run options in request and content: %v and %v", dryRun, options.DryRun) //nolint:staticcheck // upstream's words
	}
	return options, nil
}

// evicting is one eviction.
type evicting struct {
	objects
	pod verb.Target
	// options are those of the client.
	options *metav1.DeleteOptions
}

func (e *evicting) dryRun() bool { return len(e.options.DryRun) > 0 }

// pinned reports whether the client says which version of the pod it means.
func (e *evicting) pinned() bool {
	return e.options.Preconditions != nil && e.options.Preconditions.ResourceVersion != nil
}

func (e *evicting) run(ctx context.Context) error {
	pod, deleted, err := e.deleteUnguarded(ctx)
	if err != nil || deleted {
		return err
	}
	budget, err := e.budgetOf(ctx, pod)
	if err != nil {
		return err
	}
	if budget == nil {
		return e.delete(ctx, e.options)
	}
	if !podutil.IsPodReady(pod) && allowsUnhealthy(budget) {
		// It was not counted as healthy, so that nothing is spent on it, but it
		// must not have become healthy since.
		err := e.delete(ctx, pinnedTo(e.options, pod.ResourceVersion))
		if apierrors.IsConflict(err) && !e.pinned() {
			return tooEarly(budget.Name)
		}
		return err
	}
	if err := e.spend(ctx, budget); err != nil {
		return err
	}
	return e.delete(ctx, e.options)
}

// deleteUnguarded deletes a pod that no budget counts: one that has ended, not
// begun, or is being deleted already. Other pods are returned.
func (e *evicting) deleteUnguarded(ctx context.Context) (pod *api.Pod, deleted bool, err error) {
	var conflict error
	err = wait.ExponentialBackoffWithContext(ctx, attempts(), func(ctx context.Context) (bool, error) {
		found, err := e.objects.pod(ctx, e.pod.Namespace, e.pod.Name)
		if err != nil {
			return false, err
		}
		if pod = found; !unguarded(pod) {
			return true, nil
		}
		options := e.options
		if pod.Status.Phase == api.PodPending && pod.DeletionTimestamp == nil && !e.pinned() {
			// It must not become healthy between the decision and the deletion.
			options = pinnedTo(options, pod.ResourceVersion)
		}
		err = e.delete(ctx, options)
		if apierrors.IsConflict(err) && !e.pinned() && e.means(pod) {
			conflict = err
			return false, nil
		}
		deleted = err == nil
		return true, err
	})
	if wait.Interrupted(err) && conflict != nil {
		err = conflict
	}
	return pod, deleted, err
}

// means reports whether the pod may be the one that the client means: if not,
// there is no use in trying again.
func (e *evicting) means(pod *api.Pod) bool {
	p := e.options.Preconditions
	return p == nil || p.UID == nil || *p.UID == pod.UID
}

// unguarded reports whether budgets do not count the pod.
func unguarded(pod *api.Pod) bool {
	switch pod.Status.Phase {
	case api.PodSucceeded, api.PodFailed, api.PodPending:
		return true
	}
	return pod.DeletionTimestamp != nil
}

// pinnedTo returns a copy of options for one version of the object.
func pinnedTo(options *metav1.DeleteOptions, resourceVersion string) *metav1.DeleteOptions {
	options = options.DeepCopy()
	if options.Preconditions == nil {
		options.Preconditions = &metav1.Preconditions{}
	}
	options.Preconditions.ResourceVersion = &resourceVersion
	return options
}

// delete tells in the pod's status why it goes, and deletes it.
func (e *evicting) delete(ctx context.Context, options *metav1.DeleteOptions) error {
	if !e.dryRun() {
		told, err := e.tell(ctx, options.Preconditions)
		if err != nil {
			return err
		}
		if options.Preconditions != nil && options.Preconditions.ResourceVersion != nil {
			options = pinnedTo(options, told)
		}
	}
	_, err := e.plain.Delete(ctx, e.pod, options.DeepCopy())
	return err
}

// tell sets the condition DisruptionTarget of the pod, and returns the pod's
// resourceVersion after that.
func (e *evicting) tell(ctx context.Context, preconditions *metav1.Preconditions) (string, error) {
	status := e.pod
	status.Subresource = status.Version.Subresource("status")
	result, err := e.plain.Change(ctx, status, func(obj runtime.Object) error {
		pod, err := as[*api.Pod](obj)
		if err != nil {
			return err
		}
		if err := check(pod, preconditions); err != nil {
			return err
		}
		podutil.UpdatePodCondition(&pod.Status, &api.PodCondition{
			Type:    api.DisruptionTarget,
			Status:  api.ConditionTrue,
			Reason:  "EvictionByEvictionAPI",
			Message: "Eviction API: evicting",
		})
		return nil
	})
	if err != nil {
		return "", err
	}
	return strconv.FormatUint(result.Object.Rev, 10), nil
}

// check refuses another pod or version than the preconditions name.
func check(pod *api.Pod, p *metav1.Preconditions) error {
	if p == nil {
		return nil
	}
	refuse := func(err error) error {
		return apierrors.NewConflict(schema.GroupResource{Resource: "Pod"}, pod.Name, err)
	}
	if uid := value(p.UID); uid != "" && uid != pod.UID {
		return refuse(fmt.Errorf("the UID in the precondition (%s) does not match the UID in record (%s). The object might have been deleted and then recreated", uid, pod.UID))
	}
	if rv := value(p.ResourceVersion); rv != "" && rv != pod.ResourceVersion {
		return refuse(fmt.Errorf("the ResourceVersion in the precondition (%s) does not match the ResourceVersion in record (%s). The object might have been modified", rv, pod.ResourceVersion))
	}
	return nil
}

func value[T string | types.UID](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
