package custom

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	"github.com/knarr-io/knarr/internal/object"
)

// formOf returns the JSON form of Widgets in example.com/v1 with a schema.
func formOf(t testing.TB, schema string) *verbatim {
	t.Helper()
	crd := &apiextensionsv1.CustomResourceDefinition{}
	text := `{metadata: {name: widgets.example.com}, spec: {group: example.com, scope: Namespaced, conversion: {strategy: None},
		names: {plural: widgets, singular: widget, kind: Widget, listKind: Widgets},
		versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: ` + schema + `}}]}}`
	if err := yaml.UnmarshalStrict([]byte(text), crd); err != nil {
		t.Fatalf("%s: %v", schema, err)
	}
	crd.Status.AcceptedNames = crd.Spec.Names
	maker, err := NewMaker(nil)
	if err != nil {
		t.Fatal(err)
	}
	kinds, err := maker.Kinds(crd)
	if err != nil {
		t.Fatalf("%s: %v", schema, err)
	}
	return kinds[0].Versions[0].JSON.(*verbatim)
}

// both returns how a value is encoded if it can be as it is stored, which ok
// tells, and by decoding it. They must be equal.
func (v *verbatim) both(t testing.TB, value string) (encoded string, ok bool) {
	t.Helper()
	o := &object.Object{Name: "w", Namespace: "ns", Rev: 7, Value: []byte(value)}
	root, err := v.shape.get()
	if err != nil {
		t.Fatal(err)
	}
	if root != nil {
		at, _ := v.splice(root, o.Value)
		ok = at > 0
	}
	got, gotErr := v.Encode(o)
	want, err := v.decoded.Encode(o)
	if string(got) != string(want) || (gotErr == nil) != (err == nil) {
		t.Errorf("%s is\n%s, %v, decoded\n%s, %v", value, got, gotErr, want, err)
	}
	return string(got), ok
}

const widgetSchema = `{type: object, properties: {
	apiVersion: {type: string}, kind: {type: string}, metadata: {type: object},
	spec: {type: object, properties: {
		text: {type: string}, size: {type: integer}, ratio: {type: number}, ready: {type: boolean}, either: {x-kubernetes-int-or-string: true},
		standing: {type: string, default: a}, list: {type: array, items: {type: object, properties: {a: {type: string}, b: {type: string, default: b}}}},
		map: {type: object, additionalProperties: {type: string}}, maps: {type: object, additionalProperties: {type: object, properties: {a: {type: string, nullable: true}}}},
		any: {type: object, x-kubernetes-preserve-unknown-fields: true, properties: {known: {type: object, properties: {a: {type: string}}}}},
		inside: {type: object, x-kubernetes-embedded-resource: true, x-kubernetes-preserve-unknown-fields: true},
		lists: {type: array, items: {type: array, items: {type: integer}}}, empty: {type: object}}}}}`

