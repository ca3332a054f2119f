package namespace

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authentication/user"
	api "k8s.io/kubernetes/pkg/apis/core"
	"k8s.io/utils/clock"
	testclock "k8s.io/utils/clock/testing"

	"github.com/knarr-io/knarr/internal/admission"
	"github.com/knarr-io/knarr/internal/controller"
	"github.com/knarr-io/knarr/internal/controller/everynamespace"
	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/kind/native"
	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/ownership"
	"github.com/knarr-io/knarr/internal/state"
	"github.com/knarr-io/knarr/internal/state/statetest"
	"github.com/knarr-io/knarr/internal/verb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cluster is a server without its HTTP side, whose controller does not run yet.
type cluster struct {
	testing.TB
	ctx       context.Context // ends after a time in which everything should have happened
	state     *state.State
	catalogue *kind.Catalogue
	verbs     *verb.Verbs
	clock     clock.Clock
}

func newCluster(t testing.TB, st *state.State) *cluster {
	t.Helper()
	catalogue, err := native.Catalogue(native.Options{})
	if err != nil {
		t.Fatal(err)
	}
	enabled, err := controller.Enable(nil)
	if err != nil {
		t.Fatal(err)
	}
	managers := new(ownership.Managers)
	content := everynamespace.New(st, catalogue, everynamespace.Options{Enabled: enabled, RootCA: []byte("ca")})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	current := func() *kind.Catalogue { return catalogue }
	admitted, err := admission.New(admission.Settings{Control: []string{"NamespaceLifecycle"}}, &admission.Environment{State: st, Catalogue: current})
	if err != nil {
		t.Fatal(err)
	}
	return &cluster{
		TB: t, ctx: ctx, state: st, catalogue: catalogue, clock: clock.RealClock{},
		verbs: &verb.Verbs{
			State: st, Ownership: managers.For, Admission: admitted,
			Companions: map[schema.GroupResource]verb.Companion{everynamespace.Resource: content},
		},
	}
}

// run runs the controller until the test ends, or stop is called.
func (c *cluster) run() (stop func()) {
	controller := New(c.verbs, Options{Catalogue: func() *kind.Catalogue { return c.catalogue }, Clock: c.clock})
	ctx, cancel := context.WithCancel(c.ctx)
	var running sync.WaitGroup
	running.Go(func() { controller.Run(ctx) })
	stop = func() { cancel(); running.Wait() }
	c.Cleanup(stop)
	return stop
}

func (c *cluster) target(resource, namespace, name string) verb.Target {
	group := ""
	resource, group, _ = strings.Cut(resource, ".")
	r := c.catalogue.Resource(schema.GroupResource{Group: group, Resource: resource})
	return verb.Target{Version: r.Versions[0], Namespace: namespace, Name: name}
}

func (c *cluster) as(t verb.Target, verb string) context.Context {
	return t.Context(c.ctx, verb, &user.DefaultInfo{Name: "tester"})
}

func (c *cluster) create(resource, namespace string, obj runtime.Object) error {
	t := c.target(resource, namespace, "")
	_, err := c.verbs.Create(c.as(t, "create"), t, obj, &metav1.CreateOptions{FieldManager: "tester"})
	return err
}

func (c *cluster) must(err error) {
	c.Helper()
	if err != nil {
		c.Fatal(err)
	}
}

func (c *cluster) createNamespace(name string) error {
	return c.create("namespaces", "", &api.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"of": "tester"}}})
}

// configMap makes one with finalizers.
func (c *cluster) configMap(namespace, name string, finalizers ...string) error {
	return c.create("configmaps", namespace, &api.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Finalizers: finalizers}})
}

// pod makes one that is bound to a node, and has a time to end.
func (c *cluster) pod(namespace, name string, grace int64) error {
	return c.create("pods", namespace, &api.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: api.PodSpec{
			NodeName: "node-1", RestartPolicy: api.RestartPolicyAlways, DNSPolicy: api.DNSClusterFirst, TerminationGracePeriodSeconds: &grace,
			Containers: []api.Container{{Name: "c", Image: "i", ImagePullPolicy: api.PullAlways, TerminationMessagePolicy: api.TerminationMessageReadFile}},
		},
	})
}

func (c *cluster) delete(resource, namespace, name string, options metav1.DeleteOptions) {
	c.Helper()
	t := c.target(resource, namespace, name)
	_, err := c.verbs.Delete(c.as(t, "delete"), t, &options)
	c.must(err)
}

func (c *cluster) patch(resource, namespace, name, body string) {
	c.Helper()
	t := c.target(resource, namespace, name)
	_, err := c.verbs.Patch(c.as(t, "patch"), t, types.MergePatchType, []byte(body), &metav1.PatchOptions{FieldManager: "tester"})
	c.must(err)
}

