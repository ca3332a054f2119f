package native

import (
	"context"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/kubernetes/pkg/apis/apps"
	"k8s.io/kubernetes/pkg/apis/autoscaling"
	api "k8s.io/kubernetes/pkg/apis/core"
	"k8s.io/utils/ptr"

	"github.com/knarr-io/knarr/internal/kind"
)

var scaled = map[string]runtime.Object{
	"deployments.apps": &apps.Deployment{
		ObjectMeta: scaledMeta, Spec: apps.DeploymentSpec{Replicas: 3, Selector: webSelector}, Status: apps.DeploymentStatus{Replicas: 2},
	},
	"replicasets.apps": &apps.ReplicaSet{
		ObjectMeta: scaledMeta, Spec: apps.ReplicaSetSpec{Replicas: 3, Selector: webSelector}, Status: apps.ReplicaSetStatus{Replicas: 2},
	},
	"statefulsets.apps": &apps.StatefulSet{
		ObjectMeta: scaledMeta, Spec: apps.StatefulSetSpec{Replicas: 3, Selector: webSelector}, Status: apps.StatefulSetStatus{Replicas: 2},
	},
	"replicationcontrollers": &api.ReplicationController{
		ObjectMeta: scaledMeta, Spec: api.ReplicationControllerSpec{Replicas: ptr.To[int32](3), Selector: map[string]string{"app": "web"}},
		Status: api.ReplicationControllerStatus{Replicas: 2},
	},
}

var (
	scaledMeta = metav1.ObjectMeta{
		Name: "web", Namespace: "default", UID: "u1", ResourceVersion: "7", CreationTimestamp: metav1.Unix(1700000000, 0),
		Labels: map[string]string{"not": "shown"},
	}
	webSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}
)

func scaleView(t *testing.T, resource string) kind.View {
	t.Helper()
	r := catalogue(t, Options{}).Resource(schema.ParseGroupResource(resource))
	return r.Versions[0].Subresource("scale").View
}

// scaleContext is the context of a request for a scale, as validation wants it.
func scaleContext(resource string) context.Context {
	gr := schema.ParseGroupResource(resource)
	return request.WithRequestInfo(context.Background(), &request.RequestInfo{
		IsResourceRequest: true, Verb: "update", APIGroup: gr.Group, APIVersion: "v1",
		Resource: gr.Resource, Subresource: "scale", Namespace: "default", Name: "web",
	})
}

func TestScale(t *testing.T) {
	for resource, obj := range scaled {
		t.Run(resource, func(t *testing.T) {
			view, obj := scaleView(t, resource), obj.DeepCopyObject()
			shown, err := view.Of(obj)
			if err != nil {
				t.Fatal(err)
			}
			scale := shown.(*autoscaling.Scale)
			check(t, "metadata", scale.ObjectMeta, metav1.ObjectMeta{
				Name: "web", Namespace: "default", UID: "u1", ResourceVersion: "7", CreationTimestamp: metav1.Unix(1700000000, 0),
			})
			check(t, "spec", scale.Spec, autoscaling.ScaleSpec{Replicas: 3})
			check(t, "status", scale.Status, autoscaling.ScaleStatus{Replicas: 2, Selector: "app=web"})

			scale.Spec.Replicas, scale.ResourceVersion = 5, "6"
			if err := view.Into(scaleContext(resource), scale, obj); err != nil {
				t.Fatal(err)
			}
			shown, err = view.Of(obj)
			if err != nil {
				t.Fatal(err)
			}
			check(t, "replicas after the change", shown.(*autoscaling.Scale).Spec.Replicas, 5)
			check(t, "resourceVersion after the change", shown.(*autoscaling.Scale).ResourceVersion, "6")
		})
	}
}

func TestScaleRefused(t *testing.T) {
	for resource, obj := range scaled {
		t.Run(resource, func(t *testing.T) {
			view, obj := scaleView(t, resource), obj.DeepCopyObject()
			before := obj.DeepCopyObject()
			for _, c := range []struct {
				change func(*autoscaling.Scale)
				is     func(error) bool
				says   string
			}{
				{func(s *autoscaling.Scale) { s.Spec.Replicas = -1 }, apierrors.IsInvalid,
					`Scale.autoscaling "web" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0`},
				{func(s *autoscaling.Scale) { s.UID = "u2" }, apierrors.IsConflict,
					"Precondition failed: UID in precondition: u2, UID in object meta: u1"},
			} {
				shown, err := view.Of(obj)
				if err != nil {
					t.Fatal(err)
				}
				c.change(shown.(*autoscaling.Scale))
				if err := view.Into(scaleContext(resource), shown, obj); !c.is(err) || !strings.Contains(err.Error(), c.says) {
					t.Errorf("error = %v, want %s", err, c.says)
				}
				check(t, "the object", obj, before)
			}
		})
	}
}
