package pods_test

import (
	"context"
	"errors"
	"strconv"
	"testing"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/kind/native"
	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/ownership"
	"github.com/knarr-io/knarr/internal/pods"
	"github.com/knarr-io/knarr/internal/state/statetest"
	"github.com/knarr-io/knarr/internal/verb"
)

var (
	podResource    = corev1.SchemeGroupVersion.WithResource("pods")
	bindResource   = corev1.SchemeGroupVersion.WithResource("bindings")
	budgetResource = policyv1.SchemeGroupVersion.WithResource("poddisruptionbudgets")
	dry            = &metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}
	wet            = &metav1.CreateOptions{}
)

// cluster is a server without its HTTP side, whose namespace is "default".
type cluster struct {
	t         *testing.T
	verbs     *verb.Verbs
	catalogue *kind.Catalogue
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	st := statetest.Start(t)
	catalogue, err := native.Catalogue(native.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t, &verb.Verbs{State: st, Ownership: new(ownership.Managers).For}, catalogue}
	c.verbs.Actions = pods.Actions(c.verbs, func() *kind.Catalogue { return catalogue })
	return c
}

func (c *cluster) target(gvr schema.GroupVersionResource, name, subresource string) verb.Target {
	v := c.catalogue.Lookup(gvr)
	return verb.Target{Version: v, Subresource: v.Subresource(subresource), Namespace: "default", Name: name, Agent: "test/1"}
}

func (c *cluster) context(t verb.Target, verb string) context.Context {
	return t.Context(c.t.Context(), verb, &user.DefaultInfo{Name: "scheduler"})
}

// hub is what the decoder makes of obj.
func (c *cluster) hub(t verb.Target, obj runtime.Object) runtime.Object {
	c.t.Helper()
	r := t.Version.Resource
	r.Scheme.Default(obj)
	gv := t.Version.GroupVersion()
	if t.Subresource != nil {
		gv = t.Subresource.GVK(t.Version).GroupVersion()
	}
	hub, err := r.Convertor.ConvertToVersion(obj, schema.GroupVersion{Group: gv.Group, Version: runtime.APIVersionInternal})
	if err != nil {
		c.t.Fatal(err)
	}
	return hub
}

// apiObject is an object of a served version.
type apiObject interface {
	runtime.Object
	metav1.Object
}

// make creates an object together with its status.
func (c *cluster) make(gvr schema.GroupVersionResource, obj apiObject) {
	c.t.Helper()
	t := c.target(gvr, "", "")
	result, err := c.verbs.Create(c.context(t, "create"), t, c.hub(t, obj.DeepCopyObject()), wet)
	if err != nil {
		c.t.Fatal(err)
	}
	obj = obj.DeepCopyObject().(apiObject)
	obj.SetResourceVersion(strconv.FormatUint(result.Object.Rev, 10))
	c.setStatus(gvr, obj)
}

func (c *cluster) setStatus(gvr schema.GroupVersionResource, obj apiObject) {
	c.t.Helper()
	t := c.target(gvr, obj.GetName(), "status")
	if _, err := c.verbs.Update(c.context(t, "update"), t, c.hub(t, obj.DeepCopyObject()), &metav1.UpdateOptions{}); err != nil {
		c.t.Fatal(err)
	}
}

// act does what a POST of body does.
func (c *cluster) act(gvr schema.GroupVersionResource, name, subresource string, body runtime.Object, opts *metav1.CreateOptions) (runtime.Object, error) {
	c.t.Helper()
	t := c.target(gvr, name, subresource)
	return c.verbs.Act(c.context(t, "create"), t, c.hub(t, body), opts)
}

// read returns an object, nil if there is none.
func (c *cluster) read(gvr schema.GroupVersionResource, name string) (*object.Object, runtime.Object) {
	c.t.Helper()
	t := c.target(gvr, name, "")
	o, err := c.verbs.Get(c.t.Context(), t, &metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		c.t.Fatal(err)
	}
	obj, err := t.Version.Resource.Decode(o)
	if err != nil {
		c.t.Fatal(err)
	}
	if obj, err = t.Version.FromHub(obj); err != nil {
		c.t.Fatal(err)
	}
	return o, obj
}

func (c *cluster) pod(name string) *corev1.Pod {
	c.t.Helper()
	_, obj := c.read(podResource, name)
	pod, _ := obj.(*corev1.Pod)
	return pod
}

func (c *cluster) budget(name string) *policyv1.PodDisruptionBudget {
	c.t.Helper()
	_, obj := c.read(budgetResource, name)
	budget, _ := obj.(*policyv1.PodDisruptionBudget)
	return budget
}

// code is the code that a client gets, and status all of it.
func code(err error) int32 {
	if err == nil {
		return 201
	}
	return status(err).Code
}

func status(err error) metav1.Status {
	if s := apierrors.APIStatus(nil); errors.As(err, &s) {
		return s.Status()
	}
	return metav1.Status{Code: 500, Message: err.Error()}
}

// newPod is a pod that runs on a node and is ready, unless changed.
func newPod(name string, change ...func(*corev1.Pod)) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", Labels: map[string]string{"app": "web"}},
		Spec:       corev1.PodSpec{NodeName: "n1", Containers: []corev1.Container{{Name: "c", Image: "i"}}},
		Status: corev1.PodStatus{
			Phase:      corev1.PodRunning,
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
		},
	}
	for _, f := range change {
		f(pod)
	}
	return pod
}

func unready(pod *corev1.Pod)     { pod.Status.Conditions[0].Status = corev1.ConditionFalse }
func unscheduled(pod *corev1.Pod) { pod.Spec.NodeName = "" }
func finalized(pod *corev1.Pod)   { pod.Finalizers = []string{"example.com/keep"} }

func in(phase corev1.PodPhase) func(*corev1.Pod) {
	return func(pod *corev1.Pod) { pod.Status.Phase = phase }
}
