package native

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	"k8s.io/kubernetes/pkg/apis/apps"
	"k8s.io/kubernetes/pkg/apis/autoscaling"
	autoscalingvalidation "k8s.io/kubernetes/pkg/apis/autoscaling/validation"
	api "k8s.io/kubernetes/pkg/apis/core"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

var scaleKind = schema.GroupVersionKind{Group: autoscaling.GroupName, Version: "v1", Kind: "Scale"}

// scalePart is the scale subresource of a kind that has replicas.
func scalePart(s *scale) part {
	return part{name: "scale", kind: scaleKind, verbs: statusVerbs, view: s}
}

// scale shows how many replicas an object asks for and has, as
// autoscaling/v1 Scale, and takes a new wish back. It is a kind.View.
type scale struct {
	resource schema.GroupResource
	// read tells what a Scale says of obj.
	read func(obj runtime.Object) (replicated, error)
	// set changes how many replicas obj asks for.
	set func(obj runtime.Object, replicas int32)
}

// replicated is what a Scale says.
type replicated struct {
	meta        *metav1.ObjectMeta
	wanted, has int32
	selector    labels.Selector
}

func (s *scale) New() runtime.Object { return &autoscaling.Scale{} }

// Of returns obj's Scale. Its managed fields are left out, since they are told
// in the Scale's own terms by whoever tracks them.
func (s *scale) Of(obj runtime.Object) (runtime.Object, error) {
	r, err := s.read(obj)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	return &autoscaling.Scale{
		ObjectMeta: metav1.ObjectMeta{
			Name:              r.meta.Name,
			Namespace:         r.meta.Namespace,
			UID:               r.meta.UID,
			ResourceVersion:   r.meta.ResourceVersion,
			CreationTimestamp: r.meta.CreationTimestamp,
		},
		Spec:   autoscaling.ScaleSpec{Replicas: r.wanted},
		Status: autoscaling.ScaleStatus{Replicas: r.has, Selector: r.selector.String()},
	}, nil
}

// Into checks view and writes its replicas and resourceVersion into obj, whose
// own resourceVersion it must still have (that is for the caller to check).
func (s *scale) Into(ctx context.Context, view, obj runtime.Object) error {
	wish, ok := view.(*autoscaling.Scale)
	if !ok {
		return apierrors.NewBadRequest(fmt.Sprintf("expected input object type to be Scale, but %T", view))
	}
	old, err := s.Of(obj)
	if err != nil {
		return err
	}
	r, err := s.read(obj)
	if err != nil {
		return err
	}
	if errs := autoscalingvalidation.ValidateScaleUpdate(ctx, wish, old.(*autoscaling.Scale), legacyscheme.Scheme, scaleVersion{}); len(errs) > 0 {
		return apierrors.NewInvalid(autoscaling.Kind("Scale"), r.meta.Name, errs)
	}
	if wish.UID != "" && wish.UID != r.meta.UID {
		return apierrors.NewConflict(schema.GroupResource{Group: s.resource.Group, Resource: s.resource.Resource + "/scale"}, r.meta.Name,
			fmt.Errorf("Precondition failed: UID in precondition: %v, UID in object meta: %v", wish.UID, r.meta.UID))
	}
	s.set(obj, wish.Spec.Replicas)
	r.meta.ResourceVersion = wish.ResourceVersion
	return nil
}

func (s *scale) Replicas() fieldpath.Path { return fieldpath.MakePathOrDie("spec", "replicas") }

// scaleVersion tells validation that Scales are autoscaling/v1 wherever served.
type scaleVersion struct{}

func (scaleVersion) GroupVersionKind(schema.GroupVersion) schema.GroupVersionKind { return scaleKind }

var deploymentScale = &scale{
	resource: apps.Resource("deployments"),
	read: func(obj runtime.Object) (replicated, error) {
		d := obj.(*apps.Deployment)
		selector, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
		return replicated{&d.ObjectMeta, d.Spec.Replicas, d.Status.Replicas, selector}, err
	},
	set: func(obj runtime.Object, replicas int32) { obj.(*apps.Deployment).Spec.Replicas = replicas },
}

var replicaSetScale = &scale{
	resource: apps.Resource("replicasets"),
	read: func(obj runtime.Object) (replicated, error) {
		rs := obj.(*apps.ReplicaSet)
		selector, err := metav1.LabelSelectorAsSelector(rs.Spec.Selector)
		return replicated{&rs.ObjectMeta, rs.Spec.Replicas, rs.Status.Replicas, selector}, err
	},
	set: func(obj runtime.Object, replicas int32) { obj.(*apps.ReplicaSet).Spec.Replicas = replicas },
}

var statefulSetScale = &scale{
	resource: apps.Resource("statefulsets"),
	read: func(obj runtime.Object) (replicated, error) {
		ss := obj.(*apps.StatefulSet)
		selector, err := metav1.LabelSelectorAsSelector(ss.Spec.Selector)
		return replicated{&ss.ObjectMeta, ss.Spec.Replicas, ss.Status.Replicas, selector}, err
	},
	set: func(obj runtime.Object, replicas int32) { obj.(*apps.StatefulSet).Spec.Replicas = replicas },
}

var replicationControllerScale = &scale{
	resource: api.Resource("replicationcontrollers"),
	read: func(obj runtime.Object) (replicated, error) {
		rc := obj.(*api.ReplicationController)
		var wanted int32
		if rc.Spec.Replicas != nil {
			wanted = *rc.Spec.Replicas
		}
		return replicated{&rc.ObjectMeta, wanted, rc.Status.Replicas, labels.SelectorFromSet(rc.Spec.Selector)}, nil
	},
	set: func(obj runtime.Object, replicas int32) { obj.(*api.ReplicationController).Spec.Replicas = &replicas },
}
