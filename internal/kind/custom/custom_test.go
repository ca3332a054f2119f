package custom_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/knarr-io/knarr/internal/kind/custom"
)

// Bodies come out as their schema has them.
func TestBodies(t *testing.T) {
	const spec = `{type: object, nullable: true, properties: {
		text: {type: string}, count: {type: integer, default: 3}, maybe: {type: string, nullable: true}, filled: {type: string, default: x},
		any: {x-kubernetes-int-or-string: true},
		free: {type: object, x-kubernetes-preserve-unknown-fields: true, properties: {known: {type: object, properties: {a: {type: string}}}}},
		embedded: {type: object, x-kubernetes-embedded-resource: true, x-kubernetes-preserve-unknown-fields: true},
		list: {type: array, items: {type: object, properties: {a: {type: string}, b: {type: string, default: z}}}}}}`
	for _, tt := range []struct{ name, spec, want, err string }{
		{name: "unknown fields go", spec: `{"text":"a","other":1}`, want: `{"count":3,"filled":"x","text":"a"}`},
		{name: "defaults", spec: `{"list":[{"a":"1","c":1}]}`, want: `{"count":3,"filled":"x","list":[{"a":"1","b":"z"}]}`},
		{name: "nulls: kept if allowed, else gone or the default", spec: `{"maybe":null,"text":null,"filled":null}`, want: `{"count":3,"filled":"x","maybe":null}`},
		{name: "a null object", spec: `null`, want: `null`},
		{name: "an int", spec: `{"any":1}`, want: `{"any":1,"count":3,"filled":"x"}`},
		{name: "a string", spec: `{"any":"1"}`, want: `{"any":"1","count":3,"filled":"x"}`},
		{name: "neither", spec: `{"any":true}`, err: `Widget.example.com "w" is invalid: spec.any: Invalid value: "boolean": spec.any in body must be of type integer,string: "boolean"`},
		{name: "preserved, but where known pruned", spec: `{"free":{"x":{"y":1},"known":{"a":"b","c":1}}}`, want: `{"count":3,"filled":"x","free":{"known":{"a":"b"},"x":{"y":1}}}`},
		{name: "embedded", spec: `{"embedded":{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","odd":1},"spec":{"a":1}}}`,
			want: `{"count":3,"embedded":{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},"spec":{"a":1}},"filled":"x"}`},
		{name: "embedded without kind", spec: `{"embedded":{"apiVersion":"v1"}}`, err: `Widget.example.com "w" is invalid: spec.embedded.kind: Required value`},
		{name: "embedded with metadata of another type", spec: `{"embedded":{"apiVersion":"v1","kind":"Pod","metadata":{"labels":{"a":1}}}}`,
			err: `spec.embedded.metadata: Invalid value`},
		{name: "another type", spec: `{"text":1}`, err: `Widget.example.com "w" is invalid: spec.text: Invalid value: "integer": spec.text in body must be of type string: "integer"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCluster(t, simple(t, spec))
			got, err := c.do("create", "v1", widget("v1", "w", `"spec":`+tt.spec))
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("is    %v\nwants %s", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if s := part(got, "spec"); s != tt.want {
				t.Errorf("is    %s\nwants %s", s, tt.want)
			}
		})
	}
}

// A life, with what is stored and the words of what is refused.
func TestLife(t *testing.T) {
	c := newCluster(t, simple(t, `{type: object, required: [text], properties: {text: {type: string, maxLength: 5}, count: {type: integer, minimum: 1}}}`))
	got := c.must("create", "v1", widget("v1", "w", `"spec":{"text":"a"}`))
	if part(got, "metadata", "generation") != "1" || part(got, "kind") != `"Widget"` || part(got, "metadata", "resourceVersion") == "null" {
		t.Errorf("created: %v", got)
	}
	if s := c.stored("w"); !strings.HasPrefix(s, `{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"creationTimestamp":`) || !strings.HasSuffix(s, `"spec":{"text":"a"}}`+"\n") ||
		strings.Contains(s, "resourceVersion") || !strings.Contains(s, `"managedFields"`) {
		t.Errorf("stored: %s", s)
	}
	c.refuse(`widgets.example.com "w" already exists`, "create", "v1", widget("v1", "w", `"spec":{"text":"a"}`))
	c.refuse(`Widget.example.com "x" is invalid: spec.text: Required value`, "create", "v1", widget("v1", "x", `"spec":{}`))
	c.refuse(`Widget.example.com "x" is invalid: spec.text: Too long: may not be more than 5 bytes`, "create", "v1", widget("v1", "x", `"spec":{"text":"abcdef"}`))
	c.refuse(`Widget.example.com "x" is invalid: spec.count: Invalid value: 0: spec.count in body should be greater than or equal to 1`,
		"create", "v1", widget("v1", "x", `"spec":{"text":"a","count":0}`))
	c.refuse(`widgets.example.com "w" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an update`,
		"update", "v1/w", widget("v1", "w", `"spec":{"text":"b"}`))
	c.refuse(`the API version in the data (example.com/v2) does not match the expected API version (example.com/v1)`, "create", "v1", widget("v2", "x", `"spec":{"text":"a"}`))
	c.refuse(`Gadget.example.com "x" is invalid: kind: Invalid value: "Gadget": must be Widget`, "create", "v1",
		strings.Replace(widget("v1", "x", `"spec":{"text":"a"}`), "Widget", "Gadget", 1))

	got = c.must(merge, "v1/w", `{"spec":{"text":"b"}}`)
	if part(got, "spec", "text") != `"b"` || part(got, "metadata", "generation") != "2" {
		t.Errorf("merged: %v", got)
	}
	got = c.must(jsonPatch, "v1/w", `[{"op":"add","path":"/metadata/labels","value":{"a":"b"}}]`)
	if part(got, "metadata", "labels") != `{"a":"b"}` || part(got, "metadata", "generation") != "2" {
		t.Errorf("labeled: %v", got)
	}
	got["spec"] = map[string]any{"text": "c"}
	delete(got["metadata"].(map[string]any), "managedFields")
	got = c.must("update", "v1/w", `{"apiVersion":"example.com/v1","kind":"Widget","metadata":`+part(got, "metadata")+`,"spec":{"text":"c"}}`)
	if part(got, "spec") != `{"text":"c"}` {
		t.Errorf("updated: %v", got)
	}
	c.must("create", "v1", "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: other}\nspec: {text: yaml}\n")
	if names := c.names("v1", "metadata.name!=w"); names != "other" {
		t.Errorf("listed: %s", names)
	}
	c.must("delete", "v1/w", "")
	c.refuse(`widgets.example.com "w" not found`, "get", "v1/w", "")
}

func TestStrictness(t *testing.T) {
	c := newCluster(t, simple(t, `{type: object, properties: {text: {type: string}, embedded: {type: object, x-kubernetes-embedded-resource: true}}}`))
	const body = `"spec":{"text":"a","text":"b","other":1,"embedded":{"apiVersion":"v1","kind":"A","metadata":{"odd":1}}},"top":1`
	unknown := []string{`unknown field "spec.embedded.metadata.odd"`, `unknown field "spec.other"`, `unknown field "top"`}
	check := func(directive string, want []string) {
		t.Helper()
		c.must("create", "v1", widget("v1", "w"+strings.ToLower(directive), body), validation(directive))
		slices.Sort(c.warnings)
		if diff := cmp.Diff(want, c.warnings); diff != "" {
			t.Errorf("%s (-want +got):\n%s", directive, diff)
		}
	}
	check("Ignore", nil)
	check("Warn", append([]string{`duplicate field "spec.text"`}, unknown...))
	_, err := c.do("create", "v1", widget("v1", "x", body), validation("Strict"))
	if err == nil || !strings.HasPrefix(err.Error(), `Widget in version "v1" cannot be handled as a Widget: strict decoding error: duplicate field "spec.text", `) {
		t.Errorf("strict: %v", err)
	}
	_, err = c.do(merge, "v1/wwarn", `{"spec":{"other":1}}`, validation("Strict"))
	if err == nil || !strings.Contains(err.Error(), `strict decoding error: unknown field "spec.other"`) {
		t.Errorf("strict patch: %v", err)
	}
}

const twoVersions = `
  - name: v1
    served: true
    storage: true
    deprecated: true
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {text: {type: string}, old: {type: string, default: old}}}}}}
    selectableFields: [{jsonPath: .spec.old}]
    additionalPrinterColumns: [{name: Text, type: string, jsonPath: .spec.text, priority: 1}, {name: Age, type: date, jsonPath: .metadata.creationTimestamp}]
  - name: v2
    served: true
    storage: false
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {text: {type: string}, new: {type: string, default: new}}}}}}
  - name: v3
    served: false
    storage: false
    schema: {openAPIV3Schema: {type: object}}
