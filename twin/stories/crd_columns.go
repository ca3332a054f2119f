package stories

import (
	"github.com/knarr-io/knarr/twin/story"
)

// customColumns tells of the columns that definitions have beside the name, and of the
// fields that objects may be selected by.
func customColumns() []story.Story {
	const table = "application/json" + asTable
	// Tables of the versions, whole and of one object.
	shown := func(c custom, versions ...string) {
		for _, version := range versions {
			c.Get(c.in(version), story.Accept(table))
			c.Get(c.in(version)+"/a", story.Accept(table))
		}
	}
	return []story.Story{
		{Name: "crd/columns/default", Tell: withCustom(plain, func(c custom) {
			shown(c, "v1")
			c.create("a", `{spec: {size: 1}}`)
			shown(c, "v1")
		})},
		{Name: "crd/columns/types", Tell: withCustom(`
versions:
- name: v1
  schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
  additionalPrinterColumns:
  - {name: Integer, type: integer, jsonPath: .value, description: as a whole number}
  - {name: Int32, type: integer, format: int32, jsonPath: .value, priority: 1}
  - {name: Number, type: number, format: double, jsonPath: .value}
  - {name: Text, type: string, jsonPath: .value}
  - {name: Date, type: date, jsonPath: .value}
  - {name: Boolean, type: boolean, jsonPath: .value}
  - {name: Date Time, type: string, format: date-time, jsonPath: .value, priority: 2}
`, func(c custom) {
			for _, value := range []string{
				`1`, `1.5`, `-7`, `"text"`, `"12"`, `true`, `null`, `[]`, `[1, 2]`, `{}`, `{a: {b: 1}}`, `"2020-01-02T03:04:05Z"`, `"2020-01-02"`, `"2220-01-02T03:04:05Z"`,
				`""`, `12345678901234567890`, `1e30`, `"a\nb"`, `"é世界"`, `"<&>"`,
			} {
				c.Quietly(func() { c.create("a", `{value: `+value+`}`) })
				c.Get(c.in("v1")+"/a", story.Accept(table))
				c.Quietly(func() { c.Delete(c.in("v1")+"/a", nil) })
			}
			c.create("a", `{}`, story.Accept(table))
			shown(c, "v1")
			c.Get(c.in("v1"), story.Accept("application/yaml"+asTable))
			c.Get(c.in("v1"), story.Accept(protobuf+asTable))
			c.Get(c.in("v1"), story.Accept("application/json"+asTableBeta))
		})},
		{Name: "crd/columns/paths", Tell: withCustom(`
versions:
- name: v1
  schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
  additionalPrinterColumns:
  - {name: Own Name, type: string, jsonPath: .metadata.name}
  - {name: Label, type: string, jsonPath: .metadata.labels.app}
  - {name: Dotted, type: string, jsonPath: ".metadata.annotations.example\\.com/a"}
  - {name: Quoted, type: string, jsonPath: ".metadata.annotations['example.com/a']"}
  - {name: First, type: string, jsonPath: ".list[0].name"}
  - {name: Last, type: string, jsonPath: ".list[-1].name"}
  - {name: All, type: string, jsonPath: ".list[*].name"}
  - {name: Range, type: string, jsonPath: ".list[0:2].name"}
  - {name: Ready, type: string, jsonPath: ".list[?(@.type==\"Ready\")].name"}
  - {name: Number, type: integer, jsonPath: ".list[?(@.count>1)].count"}
  - {name: Any, type: string, jsonPath: "..deep"}
  - {name: Whole, type: string, jsonPath: .list}
  - {name: Object, type: string, jsonPath: .object}
  - {name: Created At, type: date, jsonPath: .metadata.creationTimestamp}
  - {name: Kind, type: string, jsonPath: .kind}
  - {name: Twice, type: string, jsonPath: ".a.b['c']"}
`, func(c custom) {
			c.create("a", `{metadata: {labels: {app: web}, annotations: {example.com/a: x}}, list: [{name: one, type: Ready, count: 1}, {name: two, type: Other, count: 2}, {name: three, type: Ready}], object: {deep: 1}, a: {b: {c: d}}}`)
			c.Get(c.in("v1")+"/a", story.Accept(table))
			c.create("b", `{list: []}`)
			c.create("c", `{list: {a: b}, object: text, a: [1]}`)
			c.create("d", `{list: [1, null, {name: null}]}`)
			c.Get(c.in("v1")+"?fieldSelector=metadata.name=b", story.Accept(table))
			c.Get(c.in("v1")+"?fieldSelector=metadata.name=c", story.Accept(table))
			c.Get(c.in("v1")+"?fieldSelector=metadata.name=d", story.Accept(table))
		})},
		{Name: "crd/columns/own-age", Tell: withCustom(`
versions:
- name: v1
  properties: {spec: {type: object, properties: {since: {type: string}, name: {type: string}}}}
  additionalPrinterColumns: [{name: Age, type: date, jsonPath: .metadata.creationTimestamp}, {name: Name, type: string, jsonPath: .spec.name}, {name: Since, type: date, jsonPath: .spec.since}]
- name: v2
  properties: {spec: {type: object, properties: {other: {type: integer}}}}
  additionalPrinterColumns: [{name: Other, type: integer, jsonPath: .spec.other, priority: 10, description: "another\nline"}]
- name: v3
  properties: {spec: {type: object}}
`, func(c custom) {
			c.create("a", `{spec: {name: other, since: "2001-01-01T00:00:00Z"}}`)
			shown(c, "v1", "v2", "v3")
			for _, query := range []string{"?includeObject=None", "?includeObject=Metadata", "?includeObject=Object", "?includeObject=Other", "?limit=1", "?labelSelector=none"} {
				c.Get(c.in("v1")+query, story.Accept(table))
			}
			c.Get(c.in("v1")+"/a?includeObject=Object", story.Accept(table))
			c.Delete(c.in("v1")+"/a", nil, story.Accept(table))
		})},
		{Name: "crd/columns/watch", Tell: withCustom(`
versions:
- name: v1
  properties: {spec: {type: object, properties: {size: {type: integer}}}}
  additionalPrinterColumns: [{name: Size, type: integer, jsonPath: .spec.size}]
`, func(c custom) {
			w := c.Watch(c.in("v1")+"?watch=true&resourceVersion="+revision(c.Get(c.in("v1"))), story.Accept(table))
			c.create("a", `{spec: {size: 1}}`)
			c.merge("a", `{spec: {size: 2}}`, `{spec: null}`)
			c.Delete(c.in("v1")+"/a", nil)
			w.Next(4)
		})},
		{Name: "crd/columns/change", Tell: withCustom(plain, func(c custom) {
			c.create("a", `{spec: {size: 1}}`)
			shown(c, "v1")
			c.redefine(plain + "  additionalPrinterColumns: [{name: Size, type: integer, jsonPath: .spec.size}]\n")
			shown(c, "v1")
			c.redefine(plain)
			shown(c, "v1")
		})},
	}
}

