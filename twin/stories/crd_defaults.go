package stories

import (
	"github.com/knarr-io/knarr/twin/story"
)

// defaulted are properties with defaults of every sort.
const defaulted = `text: {type: string, default: x}, whole: {type: integer, default: 3}, flag: {type: boolean, default: false}, ` +
	`object: {type: object, default: {}, properties: {a: {type: string, default: inner}, b: {type: string}}}, ` +
	`without: {type: object, properties: {a: {type: string, default: inner}}}, ` +
	`list: {type: array, default: [{a: 1}, {}], items: {type: object, properties: {a: {type: integer, default: 7}, b: {type: string, default: w}}}}, ` +
	`map: {type: object, additionalProperties: {type: object, properties: {a: {type: integer, default: 7}}}}, ` +
	`maybe: {type: string, nullable: true, default: x}, port: {x-kubernetes-int-or-string: true, default: 80}, ` +
	`embedded: {type: object, x-kubernetes-embedded-resource: true, x-kubernetes-preserve-unknown-fields: true, default: {apiVersion: v1, kind: Pod, metadata: {name: a}}}`

// customDefaults tells of defaults, when objects are written and when they are read.
func customDefaults() []story.Story {
	return []story.Story{
		{Name: "crd/default/create", Tell: withSpecs(defaulted,
			`{}`, `{text: own, whole: 0, flag: true}`, `{text: null, whole: null, maybe: null}`, `{object: {}}`, `{object: {b: c}}`, `{object: null}`, `{without: {}}`, `{without: null}`,
			`{list: []}`, `{list: [{}, {a: 1}, {b: null}]}`, `{map: {k: {}, l: {a: 1}}}`, `{port: http}`, `{embedded: {apiVersion: v1, kind: Service}}`, `null`,
		)},
		{Name: "crd/default/write", Tell: withCustom(ofSpec(defaulted), func(c custom) {
			c.create("a", `{spec: {}}`)
			c.create("b", `{}`) // there is no spec to have defaults
			c.merge("a", `{spec: {text: null, whole: null, maybe: null}}`, `{spec: {list: [{}]}}`, `{spec: {object: null}}`, `{spec: null}`, `{spec: {}}`)
			c.replace("a", `{spec: {text: own}}`, `{spec: {}}`, `{}`)
			c.Patch(c.in("v1")+"/a", story.JSONPatch, `[{"op":"add","path":"/spec","value":{}},{"op":"test","path":"/spec/text","value":"x"}]`)
			c.Patch(c.in("v1")+"/a", story.JSONPatch, `[{"op":"add","path":"/spec","value":{}}]`)
			c.Patch(c.in("v1")+"/a", story.JSONPatch, `[{"op":"remove","path":"/spec/text"}]`)
			c.apply("one", "c", `{spec: {text: own}}`)
			c.apply("two", "c", `{spec: {whole: 3}}`)
			c.apply("one", "c", `{spec: {}}`)
		})},
		{Name: "crd/default/read", Tell: withCustom(ofSpec(`size: {type: integer}`), func(c custom) {
			c.create("a", `{spec: {size: 1}}`)
			c.create("b", `{}`)
			stored := revision(c.Get(c.in("v1")))
			c.redefine(ofSpec(`size: {type: integer}, color: {type: string, default: red}, list: {type: array, items: {type: object}, default: [{}]}`))
			c.Get(c.in("v1") + "/a")
			c.Get(c.in("v1"))
			c.Get(c.in("v1") + "?resourceVersionMatch=NotOlderThan&resourceVersion=" + stored)
			c.Watch(c.in("v1") + "?watch=true").Next(2)
			c.put(c.in("v1")+"/a?fieldManager=putter", c.object("v1", "a", `{spec: {size: 1}}`)) // is the default a change?
			c.Patch(c.in("v1")+"/b?fieldManager=patcher", story.MergePatch, `{"spec":{"size":2}}`)
			c.redefine(ofSpec(`size: {type: integer}, color: {type: string, default: blue}`))
			c.Get(c.in("v1"))
		})},
		{Name: "crd/default/versions", Tell: withCustom(`
versions:
- {name: v1, properties: {spec: {type: object, default: {}, properties: {color: {type: string, default: red}, one: {type: string, default: only-v1}}}}}
- {name: v2, properties: {spec: {type: object, properties: {color: {type: string, default: blue}, two: {type: string, default: only-v2}}}}}
`, func(c custom) {
			c.create("a", `{}`)
			c.Post(c.in("v2"), c.object("v2", "b", `{spec: {}}`))
			c.Post(c.in("v2"), c.object("v2", "c", `{}`))
			for _, version := range []string{"v1", "v2"} {
				c.Get(c.in(version))
				c.Get(c.in(version) + "/b")
			}
		})},
		{Name: "crd/default/status", Tell: withCustom(`
versions:
- name: v1
  properties: {spec: {type: object, properties: {a: {type: string}}}, status: {type: object, default: {phase: New}, properties: {phase: {type: string}, count: {type: integer, default: 0}}}}
  subresources: {status: {}}
`, func(c custom) {
			c.create("a", `{}`)
			c.Patch(c.in("v1")+"/a/status", story.MergePatch, `{"status":{"phase":"Old"}}`)
			c.Patch(c.in("v1")+"/a/status", story.MergePatch, `{"status":null}`)
			c.replace("a", `{spec: {a: x}}`)
			c.Get(c.in("v1") + "/a")
		})},
		{Name: "crd/default/invalid-together", AnyOrder: true, Tell: withCustom(ofSpec(`a: {type: string, default: x}, b: {type: string}`), func(c custom) {
			c.create("a", `{spec: {b: w}}`)
			c.redefine(ofSpec(`a: {type: string, default: x}, b: {type: string, default: "7", enum: ["7"]}`))
			c.Get(c.in("v1") + "/a") // is not valid any more
			c.merge("a", `{metadata: {labels: {a: b}}}`, `{spec: {a: "w"}}`, `{spec: {b: other}}`, `{spec: {b: null}}`)
		})},
	}
}
