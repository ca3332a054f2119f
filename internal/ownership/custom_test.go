package ownership_test

import (
	"encoding/json"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/kube-openapi/pkg/schemaconv"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"k8s.io/kubernetes/pkg/generated/openapi"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	smdschema "sigs.k8s.io/structured-merge-diff/v6/schema"
	"sigs.k8s.io/structured-merge-diff/v6/typed"

	"github.com/knarr-io/knarr/internal/ownership"
)

// widgetSchema has all that a schema of custom resources can say about owners.
const widgetSchema = `{
	"type": "object",
	"x-kubernetes-group-version-kind": [{"group": "example.com", "version": "v1", "kind": "Widget"}, {"group": "example.com", "version": "v2", "kind": "Widget"}],
	"properties": {
		"apiVersion": {"type": "string"}, "kind": {"type": "string"},
		"metadata": {"$ref": "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"},
		"status": {"type": "object", "properties": {"text": {"type": "string"}, "count": {"type": "integer"}, "numbers": {"type": "array", "items": {"type": "integer"}, "x-kubernetes-list-type": "set"}}},
		"spec": {
			"type": "object",
			"properties": {
				"text": {"type": "string"}, "count": {"type": "integer"}, "any": {"x-kubernetes-int-or-string": true},
				"labels": {"type": "object", "additionalProperties": {"type": "string"}},
				"set": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
				"numbers": {"type": "array", "items": {"type": "number"}, "x-kubernetes-list-type": "set"},
				"atomicList": {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}, "count": {"type": "integer"}}}},
				"atomicMap": {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {"items": {
					"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
					"items": {"type": "object", "properties": {"name": {"type": "string"}, "value": {"type": "string"}}}}, "text": {"type": "string"}}},
				"free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
				"embedded": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"name": {"type": "string"}, "set": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"}}},
				"items": {
					"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port", "name"],
					"items": {"type": "object", "properties": {
						"name": {"type": "string", "default": "x"}, "port": {"type": "integer"}, "value": {"type": "string"},
						"set": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
						"deep": {"type": "object", "properties": {"text": {"type": "string"}, "labels": {"type": "object", "additionalProperties": {"type": "object", "properties": {"text": {"type": "string"}}}}}}
					}}
				}
			}
		}
	}
}`

// widgets are a custom kind, with a schema and without.
type widgets struct {
	definitions map[string]*spec.Schema
	types       map[schema.GroupVersionKind]typed.ParseableType
	made        map[widgetManager]*managedfields.FieldManager
	ours        map[widgetManager]ownership.Manager
}

type widgetManager struct {
	version            string
	schemaless, status bool
}

func newWidgets(t testing.TB) *widgets {
	w := &widgets{definitions: map[string]*spec.Schema{}, types: map[schema.GroupVersionKind]typed.ParseableType{},
		made: map[widgetManager]*managedfields.FieldManager{}, ours: map[widgetManager]ownership.Manager{}}
	all := openapi.GetOpenAPIDefinitions(func(name string) spec.Ref { return spec.MustCreateRef("#/components/schemas/" + name) })
	for _, name := range []string{"ObjectMeta", "OwnerReference", "ManagedFieldsEntry", "FieldsV1", "Time"} {
		name = "io.k8s.apimachinery.pkg.apis.meta.v1." + name
		definition := all[name].Schema
		w.definitions[name] = &definition
	}
	widget := &spec.Schema{}
	if err := json.Unmarshal([]byte(widgetSchema), widget); err != nil {
		t.Fatal(err)
	}
	w.definitions["Widget"] = widget
	converted, err := schemaconv.ToSchemaFromOpenAPI(w.definitions, false)
	if err != nil {
		t.Fatal(err)
	}
	parser := &typed.Parser{Schema: smdschema.Schema{Types: converted.Types}}
	for _, version := range []string{"v1", "v2"} {
		w.types[widgetKind(version)] = parser.Type("Widget")
	}
	return w
}

func widgetKind(version string) schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: "example.com", Version: version, Kind: "Widget"}
}

// managers returns upstream's and ours.
func (w *widgets) managers(t testing.TB, managers *ownership.Managers, key widgetManager) (*managedfields.FieldManager, ownership.Manager) {
	if w.made[key] != nil {
		return w.made[key], w.ours[key]
	}
	gvk, hub := widgetKind(key.version), widgetKind("v1").GroupVersion()
	converter, err := managedfields.NewTypeConverter(w.definitions, false)
	if err != nil {
		t.Fatal(err)
	}
	types := w.types
	if key.schemaless {
		converter, types = managedfields.NewDeducedTypeConverter(), nil
	}
	subresource, reset := "", "status"
	if key.status {
		subresource, reset = "status", "spec"
	}
	resets := map[fieldpath.APIVersion]*fieldpath.Set{}
	for _, v := range []string{"v1", "v2"} {
		resets[fieldpath.APIVersion("example.com/"+v)] = fieldpath.NewSet(fieldpath.MakePathOrDie(reset), fieldpath.MakePathOrDie("metadata", "deletionTimestamp"))
	}
	scheme := widgetScheme{}
	w.made[key], err = managedfields.NewDefaultCRDFieldManager(converter, scheme, scheme, scheme, gvk, hub, subresource, fieldpath.NewExcludeFilterSetMap(resets))
	if err != nil {
		t.Fatal(err)
	}
	w.ours[key] = managers.NewCustom(ownership.Custom{
		GVK: gvk, Hub: hub, Subresource: subresource, Types: types, Convertor: scheme, Defaulter: scheme, Creater: scheme,
		ResetFields: func() map[fieldpath.APIVersion]*fieldpath.Set { return resets },
	})
	return w.made[key], w.ours[key]
}

