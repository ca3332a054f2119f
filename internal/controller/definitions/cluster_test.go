package definitions_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authentication/user"
	"sigs.k8s.io/yaml"

	"github.com/knarr-io/knarr/internal/controller/definitions"
	"github.com/knarr-io/knarr/internal/kind/custom"
	"github.com/knarr-io/knarr/internal/kind/native"
	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/ownership"
	"github.com/knarr-io/knarr/internal/state"
	"github.com/knarr-io/knarr/internal/verb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	crds     = apiextensionsv1.SchemeGroupVersion.WithResource("customresourcedefinitions")
	services = schema.GroupVersionResource{Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices"}
	admin    = &user.DefaultInfo{Name: "admin", Groups: []string{user.SystemPrivilegedGroup}}
)

// cluster is a server without its HTTP side whose definitions are kept.
type cluster struct {
	t      testing.TB
	keeper *definitions.Keeper
	verbs  *verb.Verbs
}

// newCluster starts one on a state, with what is stored there.
func newCluster(t *testing.T, st *state.State) *cluster {
	t.Helper()
	c := newStill(t, st)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { c.keeper.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return c
}

// newStill is newCluster where nothing happens in the background.
func newStill(t testing.TB, st *state.State) *cluster {
	t.Helper()
	catalogue, err := native.Catalogue(native.Options{})
	if err != nil {
		t.Fatal(err)
	}
	maker, err := custom.NewMaker(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, keeper: definitions.New(catalogue, new(ownership.Managers), maker)}
	c.verbs = &verb.Verbs{
		State: st, Ownership: c.keeper.Ownership, Admission: c.keeper.Guard(),
		Committed: map[schema.GroupResource]func(context.Context, *object.Object){definitions.Resource: c.keeper.Committed},
	}
	c.keeper.Start(t.Context(), c.verbs)
	return c
}

func (c *cluster) target(gvr schema.GroupVersionResource, name string) verb.Target {
	c.t.Helper()
	v := c.keeper.Catalogue().Lookup(gvr)
	if v == nil {
		c.t.Fatalf("%s is not served", gvr)
	}
	t := verb.Target{Version: v, Name: name, Agent: "tester"}
	if v.Resource.Namespaced {
		t.Namespace = "default"
	}
	return t
}

// define creates a definition in example.com. patch changes it, in YAML.
func (c *cluster) define(plural, patch string) error {
	c.t.Helper()
	kind := strings.ToUpper(plural[:1]) + strings.TrimSuffix(plural[1:], "s")
	crd := &apiextensionsv1.CustomResourceDefinition{}
	text := fmt.Sprintf(`
metadata: {name: %[1]s.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: %[1]s, singular: %[2]s, kind: %[3]s, listKind: %[3]sList}
  versions:
  - {name: v1, served: true, storage: true, subresources: {status: {}},
     schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {a: {type: string}}}, status: {type: object}}}}}
`, plural, strings.TrimSuffix(plural, "s"), kind)
	if err := yaml.UnmarshalStrict([]byte(text), crd); err != nil {
		c.t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict([]byte(patch), crd); err != nil {
		c.t.Fatal(err)
	}
	t := c.target(crds, "")
	t.Version.Resource.Scheme.Default(crd)
	hub, err := t.Version.Resource.ToHub(crd)
	if err != nil {
		c.t.Fatal(err)
	}
	_, err = c.verbs.Create(t.Context(context.Background(), "create", admin), t, hub, &metav1.CreateOptions{})
	return err
}

func (c *cluster) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// definition returns a definition in example.com as it is stored, or nil.
func (c *cluster) definition(plural string) *apiextensionsv1.CustomResourceDefinition {
	c.t.Helper()
	var crd apiextensionsv1.CustomResourceDefinition
	if !c.get(crds, plural+".example.com", &crd) {
		return nil
	}
	return &crd
}

// get reads an object into obj; false if there is none.
func (c *cluster) get(gvr schema.GroupVersionResource, name string, obj any) bool {
	c.t.Helper()
	t := c.target(gvr, name)
	o := c.verbs.State.Get(t.Version.Resource.Storage.Key(t.Namespace, name))
	if o == nil {
		return false
	}
	encoded, err := t.Version.JSON.Encode(o)
	c.must(err)
	c.must(json.Unmarshal(encoded, obj))
	return true
}

// conditions are "type=status reason", in their order.
func (c *cluster) conditions(plural string) string {
	c.t.Helper()
	crd := c.definition(plural)
	if crd == nil {
		return "none"
	}
	var all []string
	for _, cond := range crd.Status.Conditions {
		all = append(all, fmt.Sprintf("%s=%s %s", cond.Type, cond.Status, cond.Reason))
	}
	return strings.Join(all, ", ")
}

func gvr(version, plural string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "example.com", Version: version, Resource: plural}
}

// make creates an object of what is defined.
func (c *cluster) make(gvr schema.GroupVersionResource, name string, finalizers ...string) error {
	c.t.Helper()
	t := c.target(gvr, "")
	obj := t.Version.Resource.New().(*unstructured.Unstructured)
	obj.SetName(name)
	obj.SetFinalizers(finalizers)
	_, err := c.verbs.Create(t.Context(context.Background(), "create", admin), t, obj, &metav1.CreateOptions{})
	return err
}

func (c *cluster) patch(gvr schema.GroupVersionResource, name string, patchType types.PatchType, patch string) error {
	c.t.Helper()
	t := c.target(gvr, name)
	_, err := c.verbs.Patch(t.Context(context.Background(), "patch", admin), t, patchType, []byte(patch), &metav1.PatchOptions{FieldManager: "tester"})
	return err
}

func (c *cluster) delete(gvr schema.GroupVersionResource, name string) {
	c.t.Helper()
	t := c.target(gvr, name)
	_, err := c.verbs.Delete(t.Context(context.Background(), "delete", admin), t, &metav1.DeleteOptions{})
	c.must(err)
}

// service is the spec of an APIService, or "".
func (c *cluster) service(name string) string {
	c.t.Helper()
	var obj struct {
		Metadata struct{ Labels map[string]string }
		Spec     struct{ GroupPriorityMinimum, VersionPriority int }
		Status   struct {
			Conditions []struct{ Type, Status, Reason, Message string }
		}
	}
	if !c.get(services, name, &obj) {
		return ""
	}
	return fmt.Sprint(obj)
}

func (c *cluster) eventually(what string, is func() bool) {
	c.t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			c.t.Fatalf("it is not so that %s", what)
		}
	}
}

// served are the versions of a group and the resources in it.
func (c *cluster) served(group string) string {
	g := c.keeper.Catalogue().Group(group)
	if g == nil {
		return "none"
	}
	var all []string
	for _, r := range g.Resources {
		all = append(all, r.Versions[0].Name+"/"+r.Name)
	}
	return fmt.Sprint(g.Versions, all)
}

// last returns the names of the last n groups that are served.
func (c *cluster) last(n int) []string {
	var names []string
	for _, g := range c.keeper.Catalogue().Groups {
		names = append(names, g.Name)
	}
	return names[len(names)-n:]
}

func closed(gone <-chan struct{}) bool {
	select {
	case <-gone:
		return true
	default:
		return false
	}
}
