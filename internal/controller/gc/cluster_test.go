package gc_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authentication/user"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/yaml"

	"github.com/knarr-io/knarr/internal/controller/definitions"
	"github.com/knarr-io/knarr/internal/controller/gc"
	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/kind/custom"
	"github.com/knarr-io/knarr/internal/kind/native"
	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/ownership"
	"github.com/knarr-io/knarr/internal/state"
	"github.com/knarr-io/knarr/internal/state/statetest"
	"github.com/knarr-io/knarr/internal/verb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	maps       = corev1.SchemeGroupVersion.WithResource("configmaps")
	secrets    = corev1.SchemeGroupVersion.WithResource("secrets")
	namespaces = corev1.SchemeGroupVersion.WithResource("namespaces")
	events     = corev1.SchemeGroupVersion.WithResource("events")
	roles      = rbacv1.SchemeGroupVersion.WithResource("clusterroles")
	crds       = apiextensionsv1.SchemeGroupVersion.WithResource("customresourcedefinitions")
	widgets    = schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "widgets"}
	admin      = &user.DefaultInfo{Name: "admin", Groups: []string{user.SystemPrivilegedGroup}}
)

// cluster is a server without its HTTP side whose definitions are kept.
type cluster struct {
	t      testing.TB
	keeper *definitions.Keeper
	verbs  *verb.Verbs
	clock  *clocktesting.FakeClock
}

// newCluster starts one on a state that nobody collects garbage in.
func newCluster(t testing.TB, st *state.State) *cluster {
	t.Helper()
	catalogue, err := native.Catalogue(native.Options{})
	if err != nil {
		t.Fatal(err)
	}
	maker, err := custom.NewMaker(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, keeper: definitions.New(catalogue, new(ownership.Managers), maker), clock: clocktesting.NewFakeClock(time.Now())}
	c.verbs = &verb.Verbs{
		State: st, Ownership: c.keeper.Ownership, Admission: c.keeper.Guard(),
		Committed: map[schema.GroupResource]func(context.Context, *object.Object){definitions.Resource: c.keeper.Committed},
	}
	c.keeper.Start(t.Context(), c.verbs)
	c.background(c.keeper.Run)
	return c
}

// background runs something until the test ends, or stop is called.
func (c *cluster) background(run func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { run(ctx) })
	stop = func() {
		cancel()
		running.Wait()
	}
	c.t.Cleanup(stop)
	return stop
}

// collect collects garbage until the test ends, or stop is called.
func (c *cluster) collect() (stop func()) {
	return c.background(gc.New(c.verbs, gc.Options{Catalogue: c.keeper.Catalogue, Clock: c.clock}).Run)
}

// newCollected is a cluster, with namespaces a and b, whose garbage is collected.
func newCollected(t testing.TB) *cluster {
	c := newCluster(t, statetest.Start(t))
	c.make(namespaces, "", "a")
	c.make(namespaces, "", "b")
	c.collect()
	return c
}

func (c *cluster) target(gvr schema.GroupVersionResource, namespace, name string) verb.Target {
	c.t.Helper()
	v := c.keeper.Catalogue().Lookup(gvr)
	if v == nil {
		c.t.Fatalf("%s is not served", gvr)
	}
	return verb.Target{Version: v, Namespace: namespace, Name: name, Agent: "tester"}
}

// made is an object that was made.
type made struct {
	gvr             schema.GroupVersionResource
	kind            string
	namespace, name string
	uid             types.UID
}

func (m made) owner(change ...func(*metav1.OwnerReference)) metav1.OwnerReference {
	o := metav1.OwnerReference{APIVersion: m.gvr.GroupVersion().String(), Kind: m.kind, Name: m.name, UID: m.uid}
	for _, do := range change {
		do(&o)
	}
	return o
}

func blocking(o *metav1.OwnerReference) { o.BlockOwnerDeletion = new(true) }

func absent() metav1.OwnerReference {
	return metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: "absent", UID: "absent"}
}

// tryMake makes an object with owners.
func (c *cluster) tryMake(gvr schema.GroupVersionResource, namespace, name string, owners ...metav1.OwnerReference) (made, error) {
	t := c.target(gvr, namespace, "")
	obj := t.Version.Resource.New()
	m, err := meta.Accessor(obj)
	if err != nil {
		return made{}, err
	}
	m.SetName(name)
	m.SetOwnerReferences(owners)
	result, err := c.verbs.Create(t.Context(context.Background(), "create", admin), t, obj, &metav1.CreateOptions{})
	if err != nil {
		return made{}, err
	}
	whole, err := kind.Metadata(result.Object)
	if err != nil {
		return made{}, err
	}
	return made{gvr, t.Version.Resource.Kind, namespace, name, whole.UID}, nil
}

