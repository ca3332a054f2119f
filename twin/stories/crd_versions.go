package stories

import (
	"strings"

	"github.com/knarr-io/knarr/twin/story"
)

// several is a resource in several versions with the same schema but for what is in one only.
const several = `
versions:
- name: v1
  properties: {spec: {type: object, properties: {size: {type: integer}, first: {type: string}}}}
- name: v2
  properties: {spec: {type: object, properties: {size: {type: integer}, second: {type: string}}}}
- name: v3
  served: false
  properties: {spec: {type: object, properties: {size: {type: integer}}}}
`

func definitionVersions() []story.Story {
	return []story.Story{
		{Name: "crd/versions/served", Tell: withCustom(several, func(c custom) {
			c.create("a", `{spec: {size: 1, first: x, second: unseen}}`)
			c.Post(c.in("v2"), c.object("v2", "b", `{spec: {size: 2, first: unseen, second: w}}`))
			c.Post(c.in("v3"), c.object("v3", "c", `{spec: {size: 3}}`))
			for _, version := range []string{"v1", "v2", "v3", "v4"} {
				c.Get(c.in(version))
				c.Get(c.in(version) + "/a")
				c.Get(c.in(version)+"/b", story.Accept("application/json"+asPartial))
				c.Get(c.in(version), story.Accept("application/json"+asTable))
			}
			c.Post(c.in("v1"), c.object("v2", "d", `{spec: {size: 2}}`))
			c.put(c.in("v2")+"/a", c.object("v1", "a", `{spec: {size: 2}}`))
			c.put(c.in("v2")+"/a", c.object("v2", "a", `{spec: {size: 2, second: w}}`)) // first is lost: nothing knows it
			c.Get(c.in("v1") + "/a")
			c.Patch(c.in("v2")+"/b", story.MergePatch, `{"spec":{"size":7}}`)
			c.Get(c.in("v1") + "/b")
			c.Delete(c.in("v2")+"/a", nil)
		})},
		{Name: "crd/versions/watch", Tell: withCustom(several, func(c custom) {
			c.create("a", `{spec: {size: 1}}`)
			second := c.Watch(c.in("v2") + "?watch=true&resourceVersion=" + revision(c.Get(c.in("v2"))))
			first := c.Watch(c.in("v1") + "?watch=true")
			c.merge("a", `{spec: {size: 2, first: x}}`)
			c.Delete(c.in("v2")+"/a", nil)
			first.Until(story.Gone("a"))
			second.Until(story.Gone("a"))
			c.Watch(c.in("v3") + "?watch=true").Next(1)
		})},
		{Name: "crd/versions/deprecated", Tell: withCustom(`
versions:
- {name: v1, properties: {spec: {type: object}}}
- {name: v1beta1, deprecated: true, properties: {spec: {type: object}, a: {type: string}}}
- {name: v1alpha1, deprecated: true, deprecationWarning: "better \"not\" this one, use v1", properties: {spec: {type: object}, b: {type: string}}}
`, func(c custom) {
			for _, version := range []string{"v1", "v1beta1", "v1alpha1"} {
				c.Post(c.in(version), c.object(version, "a", `{spec: {unknown: 1}}`))
				c.Get(c.in(version))
				c.Get(c.in(version) + "/a")
				c.Patch(c.in(version)+"/a", story.MergePatch, `{"metadata":{"labels":{"a":"b"}}}`)
				c.put(c.in(version)+"/a", c.object(version, "a", `{spec: {}}`))
				c.Watch(c.in(version) + "?watch=true").Next(1)
				c.Delete(c.in(version)+"/a", nil)
				c.Delete(c.in(version), nil)
				c.Get(c.in(version) + "/none")
				c.Get(c.in(version) + "/none/status")
			}
		})},
		{Name: "crd/versions/storage-moves", Tell: withCustom(several, storageMoves)},
		{Name: "crd/versions/unserved-later", Tell: withCustom(several, func(c custom) {
			c.create("a", `{spec: {size: 1}}`)
			c.redefine(strings.Replace(several, "name: v2\n", "name: v2\n  served: false\n", 1))
			c.Await(c.in("v2"), story.NotFound)
			c.Get(c.in("v2") + "/a")
			c.Get(c.in("v1") + "/a")
			c.redefine(strings.Replace(several, "name: v1\n", "name: v1\n  storage: true\n  served: false\n", 1)) // what is stored is not served
			c.Await(c.in("v1"), story.NotFound)
			c.Get(c.in("v2") + "/a")
		})},
		{Name: "crd/versions/owners", Tell: withCustom(several, func(c custom) {
			c.Post(c.in("v1")+"?fieldManager=first", c.object("v1", "a", `{spec: {size: 1, first: x}}`))
			c.Patch(c.in("v2")+"/a?fieldManager=second", story.MergePatch, `{"spec":{"second":"w"}}`)
			c.Patch(c.in("v2")+"/a?fieldManager=first", story.MergePatch, `{"spec":{"size":3}}`)
			c.Patch(c.in("v1")+"/a?fieldManager=applier", applyPatch, c.object("v1", "a", `{spec: {size: 4}}`))
			c.Patch(c.in("v1")+"/a?fieldManager=applier&force=true", applyPatch, c.object("v1", "a", `{spec: {size: 4}}`))
			c.Patch(c.in("v2")+"/a?fieldManager=applier", applyPatch, c.object("v2", "a", `{spec: {second: v}}`))
			c.Patch(c.in("v2")+"/a?fieldManager=applier&force=true", applyPatch, c.object("v2", "a", `{spec: {second: v}}`))
			c.Patch(c.in("v2")+"/a?fieldManager=second-applier", applyPatch, c.object("v2", "a", `{spec: {second: w, size: 4}}`))
			c.Patch(c.in("v2")+"/a?fieldManager=second-applier", applyPatch, c.object("v2", "a", `{spec: {size: 5}}`))
			c.Patch(c.in("v1")+"/a?fieldManager=second-applier", applyPatch, c.object("v1", "a", `{spec: {size: 4}}`))
			c.Get(c.in("v1") + "/a")
		})},
	}
}

// storageMoves moves what is stored from one version to the next, and then takes the
// first away.
func storageMoves(c custom) {
	moved := strings.Replace(several, "name: v2\n", "name: v2\n  storage: true\n", 1)
	stored := func() {
		c.Get(c.uri())
		c.Only("status", "storedVersions")
	}
	c.create("old", `{spec: {size: 1, first: x}}`)
	stored()
	c.redefine(moved)
	stored()
	c.Get(c.in("v1") + "/old")
	c.Get(c.in("v2") + "/old")
	c.create("new", `{spec: {size: 2, first: x}}`)
	c.Get(c.in("v1"))
	c.Get(c.in("v2"))
	c.replace("old", `{spec: {size: 1, first: w}}`) // is stored as v2 from now on
	c.Get(c.in("v1") + "/old")
	without := "\nversions:" + moved[strings.Index(moved, "\n- name: v2"):]
	c.redefine(without) // v1 may be stored still
	c.Patch(c.uri()+"/status", story.MergePatch, `{"status":{"storedVersions":["v1"]}}`)
	c.Quietly(func() { c.Patch(c.uri()+"/status", story.MergePatch, `{"status":{"storedVersions":["v2"]}}`) })
	stored()
	c.redefine(without)
	c.Await(c.in("v1"), story.NotFound)
	c.Get(c.in("v2"))
	stored()
}