// widgetScheme converts by the name of the version alone.
type widgetScheme struct{ runtime.ObjectConvertor }

func (widgetScheme) Default(runtime.Object) {}

func (widgetScheme) New(gvk schema.GroupVersionKind) (runtime.Object, error) {
	u := &unstructured.Unstructured{Object: map[string]any{}}
	u.SetGroupVersionKind(gvk)
	return u, nil
}

func (widgetScheme) ConvertToVersion(in runtime.Object, to runtime.GroupVersioner) (runtime.Object, error) {
	gvk := in.GetObjectKind().GroupVersionKind()
	target, ok := to.KindForGroupVersionKinds([]schema.GroupVersionKind{gvk})
	if !ok || target.Group != "example.com" || target.Version > "v2" {
		return nil, runtime.NewNotRegisteredErrForTarget("widgets", nil, to)
	}
	if target == gvk {
		return in, nil
	}
	out := in.DeepCopyObject()
	out.GetObjectKind().SetGroupVersionKind(target)
	return out, nil
}

// custom is the life of a custom object.
func (s *sequence) custom() {
	w := s.widgets
	schemaless := s.rand.Intn(3) == 0
	metadata := map[string]any{"name": "it"}
	if s.rand.Intn(2) == 0 {
		metadata["labels"] = map[string]any{"a": "b"}
	}
	item := map[string]any{"name": "a", "port": int64(1), "set": []any{"x"}, "deep": map[string]any{"labels": map[string]any{"a": map[string]any{"text": "t"}}}}
	obj := &unstructured.Unstructured{Object: map[string]any{
		"metadata": metadata,
		"spec": map[string]any{
			"text": "t", "items": []any{item, map[string]any{"port": int64(2)}}, "set": []any{"a", "b"}, "labels": map[string]any{"a": "b"},
			"atomicMap": map[string]any{"items": []any{map[string]any{"name": "a"}}}, "atomicList": []any{map[string]any{"name": "a"}},
			"free": map[string]any{"deep": map[string]any{"text": "a", "items": []any{}}}, "embedded": map[string]any{"name": "a", "other": map[string]any{"a": nil}},
			"numbers": []any{int64(1), int64(2)}, "any": "x",
		},
		"status": map[string]any{"text": "t", "numbers": []any{int64(2)}},
	}}
	obj.SetGroupVersionKind(widgetKind("v1"))
	none := &unstructured.Unstructured{Object: map[string]any{}}
	none.SetGroupVersionKind(widgetKind("v1"))
	theirs, ours := w.managers(s, s.managers, widgetManager{"v1", schemaless, false})
	live := s.write(widgetKind("v1"), theirs, ours, none, obj).(*unstructured.Unstructured)
	for range 12 {
		live.SetUID("u")
		version := "v1"
		if s.rand.Intn(25) == 0 {
			version = "v2"
		}
		obj := s.changed(live)
		if !schemaless {
			for s.rand.Intn(50) > 0 && !w.valid(obj) {
				obj = s.changed(live)
			}
		}
		s.owners(obj, live)
		theirs, ours := w.managers(s, s.managers, widgetManager{version, schemaless, s.rand.Intn(4) == 0})
		live = s.write(widgetKind(version), theirs, ours, live, obj).(*unstructured.Unstructured)
		if !schemaless && !w.valid(live) {
			return
		}
	}
}

func (w *widgets) valid(obj *unstructured.Unstructured) bool {
	_, err := w.types[widgetKind("v1")].FromUnstructured(obj.Object, typed.AllowDuplicates)
	return err == nil
}

// changed is a copy of a custom object with some changes.
func (s *sequence) changed(live *unstructured.Unstructured) *unstructured.Unstructured {
	obj := live.DeepCopy()
	for range s.rand.Intn(4) {
		if s.rand.Intn(6) == 0 {
			obj.SetLabels(map[string]string{s.rand.text(): s.rand.text()})
		}
		part := []string{"spec", "spec", "spec", "status"}[s.rand.Intn(4)]
		obj.Object[part] = s.rand.content(obj.Object[part], 0)
	}
	return obj
}
