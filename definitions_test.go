package knarr_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/restmapper"
	"sigs.k8s.io/yaml"

	"github.com/knarr-io/knarr"
)

const widgetDefinition = `
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: widgets, kind: Widget, shortNames: [wd], categories: [things]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, properties: {size: {type: integer, minimum: 1, default: 3}, parts: {type: array, x-kubernetes-list-type: set, items: {type: string}}}}
          status: {type: object, properties: {ready: {type: boolean}}}
`

// custom are the clients of a server that definitions need.
type custom struct {
	*testing.T
	definitions *clientset.Clientset
	dynamic     *dynamic.DynamicClient
	discovery   *discovery.DiscoveryClient
}

func newCustom(t *testing.T, server *knarr.Server) *custom {
	t.Helper()
	config := server.ClientConfig()
	c := &custom{T: t}
	var err error
	if c.definitions, err = clientset.NewForConfig(config); err != nil {
		t.Fatal(err)
	}
	if c.dynamic, err = dynamic.NewForConfig(config); err != nil {
		t.Fatal(err)
	}
	if c.discovery, err = discovery.NewDiscoveryClientForConfig(config); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *custom) define(text string) *apiextensionsv1.CustomResourceDefinition {
	c.Helper()
	crd := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.UnmarshalStrict([]byte(text), crd); err != nil {
		c.Fatal(err)
	}
	made, err := c.definitions.ApiextensionsV1().CustomResourceDefinitions().Create(c.Context(), crd, metav1.CreateOptions{})
	if err != nil {
		c.Fatal(err)
	}
	return made
}

func (c *custom) condition(name string, of apiextensionsv1.CustomResourceDefinitionConditionType) apiextensionsv1.CustomResourceDefinitionCondition {
	c.Helper()
	crd, err := c.definitions.ApiextensionsV1().CustomResourceDefinitions().Get(c.Context(), name, metav1.GetOptions{})
	if err != nil {
		c.Fatal(err)
	}
	for _, condition := range crd.Status.Conditions {
		if condition.Type == of {
			return condition
		}
	}
	return apiextensionsv1.CustomResourceDefinitionCondition{}
}

func (c *custom) widgets() dynamic.ResourceInterface {
	return c.dynamic.Resource(schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "widgets"}).Namespace("default")
}

func (c *custom) eventually(what string, is func() bool) {
	c.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			c.Fatalf("it is not so that %s", what)
		}
	}
}

func widget(name, spec string) *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte("{apiVersion: example.com/v1, kind: Widget, metadata: {name: "+name+"}, spec: "+spec+"}"), &u.Object); err != nil {
		panic(err)
	}
	return u
}

// next returns the next event of a watch, as "TYPE name"; "" when it has ended.
func next(t *testing.T, w watch.Interface) string {
	t.Helper()
	select {
	case e, ok := <-w.ResultChan():
		if !ok {
			return ""
		}
		u, ok := e.Object.(*unstructured.Unstructured)
		if !ok {
			t.Fatalf("an event of %v", e)
		}
		return string(e.Type) + " " + u.GetName()
	case <-time.After(time.Minute):
		t.Fatal("nothing happens")
	}
	return ""
}

