package namespace

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	api "k8s.io/kubernetes/pkg/apis/core"
	"k8s.io/utils/clock"
	testclock "k8s.io/utils/clock/testing"

	"github.com/knarr-io/knarr/internal/controller"
	"github.com/knarr-io/knarr/internal/controller/controllertest"
	"github.com/knarr-io/knarr/internal/controller/everynamespace"
	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/state"
	"github.com/knarr-io/knarr/internal/state/statetest"
	"github.com/knarr-io/knarr/internal/verb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cluster is a server whose namespaces have what they have by themselves.
type cluster struct {
	*controllertest.Cluster
	clock clock.Clock
}

func newCluster(t testing.TB, st *state.State) *cluster {
	t.Helper()
	c := &cluster{controllertest.New(t, st, "NamespaceLifecycle"), clock.RealClock{}}
	enabled, err := controller.Enable(nil)
	c.Must(err)
	content := everynamespace.New(st, c.Catalogue, everynamespace.Options{Enabled: enabled, RootCA: []byte("ca")})
	c.Verbs.Companions = map[schema.GroupResource]verb.Companion{everynamespace.Resource: content}
	return c
}

// run runs the controller until the test ends, or stop is called.
func (c *cluster) run() (stop func()) {
	return c.Run(New(c.Verbs, Options{Catalogue: func() *kind.Catalogue { return c.Catalogue }, Clock: c.clock}).Run)
}

// configMap makes one with finalizers.
func (c *cluster) configMap(namespace, name string, finalizers ...string) error {
	return c.TryCreate("configmaps", namespace, &api.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Finalizers: finalizers}})
}

func (c *cluster) get(name string) *api.Namespace {
	return controllertest.Get[*api.Namespace](c.Cluster, "namespaces", "", name)
}

// await waits until a namespace is as wanted; nil is one that is gone.
func (c *cluster) await(name string, wanted func(*api.Namespace) bool) {
	c.Helper()
	told := "namespace " + name + " is as wanted"
	c.Await("namespaces", told, func() bool { return wanted(c.get(name)) })
}

func (c *cluster) awaitGone(name string) {
	c.Helper()
	c.await(name, func(ns *api.Namespace) bool { return ns == nil })
	if left := c.left(name); len(left) > 0 {
		c.Fatalf("namespace %s is gone, but there are %q", name, left)
	}
}

// left names what is in a namespace.
func (c *cluster) left(namespace string) (all []string) {
	for _, v := range deletable(c.Catalogue) {
		c.State.Snapshot(v.Resource.Storage.Prefix).Each(state.Range{Namespace: namespace}, func(o *object.Object) bool {
			all = append(all, v.Resource.Name+"/"+o.Name)
			return true
		})
	}
	return all
}

// says returns what the conditions of a namespace say that is not as it should be,
// each in a line.
func says(ns *api.Namespace) string {
	var all []string
	if ns != nil {
		for _, c := range ns.Status.Conditions {
			if c.Status == api.ConditionTrue {
				all = append(all, fmt.Sprintf("%s: %s: %s", c.Type, c.Reason, c.Message))
			}
		}
	}
	return strings.Join(all, "\n")
}

func (c *cluster) awaitSaying(name, want string) {
	c.Helper()
	c.await(name, func(ns *api.Namespace) bool {
		return ns != nil && len(ns.Status.Conditions) == 5 && says(ns) == strings.TrimSpace(want)
	})
}

func TestEmptied(t *testing.T) {
	c := newCluster(t, statetest.Start(t))
	stop := c.run()
	c.Namespace("shop")
	c.Namespace("other")
	for i := range 50 {
		c.Must(c.configMap("shop", fmt.Sprint("c-", i)))
	}
	c.Must(c.configMap("other", "kept"))
	c.Create("events.events.k8s.io", "shop", &api.Event{
		ObjectMeta: metav1.ObjectMeta{Name: "e"}, InvolvedObject: api.ObjectReference{Namespace: "shop"}, EventTime: metav1.NowMicro(),
		Type: "Normal", Reason: "r", Action: "a", ReportingController: "t.io/t", ReportingInstance: "t",
	})
	c.Delete("namespaces", "", "shop")
	c.awaitGone("shop")
	if !c.There("configmaps", "other", "kept") || len(c.left("other")) != 3 {
		t.Errorf("of another namespace there are %q", c.left("other"))
	}
	// Those that are marked while it does not run go when it does again.
	stop()
	c.Delete("namespaces", "", "other")
	if len(c.left("other")) != 3 {
		t.Error("something was deleted though no controller runs")
	}
	c.run()
	c.awaitGone("other")
}

