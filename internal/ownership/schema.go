package ownership

import (
	"fmt"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/kube-openapi/pkg/schemaconv"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"k8s.io/kubernetes/pkg/generated/openapi"
	smdschema "sigs.k8s.io/structured-merge-diff/v6/schema"
	"sigs.k8s.io/structured-merge-diff/v6/typed"

	"github.com/knarr-io/knarr/internal/kind"
)

// types are the schemas of all native types, made on first use from the
// definitions that kube-apiserver generates: which lists are maps, and by which
// keys, which are sets or atomic. Upstream can only make all definitions at
// once, and that takes most of the time; so all of them are converted then,
// after which they take a fifth of the definitions' memory.
type types struct {
	once   sync.Once
	parser *typed.Parser
	err    error
}

func (t *types) get() (*typed.Parser, error) {
	t.once.Do(func() { t.parser, t.err = parse() })
	return t.parser, t.err
}

func parse() (*typed.Parser, error) {
	all := openapi.GetOpenAPIDefinitions(func(name string) spec.Ref {
		return spec.MustCreateRef("#/components/schemas/" + name)
	})
	models := make(map[string]*spec.Schema, len(all))
	for name, definition := range all {
		models[name] = &definition.Schema
	}
	s, err := schemaconv.ToSchemaFromOpenAPI(models, false)
	if err != nil {
		return nil, fmt.Errorf("converting OpenAPI definitions: %w", err)
	}
	return &typed.Parser{Schema: smdschema.Schema{Types: s.Types}}, nil
}

// definitions names the definitions of the kinds that a manager of gvk meets:
// the kind itself and, if it is that of v's objects, all served versions that show
// them, in which owners may have written. As upstream makes the schemas of the
// core group apart from those of all others, neither knows what was owned in
// the other: events lose their owners from the other group.
func definitions(v *kind.Version, gvk schema.GroupVersionKind) map[schema.GroupVersionKind]string {
	kinds := []schema.GroupVersionKind{gvk}
	if gvk == v.GVK() {
		for _, other := range slices.Concat(v.Resource.Versions, v.Resource.Cohabiting) {
			if core := v.Resource.Group == ""; core == (other.Resource.Group == "") {
				kinds = append(kinds, other.GVK())
			}
		}
	}
	names := make(map[schema.GroupVersionKind]string, len(kinds))
	for _, k := range kinds {
		if name, err := v.Resource.Scheme.ToOpenAPIDefinitionName(k); err == nil {
			names[k] = name
		}
	}
	return names
}

// named returns the schemas of the definitions with the names of kinds.
func (t *types) named(definitions map[schema.GroupVersionKind]string) func(schema.GroupVersionKind) (typed.ParseableType, error) {
	return func(gvk schema.GroupVersionKind) (typed.ParseableType, error) {
		name, ok := definitions[gvk]
		if !ok {
			return typed.ParseableType{}, runtime.NewNotRegisteredErrForKind("the served kinds", gvk)
		}
		parser, err := t.get()
		if err != nil {
			return typed.ParseableType{}, err
		}
		return parser.Type(name), nil
	}
}

// Types returns the schema of a native kind that a scheme knows.
func (m *Managers) Types(scheme *runtime.Scheme, gvk schema.GroupVersionKind) managedfields.TypeConverter {
	name, _ := scheme.ToOpenAPIDefinitionName(gvk) // empty if it has none
	return &converter{func(of schema.GroupVersionKind) (typed.ParseableType, error) {
		if of != gvk || name == "" {
			return typed.ParseableType{}, untyped(of)
		}
		parser, err := m.types.get()
		if err != nil {
			return typed.ParseableType{}, err
		}
		return parser.Type(name), nil
	}}
}

// Types returns the schemas of custom kinds; nil if they are deduced.
func Types(types map[schema.GroupVersionKind]typed.ParseableType) managedfields.TypeConverter {
	typeOf := typesOf(types)
	return &converter{func(of schema.GroupVersionKind) (typed.ParseableType, error) {
		t, err := typeOf(of)
		if err != nil {
			err = untyped(of)
		}
		return t, err
	}}
}

// untyped is upstream's error for a kind without a schema.
func untyped(gvk schema.GroupVersionKind) error {
	return fmt.Errorf("no corresponding type for %v", gvk)
}

// converter gives objects the schemas of their kinds. It is upstream's
// TypeConverter, less its need to have all schemas at once. That a kind is not
// served is the error by which upstream's rules know that what was owned in its
// version is owned no longer.
type converter struct {
	typeOf func(schema.GroupVersionKind) (typed.ParseableType, error)
}

// ObjectToTyped makes a value with a schema of obj, which it keeps.
func (c *converter) ObjectToTyped(obj runtime.Object, opts ...typed.ValidationOptions) (*typed.TypedValue, error) {
	t, err := c.typeOf(obj.GetObjectKind().GroupVersionKind())
	if err != nil {
		return nil, err
	}
	if u, ok := obj.(*unstructured.Unstructured); ok {
		return t.FromUnstructured(u.Object, opts...)
	}
	return t.FromStructured(obj, opts...)
}

// TypedToObject makes an unstructured object of a value, which it keeps.
func (c *converter) TypedToObject(value *typed.TypedValue) (runtime.Object, error) {
	content := value.AsValue().Unstructured()
	object, ok := content.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%T is not an object", content)
	}
	return &unstructured.Unstructured{Object: object}, nil
}
