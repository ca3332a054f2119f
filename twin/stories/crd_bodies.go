package stories

import (
	"strings"

	"github.com/knarr-io/knarr/twin/sample"
	"github.com/knarr-io/knarr/twin/story"
)

// anything is a resource that keeps whatever it is given.
const anything = `
versions:
- name: v1
  schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
`

// customBodies tells of what is sent: in which media type, and how malformed.
func customBodies() []story.Story {
	return []story.Story{
		{Name: "crd/body/malformed", Tell: withCustom(plain, func(c custom) {
			c.create("a", `{spec: {size: 1}}`)
			head := `"apiVersion":"` + c.group + `/v1","kind":"Widget"`
			for _, body := range []string{
				``, `{`, `[]`, `null`, `7`, `"text"`, `{}`, `{"kind":"Widget"}`, `{"apiVersion":"` + c.group + `/v1"}`, `{` + head + `}`,
				`{"apiVersion":"` + c.group + `/v2","kind":"Widget","metadata":{"name":"a"}}`, `{"apiVersion":"` + c.group + `/v1","kind":"Gadget","metadata":{"name":"a"}}`,
				`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}}`, `{"apiVersion":"a/b/c","kind":"Widget","metadata":{"name":"a"}}`,
				`{"apiVersion":7,"kind":"Widget","metadata":{"name":"a"}}`, `{"apiVersion":"` + c.group + `/v1","kind":7,"metadata":{"name":"a"}}`,
				`{` + head + `,"metadata":[]}`, `{` + head + `,"metadata":null}`, `{` + head + `,"metadata":{"name":7}}`, `{` + head + `,"metadata":"a"}`,
				`{` + head + `,"metadata":{"name":"a","labels":{"a":1}}}`, `{` + head + `,"metadata":{"name":"a","labels":[]}}`,
				`{` + head + `,"metadata":{"name":"a","creationTimestamp":"yesterday"}}`, `{` + head + `,"metadata":{"name":"a","finalizers":"x"}}`,
				`{` + head + `,"metadata":{"name":"a","annotations":{"a":{}}}}`, `{` + head + `,"metadata":{"name":"a","ownerReferences":[7]}}`,
				`{` + head + `,"metadata":{"name":"a"}} trailing`, `{` + head + `,"metadata":{"name":"a"}}{}`, "\xff\xfe",
				`{` + head + `,"metadata":{"name":"a"},"spec":7}`, `{` + head + `,"metadata":{"name":"a"},"spec":{"size":"1"}}`,
				`{"kind":"WidgetList","apiVersion":"` + c.group + `/v1","metadata":{},"items":[]}`, `{` + head + `,"metadata":{"name":"a"},"items":[]}`,
				`{"kind":"List","apiVersion":"v1","items":[]}`, strings.Repeat("[", 20000), `{` + head + `,"metadata":{"name":"a"},"spec":` + strings.Repeat(`{"a":`, 12000),
			} {
				c.Post(c.in("v1"), body)
				c.Put(c.in("v1")+"/a", body)
			}
		}), AnyOrder: true},
		{Name: "crd/body/media", Tell: withCustom(plain, func(c custom) {
			made := c.create("a", `{}`)
			body := sample.Text(c.object("v1", "b", `{spec: {size: 1}}`))
			again := sample.Text(c.object("v1", "a", `{metadata: {resourceVersion: "`+revision(made)+`"}, spec: {size: 1}}`))
			for _, contentType := range []string{
				"", "application/json", "application/json; charset=utf-8", "text/json", "text/plain", "application/xml", "application/yaml", "text/yaml",
				protobuf, "application/cbor", "nonsense", ";", "application/merge-patch+json", "application/vnd.kubernetes.protobuf;stream=watch",
			} {
				c.Post(c.in("v1")+"?dryRun=All", body, story.ContentType(contentType))
				c.Put(c.in("v1")+"/a?dryRun=All", again, story.ContentType(contentType))
				c.Delete(c.in("v1")+"/a?dryRun=All", `{}`, story.ContentType(contentType))
				c.Delete(c.in("v1")+"?dryRun=All", `{}`, story.ContentType(contentType))
			}
		})},
		{Name: "crd/body/protobuf", Tell: withCustom(plain, func(c custom) {
			c.create("a", `{spec: {size: 1}}`)
			options := "k8s\x00\x0a\x13\x0a\x02v1\x12\x0dDeleteOptions\x12\x02\x08\x00\x1a\x00\x22\x00"
			c.Post(c.in("v1"), "k8s\x00nonsense", story.ContentType(protobuf))
			c.Put(c.in("v1")+"/a", "k8s\x00", story.ContentType(protobuf), story.Accept(protobuf))
			c.Post(c.in("v1"), c.object("v1", "b", `{}`), story.Accept(protobuf))
			c.Get(c.in("v1") + "/b")
			c.put(c.in("v1")+"/a", c.object("v1", "a", `{spec: {size: 2}}`), story.Accept(protobuf))
			c.Patch(c.in("v1")+"/a", story.MergePatch, `{"spec":{"size":3}}`, story.Accept(protobuf))
			c.Delete(c.in("v1")+"/a", options, story.ContentType(protobuf))
			c.Get(c.in("v1")+"/none", story.Accept(protobuf))
			c.Post(c.in("v1"), c.object("v1", "c", `{}`), story.Accept(protobuf+",application/json"))
			c.Post(c.in("v1"), c.object("v1", "d", `{}`), story.Accept(protobuf+asPartial))
			c.Delete(c.in("v1"), nil, story.Accept(protobuf+asPartials))
		})},
		{Name: "crd/body/yaml", Tell: withCustom(plain, func(c custom) {
			head := "apiVersion: " + c.group + "/v1\nkind: Widget\nmetadata:\n  name: "
			yaml := story.ContentType("application/yaml")
			c.Post(c.in("v1"), head+"a\nspec:\n  size: 1\n  color: \"7\"\n", yaml, story.Accept("application/yaml"))
			c.Put(c.in("v1")+"/a", head+"a\n  resourceVersion: \""+c.stored("a")+"\"\nspec: {size: 2}\n", yaml)
			c.Post(c.in("v1"), head+"b\n---\n"+head+"c\n", yaml)
			c.Post(c.in("v1"), head+"c\nspec: &x {size: 3}\nstatus: *x\n", yaml)
			c.Post(c.in("v1"), head+"d\nspec:\n  size: 0x10\n  color: yes\n", yaml)
			c.Post(c.in("v1"), head+"e\nspec:\n  size: 1e2\n  color: 2020-01-01\n", yaml)
			c.Post(c.in("v1"), head+"f\nspec:\n  size: 012\n  color: null\n", yaml)
			c.Post(c.in("v1"), head+"g\nspec: [\n", yaml)
			c.Post(c.in("v1"), "just text", yaml)
			c.Post(c.in("v1"), "", yaml)
			c.Post(c.in("v1"), head+"h\n? [a, b]\n: c\n", yaml)
			c.Post(c.in("v1"), head+"i\n7: x\n", yaml)
			c.Get(c.in("v1"), story.Accept("application/yaml"))
			c.Get(c.in("v1")+"/none", story.Accept("application/yaml"))
		})},
		{Name: "crd/body/numbers", Tell: withCustom(anything, func(c custom) {
			for _, number := range []string{
				`0`, `-0`, `-0.0`, `1.0`, `1.5`, `1e3`, `1E-7`, `123456789012345678`, `9223372036854775807`, `9223372036854775808`, `-9223372036854775809`,
				`1e400`, `0.1`, `100000000000000000000.0`, `1e21`, `3.141592653589793238462643`, `01`, `+1`, `.5`, `NaN`, `1e-400`,
			} {
				c.Post(c.in("v1"), `{"apiVersion":"`+c.group+`/v1","kind":"Widget","metadata":{"name":"a"},"value":`+number+`,"list":[`+number+`]}`)
				c.Get(c.in("v1") + "/a")
				c.Patch(c.in("v1")+"/a", story.MergePatch, `{"other":`+number+`}`)
				c.Quietly(func() { c.Delete(c.in("v1")+"/a", nil) })
			}
		})},
		{Name: "crd/body/texts", Tell: withCustom(anything, func(c custom) {
			for _, text := range []string{
				`"<&>"`, `"\u003c\u2028\u2029"`, `"é 世界 😀"`, `"\ud83d\ude00"`, `"\ud800"`, `"\t\n\r\b\f\/"`, `"\u0000"`, "\"\xff\"", "\"a\tb\"", `"\x"`, `""`, `"\u007f"`,
			} {
				c.Post(c.in("v1"), `{"z":1,"kind":"Widget","metadata":{"name":"a"},"apiVersion":"`+c.group+`/v1","text":`+text+`,"m":{"b":`+text+`,"a":null},"A":[],"e":{}}`)
				c.Get(c.in("v1") + "/a")
				c.Get(c.in("v1")+"/a", story.Accept("application/yaml"))
				c.Quietly(func() { c.Delete(c.in("v1")+"/a", nil) })
			}
			c.Post(c.in("v1"), `{"kind":"Widget","metadata":{"name":"b"},"apiVersion":"`+c.group+`/v1","Kind":"x","KIND":"x","Metadata":{"name":"c"},"":"empty","a.b/c":1,"ü":2}`)
		})},
		{Name: "crd/body/metadata", Tell: withCustom(plain, func(c custom) {
			for _, name := range []string{"UPPER", "a_b", "a..b", "-a", "a/b", "a%b", ".", "..", strings.Repeat("x", 254), strings.Repeat("x", 64), "a.b-c", "ü", "a b"} {
				c.create(name, `{}`)
			}
			for _, metadata := range []string{
				`{labels: {"bad key": x}}`, `{labels: {ok: "bad value!"}}`, `{annotations: {"bad key": x}}`, `{labels: {"a/b/c": ""}}`,
				`{finalizers: [unqualified]}`, `{finalizers: [example.com/ok, "bad name/x"]}`, `{unknown: 1}`, `{generation: 7}`, `{resourceVersion: "12"}`,
				`{uid: 00000000-0000-4000-8000-000000000000}`, `{creationTimestamp: "2020-01-01T00:00:00Z"}`, `{creationTimestamp: null}`,
				`{deletionTimestamp: "2020-01-01T00:00:00Z"}`, `{deletionGracePeriodSeconds: 7}`, `{selfLink: /self}`, `{namespace: other}`, `{clusterName: c}`,
				`{labels: {a: null}}`, `{labels: null, annotations: {}}`, `{initializers: {}}`, `{generateName: both-}`, `{managedFields: []}`,
				`{managedFields: [{manager: x, operation: Update, apiVersion: "example.com/v1", fieldsType: FieldsV1, fieldsV1: {"f:spec": {}}}]}`,
			} {
				c.try(`{metadata: ` + metadata + `, spec: {size: 1}}`)
			}
			c.Post(c.in("v1"), sample.With(c.object("v1", "big", `{}`), object{"big": strings.Repeat("x", 256*1024)}, "metadata", "annotations"))
		}), AnyOrder: true},
		{Name: "crd/body/too-large", Tell: withCustom(anything, func(c custom) {
			large := sample.With(c.object("v1", "a", `{}`), strings.Repeat("x", 3<<20), "data")
			c.Post(c.in("v1"), large)
			c.create("a", `{}`)
			c.Put(c.in("v1")+"/a", large)
			c.Patch(c.in("v1")+"/a", story.MergePatch, large)
			c.Patch(c.in("v1")+"/a?fieldManager=x", applyPatch, large)
		})},
	}
}
