package custom

import (
	"context"
	"fmt"
	"math"
	"strings"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

var scaleKind = autoscalingv1.SchemeGroupVersion.WithKind("Scale")

// unset stands for the replicas of an object that has none, in the Scale that
// a write of it begins with.
const unset = math.MinInt32

// scale shows what objects have at the paths of their definition as an
// autoscaling/v1 Scale. It is a kind.PartialView.
type scale struct {
	crd *apiextensionsv1.CustomResourceDefinition
	// specPath is as in the definition, for errors.
	specPath                string
	wanted, given, selector []string // selector is nil if there is none
}

func newScale(crd *apiextensionsv1.CustomResourceDefinition, s *apiextensionsv1.CustomResourceSubresourceScale) *scale {
	v := &scale{crd: crd, specPath: s.SpecReplicasPath, wanted: pathOf(s.SpecReplicasPath), given: pathOf(s.StatusReplicasPath)}
	if s.LabelSelectorPath != nil && *s.LabelSelectorPath != "" {
		v.selector = pathOf(*s.LabelSelectorPath)
	}
	return v
}

func pathOf(path string) []string { return strings.Split(strings.TrimPrefix(path, "."), ".") }

func (s *scale) New() runtime.Object { return &autoscalingv1.Scale{} }

// Of returns the Scale of obj, with 0 for the replicas that it does not have.
func (s *scale) Of(obj runtime.Object) (runtime.Object, error) {
	v, _, err := s.of(obj)
	if err != nil {
		return nil, err
	}
	return v, nil
}

// Shown is Of for readers: an object without replicas has no Scale.
func (s *scale) Shown(obj runtime.Object) (runtime.Object, error) {
	v, found, err := s.of(obj)
	switch {
	case err != nil:
		return nil, err
	case !found:
		return nil, apierrors.NewInternalError(fmt.Errorf("the spec replicas field %q does not exist", s.specPath))
	}
	return v, nil
}

// Begin is Of for writers, who must then say how many replicas are wanted.
func (s *scale) Begin(obj runtime.Object) (runtime.Object, error) {
	v, found, err := s.of(obj)
	if err != nil {
		return nil, err
	}
	if !found {
		v.Spec.Replicas = unset
	}
	return v, nil
}

func (s *scale) of(obj runtime.Object) (v *autoscalingv1.Scale, found bool, err error) {
	u, ok := obj.(*unstructured.Unstructured)
	if !ok {
		return nil, false, fmt.Errorf("%T is no custom object", obj)
	}
	wanted, found, err := unstructured.NestedInt64(u.Object, s.wanted...)
	if err != nil {
		return nil, false, err
	}
	given, _, err := unstructured.NestedInt64(u.Object, s.given...)
	if err != nil {
		return nil, false, err
	}
	selector := ""
	if s.selector != nil {
		if selector, _, err = unstructured.NestedString(u.Object, s.selector...); err != nil {
			return nil, false, err
		}
	}
	v = &autoscalingv1.Scale{
		ObjectMeta: metav1.ObjectMeta{
			Name: u.GetName(), Namespace: u.GetNamespace(), UID: u.GetUID(),
			ResourceVersion: u.GetResourceVersion(), CreationTimestamp: u.GetCreationTimestamp(),
		},
		Spec:   autoscalingv1.ScaleSpec{Replicas: int32(wanted)},
		Status: autoscalingv1.ScaleStatus{Replicas: int32(given), Selector: selector},
	}
	v.SetGroupVersionKind(scaleKind)
	return v, found, nil
}

// Into writes the replicas and the resourceVersion of view into obj.
func (s *scale) Into(_ context.Context, view, obj runtime.Object) error {
	v, ok := view.(*autoscalingv1.Scale)
	if !ok {
		return apierrors.NewBadRequest(fmt.Sprintf("wrong object passed to Scale update: %v", view))
	}
	if v.Spec.Replicas == unset {
		return apierrors.NewBadRequest(fmt.Sprintf("the spec replicas field %q cannot be empty", s.specPath))
	}
	u, ok := obj.(*unstructured.Unstructured)
	if !ok {
		return fmt.Errorf("%T is no custom object", obj)
	}
	if err := unstructured.SetNestedField(u.Object, int64(v.Spec.Replicas), s.wanted...); err != nil {
		return err
	}
	if v.ResourceVersion != "" {
		u.SetResourceVersion(v.ResourceVersion)
	}
	return nil
}

func (s *scale) Replicas() fieldpath.Path { return fieldPath(s.wanted) }

// ReplicasIn is Replicas in another version.
func (s *scale) ReplicasIn(version string) fieldpath.Path {
	for i := range s.crd.Spec.Versions {
		if v := &s.crd.Spec.Versions[i]; v.Name == version && v.Subresources != nil && v.Subresources.Scale != nil {
			return fieldPath(pathOf(v.Subresources.Scale.SpecReplicasPath))
		}
	}
	return nil
}

func fieldPath(names []string) fieldpath.Path {
	path := make(fieldpath.Path, len(names))
	for i := range names {
		path[i].FieldName = &names[i]
	}
	return path
}
