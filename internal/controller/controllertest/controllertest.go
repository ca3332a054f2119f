// Package controllertest is a server without its HTTP side, for the tests of
// controllers.
//
// It must not know what a controller does.
package controllertest

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authentication/user"
	api "k8s.io/kubernetes/pkg/apis/core"

	"github.com/knarr-io/knarr/internal/admission"
	"github.com/knarr-io/knarr/internal/informers"
	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/kind/native"
	"github.com/knarr-io/knarr/internal/ownership"
	"github.com/knarr-io/knarr/internal/state"
	"github.com/knarr-io/knarr/internal/verb"
)

// Cluster is the server. Resources are named as "configmaps" or "events.events.k8s.io".
type Cluster struct {
	testing.TB
	// Context ends with the test, or after a time in which everything should have
	// happened.
	Context   context.Context
	State     *state.State
	Catalogue *kind.Catalogue
	Verbs     *verb.Verbs
}

// New returns a server of the objects in st, with the admission plugins of these names.
func New(t testing.TB, st *state.State, plugins ...string) *Cluster {
	t.Helper()
	catalogue, err := native.Catalogue(native.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	c := &Cluster{TB: t, Context: ctx, State: st, Catalogue: catalogue}
	current := func() *kind.Catalogue { return catalogue }
	factory := informers.New(st, current)
	c.Run(factory.Run)
	admitted, err := admission.New(admission.Settings{Control: plugins}, &admission.Environment{State: st, Catalogue: current, Informers: factory})
	if err != nil {
		t.Fatal(err)
	}
	c.Verbs = &verb.Verbs{State: st, Ownership: new(ownership.Managers).For, Admission: admitted}
	return c
}

// Run runs a controller until the test ends, or stop is called, which returns when it
// has ended.
func (c *Cluster) Run(controller func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(c.Context)
	var running sync.WaitGroup
	running.Go(func() { controller(ctx) })
	stop = func() { cancel(); running.Wait() }
	c.Cleanup(stop)
	return stop
}

// Target is an object, or a resource.
func (c *Cluster) Target(resource, namespace, name string) verb.Target {
	r := c.Catalogue.Resource(schema.ParseGroupResource(resource))
	return verb.Target{Version: r.Versions[0], Namespace: namespace, Name: name}
}

// As is the context of a write by a user of the test.
func (c *Cluster) As(t verb.Target, verb string) context.Context {
	return t.Context(c.Context, verb, &user.DefaultInfo{Name: "tester"})
}

// Must ends the test if err is an error.
func (c *Cluster) Must(err error) {
	c.Helper()
	if err != nil {
		c.Fatal(err)
	}
}

// TryCreate makes an object of obj, a hub object, in a namespace.
func (c *Cluster) TryCreate(resource, namespace string, obj runtime.Object) error {
	t := c.Target(resource, namespace, "")
	_, err := c.Verbs.Create(c.As(t, "create"), t, obj, &metav1.CreateOptions{FieldManager: "tester"})
	return err
}

// Create is TryCreate that must succeed.
func (c *Cluster) Create(resource, namespace string, obj runtime.Object) {
	c.Helper()
	c.Must(c.TryCreate(resource, namespace, obj))
}

// Namespace makes one.
func (c *Cluster) Namespace(name string) {
	c.Helper()
	c.Create("namespaces", "", &api.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"of": "tester"}}})
}

// Pod returns one that is bound to a node, if node is not empty.
func Pod(name, node string, change ...func(*api.Pod)) *api.Pod {
	grace := int64(30)
	p := &api.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: api.PodSpec{
			NodeName: node, RestartPolicy: api.RestartPolicyAlways, DNSPolicy: api.DNSClusterFirst, TerminationGracePeriodSeconds: &grace,
			Containers: []api.Container{{Name: "c", Image: "i", ImagePullPolicy: api.PullAlways, TerminationMessagePolicy: api.TerminationMessageReadFile}},
		},
	}
	for _, f := range change {
		f(p)
	}
	return p
}

// Delete asks for the deletion of an object.
func (c *Cluster) Delete(resource, namespace, name string, options ...metav1.DeleteOptions) {
	c.Helper()
	t := c.Target(resource, namespace, name)
	_, err := c.Verbs.Delete(c.As(t, "delete"), t, &append(options, metav1.DeleteOptions{})[0])
	c.Must(err)
}

// Patch changes an object, or a subresource of it if the resource is "pods/status", by
// a merge patch.
func (c *Cluster) Patch(resource, namespace, name, body string) {
	c.Helper()
	resource, subresource, _ := strings.Cut(resource, "/")
	t := c.Target(resource, namespace, name)
	if subresource != "" {
		t.Subresource = t.Version.Subresource(subresource)
	}
	_, err := c.Verbs.Patch(c.As(t, "patch"), t, types.MergePatchType, []byte(body), &metav1.PatchOptions{FieldManager: "tester"})
	c.Must(err)
}

// Get returns an object; P's zero value if there is none.
func Get[P runtime.Object](c *Cluster, resource, namespace, name string) (found P) {
	c.Helper()
	r := c.Target(resource, "", "").Version.Resource
	o := c.State.Get(r.Storage.Key(namespace, name))
	if o == nil {
		return found
	}
	obj, err := r.Decode(o)
	c.Must(err)
	return obj.(P)
}

// There reports whether there is an object.
func (c *Cluster) There(resource, namespace, name string) bool {
	return c.State.Get(c.Target(resource, "", "").Version.Resource.Storage.Key(namespace, name)) != nil
}

// Await waits until something is so, woken by each change of a resource, or ends the
// test with what it has waited for.
func (c *Cluster) Await(resource, what string, so func() bool) {
	c.Helper()
	prefix := c.Target(resource, "", "").Version.Resource.Storage.Prefix
	for {
		cursor, err := c.State.Watch(prefix, c.State.Snapshot(prefix).Rev)
		c.Must(err)
		if so() {
			return
		}
		if _, err := cursor.Next(c.Context, make([]state.Event, 8)); err != nil {
			c.Fatalf("it has never come about: %s", what)
		}
	}
}

// AwaitGone waits until there is no object of a name.
func (c *Cluster) AwaitGone(resource, namespace, name string) {
	c.Helper()
	c.Await(resource, resource+" "+namespace+"/"+name+" is gone", func() bool { return !c.There(resource, namespace, name) })
}
