package custom_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/warning"
	"sigs.k8s.io/yaml"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/kind/custom"
	"github.com/knarr-io/knarr/internal/ownership"
	"github.com/knarr-io/knarr/internal/state/statetest"
	"github.com/knarr-io/knarr/internal/store"
	"github.com/knarr-io/knarr/internal/verb"
)

// definition makes a CustomResourceDefinition of widgets.example.com with the
// versions, in YAML, as it is after its names were accepted.
func definition(t testing.TB, versions string) *apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	crd := &apiextensionsv1.CustomResourceDefinition{}
	text := "metadata: {name: widgets.example.com}\nspec:\n  group: example.com\n  scope: Namespaced\n  conversion: {strategy: None}\n" +
		"  names: {plural: widgets, singular: widget, kind: Widget, listKind: Widgets, shortNames: [wd], categories: [all]}\n  versions:\n" + versions
	if err := yaml.UnmarshalStrict([]byte(text), crd); err != nil {
		t.Fatal(err)
	}
	crd.Status.AcceptedNames = crd.Spec.Names
	return crd
}

// simple is a definition of v1 alone, with the schema of its spec.
func simple(t testing.TB, spec string) *apiextensionsv1.CustomResourceDefinition {
	return definition(t, "  - name: v1\n    served: true\n    storage: true\n    schema: {openAPIV3Schema: {type: object, properties: {spec: "+spec+"}}}\n")
}

// cluster is a server of one definition without its HTTP side.
type cluster struct {
	t        *testing.T
	verbs    *verb.Verbs
	kinds    map[string]custom.Kind
	warnings []string
}

func newCluster(t *testing.T, crd *apiextensionsv1.CustomResourceDefinition) *cluster {
	t.Helper()
	st := statetest.Start(t)
	c := &cluster{t: t, kinds: map[string]custom.Kind{}}
	c.define(crd)
	managers := new(ownership.Managers)
	c.verbs = &verb.Verbs{State: st, Ownership: func(v *kind.Version, sub *kind.Subresource) ownership.Manager {
		return managers.NewCustom(ownership.Custom(c.kinds[v.Name].Owned(sub)))
	}}
	return c
}

func (c *cluster) define(crd *apiextensionsv1.CustomResourceDefinition) {
	c.t.Helper()
	maker, err := custom.NewMaker(nil)
	if err != nil {
		c.t.Fatal(err)
	}
	kinds, err := maker.Kinds(crd)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, k := range kinds {
		c.kinds[k.Versions[0].Name] = k
	}
}

// AddWarning keeps the warnings of a request.
func (c *cluster) AddWarning(_, text string) { c.warnings = append(c.warnings, text) }

// do does one request: a verb or a patch's media type on version/name/subresource.
func (c *cluster) do(what, path, body string, opts ...func(*metav1.PatchOptions)) (map[string]any, error) {
	c.t.Helper()
	parts := strings.Split(path+"//", "/")
	k, ok := c.kinds[parts[0]]
	if !ok {
		c.t.Fatalf("%s is not served", parts[0])
	}
	target := verb.Target{Version: k.Versions[0], Namespace: "ns", Name: parts[1], Subresource: k.Versions[0].Subresource(parts[2])}
	if parts[2] != "" && target.Subresource == nil {
		c.t.Fatalf("there is no %s", path)
	}
	o := metav1.PatchOptions{FieldManager: "tester"}
	for _, opt := range opts {
		opt(&o)
	}
	c.warnings = nil
	ctx := warning.WithWarningRecorder(target.Context(c.t.Context(), what, &user.DefaultInfo{Name: "tester"}), c)
	result, err := c.write(ctx, target, what, body, o)
	if err != nil {
		return nil, err
	}
	if target.Subresource != nil && target.Subresource.View != nil {
		shown, err := target.View(result.Object)
		if err != nil {
			return nil, err
		}
		return runtime.DefaultUnstructuredConverter.ToUnstructured(shown)
	}
	if result.Object == nil {
		return nil, nil
	}
	encoded, err := k.Versions[0].JSON.Encode(result.Object)
	if err != nil {
		return nil, err
	}
	content := map[string]any{}
	return content, json.Unmarshal(encoded, &content)
}