`

// Versions share what is stored. Reading sets the defaults of the stored version.
func TestVersions(t *testing.T) {
	c := newCluster(t, definition(t, twoVersions))
	if len(c.kinds) != 2 {
		t.Fatalf("%d versions", len(c.kinds))
	}
	got := c.must("create", "v2", widget("v2", "w", `"spec":{"text":"a"}`))
	// The version that is stored does not know the field new.
	if s := c.stored("w"); !strings.HasPrefix(s, `{"apiVersion":"example.com/v1"`) || !strings.HasSuffix(s, `"spec":{"text":"a"}}`+"\n") {
		t.Errorf("stored as %s", s)
	}
	if part(got, "apiVersion") != `"example.com/v2"` {
		t.Errorf("answered: %v", got)
	}
	got = c.must("get", "v1/w", "")
	if part(got, "apiVersion") != `"example.com/v1"` || part(got, "spec") != `{"old":"old","text":"a"}` {
		t.Errorf("in v1: %v", got)
	}
	c.store("old", `{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"old","namespace":"ns","uid":"u","labels":{"a":1},"annotations":{"b":"c"}},"spec":{"text":"a","gone":1},"items":[]}`)
	got = c.must("get", "v1/old", "")
	if part(got, "spec") != `{"old":"old","text":"a"}` || part(got, "metadata", "labels") != "null" || part(got, "metadata", "annotations") != `{"b":"c"}` || part(got, "metadata", "generation") != "1" {
		t.Errorf("read from the store: %v", got)
	}
	got = c.must("get", "v2/old", "")
	if part(got, "spec") != `{"text":"a"}` {
		t.Errorf("read in v2: %v", got)
	}
	got = c.must(merge, "v2/old", `{"spec":{"text":"b"}}`)
	if part(got, "spec", "text") != `"b"` {
		t.Errorf("written in v2: %v", got)
	}
	if names := c.names("v1", "spec.old=old,metadata.namespace=ns"); names != "old w" {
		t.Errorf("selected: %s", names)
	}
	if words := c.names("v2", "spec.old=old"); words != "field label not supported: spec.old" {
		t.Errorf("selected in v2: %s", words)
	}
}

// Discovery and lists are told what the definition says.
func TestCatalogue(t *testing.T) {
	c := newCluster(t, definition(t, twoVersions))
	v1, v2 := c.kinds["v1"].Versions[0], c.kinds["v2"].Versions[0]
	if v1.Deprecated != "example.com/v1 Widget is deprecated; use example.com/v2 Widget" || v2.Deprecated != "" {
		t.Errorf("deprecated: %q, %q", v1.Deprecated, v2.Deprecated)
	}
	if k := v1.ListGVK().Kind; k != "Widgets" {
		t.Errorf("a list is %s", k)
	}
	if v1.Protobuf != nil || v1.MetadataProtobuf == nil {
		t.Error("objects have no protobuf form, their metadata has")
	}
	if v1.Resource.Storage.Prefix != v2.Resource.Storage.Prefix || v1.Resource.Singular != "widget" || v1.Resource.ShortNames[0] != "wd" {
		t.Errorf("%+v", v1.Resource)
	}
	c.must("create", "v1", widget("v1", "w", `"spec":{"text":"a"}`))
	obj, err := v1.Resource.Decode(c.verbs.State.Get("/registry/example.com/widgets/ns/w"))
	if err != nil {
		t.Fatal(err)
	}
	table, err := v1.Resource.Table.ConvertToTable(t.Context(), obj, &metav1.TableOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, column := range table.ColumnDefinitions {
		names = append(names, column.Name)
	}
	if diff := cmp.Diff([]string{"Name", "Text", "Age"}, names); diff != "" || table.ColumnDefinitions[1].Priority != 1 {
		t.Errorf("columns: %s", diff)
	}
	if cells := table.Rows[0].Cells; cells[0] != "w" || cells[1] != "a" || !strings.HasSuffix(cells[2].(string), "s") {
		t.Errorf("cells: %v", cells)
	}
}

func TestDefinitionsRefused(t *testing.T) {
	maker, err := custom.NewMaker(nil)
	if err != nil {
		t.Fatal(err)
	}
	crd := simple(t, `{type: object, patternProperties: {a: {type: string}}}`)
	if _, err := maker.Kinds(crd); err == nil || !strings.Contains(err.Error(), "the schema of v1 is not structural: ") {
		t.Errorf("a schema that is not structural: %v", err)
	}
	crd = simple(t, `{type: object}`)
	crd.Status.AcceptedNames.ListKind = ""
	if _, err := maker.Kinds(crd); err == nil || !strings.Contains(err.Error(), "names are accepted") {
		t.Errorf("names that are not accepted: %v", err)
	}
}

func TestProtobufBodies(t *testing.T) {
	c := newCluster(t, simple(t, `{type: object}`))
	s := c.kinds["v1"].Serializer
	info, ok := runtime.SerializerInfoForMediaType(s.SupportedMediaTypes(), runtime.ContentTypeProtobuf)
	if !ok {
		t.Fatal("protobuf is for what is said about objects")
	}
	gv := c.kinds["v1"].Hub
	if _, err := runtime.Encode(s.EncoderForVersion(info.Serializer, gv), &metav1.Status{Status: "Failure"}); err != nil {
		t.Errorf("a Status: %v", err)
	}
	if _, err := runtime.Encode(s.EncoderForVersion(info.Serializer, gv), c.kinds["v1"].New()); err == nil {
		t.Error("an object")
	}
}