// A definition brings its resource to life before its create returns; it is
// there after a restart, and its end takes all with it.
func TestCustomResources(t *testing.T) {
	before := goleak.IgnoreCurrent()
	options := knarr.Options{DataDir: t.TempDir()}
	server := start(t, options)
	c := newCustom(t, server)

	made := c.define(widgetDefinition)
	if len(made.Status.Conditions) != 0 {
		t.Errorf("the answer to the create has conditions: %v", made.Status.Conditions)
	}
	created, err := c.widgets().Create(t.Context(), widget("w", "{parts: [a], odd: 1}"), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if spec := created.Object["spec"].(map[string]any); spec["size"] != int64(3) || spec["odd"] != nil {
		t.Errorf("created is %v", spec)
	}
	if _, err := c.widgets().Create(t.Context(), widget("bad", "{size: 0}"), metav1.CreateOptions{}); !apierrors.IsInvalid(err) {
		t.Errorf("a create of what is not valid: %v", err)
	}
	nowhere := c.dynamic.Resource(schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "widgets"}).Namespace("nowhere")
	if _, err := nowhere.Create(t.Context(), widget("w", "{}"), metav1.CreateOptions{}); !apierrors.IsNotFound(err) || !strings.Contains(err.Error(), `namespaces "nowhere" not found`) {
		t.Errorf("a create in no namespace: %v", err)
	}
	applied, err := c.widgets().Apply(t.Context(), "w", widget("w", "{parts: [b]}"), metav1.ApplyOptions{FieldManager: "me"})
	if err != nil {
		t.Fatal(err)
	}
	if parts, _, _ := unstructured.NestedStringSlice(applied.Object, "spec", "parts"); !slices.Equal(parts, []string{"a", "b"}) {
		t.Errorf("applied are the parts %v", parts)
	}
	if got := c.condition("widgets.example.com", apiextensionsv1.Established); got.Status != apiextensionsv1.ConditionTrue {
		t.Errorf("established is %v", got)
	}

	c.define(`
metadata: {name: gadgets.example.com}
spec: {group: example.com, scope: Cluster, names: {plural: gadgets, kind: Gadget, shortNames: [wd]}, versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]}`)
	got := c.condition("gadgets.example.com", apiextensionsv1.NamesAccepted)
	if got.Status != apiextensionsv1.ConditionFalse || got.Reason != "ShortNamesConflict" || got.Message != `"wd" is already in use` {
		t.Errorf("the second to want a name gets %v", got)
	}
	c.discovered()
	service := c.service()

	stop(t, server)
	server = start(t, options)
	c = newCustom(t, server)
	c.discovered()
	again, err := c.widgets().Get(t.Context(), "w", metav1.GetOptions{})
	if err != nil || again.GetUID() != created.GetUID() {
		t.Fatalf("after the restart there is %v, %v", again, err)
	}
	if now := c.service(); now == "" || now != service {
		t.Errorf("the APIService is another one: %q, was %q", now, service)
	}
	c.ends()
	stop(t, server)
	goleak.VerifyNone(t, before)
}