func (c *cluster) write(ctx context.Context, target verb.Target, what, body string, o metav1.PatchOptions) (*verb.Result, error) {
	switch what {
	case "get":
		found, err := c.verbs.Get(ctx, target, &metav1.GetOptions{})
		return &verb.Result{Object: found}, err
	case "delete":
		return c.verbs.Delete(ctx, target, &metav1.DeleteOptions{})
	case "create", "update":
		media := runtime.ContentTypeJSON
		if !strings.HasPrefix(body, "{") {
			media = runtime.ContentTypeYAML
		}
		info, _ := runtime.SerializerInfoForMediaType(target.Version.Resource.Serializer.SupportedMediaTypes(), media)
		obj, err := target.Decode(ctx, []byte(body), info, o.FieldValidation)
		if err != nil {
			return nil, err
		}
		if what == "create" {
			return c.verbs.Create(ctx, target, obj, &metav1.CreateOptions{FieldManager: o.FieldManager})
		}
		return c.verbs.Update(ctx, target, obj, &metav1.UpdateOptions{FieldManager: o.FieldManager})
	}
	return c.verbs.Patch(ctx, target, types.PatchType(what), []byte(body), &o)
}

const (
	apply     = string(types.ApplyYAMLPatchType)
	merge     = string(types.MergePatchType)
	jsonPatch = string(types.JSONPatchType)
)

func by(manager string) func(*metav1.PatchOptions) {
	return func(o *metav1.PatchOptions) { o.FieldManager = manager }
}

func validation(directive string) func(*metav1.PatchOptions) {
	return func(o *metav1.PatchOptions) { o.FieldValidation = directive }
}

// must is do that succeeds.
func (c *cluster) must(what, path, body string, opts ...func(*metav1.PatchOptions)) map[string]any {
	c.t.Helper()
	got, err := c.do(what, path, body, opts...)
	if err != nil {
		c.t.Fatalf("%s %s %s: %v", what, path, body, err)
	}
	return got
}

// refuse is do that fails with the words.
func (c *cluster) refuse(words, what, path, body string, opts ...func(*metav1.PatchOptions)) {
	c.t.Helper()
	_, err := c.do(what, path, body, opts...)
	if err == nil || err.Error() != words {
		c.t.Errorf("%s %s %s:\nis    %v\nwants %s", what, path, body, err, words)
	}
}

// store puts a value under the key of a widget, as another release may have.
func (c *cluster) store(name, value string) {
	c.t.Helper()
	for _, k := range c.kinds {
		if _, err := c.verbs.State.Commit(c.t.Context(), store.Change{Key: k.Storage.Key("ns", name), Value: []byte(value)}); err != nil {
			c.t.Fatal(err)
		}
		return
	}
}

// stored is what is kept of a widget.
func (c *cluster) stored(name string) string {
	return string(c.verbs.State.Get("/registry/example.com/widgets/ns/" + name).Value)
}

// names are the widgets that a field selector selects.
func (c *cluster) names(version, selector string) string {
	c.t.Helper()
	v := c.kinds[version].Versions[0]
	parsed, err := fields.ParseAndTransformSelector(selector, func(label, value string) (string, string, error) {
		return v.ConvertFieldLabel(label, value)
	})
	if err != nil {
		return err.Error()
	}
	list, err := c.verbs.List(c.t.Context(), verb.Target{Version: v, Namespace: "ns"}, &metainternalversion.ListOptions{FieldSelector: parsed})
	if err != nil {
		c.t.Fatal(err)
	}
	names := []string{}
	for _, o := range list.Objects {
		names = append(names, o.Name)
	}
	return strings.Join(names, " ")
}

// part is what content has at a path, as JSON.
func part(content map[string]any, path ...string) string {
	var at any = content
	for _, p := range path {
		m, _ := at.(map[string]any)
		at = m[p]
	}
	b, err := json.Marshal(at)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func widget(version, name, rest string) string {
	return fmt.Sprintf(`{"apiVersion":"example.com/%s","kind":"Widget","metadata":{"name":%q},%s}`, version, name, rest)
}
