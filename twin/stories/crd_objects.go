package stories

import (
	"fmt"
	"strings"

	"github.com/knarr-io/knarr/twin/sample"
	"github.com/knarr-io/knarr/twin/story"
)

// customObjects tells of what is done to custom resources as to any others.
func customObjects() []story.Story {
	return []story.Story{
		{Name: "crd/object/life", Tell: withCustom(plain, func(c custom) {
			made := c.create("a", `{spec: {size: 1, color: red}, metadata: {labels: {a: b}}}`)
			c.create("a", `{}`)
			path := c.in("v1") + "/a"
			c.Get(path)
			c.Put(path, sample.With(made.Object(), 2, "spec", "size"))
			c.Put(path, sample.With(made.Object(), 3, "spec", "size")) // made before the last change
			c.Put(path, c.object("v1", "a", `{spec: {size: 3}}`))      // made at any time
			c.replace("a", `{spec: {size: 3}}`, `{spec: {size: 3}}`, `{}`)
			c.merge("a", `{spec: {size: 4}}`, `{spec: {size: null}}`, `{spec: null}`)
			c.Get(c.in("v1"))
			c.Delete(path, nil)
			c.Get(path)
			c.Delete(path, nil)
			c.replace("a", `{}`)
			c.merge("a", `{}`)
			c.Get(c.in("v1"))
		})},
		{Name: "crd/object/generate-name", Tell: withCustom(plain, func(c custom) {
			made := func(metadata object) { c.Post(c.in("v1"), sample.With(c.object("v1", "", ``), metadata, "metadata")) }
			made(object{"generateName": "made-"})
			made(object{"generateName": "made-", "name": "both"})
			made(object{"generateName": "Bad_"})
			made(object{"generateName": strings.Repeat("x", 300)})
			made(object{})
			c.Post(c.in("v1")+"?dryRun=All", sample.With(c.object("v1", "", ``), object{"generateName": "dry-"}, "metadata"))
		})},
		{Name: "crd/object/dry-run", Tell: withCustom(plain, func(c custom) {
			c.create("b", `{spec: {size: 1}}`)
			for _, query := range []string{"?dryRun=All", "?dryRun=Other", "?dryRun="} {
				c.Post(c.in("v1")+query, c.object("v1", "a", `{spec: {size: 1}}`))
				c.Get(c.in("v1") + "/a")
				c.put(c.in("v1")+"/b"+query, c.object("v1", "b", `{spec: {size: 2}}`))
				c.Patch(c.in("v1")+"/b"+query, story.MergePatch, `{"spec":{"size":3}}`)
				c.Patch(c.in("v1")+"/b"+query, applyPatch, c.object("v1", "b", `{spec: {size: 3}}`))
				c.Delete(c.in("v1")+"/b"+query, nil)
				c.Delete(c.in("v1")+query, nil)
			}
		})},
		{Name: "crd/object/update", Tell: withCustom(plain, func(c custom) {
			made := c.create("a", `{spec: {size: 1}}`).Object()
			path := c.in("v1") + "/a"
			for _, change := range []struct {
				value any
				path  []string
			}{
				{"other", []string{"metadata", "name"}}, {"other", []string{"metadata", "namespace"}}, {"1", []string{"metadata", "resourceVersion"}},
				{"x", []string{"metadata", "resourceVersion"}}, {"00000000-0000-4000-8000-000000000000", []string{"metadata", "uid"}},
				{"2020-01-01T00:00:00Z", []string{"metadata", "creationTimestamp"}}, {9, []string{"metadata", "generation"}},
				{"2020-01-01T00:00:00Z", []string{"metadata", "deletionTimestamp"}}, {"Other", []string{"kind"}}, {"v1", []string{"apiVersion"}},
				{[]object{}, []string{"metadata", "managedFields"}}, {[]object{{"manager": "x", "operation": "Bad"}}, []string{"metadata", "managedFields"}},
				{"", []string{"metadata", "name"}}, {nil, []string{"metadata", "uid"}}, {"/self", []string{"metadata", "selfLink"}},
			} {
				c.Quietly(func() { made = c.Get(path).Object() })
				changed := sample.With(made, change.value, change.path...)
				c.Put(path, changed)
				changed = sample.With(sample.With(made, nil, "metadata", "resourceVersion"), change.value, change.path...)
				c.Post(c.in("v1")+"?dryRun=All", sample.With(changed, "fresh", "metadata", "name"))
			}
			c.put(c.in("v1")+"/none", c.object("v1", "none", `{}`))
			c.put(c.in("v1"), c.object("v1", "a", `{}`))
			c.Post(path, c.object("v1", "a", `{}`))
		})},
		{Name: "crd/object/patches", Tell: withCustom(plain, customPatches)},
		{Name: "crd/object/delete", Tell: withCustom(plain, func(c custom) {
			path := c.in("v1") + "/a"
			for _, body := range []any{
				nil, `{`, object{"propagationPolicy": "Foreground"}, object{"propagationPolicy": "Orphan"}, object{"propagationPolicy": "Background"},
				object{"propagationPolicy": "Other"}, object{"gracePeriodSeconds": 0}, object{"gracePeriodSeconds": -1}, object{"gracePeriodSeconds": 30},
				object{"dryRun": []string{"All"}}, object{"preconditions": object{"uid": "00000000-0000-4000-8000-000000000000"}},
				object{"preconditions": object{"resourceVersion": "1"}}, object{"unknown": 1}, object{"apiVersion": "v1", "kind": "Pod"},
				object{"apiVersion": c.group + "/v1", "kind": "DeleteOptions"}, object{"apiVersion": "v1", "kind": "DeleteOptions"},
				object{"apiVersion": c.group + "/v1", "kind": "Widget"}, object{"orphanDependents": true},
			} {
				c.create("a", `{spec: {size: 1}}`)
				c.Delete(path, body)
				c.Get(path)
				c.Patch(path, story.MergePatch, object{"metadata": object{"finalizers": nil}})
			}
			c.create("a", `{}`)
			c.Delete(path, nil, story.Accept("application/json"+asTable))
			c.create("a", `{}`)
			c.Delete(path, nil, story.Accept(protobuf+asPartial))
			c.create("a", `{}`)
			c.Delete(path, nil, story.Accept(protobuf))
			c.Get(path)
		})},
		{Name: "crd/object/delete-collection", Tell: withCustom(plain, func(c custom) {
			for i := range 5 {
				c.create(fmt.Sprint("item-", i), fmt.Sprintf(`{spec: {size: %d}, metadata: {labels: {parity: %s}}}`, i, []string{"even", "odd"}[i%2]))
			}
			all := c.in("v1")
			c.Delete(all+"?labelSelector=parity=odd&dryRun=All", nil)
			c.Delete(all+"?labelSelector=parity=odd", nil)
			c.Delete(all+"?fieldSelector=metadata.name=item-0", nil)
			c.Delete(all+"?fieldSelector=spec.size=2", nil)
			c.Delete(all+"?labelSelector=a+b", nil)
			c.Delete(all, object{"preconditions": object{"uid": "x"}})
			c.Get(all)
			c.create("held", `{metadata: {finalizers: [example.com/hold]}}`)
			c.Delete(all+"?limit=1", nil)
			c.Delete(all, nil, story.Accept("application/json"+asTable))
			c.Get(all)
			c.merge("held", `{metadata: {finalizers: []}}`)
			c.Delete(all, nil)
		})},
		{Name: "crd/object/finalizers", Tell: withCustom(plain, func(c custom) {
			path := c.in("v1") + "/a"
			w := c.Watch(c.in("v1") + "?watch=true&resourceVersion=" + revision(c.Get(c.in("v1"))))
			c.create("a", `{metadata: {finalizers: [example.com/a, example.com/b]}, spec: {size: 1}}`)
			c.Delete(path, nil)
			c.Delete(path, nil)
			c.create("a", `{}`)
			c.merge("a", `{spec: {size: 2}}`)
			c.merge("a", `{metadata: {finalizers: [example.com/a, example.com/c]}}`)
			c.merge("a", `{metadata: {finalizers: [example.com/a]}}`)
			c.merge("a", `{metadata: {finalizers: [unqualified]}}`)
			c.Get(path)
			c.replace("a", `{spec: {size: 2}}`) // the last finalizer goes
			c.Get(path)
			w.Until(func(e story.Event) bool { return e.Type == "DELETED" })
			c.create("bad", `{metadata: {finalizers: [bad name]}}`)
		})},
		{Name: "crd/object/methods", Tell: withCustom(plain, func(c custom) {
			c.create("a", `{}`)
			for _, path := range []string{
				c.in("v1"), c.in("v1") + "/a", c.in("v1") + "/a/status", c.in("v1") + "/a/scale", c.in("v1") + "/a/log", c.in("v1") + "/a/status/more", c.all("v1"),
			} {
				for _, method := range []string{"HEAD", "OPTIONS", "TRACE", "POST", "PUT", "PATCH", "DELETE", "GET", "BREW"} {
					c.Do(method, path+"?dryRun=All", nil)
				}
			}
		})},
		{Name: "crd/object/not-there", Tell: withCustom(plain, func(c custom) {
			root := "/apis/" + c.group
			for _, path := range []string{
				root + "/v2", root + "/v2/widgets", root + "/v1/gadgets", root + "/v1/gadgets/a", root + "/v1/namespaces/" + c.Namespace + "/gadgets",
				root + "/v1/namespaces/" + c.Namespace + "/widget", root + "/v1/namespaces/" + c.Namespace + "/Widgets", root + "/v1/widgets/a",
				root + "/v1/namespaces/" + c.Namespace, root + "/v1/namespaces", root + "/v1/watch", root + "//v1/widgets", root + "/v1/widgets/", root + "/V1/widgets",
				"/apis/none." + c.group + "/v1/widgets", "/apis/none." + c.group + "/v1", "/apis/none." + c.group, c.in("v1") + "/a%2Fb", c.in("v1") + "/UPPER",
			} {
				c.Get(path)
			}
		})},
		{Name: "crd/object/owners", Tell: withCustom(plain, func(c custom) {
			path := c.in("v1")
			c.Post(path+"?fieldManager=maker", c.object("v1", "a", `{spec: {size: 1, color: red}, metadata: {labels: {a: b}, finalizers: [example.com/a]}}`))
			c.Patch(path+"/a?fieldManager=patcher", story.MergePatch, `{"spec":{"size":2},"metadata":{"annotations":{"x":"z"}}}`)
			c.put(path+"/a?fieldManager=putter", c.object("v1", "a", `{spec: {color: blue}}`))
			c.put(path+"/a?fieldManager=putter", c.object("v1", "a", `{spec: {color: blue}}`))
			c.Patch(path+"/a?fieldManager=patcher", story.JSONPatch, `[{"op":"remove","path":"/spec/color"}]`)
			c.Patch(path+"/a?fieldManager=x", story.MergePatch, `{"metadata":{"managedFields":[{}]}}`)
			c.Patch(path+"/a?fieldManager=late", story.MergePatch, `{"status":{"phase":"new"}}`)
			c.Post(path, c.object("v1", "b", `{}`), story.Header("User-Agent", "tool/v1 (linux) more"))
			c.Post(path+"?fieldManager="+strings.Repeat("x", 129), c.object("v1", "c", `{}`))
			for i := range 12 { // at most ten are told apart
				c.Patch(fmt.Sprint(path, "/b?fieldManager=m", i), story.MergePatch, object{"metadata": object{"labels": object{fmt.Sprint("l", i): "v"}}})
			}
		})},
		{Name: "crd/object/owner-references", Tell: withCustom(plain, func(c custom) {
			owner := c.create("owner", `{}`)
			reference := object{"apiVersion": c.group + "/v1", "kind": "Widget", "name": "owner", "uid": owner.Text("metadata", "uid")}
			with := func(name string, references ...object) {
				c.Post(c.in("v1"), sample.With(c.object("v1", name, `{}`), references, "metadata", "ownerReferences"))
			}
			with("a", reference)
			with("b", sample.With(reference, true, "controller"), sample.With(sample.With(reference, "u2", "uid"), true, "controller"))
			with("c", object{})
			with("d", reference, reference)
			with("e", sample.With(sample.With(reference, true, "controller"), true, "blockOwnerDeletion"))
			c.merge("e", `{metadata: {ownerReferences: null}}`)
		})},
	}
}

