package stories

import (
	"fmt"
	"strings"

	"github.com/knarr-io/knarr/twin/sample"
	"github.com/knarr-io/knarr/twin/story"
)

// nested is a resource with places for unknown fields of every sort.
const nested = `
versions:
- name: v1
  properties:
    spec:
      type: object
      properties:
        size: {type: integer}
        object: {type: object, properties: {a: {type: string}}}
        list: {type: array, items: {type: object, properties: {a: {type: string}}}}
        map: {type: object, additionalProperties: {type: object, properties: {a: {type: string}}}}
        free: {type: object, x-kubernetes-preserve-unknown-fields: true, properties: {known: {type: object, properties: {a: {type: string}}}}}
        embedded: {type: object, x-kubernetes-embedded-resource: true, properties: {spec: {type: object, properties: {a: {type: string}}}}}
    status: {type: object, properties: {phase: {type: string}}}
  subresources: {status: {}}
`

// customStrict tells of fields that are unknown or told twice.
func customStrict() []story.Story {
	modes := []string{"", "?fieldValidation=Ignore", "?fieldValidation=Warn", "?fieldValidation=Strict", "?fieldValidation=Other"}
	unknown := []string{
		`{spec: {size: 1, unknown: 2}}`, `{unknown: 1, spec: {object: {a: x, b: w}}}`, `{spec: {list: [{a: x}, {b: w}, {c: u}]}}`, `{spec: {map: {k: {b: w}}}}`,
		`{spec: {free: {x: 1, known: {b: 2}}}}`, `{spec: {embedded: {apiVersion: v1, kind: Pod, metadata: {name: a, unknown: x}, spec: {b: 1}, status: {}}}}`,
		`{metadata: {unknown: 1, labels: {a: b}}}`, `{spec: {b: 1, a: 2, c: 3}, a: 1, "B": 2}`, `{spec: {size: x, unknown: 2}}`,
	}
	return []story.Story{
		{Name: "crd/strict/create", Tell: withCustom(nested, func(c custom) {
			for _, mode := range modes {
				for _, rest := range unknown {
					c.Post(c.in("v1")+mode, c.object("v1", "a", rest))
					c.Quietly(func() { c.Delete(c.in("v1")+"/a", nil) })
				}
			}
		})},
		{Name: "crd/strict/twice", Tell: withCustom(nested, func(c custom) {
			body := `{"apiVersion":"` + c.group + `/v1","kind":"Widget","kind":"Widget","metadata":{"name":"a","name":"a","labels":{"x":"1","x":"2"}},"spec":{"size":1,"size":2,"object":{"a":"1","a":"2"},"unknown":{"b":1,"b":2}},"spec":{"size":3}}`
			yaml := "apiVersion: " + c.group + "/v1\nkind: Widget\nmetadata:\n  name: a\n  labels:\n    x: \"1\"\n    x: \"2\"\nspec:\n  size: 1\n  size: 2\n  unknown: 3\nstatus: {}\nstatus: {}\n"
			c.create("z", `{spec: {size: 1}}`)
			for _, mode := range modes {
				c.Post(c.in("v1")+mode, body)
				c.Quietly(func() { c.Delete(c.in("v1")+"/a", nil) })
				c.Post(c.in("v1")+mode, yaml, story.ContentType("application/yaml"))
				c.Quietly(func() { c.Delete(c.in("v1")+"/a", nil) })
				c.Put(c.in("v1")+"/z"+mode, strings.Replace(strings.ReplaceAll(body, `"name":"a"`, `"name":"z"`), `{"name"`, `{"resourceVersion":"`+c.stored("z")+`","name"`, 1))
				c.Put(c.in("v1")+"/z"+mode, strings.Replace(yaml, "name: a\n", "name: z\n  resourceVersion: \""+c.stored("z")+"\"\n", 1), story.ContentType("application/yaml"))
			}
		})},
		{Name: "crd/strict/yaml", Tell: withCustom(nested, func(c custom) {
			for _, mode := range modes {
				for _, rest := range unknown {
					c.Post(c.in("v1")+mode, sample.Text(c.object("v1", "a", rest)), story.ContentType("application/yaml"))
					c.Quietly(func() { c.Delete(c.in("v1")+"/a", nil) })
				}
			}
		})},
		{Name: "crd/strict/update", Tell: withCustom(nested, func(c custom) {
			c.create("a", `{spec: {size: 1}}`)
			for _, mode := range modes {
				for _, rest := range unknown[:7] {
					c.put(c.in("v1")+"/a"+mode, c.object("v1", "a", rest))
				}
				c.put(c.in("v1")+"/a/status"+mode, c.object("v1", "a", `{status: {phase: x, unknown: 1}, spec: {unknown: 1}}`))
			}
		})},
		{Name: "crd/strict/patch", Tell: withCustom(nested, func(c custom) {
			c.create("a", `{spec: {size: 1}}`)
			path := c.in("v1") + "/a"
			for _, mode := range modes {
				for _, rest := range unknown[:7] {
					c.Patch(path+mode, story.MergePatch, fromYAML(rest))
				}
				c.Patch(path+mode, story.MergePatch, `{"spec":{"size":1,"size":2,"unknown":3}}`)
				c.Patch(path+mode, story.JSONPatch, `[{"op":"add","path":"/spec/unknown","value":1},{"op":"add","pth":"/x","path":"/spec/object","value":{"a":"b","b":"c"}}]`)
				c.Patch(path+"/status"+mode, story.MergePatch, `{"status":{"unknown":1}}`)
			}
		})},
		{Name: "crd/strict/apply", Tell: withCustom(nested, func(c custom) {
			for i, mode := range modes {
				query := "?fieldManager=one&force=true"
				if mode != "" {
					query += "&" + mode[1:]
				}
				name := fmt.Sprint("a", i)
				path := c.in("v1") + "/" + name + query
				for _, rest := range []string{ // one thing each: how many of several are told depends on chance
					`{spec: {size: 1, unknown: 2}}`, `{spec: {list: [{b: w}]}}`, `{spec: {map: {k: {b: w}}}}`, `{unknown: 1}`, `{metadata: {unknown: 1}}`,
					`{spec: {free: {x: 1, known: {a: b}}}}`, `{spec: {free: {known: {b: 2}}}}`, `{spec: {embedded: {apiVersion: v1, kind: Pod, status: {}}}}`,
				} {
					c.Patch(path, applyPatch, c.object("v1", name, rest))
				}
				c.Patch(path, applyPatch, "apiVersion: "+c.group+"/v1\nkind: Widget\nmetadata:\n  name: "+name+"\nspec:\n  size: 1\n  size: 2\n")
			}
		})},
		{Name: "crd/strict/preserved", Tell: withCustom(anything, func(c custom) {
			for _, mode := range modes {
				c.Post(c.in("v1")+mode, `{"apiVersion":"`+c.group+`/v1","kind":"Widget","metadata":{"name":"a","unknown":1},"x":{"b":1,"b":2},"x":3}`)
				c.Quietly(func() { c.Delete(c.in("v1")+"/a", nil) })
			}
		})},
	}
}
