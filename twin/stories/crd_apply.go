package stories

import (
	"strings"

	"github.com/knarr-io/knarr/twin/story"
)

// listed is a resource with lists and maps of every sort.
const listed = `
versions:
- name: v1
  properties:
    spec:
      type: object
      properties:
        size: {type: integer}
        color: {type: string, default: red}
        plain: {type: array, items: {type: string}}
        set: {type: array, x-kubernetes-list-type: set, items: {type: string}}
        ports:
          type: array
          x-kubernetes-list-type: map
          x-kubernetes-list-map-keys: [port, protocol]
          items: {type: object, required: [port], properties: {port: {type: integer}, protocol: {type: string, default: TCP}, name: {type: string}}}
        granular: {type: object, additionalProperties: {type: string}}
        atomic: {type: object, x-kubernetes-map-type: atomic, additionalProperties: {type: string}}
        struct: {type: object, x-kubernetes-map-type: atomic, properties: {a: {type: string}, b: {type: string}}}
        free: {type: object, x-kubernetes-preserve-unknown-fields: true}
        port: {x-kubernetes-int-or-string: true}
        embedded: {type: object, x-kubernetes-embedded-resource: true, x-kubernetes-preserve-unknown-fields: true}
`

// customApplies tells of server-side apply.
func customApplies() []story.Story {
	return []story.Story{
		{Name: "crd/apply/managers", Tell: withCustom(listed, func(c custom) {
			c.apply("one", "a", `{spec: {size: 1, granular: {a: x}}}`)
			c.apply("one", "a", `{spec: {size: 1, granular: {a: x}}}`) // no change
			c.apply("two", "a", `{spec: {size: 2, granular: {a: w, b: w}}}`)
			c.apply("two&force=false", "a", `{spec: {size: 1, granular: {b: w}}}`)
			c.apply("two&force=true", "a", `{spec: {size: 2, granular: {a: w, b: w}}}`)
			c.apply("one", "a", `{spec: {size: 1}}`)
			c.apply("one", "a", `{}`)
			c.Patch(c.in("v1")+"/a?fieldManager=three", story.MergePatch, `{"spec":{"size":3}}`)
			c.apply("two", "a", `{spec: {size: 2}}`)
			c.apply("two&force=true&dryRun=All", "a", `{spec: {size: 2}}`)
			c.put(c.in("v1")+"/a?fieldManager=three", c.object("v1", "a", `{spec: {size: 4}}`))
			c.apply("dry&dryRun=All", "new", `{spec: {size: 1}}`)
			c.Get(c.in("v1"))
		})},
		{Name: "crd/apply/list-maps", Tell: withCustom(listed, func(c custom) {
			c.apply("one", "a", `{spec: {ports: [{port: 80, name: web}]}}`)
			c.apply("two", "a", `{spec: {ports: [{port: 81, protocol: UDP, name: dns}]}}`)
			c.apply("two", "a", `{spec: {ports: [{port: 80, protocol: TCP, name: other}]}}`)
			c.apply("two", "a", `{spec: {ports: [{port: 80}, {port: 80, protocol: UDP}]}}`)
			c.apply("two", "a", `{spec: {ports: [{port: 80}, {port: 80, protocol: TCP}]}}`)
			c.apply("two", "a", `{spec: {ports: [{name: without}]}}`)
			c.apply("two", "a", `{spec: {ports: [7]}}`)
			c.apply("one", "a", `{spec: {ports: []}}`)
			c.apply("two", "a", `{spec: {}}`)
		}), AnyOrder: true},
		{Name: "crd/apply/sets", Tell: withCustom(listed, func(c custom) {
			c.apply("one", "a", `{spec: {set: [a, b], plain: [a, b]}}`)
			c.apply("two", "a", `{spec: {set: [b, c]}}`)
			c.apply("two", "a", `{spec: {plain: [a, b]}}`)
			c.apply("two", "a", `{spec: {set: [c, d], plain: [c]}}`)
			c.apply("two&force=true", "a", `{spec: {set: [c, d], plain: [c]}}`)
			c.apply("two", "a", `{spec: {set: [c, c]}}`)
			c.apply("one", "a", `{spec: {set: [b]}}`)
			c.apply("two", "a", `{}`)
		}), AnyOrder: true},
		{Name: "crd/apply/maps", Tell: withCustom(listed, func(c custom) {
			c.apply("one", "a", `{spec: {granular: {a: x}, atomic: {a: x}, struct: {a: x}, free: {a: {b: x}}, port: 80, embedded: {apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {b: 1}}}}`)
			c.apply("two", "a", `{spec: {granular: {b: x}, free: {c: x}}}`)
			c.apply("two", "a", `{spec: {atomic: {b: x}}}`)
			c.apply("two", "a", `{spec: {struct: {b: x}}}`)
			c.apply("two", "a", `{spec: {port: http}}`)
			c.apply("two", "a", `{spec: {embedded: {apiVersion: v1, kind: Pod, metadata: {labels: {a: b}}, spec: {b: 2}}}}`)
			c.apply("two&force=true", "a", `{spec: {atomic: {b: x}, struct: {b: x}, port: http}}`)
			c.apply("one", "a", `{spec: {free: {a: {c: x}}}}`)
			c.apply("one", "a", `{}`)
		})},
		{Name: "crd/apply/defaults", Tell: withCustom(listed, func(c custom) {
			c.apply("one", "a", `{spec: {size: 1}}`) // the color comes by default
			c.apply("two", "a", `{spec: {color: blue}}`)
			c.apply("three", "a", `{spec: {color: red}}`)
			c.apply("two", "a", `{spec: {}}`)
			c.apply("one", "a", `{spec: {color: null}}`)
			c.apply("one", "a", `{spec: null}`)
		})},
		{Name: "crd/apply/refused", AnyOrder: true, Tell: withCustom(listed, func(c custom) {
			path := c.in("v1") + "/a"
			c.create("a", `{spec: {size: 1}}`)
			head := `"apiVersion":"` + c.group + `/v1","kind":"Widget"`
			for _, patch := range []string{
				``, `7`, `[]`, `null`, `{`, `a: [`, `{}`, `{"apiVersion":"` + c.group + `/v1"}`, `{"kind":"Widget"}`, `{"apiVersion":"` + c.group + `/v2","kind":"Widget"}`,
				`{"apiVersion":"` + c.group + `/v1","kind":"Gadget"}`, `{"apiVersion":"v1","kind":"ConfigMap"}`, `{` + head + `,"metadata":{"name":"other"}}`,
				`{` + head + `,"metadata":{"namespace":"other"}}`, `{` + head + `,"metadata":{"managedFields":[]}}`, `{` + head + `,"metadata":{"managedFields":[{}]}}`,
				`{` + head + `,"metadata":{"resourceVersion":"1"}}`, `{` + head + `,"metadata":{"uid":"other"}}`, `{` + head + `,"spec":7}`, `{` + head + `,"spec":{"size":"x"}}`,
				`{` + head + `,"spec":{"size":1.5}}`, `{` + head + `,"spec":{"plain":7}}`, `{` + head + `,"spec":{"plain":[7]}}`, `{` + head + `,"spec":{"granular":[]}}`,
				`{` + head + `,"metadata":{"finalizers":["bad name"]}}`, `{` + head + `,"metadata":{"labels":7}}`, `{` + head + `,"metadata":7}`, `{` + head + `,"spec":{"port":[]}}`,
				`{` + head + `,"spec":{"embedded":{}}}`, `{` + head + `,"spec":{"size":null}}`,
			} {
				c.Patch(path+"?fieldManager=one", applyPatch, patch)
				c.Patch(path+"?fieldManager=one&force=true", applyPatch, patch)
			}
			ok := `{` + head + `}`
			c.Patch(path, applyPatch, ok)
			c.Patch(path+"?fieldManager="+strings.Repeat("x", 129), applyPatch, ok)
			c.Patch(path+"?fieldManager=one&force=maybe", applyPatch, ok)
			c.apply("one", "b", `{metadata: {uid: 00000000-0000-4000-8000-000000000000}}`)
			c.apply("one", "b", `{metadata: {resourceVersion: "1"}}`)
			c.Patch(c.in("v1")+"/b?fieldManager=one", applyPatch, ok) // does not say its name
			c.Patch(c.in("v1")+"/b?fieldManager=one", applyPatch, `{`+head+`,"metadata":{"name":"","generateName":"b-"}}`)
			c.apply("one", "Bad_", `{}`)
			c.Patch(c.in("v1")+"?fieldManager=one", applyPatch, ok)
			c.Patch(c.in("v2")+"/b?fieldManager=one", applyPatch, ok)
			c.Patch("/apis/"+c.group+"/v1/namespaces/none/widgets/b?fieldManager=one", applyPatch, c.object("v1", "b", `{}`))
		})},
		{Name: "crd/apply/after-client-side", Tell: withCustom(listed, func(c custom) {
			last := `{"apiVersion":"` + c.group + `/v1","kind":"Widget","metadata":{"annotations":{},"name":"a"},"spec":{"size":1,"set":["a"]}}` + "\n"
			o := merged(c.object("v1", "a", `{spec: {size: 1, set: [a]}}`), object{"metadata": object{"annotations": object{"kubectl.kubernetes.io/last-applied-configuration": last}}})
			c.Post(c.in("v1")+"?fieldManager=kubectl-client-side-apply", o)
			c.apply("kubectl", "a", `{spec: {size: 2}}`)
			c.Patch(c.in("v1")+"/a?fieldManager=kubectl", story.MergePatch, `{"metadata":{"managedFields":[{}]}}`)
			c.apply("late", "a", `{spec: {size: 3}}`)
			c.apply("late&force=true", "a", `{spec: {size: 3}}`)
		})},
		{Name: "crd/apply/schema-changes", Tell: withCustom(listed, func(c custom) {
			c.apply("one", "a", `{spec: {plain: [a, b], granular: {a: x}, size: 1}}`)
			c.redefine(strings.NewReplacer("plain: {type: array,", "plain: {type: array, x-kubernetes-list-type: set,", "granular: {type: object,", "granular: {type: object, x-kubernetes-map-type: atomic,",
				"        size: {type: integer}\n", "        size: {type: integer}\n        more: {type: string}\n").Replace(listed))
			c.Get(c.in("v1") + "/a")
			c.apply("two", "a", `{spec: {plain: [c], more: x}}`)
			c.apply("two", "a", `{spec: {granular: {b: x}}}`)
			c.apply("one", "a", `{spec: {plain: [a], granular: {a: w}}}`)
			c.redefine(strings.Replace(listed, "        size: {type: integer}\n", "", 1)) // a field that was owned is gone
			c.Get(c.in("v1") + "/a")
			c.apply("one", "a", `{spec: {color: blue}}`)
			c.merge("a", `{metadata: {labels: {a: b}}}`)
		})},
	}
}