func (c *cluster) make(gvr schema.GroupVersionResource, namespace, name string, owners ...metav1.OwnerReference) made {
	c.t.Helper()
	m, err := c.tryMake(gvr, namespace, name, owners...)
	if err != nil {
		c.t.Fatal(err)
	}
	return m
}

// tryDelete deletes an object; the policy may be empty.
func (c *cluster) tryDelete(m made, policy metav1.DeletionPropagation) error {
	t := c.target(m.gvr, m.namespace, m.name)
	options := &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &m.uid}}
	if policy != "" {
		options.PropagationPolicy = &policy
	}
	_, err := c.verbs.Delete(t.Context(context.Background(), "delete", admin), t, options)
	return err
}

func (c *cluster) delete(m made, policy metav1.DeletionPropagation) {
	c.t.Helper()
	if err := c.tryDelete(m, policy); err != nil {
		c.t.Fatal(err)
	}
}

// set gives fields of the metadata values, by a merge patch.
func (c *cluster) set(m made, fields string) {
	c.t.Helper()
	t := c.target(m.gvr, m.namespace, m.name)
	patch, err := yaml.YAMLToJSON([]byte("metadata: " + fields))
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := c.verbs.Patch(t.Context(context.Background(), "patch", admin), t, types.MergePatchType, patch, &metav1.PatchOptions{}); err != nil {
		c.t.Fatal(err)
	}
}

// get returns the metadata of an object, nil if it is gone.
func (c *cluster) get(m made) *metav1.ObjectMeta {
	c.t.Helper()
	t := c.target(m.gvr, m.namespace, m.name)
	o := c.verbs.State.Get(t.Version.Resource.Storage.Key(m.namespace, m.name))
	if o == nil {
		return nil
	}
	whole, err := kind.Metadata(o)
	if err != nil {
		c.t.Fatal(err)
	}
	if whole.UID != m.uid {
		return nil
	}
	return whole
}

// names tells whom an object names as its owners.
func (c *cluster) names(m made) string {
	c.t.Helper()
	whole := c.get(m)
	if whole == nil {
		return "gone"
	}
	all := []string{}
	for _, o := range whole.OwnerReferences {
		all = append(all, o.Name)
	}
	return fmt.Sprint(all)
}

func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it is not so that %s", what)
		}
	}
}

func (c *cluster) goes(all ...made) {
	c.t.Helper()
	for _, m := range all {
		eventually(c.t, m.name+" is gone", func() bool { return c.get(m) == nil })
	}
}

// stays makes sure that objects are still there when what was to be done is done.
func (c *cluster) stays(all ...made) {
	c.t.Helper()
	for range 2 {
		c.goes(c.make(maps, "a", "canary", absent()))
	}
	for _, m := range all {
		if c.get(m) == nil {
			c.t.Errorf("%s is gone", m.name)
		}
	}
}

// define defines widgets, in these versions.
func (c *cluster) define(versions ...string) made {
	c.t.Helper()
	crd := &apiextensionsv1.CustomResourceDefinition{}
	text := `{metadata: {name: widgets.example.com}, spec: {group: example.com, scope: Namespaced, names: {plural: widgets, singular: widget, kind: Widget, listKind: WidgetList}}}`
	if err := yaml.UnmarshalStrict([]byte(text), crd); err != nil {
		c.t.Fatal(err)
	}
	for i, v := range versions {
		crd.Spec.Versions = append(crd.Spec.Versions, apiextensionsv1.CustomResourceDefinitionVersion{
			Name: v, Served: true, Storage: i == 0,
			Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{Type: "object"}},
		})
	}
	t := c.target(crds, "", "")
	t.Version.Resource.Scheme.Default(crd)
	hub, err := t.Version.Resource.ToHub(crd)
	if err != nil {
		c.t.Fatal(err)
	}
	result, err := c.verbs.Create(t.Context(context.Background(), "create", admin), t, hub, &metav1.CreateOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	whole, err := kind.Metadata(result.Object)
	if err != nil {
		c.t.Fatal(err)
	}
	eventually(c.t, "widgets are served", func() bool { return c.keeper.Catalogue().Lookup(widgets) != nil })
	return made{crds, "CustomResourceDefinition", "", crd.Name, whole.UID}
}