func TestVerbatim(t *testing.T) {
	v := formOf(t, widgetSchema)
	const metadata = `"creationTimestamp":"2026-01-02T03:04:05Z","generation":1,"managedFields":[{"apiVersion":"example.com/v1","fieldsType":"FieldsV1",` +
		`"fieldsV1":{"f:spec":{".":{},"k:{\"a\":\"b\"}":{}}},"manager":"m","operation":"Update","time":"2026-01-02T03:04:05Z"}],"name":"w","namespace":"ns"`
	whole := func(metadata, rest string) string {
		return `{"apiVersion":"example.com/v1","kind":"Widget","metadata":{` + metadata + `,"uid":"u"}` + rest + "}\n"
	}
	spec := func(content string) string { return whole(metadata, `,"spec":{`+content+`}`) }
	for _, c := range []struct {
		what, value string
		verbatim    bool
	}{
		{"without a spec", whole(metadata, ""), true},
		{"plain", spec(`"standing":"x","text":"t"`), true},
		{"all there is", spec(`"any":{"known":{"a":"b"},"new":{"x":[null,1.5,{}]}},"either":1,"empty":{},"list":[{"a":"b","b":"c"},{"b":"d"}],"lists":[[1,2],[]],` +
			`"map":{"a":"b","c":"d"},"maps":{"x":{"a":"b"}},"ratio":0.25,"ready":true,"size":-3,"standing":"s","text":"é\n\t\"\\\u003c\u0001"`), true},
		{"without a default", spec(`"text":"t"`), false},
		{"without a default in a list", spec(`"list":[{"a":"b"}],"standing":"x"`), false},
		{"unknown field", spec(`"standing":"x","unknown":1`), false},
		{"unknown in what is kept", spec(`"any":{"known":{"b":"c"}},"standing":"x"`), false},
		{"unknown at the top", whole(metadata, `,"other":1`), false},
		{"null", spec(`"standing":"x","text":null`), false},
		{"null that may be", spec(`"maps":{"x":{"a":null}},"standing":"x"`), false},
		{"embedded object", spec(`"inside":{"apiVersion":"v1","kind":"K","metadata":{"nonsense":1}},"standing":"x"`), false},
		{"part where there is none", spec(`"standing":{"a":1}`), false},
		{"another order", spec(`"text":"t","standing":"x"`), false},
		{"twice", spec(`"standing":"x","standing":"x"`), false},
		{"space", spec(`"standing": "x"`), false},
		{"float that is whole", spec(`"ratio":1.0,"standing":"x"`), false},
		{"exponent", spec(`"ratio":1e+21,"standing":"x"`), true},
		{"no exponent", spec(`"ratio":1e3,"standing":"x"`), false},
		{"too large", spec(`"size":9223372036854775808,"standing":"x"`), false},
		{"largest", spec(`"size":9223372036854775807,"standing":"x"`), true},
		{"minus nothing", spec(`"size":-0,"standing":"x"`), false},
		{"zeros", spec(`"size":01,"standing":"x"`), false},
		{"character that is escaped", spec(`"standing":"<"`), false},
		{"escape that need not be", spec(`"standing":"\u0041"`), false},
		{"line separator", spec(`"standing":"\u2028"`), false},
		{"not UTF-8", spec("\"standing\":\"\xff\""), false},
		{"another version", strings.Replace(spec(`"standing":"x"`), "/v1", "/v2", 1), false},
		{"another kind", strings.Replace(spec(`"standing":"x"`), "Widget", "Gadget", 1), false},
		{"no generation", strings.Replace(spec(`"standing":"x"`), `"generation":1,`, "", 1), false},
		{"a resourceVersion", strings.Replace(spec(`"standing":"x"`), `,"uid"`, `,"resourceVersion":"3","uid"`, 1), false},
		{"empty labels", strings.Replace(spec(`"standing":"x"`), `"managedF`, `"labels":{},"managedF`, 1), false},
		{"labels", strings.Replace(spec(`"standing":"x"`), `"managedF`, `"labels":{"a":""},"managedF`, 1), true},
		{"label that is none", strings.Replace(spec(`"standing":"x"`), `"managedF`, `"labels":{"a":1},"managedF`, 1), false},
		{"unknown metadata", strings.Replace(spec(`"standing":"x"`), `"name"`, `"nam":"","name"`, 1), false},
		{"time in parts of a second", strings.Replace(spec(`"standing":"x"`), `:05Z"`, `:05.1Z"`, 1), false},
		{"owner", strings.Replace(spec(`"standing":"x"`), `,"uid"`, `,"ownerReferences":[{"apiVersion":"v1","controller":true,"kind":"K","name":"n","uid":""}],"uid"`, 1), true},
		{"half an owner", strings.Replace(spec(`"standing":"x"`), `,"uid"`, `,"ownerReferences":[{"apiVersion":"v1","kind":"K","name":"n"}],"uid"`, 1), false},
		{"no metadata", `{"apiVersion":"example.com/v1","kind":"Widget"}`, false},
		{"more after it", spec(`"standing":"x"`) + "{}", false},
		{"half", spec(`"standing":"x"`)[:200], false},
		{"nothing", "", false},
	} {
		if _, ok := v.both(t, c.value); ok != c.verbatim {
			t.Errorf("%s: taken as it is stored: %t, want %t", c.what, ok, c.verbatim)
		}
	}
}

// TestNeverVerbatim has schemas by which only decoding can go.
func TestNeverVerbatim(t *testing.T) {
	for _, schema := range []string{
		`{type: object, properties: {metadata: {type: object, properties: {name: {type: string, default: a}}}}}`,
		`{type: object, additionalProperties: {type: string}}`,
	} {
		if _, ok := formOf(t, schema).both(t, `{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"generation":1,"name":"w","uid":"u"}}`); ok {
			t.Errorf("%s: taken as it is stored", schema)
		}
	}
}

// chance makes schemas and objects, by a seed.
type chance struct{ *rand.Rand }

func (c chance) pick(from ...string) string { return from[c.IntN(len(from))] }

// schema returns a structural schema, as YAML's JSON.
func (c chance) schema(depth int) map[string]any {
	s := map[string]any{}
	switch kind := c.IntN(9); {
	case depth > 0 && kind < 4:
		s["type"] = "object"
		switch c.IntN(5) {
		case 0:
			s["additionalProperties"] = c.schema(depth - 1)
		case 1:
			s["additionalProperties"] = true
		default:
			properties := map[string]any{}
			for range c.IntN(4) {
				properties[c.pick("a", "b", "c", "metadata", "kind")] = c.schema(depth - 1)
			}
			s["properties"] = properties
		}
		if c.IntN(5) == 0 {
			s["x-kubernetes-preserve-unknown-fields"] = true
			if c.IntN(2) == 0 && s["additionalProperties"] == nil {
				s["x-kubernetes-embedded-resource"] = true
				delete(s, "properties")
			}
		}
	case depth > 0 && kind == 4:
		s["type"], s["items"] = "array", c.schema(depth-1)
	case kind == 5:
		s["x-kubernetes-preserve-unknown-fields"] = true
	case kind == 6:
		s["x-kubernetes-int-or-string"] = true
	default:
		s["type"] = c.pick("string", "integer", "number", "boolean")
		if s["type"] == "string" && c.IntN(3) == 0 {
			s["default"] = c.pick("", "x", "é<")
		}
	}
	if c.IntN(4) == 0 {
		s["nullable"] = true
	}
	return s
}

