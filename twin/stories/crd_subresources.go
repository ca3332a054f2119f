package stories

import (
	"strings"

	"github.com/knarr-io/knarr/twin/sample"
	"github.com/knarr-io/knarr/twin/story"
)

// scaled is a resource with a status and a scale.
const scaled = `
versions:
- name: v1
  properties:
    spec: {type: object, properties: {replicas: {type: integer}, color: {type: string}, deep: {type: object, properties: {replicas: {type: integer}}}}}
    status: {type: object, properties: {replicas: {type: integer}, selector: {type: string}, phase: {type: string, enum: [New, Old]}}}
  subresources:
    status: {}
    scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas, labelSelectorPath: .status.selector}
`

// customSubresources tells of the status and the scale of custom resources.
func customSubresources() []story.Story {
	return []story.Story{
		{Name: "crd/status/life", Tell: withCustom(scaled, func(c custom) {
			made := c.create("a", `{spec: {replicas: 1}, status: {phase: New}}`) // is not the creator's to set
			path := c.in("v1") + "/a"
			c.Get(path + "/status")
			c.put(path+"/status", c.object("v1", "a", `{spec: {replicas: 7}, status: {phase: New, replicas: 1}, metadata: {labels: {a: b}, annotations: {c: d}}}`))
			c.put(path, c.object("v1", "a", `{spec: {replicas: 2}, status: {phase: Old}}`))
			c.merge("a", `{status: {phase: Old}}`, `{status: null}`, `{spec: {replicas: 3}, status: {phase: Old}}`)
			c.Patch(path+"/status", story.MergePatch, `{"status":{"phase":"Old"},"spec":{"color":"red"}}`)
			c.Patch(path+"/status", story.JSONPatch, `[{"op":"replace","path":"/status/replicas","value":4}]`)
			c.Patch(path+"/status", story.JSONPatch, `[{"op":"remove","path":"/status"}]`)
			c.Put(path+"/status", sample.With(made.Object(), object{"phase": "Old"}, "status")) // made before
			c.put(path+"/status", c.object("v1", "a", `{}`))
			c.Get(path)
			c.Get(path+"/status", story.Accept("application/json"+asTable))
			c.Get(path+"/status", story.Accept(protobuf+asPartial))
			c.Get(path+"/status", story.Accept("application/yaml"))
		})},
		{Name: "crd/status/refused", Tell: withCustom(scaled, func(c custom) {
			c.create("a", `{spec: {replicas: 1}}`)
			path := c.in("v1") + "/a/status"
			for _, status := range []string{`{phase: Other}`, `{replicas: many}`, `7`, `{unknown: 1}`, `{replicas: -1}`, `{replicas: 3000000000}`, `{selector: "a in b"}`} {
				c.put(path, c.object("v1", "a", `{status: `+status+`}`))
				c.Patch(path, story.MergePatch, fromYAML(`{status: `+status+`}`))
			}
			c.put(path, c.object("v1", "b", `{}`))
			c.put(path, c.object("v2", "a", `{}`))
			c.Put(path, `{}`)
			c.put(path+"?fieldValidation=Strict", c.object("v1", "a", `{status: {unknown: 1}}`))
			c.put(path+"?dryRun=All", c.object("v1", "a", `{status: {phase: New}}`))
			c.put(c.in("v1")+"/none/status", c.object("v1", "none", `{status: {phase: New}}`))
			c.Patch(c.in("v1")+"/none/status", story.MergePatch, `{"status":{}}`)
			c.Patch(path, story.StrategicPatch, `{"status":{}}`)
			c.Patch(path, story.MergePatch, `{"metadata":{"finalizers":["example.com/a"],"ownerReferences":[]}}`)
			c.Patch(path, story.MergePatch, `{"metadata":{"resourceVersion":"1"}}`)
			for _, method := range []string{"POST", "DELETE", "HEAD", "OPTIONS"} {
				c.Do(method, path, nil)
			}
			c.Watch(path + "?watch=true").Next(1)
		}), AnyOrder: true},
		{Name: "crd/status/none", Tell: withCustom(plain, func(c custom) {
			c.create("a", `{spec: {size: 1}, status: {phase: New}}`)
			c.merge("a", `{status: {phase: Old}}`) // a field like any other
			c.Get(c.in("v1") + "/a/status")
			c.put(c.in("v1")+"/a/status", c.object("v1", "a", `{}`))
			c.Patch(c.in("v1")+"/a/status", story.MergePatch, `{}`)
			c.Get(c.in("v1") + "/a/scale")
			c.Get(c.in("v1") + "/none/status")
		})},
		{Name: "crd/status/generation", Tell: withCustom(scaled, func(c custom) {
			c.create("a", `{spec: {replicas: 1}, metadata: {generation: 7}}`)
			c.merge("a", `{metadata: {labels: {a: b}}}`, `{spec: {replicas: 1}}`, `{spec: {replicas: 2}}`, `{metadata: {generation: 9}}`, `{status: {phase: New}}`, `{spec: {}}`,
				`{spec: null}`, `{spec: {unknown: 1}}`, `{metadata: {finalizers: [example.com/a]}}`)
			c.Patch(c.in("v1")+"/a/status", story.MergePatch, `{"status":{"phase":"New"},"metadata":{"generation":3}}`)
			c.Delete(c.in("v1")+"/a", nil) // the generation rises for that
			c.merge("a", `{spec: {replicas: 3}}`, `{metadata: {finalizers: null}}`)
		})},
		{Name: "crd/status/apply", Tell: withCustom(scaled, func(c custom) {
			path := c.in("v1") + "/a"
			c.apply("one", "a", `{spec: {replicas: 1}, status: {phase: New}}`)
			status := func(manager, rest string) {
				c.Patch(path+"/status?fieldManager="+manager, applyPatch, c.object("v1", "a", rest))
			}
			status("controller", `{spec: {replicas: 9}, status: {phase: New, replicas: 1}}`)
			status("other", `{status: {phase: Old}}`)
			status("other&force=true", `{status: {phase: Old}}`)
			status("controller", `{status: {replicas: 1}}`)
			status("one", `{status: {phase: New}}`)
			c.Patch(path+"/status?fieldManager=patcher", story.MergePatch, `{"status":{"replicas":5}}`)
			c.apply("one", "a", `{spec: {replicas: 2}}`)
			c.Patch(c.in("v1")+"/none/status?fieldManager=one", applyPatch, c.object("v1", "none", `{status: {phase: New}}`))
			c.Get(path)
		})},
		{Name: "crd/scale/life", Tell: withCustom(scaled, func(c custom) {
			c.create("a", `{spec: {replicas: 1}}`)
			path := c.in("v1") + "/a"
			c.Get(path + "/scale")
			c.Patch(path+"/status", story.MergePatch, `{"status":{"replicas":1,"selector":"a=b"}}`)
			got := c.Get(path + "/scale")
			c.Put(path+"/scale", sample.With(got.Object(), 3, "spec", "replicas"))
			c.Put(path+"/scale", sample.With(got.Object(), 4, "spec", "replicas")) // made before
			c.Get(path)
			scale := object{"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": object{"name": "a", "namespace": c.Namespace}, "spec": object{"replicas": 5}}
			c.Put(path+"/scale", scale)
			c.Put(path+"/scale?dryRun=All", sample.With(scale, 6, "spec", "replicas"))
			c.Put(path+"/scale", sample.With(scale, object{"replicas": 9, "selector": "x=y"}, "status"))
			c.Patch(path+"/scale", story.MergePatch, `{"spec":{"replicas":7}}`)
			c.Patch(path+"/scale", story.JSONPatch, `[{"op":"replace","path":"/spec/replicas","value":8}]`)
			c.Get(path)
			for _, accept := range []string{"application/yaml", protobuf, "application/json" + asTable, "application/json" + asPartial} {
				c.Get(path+"/scale", story.Accept(accept))
			}
		})},
		{Name: "crd/scale/refused", Tell: withCustom(scaled, func(c custom) {
			c.create("a", `{spec: {replicas: 1}}`)
			path := c.in("v1") + "/a/scale"
			head := `"apiVersion":"autoscaling/v1","kind":"Scale","metadata":{"name":"a"}`
			for _, body := range []string{
				``, `{}`, `7`, `{` + head + `}`, `{` + head + `,"spec":{"replicas":-1}}`, `{` + head + `,"spec":{"replicas":"x"}}`, `{` + head + `,"spec":{"replicas":3000000000}}`,
				`{` + head + `,"spec":{"unknown":1}}`, `{"apiVersion":"autoscaling/v2","kind":"Scale","metadata":{"name":"a"},"spec":{"replicas":1}}`,
				`{"apiVersion":"` + c.group + `/v1","kind":"Widget","metadata":{"name":"a"},"spec":{"replicas":1}}`,
				`{"apiVersion":"autoscaling/v1","kind":"Scale","metadata":{"name":"b"},"spec":{"replicas":1}}`, `{"apiVersion":"extensions/v1beta1","kind":"Scale","metadata":{"name":"a"},"spec":{"replicas":1}}`,
				`{` + strings.Replace(head, `"a"`, `"a","resourceVersion":"1"`, 1) + `,"spec":{"replicas":2}}`, `{` + strings.Replace(head, `"a"`, `"a","uid":"u"`, 1) + `,"spec":{"replicas":2}}`,
			} {
				c.Put(path, body)
				c.Put(path+"?fieldValidation=Strict", body)
			}
			c.Patch(path, story.MergePatch, `{"spec":{"replicas":-1}}`)
			c.Patch(path, story.StrategicPatch, `{"spec":{"replicas":2}}`)
			c.Patch(path, story.MergePatch, `{"spec":null}`)
			for _, method := range []string{"POST", "DELETE", "HEAD"} {
				c.Do(method, path, nil)
			}
			c.Get(c.in("v1") + "/none/scale")
			c.Put(c.in("v1")+"/none/scale", `{`+strings.Replace(head, `"a"`, `"none"`, 1)+`,"spec":{"replicas":1}}`)
			c.Patch(c.in("v1")+"/none/scale", story.MergePatch, `{}`)
			c.create("without", `{spec: {}}`)
			c.Get(c.in("v1") + "/without/scale")
			c.Patch(c.in("v1")+"/without/scale", story.MergePatch, `{"spec":{"replicas":2}}`)
			c.Put(c.in("v1")+"/without/scale", `{`+strings.Replace(head, `"a"`, `"without"`, 1)+`,"spec":{"replicas":1}}`)
			for _, spec := range []string{`{replicas: -1}`, `{replicas: 2147483648}`, `{replicas: 1.5}`, `{replicas: "1"}`, `{replicas: null}`} {
				c.try(`{spec: ` + spec + `}`)
			}
		}), AnyOrder: true},
		{Name: "crd/scale/paths", Tell: withCustom(strings.NewReplacer(".spec.replicas", ".spec.deep.replicas", ", labelSelectorPath: .status.selector", "").Replace(scaled), func(c custom) {
			c.create("a", `{spec: {replicas: 1, deep: {replicas: 2}}}`)
			c.create("b", `{}`)
			for _, name := range []string{"a", "b"} {
				c.Get(c.in("v1") + "/" + name + "/scale")
				c.Patch(c.in("v1")+"/"+name+"/scale", story.MergePatch, `{"spec":{"replicas":5}}`)
				c.Put(c.in("v1")+"/"+name+"/scale", `{"apiVersion":"autoscaling/v1","kind":"Scale","metadata":{"name":"`+name+`"},"spec":{"replicas":3}}`)
				c.Get(c.in("v1") + "/" + name)
			}
		})},
		{Name: "crd/scale/owners", Tell: withCustom(scaled, func(c custom) {
			path := c.in("v1") + "/a"
			c.apply("one", "a", `{spec: {replicas: 1, color: red}}`)
			scale := func(count string) string {
				return `{"apiVersion":"autoscaling/v1","kind":"Scale","spec":{"replicas":` + count + `}}`
			}
			c.Patch(path+"/scale?fieldManager=scaler", applyPatch, scale("3"))
			c.Patch(path+"/scale?fieldManager=scaler&force=true", applyPatch, scale("3"))
			c.Get(path)
			c.apply("one", "a", `{spec: {replicas: 1, color: red}}`)
			c.apply("one", "a", `{spec: {color: red}}`)
			c.Patch(path+"/scale?fieldManager=patcher", story.MergePatch, `{"spec":{"replicas":4}}`)
			c.Get(path)
			c.Put(path+"/scale?fieldManager=putter", `{"apiVersion":"autoscaling/v1","kind":"Scale","metadata":{"name":"a"},"spec":{"replicas":5}}`)
			c.Get(path)
		})},
		{Name: "crd/scale/by-version", Tell: withCustom(`
versions:
- {name: v1, properties: {spec: {type: object, x-kubernetes-preserve-unknown-fields: true}, status: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
- name: v2
  properties: {spec: {type: object, properties: {count: {type: integer}}}, status: {type: object, properties: {count: {type: integer}}}}
  subresources: {status: {}, scale: {specReplicasPath: .spec.count, statusReplicasPath: .status.count}}
`, func(c custom) {
			c.create("a", `{spec: {count: 2}, status: {count: 1}}`) // v1 has no status of its own
			for _, version := range []string{"v1", "v2"} {
				c.Get(c.in(version) + "/a/scale")
				c.Get(c.in(version) + "/a/status")
				c.Patch(c.in(version)+"/a", story.MergePatch, `{"status":{"count":9}}`)
				c.Patch(c.in(version)+"/a/scale", story.MergePatch, `{"spec":{"replicas":4}}`)
				c.Get(c.in(version) + "/a")
			}
		})},
		{Name: "crd/scale/without-status", Tell: withCustom(strings.Replace(scaled, "    status: {}\n", "", 1), func(c custom) {
			c.create("a", `{spec: {replicas: 2}, status: {replicas: 1, selector: "a in (b)"}}`)
			c.Get(c.in("v1") + "/a/scale")
			c.Get(c.in("v1") + "/a/status")
			c.Patch(c.in("v1")+"/a/scale", story.MergePatch, `{"spec":{"replicas":4}}`)
			c.merge("a", `{status: {replicas: -4}}`, `{status: {replicas: 4000000000}}`, `{status: {selector: "a in b"}}`, `{status: {replicas: 3}}`)
		})},
	}
}