func customPatches(c custom) {
	c.create("a", `{spec: {size: 1, color: red}, metadata: {labels: {app: web}}}`)
	path := c.in("v1") + "/a"
	for _, patch := range []string{
		`[]`, `{}`, `null`, ``, `[{"op":"replace","path":"/spec/size","value":7}]`, `[{"op":"replace","path":"/spec/size","value":"seven"}]`,
		`[{"op":"add","path":"/metadata/annotations","value":{"a":"b"}}]`, `[{"op":"add","path":"/metadata/annotations/c~1d","value":"e"}]`,
		`[{"op":"copy","from":"/metadata/labels/app","path":"/metadata/labels/copy"}]`, `[{"op":"test","path":"/spec/color","value":"blue"}]`,
		`[{"op":"remove","path":"/spec/none"}]`, `[{"op":"other","path":"/x"}]`, `[{"op":"replace","path":"/kind","value":"Other"}]`,
		`[{"op":"replace","path":"/metadata/name","value":"other"}]`, `[{"op":"add","path":"/unknown","value":1}]`, `[{"op":"remove","path":"/spec"}]`,
		`[{"op":"replace","path":"","value":{}}]`, `[{"op":"replace","path":"/metadata/resourceVersion","value":"1"}]`,
		`[{"op":"add","path":"/spec","value":{"size":1.0}}]`, `[{"op":"add","path":"/spec","value":[]}]`, `[{"op":"replace","path":"/metadata","value":null}]`,
	} {
		c.Patch(path, story.JSONPatch, patch)
	}
	for _, patch := range []string{
		`{}`, `[]`, `null`, `7`, ``, `{"metadata":{"labels":{"m":"1"}}}`, `{"metadata":{"labels":{"m":null}}}`, `{"metadata":null}`, `{"spec":{"size":"x"}}`,
		`{"metadata":{"resourceVersion":"1"}}`, `{"metadata":{"uid":"other"}}`, `{"metadata":{"name":"other"}}`, `{"apiVersion":"v2"}`, `{"kind":"Other"}`,
		`{"apiVersion":"` + c.group + `/v2"}`, `{"status":{"phase":"Running"}}`, `{"spec":7}`, `{"metadata":{"labels":7}}`, `{"metadata":{"labels":{"a":7}}}`,
		`{"metadata":{"labels":{"a b":"c"}}}`, `{"spec":{"size":1e2}}`, `{"spec":{"size":1.5}}`, `{} {}`, `{"spec":{"$patch":"delete"}}`,
	} {
		c.Patch(path, story.MergePatch, patch)
	}
	for _, mediaType := range []string{
		story.StrategicPatch, "application/json", "application/apply-patch+cbor", "text/plain", "", protobuf, story.MergePatch + "; charset=utf-8",
	} {
		c.Patch(path, mediaType, `{"spec":{"size":5}}`)
	}
	c.Patch(c.in("v1")+"/none", story.MergePatch, `{}`)
	c.Patch(c.in("v1")+"/none", story.JSONPatch, `[]`)
	c.Patch(c.in("v1"), story.MergePatch, `{}`)
	for _, query := range []string{"force=true", "fieldManager=x", "force=maybe", "fieldManager=%07"} {
		c.Patch(path+"?"+query, story.MergePatch, fmt.Sprintf(`{"spec":{"color":%q}}`, query))
	}
}