// value returns one that a schema lets in, mostly.
func (c chance) value(s map[string]any, depth int) any {
	if c.IntN(25) == 0 || s == nil {
		return c.anything(depth)
	}
	object := map[string]any{}
	switch s["type"] {
	case "object":
		properties, _ := s["properties"].(map[string]any)
		for name, of := range properties {
			of := of.(map[string]any)
			if _, defaulted := of["default"]; c.IntN(3) > 0 || defaulted && c.IntN(10) > 0 {
				object[name] = c.value(of, depth-1)
			}
		}
		if others, ok := s["additionalProperties"].(map[string]any); ok {
			for range c.IntN(3) {
				object[c.pick("a", "x<", "\"", "\u2028", "é")] = c.value(others, depth-1)
			}
		}
		if c.IntN(30) == 0 {
			object["unknown"] = c.anything(1)
		}
		return object
	case "array":
		list := []any{}
		for range c.IntN(3) {
			list = append(list, c.value(s["items"].(map[string]any), depth-1))
		}
		return list
	case "integer":
		return c.Int64()>>c.IntN(64) - 3
	case "number":
		return c.NormFloat64() * 1e10
	case "boolean":
		return c.IntN(2) == 0
	case "string":
		return c.pick("", "plain", "tab\t", "é", "<&>", "\u2028", "\x01\x7f", `back\slash`)
	}
	return c.anything(depth)
}

func (c chance) anything(depth int) any {
	switch kind := c.IntN(8); {
	case kind == 0:
		return nil
	case kind == 1 && depth > 0:
		return map[string]any{c.pick("a", "b", "metadata"): c.anything(depth - 1)}
	case kind == 2 && depth > 0:
		return []any{c.anything(depth - 1)}
	case kind < 5:
		return c.IntN(100)
	}
	return c.pick("", "x", "\n")
}

func (c chance) metadata() map[string]any {
	m := map[string]any{"name": "w", "namespace": "ns", "uid": "u", "generation": 1, "creationTimestamp": "2026-01-02T03:04:05Z"}
	if c.IntN(2) == 0 {
		m["labels"] = map[string]any{"a": c.pick("", "b"), "c": "d"}
	}
	if c.IntN(3) == 0 {
		m["managedFields"] = []any{map[string]any{"manager": "m", "fieldsV1": map[string]any{"f:a": map[string]any{}, `k:{"x":1}`: map[string]any{}}}}
	}
	if c.IntN(20) == 0 {
		m[c.pick("labels", "finalizers", "generation", "unknown", "selfLink", "deletionTimestamp")] = c.anything(2)
	}
	return m
}

// TestVerbatimProperty compares with decoding whatever chance brings.
func TestVerbatimProperty(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	c := chance{rand.New(rand.NewPCG(seed, 0))}
	schemas, objects := 300, 100
	if testing.Short() {
		schemas = 30
	}
	asStored := 0
	for range schemas {
		spec, status := c.schema(3), c.schema(2)
		text, err := json.Marshal(map[string]any{"type": "object", "properties": map[string]any{"spec": spec, "status": status}})
		if err != nil {
			t.Fatal(err)
		}
		v := formOf(t, string(text))
		for range objects {
			object := map[string]any{"apiVersion": "example.com/v1", "kind": "Widget", "metadata": c.metadata(), "spec": c.value(spec, 3)}
			if c.IntN(2) == 0 {
				object["status"] = c.value(status, 2)
			}
			value, err := json.Marshal(object)
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := v.both(t, string(value)+"\n"); ok {
				asStored++
			}
		}
		if t.Failed() {
			t.Fatalf("schema %s", text)
		}
	}
	if part := float64(asStored) / float64(schemas*objects); part < 0.1 {
		t.Errorf("no more than %.2f of all objects were taken as they are stored", part)
	} else {
		t.Logf("%.2f of all objects were taken as they are stored", part)
	}
}

func FuzzVerbatim(f *testing.F) {
	v := formOf(f, widgetSchema)
	const head = `{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"generation":1,"name":"w","uid":"u"},"spec":`
	for _, spec := range []string{
		`{"standing":"x"}`, `{"any":{"a":[1,null,-0.5e-7]},"standing":"\u003c\\"}`, `{"list":[{"b":"\n"}],"standing":""}`, `{"maps":{"é":{}},"standing":"b"}`,
	} {
		f.Add(fmt.Appendf(nil, "%s%s}\n", head, spec))
	}
	f.Fuzz(func(t *testing.T, value []byte) { v.both(t, string(value)) })
}