// get returns an object as it is stored, or nil.
func (c *cluster) get(resource, namespace, name string) runtime.Object {
	c.Helper()
	r := c.target(resource, "", "").Version.Resource
	o := c.state.Get(r.Storage.Key(namespace, name))
	if o == nil {
		return nil
	}
	obj, err := r.Decode(o)
	c.must(err)
	return obj
}

// await waits until a namespace is as wanted, woken by each change of one; nil is
// one that is gone.
func (c *cluster) await(name string, wanted func(*api.Namespace) bool) {
	c.Helper()
	prefix := c.target("namespaces", "", "").Version.Resource.Storage.Prefix
	for {
		cursor, err := c.state.Watch(prefix, c.state.Snapshot(prefix).Rev)
		c.must(err)
		ns, _ := c.get("namespaces", "", name).(*api.Namespace)
		if wanted(ns) {
			return
		}
		if _, err := cursor.Next(c.ctx, make([]state.Event, 8)); err != nil {
			told, _ := json.Marshal(ns)
			c.Fatalf("namespace %s is still %s", name, told)
		}
	}
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
	for _, v := range deletable(c.catalogue) {
		c.state.Snapshot(v.Resource.Storage.Prefix).Each(state.Range{Namespace: namespace}, func(o *object.Object) bool {
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
	c.must(c.createNamespace("shop"))
	c.must(c.createNamespace("other"))
	for i := range 50 {
		c.must(c.configMap("shop", fmt.Sprint("c-", i)))
	}
	c.must(c.configMap("other", "kept"))
	c.must(c.create("events.events.k8s.io", "shop", &api.Event{
		ObjectMeta: metav1.ObjectMeta{Name: "e"}, InvolvedObject: api.ObjectReference{Namespace: "shop"}, EventTime: metav1.NowMicro(),
		Type: "Normal", Reason: "r", Action: "a", ReportingController: "t.io/t", ReportingInstance: "t",
	}))
	c.delete("namespaces", "", "shop", metav1.DeleteOptions{})
	c.awaitGone("shop")
	if c.get("configmaps", "other", "kept") == nil || len(c.left("other")) != 3 {
		t.Errorf("of another namespace there are %q", c.left("other"))
	}
	// Those that are marked while it does not run go when it does again.
	stop()
	c.delete("namespaces", "", "other", metav1.DeleteOptions{})
	if len(c.left("other")) != 3 {
		t.Error("something was deleted though no controller runs")
	}
	c.run()
	c.awaitGone("other")
}

// Before a namespace goes its conditions have been told, as upstream tells them.
func TestConditionsOfAnEmptyNamespace(t *testing.T) {
	c := newCluster(t, statetest.Start(t))
	c.must(c.createNamespace("shop"))
	c.patch("namespaces", "", "shop", `{"metadata":{"finalizers":["example.com/mine"]}}`)
	c.run()
	c.delete("namespaces", "", "shop", metav1.DeleteOptions{})
	c.await("shop", func(ns *api.Namespace) bool { return ns != nil && len(ns.Spec.Finalizers) == 0 })
	ns := c.get("namespaces", "", "shop").(*api.Namespace)
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
	c.patch("namespaces", "", "shop", `{"metadata":{"finalizers":null}}`)
	c.awaitGone("shop")
}

func TestFinalizers(t *testing.T) {
	c := newCluster(t, statetest.Start(t))
	c.must(c.createNamespace("shop"))
	c.must(c.configMap("shop", "a", "example.com/one"))
	c.must(c.configMap("shop", "b", "example.com/one", "example.com/two"))
	c.must(c.create("secrets", "shop", &api.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s", Finalizers: []string{"example.com/two"}}, Type: api.SecretTypeOpaque}))
	c.run()
	c.delete("namespaces", "", "shop", metav1.DeleteOptions{})
	c.awaitSaying("shop", `
NamespaceContentRemaining: SomeResourcesRemain: Some resources are remaining: configmaps. has 2 resource instances, secrets. has 1 resource instances
NamespaceFinalizersRemaining: SomeFinalizersRemain: Some content in the namespace has finalizers remaining: example.com/one in 2 resource instances, example.com/two in 2 resource instances`)
	c.patch("configmaps", "shop", "b", `{"metadata":{"finalizers":null}}`)
	c.awaitSaying("shop", `
NamespaceContentRemaining: SomeResourcesRemain: Some resources are remaining: configmaps. has 1 resource instances, secrets. has 1 resource instances
NamespaceFinalizersRemaining: SomeFinalizersRemain: Some content in the namespace has finalizers remaining: example.com/one in 1 resource instances, example.com/two in 1 resource instances`)
	c.patch("configmaps", "shop", "a", `{"metadata":{"finalizers":null}}`)
	c.patch("secrets", "shop", "s", `{"metadata":{"finalizers":null}}`)
	c.awaitGone("shop")
}

// Nothing is deleted before the pods have gone.
func TestPodsFirst(t *testing.T) {
	c := newCluster(t, statetest.Start(t))
	clock := testclock.NewFakeClock(time.Now())
	c.clock = clock
	c.must(c.createNamespace("shop"))
	c.must(c.pod("shop", "web", 30))
	c.must(c.configMap("shop", "a"))
	c.run()
	c.delete("namespaces", "", "shop", metav1.DeleteOptions{})
	c.awaitSaying("shop", "") // upstream says that nothing remains
	m, err := meta.Accessor(c.get("pods", "shop", "web"))
	c.must(err)
	if m.GetDeletionTimestamp() == nil || *m.GetDeletionGracePeriodSeconds() != 30 {
		t.Errorf("the pod has until %v, %v s", m.GetDeletionTimestamp(), m.GetDeletionGracePeriodSeconds())
	}
	if c.get("configmaps", "shop", "a") == nil {
		t.Error("a ConfigMap has gone before the pod")
	}
	for !clock.HasWaiters() {
		time.Sleep(time.Millisecond)
	}
	clock.Step(31 * time.Second) // their time is over
	c.awaitSaying("shop", "NamespaceDeletionContentFailure: ContentDeletionFailed: Failed to delete all resource types, 1 remaining: "+
		"unexpected items still remain in namespace: shop for gvr: /v1, Resource=pods")
	if c.get("configmaps", "shop", "a") == nil {
		t.Error("a ConfigMap has gone before the pod")
	}
	zero := int64(0)
	c.delete("pods", "shop", "web", metav1.DeleteOptions{GracePeriodSeconds: &zero})
	c.awaitGone("shop")
}

// A namespace that another holds with a finalizer of its own in spec is emptied, and
// stays.
func TestOthersFinalizers(t *testing.T) {
	c := newCluster(t, statetest.Start(t))
	c.must(c.create("namespaces", "", &api.Namespace{
		ObjectMeta: metav1.ObjectMeta{Name: "shop"}, Spec: api.NamespaceSpec{Finalizers: []api.FinalizerName{"example.com/z", "example.com/a"}},
	}))
	c.run()
	c.delete("namespaces", "", "shop", metav1.DeleteOptions{})
	want := []api.FinalizerName{"example.com/a", "example.com/z"}
	c.await("shop", func(ns *api.Namespace) bool {
		return ns != nil && slices.Equal(ns.Spec.Finalizers, want) && len(c.left("shop")) == 0
	})
	finalize := c.target("namespaces", "", "shop")
	finalize.Subresource = finalize.Version.Subresource("finalize")
	ns := c.get("namespaces", "", "shop").(*api.Namespace)
	ns.Spec.Finalizers, ns.ResourceVersion = nil, ""
	_, err := c.verbs.Update(c.as(finalize, "update"), finalize, ns, &metav1.UpdateOptions{})
	c.must(err)
	c.awaitGone("shop")
}

// What cannot be deleted is told, and tried again.
func TestRefused(t *testing.T) {
	c := newCluster(t, statetest.Start(t))
	refusing := &refusing{Interface: c.verbs.Admission.(chain), resource: "configmaps"}
	refusing.on.Store(true)
	c.verbs.Admission = refusing
	c.must(c.createNamespace("shop"))
	c.must(c.create("secrets", "shop", &api.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s"}, Type: api.SecretTypeOpaque}))
	c.run()
	c.delete("namespaces", "", "shop", metav1.DeleteOptions{})
	c.awaitSaying("shop", `NamespaceDeletionContentFailure: ContentDeletionFailed: Failed to delete all resource types, 1 remaining: configmaps "kube-root-ca.crt" is forbidden: not now`)
	if left := c.left("shop"); !slices.Equal(left, []string{"configmaps/kube-root-ca.crt"}) {
		t.Errorf("there are %q", left)
	}
	refusing.on.Store(false)
	c.awaitGone("shop")
}

func TestCreationInANamespaceThatGoes(t *testing.T) {
	c := newCluster(t, statetest.Start(t))
	c.must(c.createNamespace("shop"))
	c.delete("namespaces", "", "shop", metav1.DeleteOptions{})
	err := c.configMap("shop", "late")
	if !apierrors.IsForbidden(err) || !apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		t.Errorf("a creation gets %v", err)
	}
}
