package native

import (
	"encoding/json"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/object"
)

// podObject is a running pod of about 3 KB of JSON.
func podObject(tb testing.TB) (*kind.Version, *object.Object) {
	tb.Helper()
	v := catalogue(tb, Options{}).Lookup(schema.GroupVersionResource{Version: "v1", Resource: "pods"})
	now := metav1.Unix(1700000000, 0)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: "web-7d4b9c6f5-x2x9k", Namespace: "default", UID: "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0", CreationTimestamp: now, GenerateName: "web-7d4b9c6f5-",
			Labels: map[string]string{"app": "web", "tier": "front", "pod-template-hash": "7d4b9c6f5"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web-7d4b9c6f5", UID: "1f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0",
				Controller: ptr.To(true), BlockOwnerDeletion: ptr.To(true)}},
			ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kube-controller-manager", Operation: "Update", APIVersion: "v1", Time: &now, FieldsType: "FieldsV1",
				FieldsV1: &metav1.FieldsV1{Raw: []byte(`{"f:metadata":{"f:generateName":{},"f:labels":{".":{},"f:app":{},"f:pod-template-hash":{},"f:tier":{}},"f:ownerReferences":{".":{},"k:{\"uid\":\"1f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0\"}":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"web\"}":{".":{},"f:image":{},"f:name":{},"f:ports":{".":{},"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{}}},"f:resources":{".":{},"f:limits":{".":{},"f:memory":{}},"f:requests":{".":{},"f:cpu":{},"f:memory":{}}}}},"f:restartPolicy":{}}}`)}}},
		},
		Spec: corev1.PodSpec{
			NodeName: "node-1", ServiceAccountName: "default",
			Containers: []corev1.Container{{
				Name: "web", Image: "nginx:1.27", Ports: []corev1.ContainerPort{{ContainerPort: 80}},
				Env: []corev1.EnvVar{{Name: "MODE", Value: "production"}, {Name: "LEVEL", Value: "info"}},
				Resources: corev1.ResourceRequirements{
					Limits:   corev1.ResourceList{"memory": resource.MustParse("128Mi")},
					Requests: corev1.ResourceList{"cpu": resource.MustParse("100m"), "memory": resource.MustParse("64Mi")},
				},
				VolumeMounts: []corev1.VolumeMount{{Name: "token", MountPath: "/var/run/secrets/kubernetes.io/serviceaccount", ReadOnly: true}},
			}},
			Volumes: []corev1.Volume{{Name: "token", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "token"}}}},
			Tolerations: []corev1.Toleration{
				{Key: "node.kubernetes.io/not-ready", Operator: "Exists", Effect: "NoExecute", TolerationSeconds: ptr.To(int64(300))},
				{Key: "node.kubernetes.io/unreachable", Operator: "Exists", Effect: "NoExecute", TolerationSeconds: ptr.To(int64(300))},
			},
		},
		Status: corev1.PodStatus{
			Phase: "Running", HostIP: "10.0.0.1", PodIP: "10.244.0.5", PodIPs: []corev1.PodIP{{IP: "10.244.0.5"}}, StartTime: &now,
			ContainerStatuses: []corev1.ContainerStatus{{Name: "web", Image: "nginx:1.27", Ready: true, Started: ptr.To(true), State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}}}},
		},
	}
	for _, c := range []corev1.PodConditionType{"Initialized", "Ready", "ContainersReady", "PodScheduled"} {
		pod.Status.Conditions = append(pod.Status.Conditions, corev1.PodCondition{Type: c, Status: "True", LastTransitionTime: now})
	}
	v.Resource.Scheme.Default(pod)
	hub, err := v.Resource.ToHub(pod)
	if err != nil {
		tb.Fatal(err)
	}
	value, err := v.Resource.Storage.Codec.Encode(hub)
	if err != nil {
		tb.Fatal(err)
	}
	return v, object.New("/registry/pods", "/registry/pods/default/"+pod.Name, value, 123456, nil)
}

func TestPodSize(t *testing.T) {
	v, o := podObject(t)
	if n := len(encodeForm(t, v.JSON, o)); n < 2500 || n > 3500 || !json.Valid(encodeForm(t, v.JSON, o)) {
		t.Errorf("the pod of the benchmarks has %d bytes", n)
	}
}

func BenchmarkPod(b *testing.B) {
	v, o := podObject(b)
	r := v.Resource
	b.Run("Decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := r.Decode(o); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Attributes", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := r.Selector().Attributes(o); err != nil {
				b.Fatal(err)
			}
		}
	})
	hub, err := r.Storage.Codec.Decode(o.Value)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("Encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := r.Storage.Codec.Encode(hub); err != nil {
				b.Fatal(err)
			}
		}
	})
	for name, form := range map[string]object.Form{"JSON": v.JSON, "Protobuf": v.Protobuf, "MetadataJSON": v.MetadataJSON, "MetadataProtobuf": v.MetadataProtobuf} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				encoded, err := form.Encode(o)
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(int64(len(encoded)))
			}
		})
	}
}

func BenchmarkCatalogue(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		catalogue(b, Options{})
	}
}