// selectable is a resource with fields of each type to select by.
const selectable = `
versions:
- name: v1
  properties:
    spec: {type: object, properties: {color: {type: string}, size: {type: integer}, shiny: {type: boolean}, other: {type: string}}}
    nature: {type: string}
  selectableFields: [{jsonPath: .spec.color}, {jsonPath: .spec.size}, {jsonPath: .spec.shiny}, {jsonPath: .nature}]
- name: v2
  properties: {spec: {type: object, properties: {color: {type: string}, other: {type: string}}}}
  selectableFields: [{jsonPath: .spec.other}]
`

func customFields() []story.Story {
	made := func(c custom) {
		c.create("a", `{spec: {color: red, size: 1, shiny: true, other: x}}`)
		c.create("b", `{spec: {color: blue, size: 22, shiny: false}, nature: thing}`)
		c.create("c", `{}`)
	}
	return []story.Story{
		{Name: "crd/fields/list", Tell: withCustom(selectable, func(c custom) {
			made(c)
			for _, selector := range []string{
				"spec.color=red", "spec.color!=red", "spec.color=", "spec.color!=", "spec.size=1", "spec.size=01", "spec.size=x", "spec.size=", "spec.shiny=true",
				"spec.shiny=false", "spec.shiny=yes", "spec.color=blue,spec.size=22", "spec.color=red,metadata.name!=a", "spec.other=x", "nature=thing", ".spec.color=red",
				"spec=x", "spec.color in (red)", "metadata.namespace=" + c.Namespace + ",spec.color=red", "status.phase=x",
			} {
				c.Get(c.in("v1") + "?fieldSelector=" + selector)
			}
			c.Get(c.all("v1") + "?fieldSelector=spec.color=red")
			c.Get(c.in("v2") + "?fieldSelector=spec.other=x")
			c.Get(c.in("v2") + "?fieldSelector=spec.color=red")
			c.Get(c.in("v1")+"?limit=1&fieldSelector=spec.color!=red", story.Accept("application/json"+asTable))
			c.Get(c.in("v1")+"?fieldSelector=spec.color=red&resourceVersion=0", story.Accept(protobuf+asPartials))
			c.Get(c.in("v1") + "/a?fieldSelector=spec.color=blue")
			c.Delete(c.in("v1")+"?fieldSelector=spec.color=red", nil)
			c.Delete(c.in("v1")+"?fieldSelector=spec.other=x", nil)
			c.Get(c.in("v1"))
		})},
		{Name: "crd/fields/watch", Tell: withCustom(selectable, func(c custom) {
			made(c)
			from := c.in("v1") + "?watch=true&resourceVersion=" + revision(c.Get(c.in("v1")))
			color := c.Watch(from + "&fieldSelector=spec.color=red")
			size := c.Watch(from+"&fieldSelector=spec.size!=1", story.Accept("application/json"+asTable))
			second := c.Watch(c.in("v2") + "?watch=true&fieldSelector=spec.other=x")
			c.merge("b", `{spec: {color: red, other: x}}`)
			c.merge("a", `{spec: {color: blue, size: 2}}`)
			c.merge("a", `{spec: {other: "w"}}`)
			c.merge("c", `{spec: {color: red, size: 1}}`)
			for _, name := range []string{"a", "b", "c"} {
				c.Delete(c.in("v1")+"/"+name, nil)
			}
			color.Until(story.Gone("c"))
			size.Next(4)
			second.Until(story.Gone("b"))
			c.Watch(from + "&fieldSelector=spec.other=x").Next(1)
			c.Watch(c.in("v1") + "?watch=true&fieldSelector=spec.none=x").Next(1)
		})},
		{Name: "crd/fields/change", Tell: withCustom(plain, func(c custom) {
			c.create("a", `{spec: {size: 1}}`)
			c.create("b", `{spec: {size: 2}}`)
			c.Get(c.in("v1") + "?fieldSelector=spec.size=1")
			c.redefine(plain + "  selectableFields: [{jsonPath: .spec.size}]\n")
			c.Get(c.in("v1") + "?fieldSelector=spec.size=1") // of what was there before
			c.create("c", `{spec: {size: 1}}`)
			c.Get(c.in("v1") + "?fieldSelector=spec.size=1")
		})},
	}
}