// Before a namespace goes its conditions have been told, as upstream tells them.
func TestConditionsOfAnEmptyNamespace(t *testing.T) {
	c := newCluster(t, statetest.Start(t))
	c.Namespace("shop")
	c.Patch("namespaces", "", "shop", `{"metadata":{"finalizers":["example.com/mine"]}}`)
	c.run()
	c.Delete("namespaces", "", "shop")
	c.await("shop", func(ns *api.Namespace) bool { return ns != nil && len(ns.Spec.Finalizers) == 0 })
	ns := c.get("shop")
	var got []string
	for _, c := range ns.Status.Conditions {
		got = append(got, fmt.Sprintf("%s=%s %s: %s", c.Type, c.Status, c.Reason, c.Message))
		if c.LastTransitionTime.IsZero() {
			t.Errorf("%s has no time", c.Type)
		}
	}
	want := []string{
		"NamespaceDeletionDiscoveryFailure=False ResourcesDiscovered: All resources successfully discovered",
		"NamespaceDeletionGroupVersionParsingFailure=False ParsedGroupVersions: All legacy kube types successfully parsed",
		"NamespaceDeletionContentFailure=False ContentDeleted: All content successfully deleted, may be waiting on finalization",
		"NamespaceContentRemaining=False ContentRemoved: All content successfully removed",
		"NamespaceFinalizersRemaining=False ContentHasNoFinalizers: All content-preserving finalizers finished",
	}
	if !slices.Equal(got, want) {
		t.Errorf("the conditions are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	managers := map[string]string{}
	for _, f := range ns.ManagedFields {
		managers[f.Manager+"/"+f.Subresource] = string(f.Operation)
	}
	if managers["kube-controller-manager/status"] != "Update" {
		t.Errorf("the fields belong to %v", managers)
	}
	c.Patch("namespaces", "", "shop", `{"metadata":{"finalizers":null}}`)
	c.awaitGone("shop")
}

func TestFinalizers(t *testing.T) {
	c := newCluster(t, statetest.Start(t))
	c.Namespace("shop")
	c.Must(c.configMap("shop", "a", "example.com/one"))
	c.Must(c.configMap("shop", "b", "example.com/one", "example.com/two"))
	c.Create("secrets", "shop", &api.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s", Finalizers: []string{"example.com/two"}}, Type: api.SecretTypeOpaque})
	c.run()
	c.Delete("namespaces", "", "shop")
	c.awaitSaying("shop", `
NamespaceContentRemaining: SomeResourcesRemain: Some resources are remaining: configmaps. has 2 resource instances, secrets. has 1 resource instances
NamespaceFinalizersRemaining: SomeFinalizersRemain: Some content in the namespace has finalizers remaining: example.com/one in 2 resource instances, example.com/two in 2 resource instances`)
	c.Patch("configmaps", "shop", "b", `{"metadata":{"finalizers":null}}`)
	c.awaitSaying("shop", `
NamespaceContentRemaining: SomeResourcesRemain: Some resources are remaining: configmaps. has 1 resource instances, secrets. has 1 resource instances
NamespaceFinalizersRemaining: SomeFinalizersRemain: Some content in the namespace has finalizers remaining: example.com/one in 1 resource instances, example.com/two in 1 resource instances`)
	c.Patch("configmaps", "shop", "a", `{"metadata":{"finalizers":null}}`)
	c.Patch("secrets", "shop", "s", `{"metadata":{"finalizers":null}}`)
	c.awaitGone("shop")
}

// Nothing is deleted before the pods have gone.
func TestPodsFirst(t *testing.T) {
	c := newCluster(t, statetest.Start(t))
	clock := testclock.NewFakeClock(time.Now())
	c.clock = clock
	c.Namespace("shop")
	c.Create("pods", "shop", controllertest.Pod("web", "node-1"))
	c.Must(c.configMap("shop", "a"))
	c.run()
	c.Delete("namespaces", "", "shop")
	c.awaitSaying("shop", "") // upstream says that nothing remains
	if pod := controllertest.Get[*api.Pod](c.Cluster, "pods", "shop", "web"); pod.DeletionTimestamp == nil || *pod.DeletionGracePeriodSeconds != 30 {
		t.Errorf("the pod has until %v", pod.DeletionTimestamp)
	}
	if !c.There("configmaps", "shop", "a") {
		t.Error("a ConfigMap has gone before the pod")
	}
	for !clock.HasWaiters() {
		time.Sleep(time.Millisecond)
	}
	clock.Step(31 * time.Second) // their time is over
	c.awaitSaying("shop", "NamespaceDeletionContentFailure: ContentDeletionFailed: Failed to delete all resource types, 1 remaining: "+
		"unexpected items still remain in namespace: shop for gvr: /v1, Resource=pods")
	if !c.There("configmaps", "shop", "a") {
		t.Error("a ConfigMap has gone before the pod")
	}
	zero := int64(0)
	c.Delete("pods", "shop", "web", metav1.DeleteOptions{GracePeriodSeconds: &zero})
	c.awaitGone("shop")
}

// A namespace that another holds with a finalizer of its own in spec is emptied, and
// stays.
func TestOthersFinalizers(t *testing.T) {
	c := newCluster(t, statetest.Start(t))
	c.Create("namespaces", "", &api.Namespace{
		ObjectMeta: metav1.ObjectMeta{Name: "shop"}, Spec: api.NamespaceSpec{Finalizers: []api.FinalizerName{"example.com/z", "example.com/a"}},
	})
	c.run()
	c.Delete("namespaces", "", "shop")
	want := []api.FinalizerName{"example.com/a", "example.com/z"}
	c.await("shop", func(ns *api.Namespace) bool {
		return ns != nil && slices.Equal(ns.Spec.Finalizers, want) && len(c.left("shop")) == 0
	})
	finalize := c.Target("namespaces", "", "shop")
	finalize.Subresource = finalize.Version.Subresource("finalize")
	ns := c.get("shop")
	ns.Spec.Finalizers, ns.ResourceVersion = nil, ""
	_, err := c.Verbs.Update(c.As(finalize, "update"), finalize, ns, &metav1.UpdateOptions{})
	c.Must(err)
	c.awaitGone("shop")
}

// What cannot be deleted is told, and tried again.
func TestRefused(t *testing.T) {
	c := newCluster(t, statetest.Start(t))
	refusing := &refusing{Interface: c.Verbs.Admission.(chain), resource: "configmaps"}
	refusing.on.Store(true)
	c.Verbs.Admission = refusing
	c.Namespace("shop")
	c.Create("secrets", "shop", &api.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s"}, Type: api.SecretTypeOpaque})
	c.run()
	c.Delete("namespaces", "", "shop")
	c.awaitSaying("shop", `NamespaceDeletionContentFailure: ContentDeletionFailed: Failed to delete all resource types, 1 remaining: configmaps "kube-root-ca.crt" is forbidden: not now`)
	if left := c.left("shop"); !slices.Equal(left, []string{"configmaps/kube-root-ca.crt"}) {
		t.Errorf("there are %q", left)
	}
	refusing.on.Store(false)
	c.awaitGone("shop")
}

func TestCreationInANamespaceThatGoes(t *testing.T) {
	c := newCluster(t, statetest.Start(t))
	c.Namespace("shop")
	c.Delete("namespaces", "", "shop")
	err := c.configMap("shop", "late")
	if !apierrors.IsForbidden(err) || !apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		t.Errorf("a creation gets %v", err)
	}
}
