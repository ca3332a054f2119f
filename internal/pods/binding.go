package pods

import (
	"context"
	"fmt"
	"maps"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/storage"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	podutil "k8s.io/kubernetes/pkg/api/pod"
	api "k8s.io/kubernetes/pkg/apis/core"
	"k8s.io/kubernetes/pkg/apis/core/validation"
	"k8s.io/kubernetes/pkg/features"

	"github.com/knarr-io/knarr/internal/verb"
)

// Binding assigns a pod to a node: it is the action of pods/binding and of
// bindings.
type Binding struct{ objects }

var (
	_ verb.Action                         = &Binding{}
	_ rest.SubresourceObjectMetaPreserver = &Binding{}
)

// New returns an empty Binding.
func (b *Binding) New() runtime.Object { return &api.Binding{} }

// PreserveRequestObjectMetaSystemFieldsOnSubresourceCreate has the uid of a
// binding kept: it is a precondition.
func (b *Binding) PreserveRequestObjectMetaSystemFieldsOnSubresourceCreate() bool { return true }

// Do assigns the pod that body, a Binding, names.
func (b *Binding) Do(ctx context.Context, t verb.Target, body runtime.Object, opts *metav1.CreateOptions, validate rest.ValidateObjectFunc) (runtime.Object, error) {
	binding, err := as[*api.Binding](body)
	if err != nil {
		return nil, err
	}
	if binding.Name != t.Name {
		return nil, apierrors.NewBadRequest("name in URL does not match name in Binding object")
	}
	if errs := validation.ValidatePodBinding(binding); len(errs) != 0 {
		return nil, errs.ToAggregate()
	}
	if err := validate(ctx, binding); err != nil {
		return nil, err
	}
	pod, err := b.target(pods, t.Namespace, t.Name)
	if err != nil {
		return nil, err
	}
	_, err = b.plain.ChangeUnchecked(ctx, pod, preconditions(binding), len(opts.DryRun) > 0, func(obj runtime.Object) error {
		pod, err := as[*api.Pod](obj)
		if err != nil {
			return err
		}
		return assign(pod, binding)
	})
	if err == nil {
		return &metav1.Status{Status: metav1.StatusSuccess}, nil
	}
	if _, ok := err.(*apierrors.StatusError); !ok {
		err = apierrors.NewConflict(api.Resource("pods/binding"), t.Name, err)
	}
	return nil, err
}

// preconditions are what a binding says of the pod that it is for.
func preconditions(b *api.Binding) *storage.Preconditions {
	p := &storage.Preconditions{}
	if b.UID != "" {
		p.UID = &b.UID
	}
	if b.ResourceVersion != "" {
		p.ResourceVersion = &b.ResourceVersion
	}
	return p
}

// assign changes a pod as its binding says, unless the pod is not to be bound.
func assign(pod *api.Pod, to *api.Binding) error {
	switch {
	case pod.DeletionTimestamp != nil:
		return fmt.Errorf("pod %s is being deleted, cannot be assigned to a host", pod.Name)
	case pod.Spec.NodeName != "":
		return fmt.Errorf("pod %v is already assigned to node %q", pod.Name, pod.Spec.NodeName)
	case len(pod.Spec.SchedulingGates) != 0:
		return fmt.Errorf("pod %v has non-empty .spec.schedulingGates", pod.Name)
	}
	pod.Spec.NodeName = to.Target.Name
	if utilfeature.DefaultFeatureGate.Enabled(features.ClearingNominatedNodeNameAfterBinding) {
		pod.Status.NominatedNodeName = ""
	}
	pod.Annotations = merged(pod.Annotations, to.Annotations)
	// The pod's strategy, which drops these, is not asked.
	podutil.DropInitContainerAnnotations(pod.Annotations)
	if utilfeature.DefaultFeatureGate.Enabled(features.PodTopologyLabelsAdmission) {
		pod.Labels = merged(pod.Labels, to.Labels)
	}
	podutil.UpdatePodCondition(&pod.Status, &api.PodCondition{Type: api.PodScheduled, Status: api.ConditionTrue})
	return nil
}

// merged is m with what is in more. m may be modified.
func merged(m, more map[string]string) map[string]string {
	if len(more) == 0 {
		return m
	}
	if m == nil {
		m = make(map[string]string, len(more))
	}
	maps.Copy(m, more)
	return m
}
