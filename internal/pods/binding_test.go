package pods_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/google/go-cmp/cmp"
)

func newBinding(pod string, change ...func(*corev1.Binding)) *corev1.Binding {
	b := &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Name: pod, Namespace: "default"},
		Target:     corev1.ObjectReference{Kind: "Node", Name: "n2"},
	}
	for _, f := range change {
		f(b)
	}
	return b
}

// A pod is bound once: it gets its node, what the binding says about it, and
// the condition that clients wait for.
func TestBinding(t *testing.T) {
	for _, to := range []struct {
		name, path  string
		gvr         schema.GroupVersionResource
		subresource string
	}{
		{"pods/binding", "p", podResource, "binding"},
		{"bindings", "", bindResource, ""},
	} {
		t.Run(to.name, func(t *testing.T) {
			c := newCluster(t)
			c.make(podResource, newPod("p", unscheduled, in(corev1.PodPending), func(pod *corev1.Pod) {
				pod.Annotations = map[string]string{"a": "1", "b": "1"}
				pod.Status.NominatedNodeName = "n9"
			}))
			before := c.pod("p")
			binding := newBinding("p", func(b *corev1.Binding) {
				b.Annotations = map[string]string{"b": "2"}
				b.Labels = map[string]string{"topology.kubernetes.io/zone": "z"}
			})

			answer, err := c.act(to.gvr, to.path, to.subresource, binding, dry)
			if err != nil || answer.(*metav1.Status).Status != metav1.StatusSuccess {
				t.Fatalf("dry run: %v, %v", answer, err)
			}
			if diff := cmp.Diff(before, c.pod("p")); diff != "" {
				t.Fatalf("a dry run has changed the pod (-before +after):\n%s", diff)
			}
			answer, err = c.act(to.gvr, to.path, to.subresource, binding, wet)
			if err != nil || answer.(*metav1.Status).Status != metav1.StatusSuccess {
				t.Fatalf("%v, %v", answer, err)
			}
			pod := c.pod("p")
			if pod.Spec.NodeName != "n2" || pod.Status.NominatedNodeName != "" {
				t.Errorf("the node is %q, nominated %q", pod.Spec.NodeName, pod.Status.NominatedNodeName)
			}
			if diff := cmp.Diff(map[string]string{"a": "1", "b": "2"}, pod.Annotations); diff != "" {
				t.Errorf("annotations (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(map[string]string{"app": "web", "topology.kubernetes.io/zone": "z"}, pod.Labels); diff != "" {
				t.Errorf("labels (-want +got):\n%s", diff)
			}
			scheduled := pod.Status.Conditions[len(pod.Status.Conditions)-1]
			if scheduled.Type != corev1.PodScheduled || scheduled.Status != corev1.ConditionTrue || scheduled.LastTransitionTime.IsZero() {
				t.Errorf("the condition is %v", scheduled)
			}
			if pod.ResourceVersion == before.ResourceVersion {
				t.Error("the resourceVersion is the old one")
			}
			if diff := cmp.Diff(before.ManagedFields, pod.ManagedFields); diff != "" {
				t.Errorf("a binding owns no fields, as upstream (-before +after):\n%s", diff)
			}

			_, err = c.act(to.gvr, to.path, to.subresource, binding, wet)
			if want := `Operation cannot be fulfilled on pods/binding "p": pod p is already assigned to node "n2"`; code(err) != 409 || err.Error() != want {
				t.Errorf("the second binding: %d %v", code(err), err)
			}
		})
	}
}

func TestBindingIsRefused(t *testing.T) {
	c := newCluster(t)
	c.make(podResource, newPod("free", unscheduled, in(corev1.PodPending)))
	c.make(podResource, newPod("gated", unscheduled, in(corev1.PodPending), func(pod *corev1.Pod) {
		pod.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "example.com/wait"}}
	}))
	c.make(podResource, newPod("going", unscheduled, in(corev1.PodPending), finalized))
	going := c.target(podResource, "going", "")
	if _, err := c.verbs.Delete(c.context(going, "delete"), going, &metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	free := c.pod("free")
	rev := c.verbs.State.Rev()
	for _, tt := range []struct {
		name, path string
		binding    *corev1.Binding
		code       int32
		message    string
	}{
		{"no pod", "none", newBinding("none"), 404, `pods "none" not found`},
		{"other name", "free", newBinding("other"), 400, "name in URL does not match name in Binding object"},
		{"other namespace", "free", newBinding("free", func(b *corev1.Binding) { b.Namespace = "else" }), 400,
			"the namespace of the provided object does not match the namespace sent on the request"},
		{"other kind", "free", newBinding("free", func(b *corev1.Binding) { b.Target.Kind = "Pod" }), 500,
			`target.kind: Unsupported value: "Pod": supported values: "Node", "<empty>"`},
		{"no target", "free", newBinding("free", func(b *corev1.Binding) { b.Target.Name = "" }), 500, "target.name: Required value"},
		{"gated", "gated", newBinding("gated"), 409, `Operation cannot be fulfilled on pods/binding "gated": pod gated has non-empty .spec.schedulingGates`},
		{"being deleted", "going", newBinding("going"), 409,
			`Operation cannot be fulfilled on pods/binding "going": pod going is being deleted, cannot be assigned to a host`},
		{"other uid", "free", newBinding("free", func(b *corev1.Binding) { b.UID = "u" }), 409,
			`Operation cannot be fulfilled on pods "free": StorageError: invalid object, Code: 4, Key: /registry/pods/default/free, ResourceVersion: 0, ` +
				`AdditionalErrorMsg: Precondition failed: UID in precondition: u, UID in object meta: ` + string(free.UID)},
		{"other version", "free", newBinding("free", func(b *corev1.Binding) { b.ResourceVersion = "1" }), 409,
			`Operation cannot be fulfilled on pods "free": StorageError: invalid object, Code: 4, Key: /registry/pods/default/free, ResourceVersion: 0, ` +
				`AdditionalErrorMsg: Precondition failed: ResourceVersion in precondition: 1, ResourceVersion in object meta: ` + free.ResourceVersion},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, opts := range []*metav1.CreateOptions{wet, dry} {
				message := tt.message
				if opts == dry { // which does not get as far as storage
					message = strings.Replace(message, "Key: /registry/", "Key: /", 1)
				}
				_, err := c.act(podResource, tt.path, "binding", tt.binding, opts)
				if code(err) != tt.code || err.Error() != message {
					t.Errorf("got  %d %v\nwant %d %s", code(err), err, tt.code, message)
				}
			}
		})
	}
	if c.verbs.State.Rev() != rev {
		t.Error("something has changed")
	}

	// The resource bindings takes the version as a condition, but not the uid,
	// which it does not get to see.
	other := newBinding("free", func(b *corev1.Binding) { b.UID = "u" })
	if _, err := c.act(bindResource, "", "", other, dry); err != nil {
		t.Errorf("bindings with a uid: %v", err)
	}
	right := newBinding("free", func(b *corev1.Binding) { b.UID, b.ResourceVersion = free.UID, free.ResourceVersion })
	if _, err := c.act(podResource, "free", "binding", right, wet); err != nil {
		t.Errorf("with conditions that are met: %v", err)
	}
}