// service returns the uid of the version's APIService.
func (c *custom) service() types.UID {
	c.Helper()
	services := c.dynamic.Resource(schema.GroupVersionResource{Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices"})
	service, err := services.Get(c.Context(), "v1.example.com", metav1.GetOptions{})
	if err != nil {
		c.Fatal(err)
	}
	return service.GetUID()
}

// discovered finds the resource by its short name, as kubectl does.
func (c *custom) discovered() {
	c.Helper()
	groups, err := restmapper.GetAPIGroupResources(c.discovery)
	if err != nil {
		c.Fatal(err)
	}
	mapper := restmapper.NewShortcutExpander(restmapper.NewDiscoveryRESTMapper(groups), c.discovery, func(string) {})
	kind, err := mapper.KindFor(schema.GroupVersionResource{Resource: "wd"})
	if err != nil || kind != (schema.GroupVersionKind{Group: "example.com", Version: "v1", Kind: "Widget"}) {
		c.Errorf("wd is %v, %v", kind, err)
	}
	list, err := c.discovery.ServerResourcesForGroupVersion("example.com/v1")
	if err != nil {
		c.Fatal(err)
	}
	var names []string
	for _, r := range list.APIResources {
		names = append(names, r.Name)
	}
	if !slices.Equal(names, []string{"widgets", "widgets/status"}) {
		c.Errorf("discovered are %v", names)
	}
}

// ends deletes the definition of what there is an object of.
func (c *custom) ends() {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.Context(), time.Minute)
	defer cancel()
	list, err := c.widgets().List(ctx, metav1.ListOptions{})
	if err != nil || len(list.Items) != 1 {
		c.Fatalf("there are %v, %v", list, err)
	}
	w, err := c.widgets().Watch(ctx, metav1.ListOptions{ResourceVersion: list.GetResourceVersion()})
	if err != nil {
		c.Fatal(err)
	}
	defer w.Stop()
	if err := c.definitions.ApiextensionsV1().CustomResourceDefinitions().Delete(ctx, "widgets.example.com", metav1.DeleteOptions{}); err != nil {
		c.Fatal(err)
	}
	if got := next(c.T, w); got != "DELETED w" {
		c.Errorf("the watch tells %s", got)
	}
	if got := next(c.T, w); got != "" {
		c.Errorf("the watch goes on with %s", got)
	}
	c.eventually("the definition is gone", func() bool {
		_, err := c.definitions.ApiextensionsV1().CustomResourceDefinitions().Get(ctx, "widgets.example.com", metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
	_, err = c.widgets().Get(ctx, "w", metav1.GetOptions{})
	if !apierrors.IsNotFound(err) || !strings.Contains(err.Error(), "the server could not find the requested resource") {
		c.Errorf("the resource answers %v", err)
	}
	c.eventually("the names are taken by who waited for them", func() bool {
		return c.condition("gadgets.example.com", apiextensionsv1.Established).Status == apiextensionsv1.ConditionTrue
	})
}

// While the objects of a definition are being deleted, none can be made, and
// discovery says so.
func TestEndOfDefinitionIsDiscovered(t *testing.T) {
	server := start(t, knarr.Options{})
	defer stop(t, server)
	c := newCustom(t, server)
	c.define(widgetDefinition)
	told := func() string {
		t.Helper()
		_, resources, err := c.discovery.ServerGroupsAndResources() // aggregated
		if err != nil {
			t.Fatal(err)
		}
		for _, list := range resources {
			if list.GroupVersion == "example.com/v1" {
				return strings.Join(list.APIResources[0].Verbs, " ")
			}
		}
		return "none"
	}
	if got := told(); got != "delete deletecollection get list patch create update watch" {
		t.Errorf("at first, there are %s", got)
	}
	stays := widget("w", "{}")
	stays.SetFinalizers([]string{"example.com/stays"})
	if _, err := c.widgets().Create(t.Context(), stays, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := c.definitions.ApiextensionsV1().CustomResourceDefinitions().Delete(t.Context(), "widgets.example.com", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := told(); got != "delete deletecollection get list watch" {
		t.Errorf("at the end, there are %s", got)
	}
	_, err := c.widgets().Create(t.Context(), widget("x", "{}"), metav1.CreateOptions{})
	if !apierrors.IsForbidden(err) || !strings.HasSuffix(err.Error(), "create not allowed while custom resource definition is terminating") {
		t.Errorf("a create at the end: %v", err)
	}
	if _, err := c.widgets().Patch(t.Context(), "w", types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	c.eventually("it is gone", func() bool { return told() == "none" })
}

// A watch ends when what it watches is served as another, having told of all
// that was before.
func TestWatchEndsWithItsKind(t *testing.T) {
	server := start(t, knarr.Options{})
	defer stop(t, server)
	c := newCustom(t, server)
	c.define(widgetDefinition)
	w, err := c.widgets().Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	if _, err := c.widgets().Create(t.Context(), widget("w", "{}"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := next(t, w); got != "ADDED w" {
		t.Errorf("the watch tells %s", got)
	}
	patch := []byte(`[{"op":"add","path":"/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/more","value":{"type":"string"}}]`)
	if _, err := c.definitions.ApiextensionsV1().CustomResourceDefinitions().Patch(t.Context(), "widgets.example.com", "application/json-patch+json", patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := next(t, w); got != "" {
		t.Errorf("the watch goes on with %s", got)
	}
	// What is new is in force at once.
	made, err := c.widgets().Create(t.Context(), widget("x", "{more: yes indeed}"), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if more, _, _ := unstructured.NestedString(made.Object, "spec", "more"); more != "yes indeed" {
		t.Errorf("made is %v", made.Object)
	}
}

// Nothing is made in a namespace that goes away.
func TestCustomResourcesInTerminatingNamespace(t *testing.T) {
	server := start(t, knarr.Options{})
	defer stop(t, server)
	c := newCustom(t, server)
	c.define(widgetDefinition)
	client := newClient(t, server)
	createNamespace(t, client, "going")
	holder := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "holder", Finalizers: []string{"example.com/hold"}}}
	if _, err := client.CoreV1().ConfigMaps("going").Create(t.Context(), holder, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := client.CoreV1().Namespaces().Delete(t.Context(), "going", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	going := c.dynamic.Resource(schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "widgets"}).Namespace("going")
	_, err := going.Create(t.Context(), widget("w", "{}"), metav1.CreateOptions{})
	if !apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		t.Errorf("a create in it: %v", err)
	}
}
