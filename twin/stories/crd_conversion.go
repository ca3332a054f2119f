package stories

import (
	"fmt"
	"strings"

	"github.com/knarr-io/knarr/twin/sample"
	"github.com/knarr-io/knarr/twin/story"
)

// hosts is a resource whose versions say the same in different ways, so that a webhook
// must convert between them.
const hosts = `
conversion: {strategy: Webhook, webhook: {conversionReviewVersions: [REVIEW], clientConfig: {url: URL, caBundle: BUNDLE}}}
versions:
- name: v1
  subresources: {status: {}, scale: {specReplicasPath: .spec.port, statusReplicasPath: .status.n}}
  additionalPrinterColumns: [{name: Host, type: string, jsonPath: .spec.host}, {name: Port, type: integer, jsonPath: .spec.port}]
  properties: {spec: {type: object, properties: {host: {type: string}, port: {type: integer, maximum: 9999}}}, status: {type: object, properties: {n: {type: integer}}}}
- name: v2
  subresources: {status: {}, scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.n}}
  selectableFields: [{jsonPath: .spec.address}]
  additionalPrinterColumns: [{name: Address, type: string, jsonPath: .spec.address}]
  properties: {spec: {type: object, properties: {address: {type: string, pattern: ":"}, secure: {type: boolean, default: true}, replicas: {type: integer}}}, status: {type: object, properties: {n: {type: integer}}}}
`

// withHosts defines a resource that the webhook of the story converts.
func withHosts(review string, tell func(custom, *webhook)) func(*story.Session) {
	return func(s *story.Session) {
		w := newWebhook(s)
		defer w.close()
		c := newCustom(s, hostsBy(w, review))
		c.define()
		defer func() {
			w.answers(well)
			c.remove()
		}()
		tell(c, w)
	}
}

func hostsBy(w *webhook, review string) string {
	return strings.NewReplacer("REVIEW", review, "URL", w.server.URL+"/convert", "BUNDLE", w.bundle()).Replace(hosts)
}

// host makes an object in version v1.
func (c custom) host(name string, port int) story.Answer {
	return c.create(name, fmt.Sprintf(`{metadata: {labels: {port: "%d"}}, spec: {host: %s, port: %d}}`, port, name, port))
}

func conversions() []story.Story {
	told := []story.Story{
		{Name: "crd/convert/life", Tell: withHosts("v1", hostsLife)},
		{Name: "crd/convert/v1beta1", Tell: withHosts("v1beta1", hostsLife)},
		{Name: "crd/convert/either", Tell: withHosts("v7, v1beta1, v1", hostsLife)},
		{Name: "crd/convert/sent", Tell: withHosts("v1", func(c custom, w *webhook) {
			c.host("a", 1)
			c.Get(c.in("v2") + "/a")
			c.Post(c.in("v2"), c.object("v2", "b", `{metadata: {annotations: {x: y}}, spec: {address: "b:2"}}`))
			c.Get(c.in("v2") + "/b")
			w.was(c.Session, "a")
			w.was(c.Session, "b")
		})},
		{Name: "crd/convert/lists", Tell: withHosts("v1", hostsLists)},
		{Name: "crd/convert/watch", Tell: withHosts("v1", hostsWatch)},
		{Name: "crd/convert/fresh", Tell: withHosts("v1", func(c custom, w *webhook) {
			c.host("a", 1)
			c.Get(c.in("v2") + "/a")
			w.answers(each(func(o object) { metadataOf(o)["labels"] = object{"now": "another"} }))
			c.Get(c.in("v2") + "/a")
			c.Get(c.in("v2")+"/a", story.Accept("application/json"+asPartial))
			c.Get(c.in("v2")+"/a", story.Accept("application/json"+asTable))
			w.answers(well)
			c.Get(c.in("v2") + "/a")
		})},
		{Name: "crd/convert/apply", Tell: withHosts("v1", func(c custom, _ *webhook) {
			apply := func(version, manager, rest, query string) {
				c.Patch(c.in(version)+"/a?fieldManager="+manager+query, applyPatch, c.object(version, "a", rest))
			}
			apply("v1", "one", `{spec: {host: a, port: 1}}`, "")
			apply("v2", "two", `{spec: {address: "a:1"}}`, "")
			apply("v2", "two", `{spec: {address: "b:1"}}`, "")
			apply("v2", "two", `{spec: {address: "b:1"}}`, "&force=true")
			apply("v1", "two", `{spec: {host: b}}`, "")
			apply("v2", "three", `{metadata: {labels: {x: y}}, spec: {secure: false}}`, "")
			apply("v1", "one", `{spec: {}}`, "")
			c.Get(c.in("v1") + "/a")
			c.Get(c.in("v2") + "/a")
		})},
		{Name: "crd/convert/metadata", Tell: withHosts("v1", func(c custom, w *webhook) {
			w.answers(each(func(o object) {
				m := metadataOf(o)
				m["labels"], m["annotations"] = object{"from": "webhook"}, object{"note": "x"}
				m["finalizers"], m["generation"], m["resourceVersion"] = []any{"example.com/x"}, 77, "1"
				m["ownerReferences"], m["creationTimestamp"], m["deletionTimestamp"] = []any{}, "2001-01-01T00:00:00Z", "2001-01-01T00:00:00Z"
				m["managedFields"], m["selfLink"], m["unknown"] = []any{}, "/x", "y"
			}))
			c.host("a", 1)
			c.Get(c.in("v2") + "/a")
			c.Post(c.in("v2"), c.object("v2", "b", `{metadata: {labels: {own: x}}, spec: {address: "b:2"}}`))
			c.Get(c.in("v1") + "/b")
			c.Patch(c.in("v2")+"/a", story.MergePatch, `{"spec":{"address":"c:3"}}`)
			c.Get(c.in("v1") + "/a")
		})},
		{Name: "crd/convert/pruned", Tell: withHosts("v1", func(c custom, w *webhook) {
			w.answers(each(func(o object) {
				o["spec"].(object)["unknown"] = object{"a": 1}
				o["spec"].(object)["secure"] = nil
				o["other"] = true
			}))
			c.host("a", 1)
			c.Get(c.in("v2") + "/a")
			c.Post(c.in("v2")+"?fieldValidation=Strict", c.object("v2", "b", `{spec: {address: "b:2"}}`))
			c.Get(c.in("v1") + "/b")
			c.Get(c.in("v2") + "/b")
		})},
		{Name: "crd/convert/invalid", Tell: withHosts("v1", func(c custom, w *webhook) {
			c.Post(c.in("v2"), c.object("v2", "a", `{spec: {address: "none"}}`))
			c.Post(c.in("v2"), c.object("v2", "a", `{spec: {address: "b:12345"}}`)) // what is stored is not validated
			c.Get(c.in("v1") + "/a")
			c.merge("a", `{spec: {host: c}}`)
			w.answers(each(func(o object) { o["spec"] = object{"address": 7} }))
			c.Get(c.in("v2") + "/a")
			c.Patch(c.in("v2")+"/a", story.MergePatch, `{"metadata":{"labels":{"x":"y"}}}`)
		})},
		{Name: "crd/convert/storage-moves", Tell: withHosts("v1", func(c custom, w *webhook) {
			c.host("a", 1)
			c.host("b", 2)
			moved := strings.Replace(hostsBy(w, "v1"), "name: v2\n", "name: v2\n  storage: true\n", 1)
			c.redefine(moved)
			c.host("c", 3)
			for _, version := range []string{"v1", "v2"} {
				c.Get(c.in(version))
				c.Get(c.in(version) + "/a")
				c.Get(c.in(version) + "/c")
			}
			c.Patch(c.in("v1")+"/a", story.MergePatch, `{"spec":{"port":5}}`)
			c.Patch(c.in("v2")+"/b", story.MergePatch, `{}`) // is stored anew
			c.redefine(strings.Replace(moved, "name: v1\n", "name: v1\n  served: false\n", 1))
			c.Get(c.in("v2"))
			c.Delete(c.in("v2"), nil)
		})},
		{Name: "crd/convert/subresources", Tell: withHosts("v1", func(c custom, _ *webhook) {
			c.host("a", 1)
			c.Patch(c.in("v2")+"/a/status", story.MergePatch, `{"status":{"n":3},"spec":{"address":"x:9"}}`)
			c.Get(c.in("v1") + "/a/status")
			c.Get(c.in("v1") + "/a/scale")
			c.Patch(c.in("v1")+"/a/scale", story.MergePatch, `{"spec":{"replicas":4}}`)
			c.Get(c.in("v2") + "/a/status")
			c.Get(c.in("v2") + "/a/scale")
		})},
		{Name: "crd/convert/untrusted", Tell: func(s *story.Session) {
			w := newWebhook(s)
			defer w.close()
			c := newCustom(s, strings.Replace(hostsBy(w, "v1"), ", caBundle: "+w.bundle(), "", 1))
			c.define()
			defer c.remove()
			c.host("a", 1)
			c.Get(c.in("v2") + "/a")
		}},
		{Name: "crd/convert/none-later", Tell: withHosts("v1", func(c custom, w *webhook) {
			c.host("a", 1)
			c.Get(c.in("v2") + "/a")
			c.redefine(hosts[strings.Index(hosts, "versions:"):])
			c.Get(c.in("v2") + "/a")
			c.redefine(hostsBy(w, "v1"))
			c.Get(c.in("v2") + "/a")
		})},
	}
	for _, bad := range badAnswers {
		told = append(told, story.Story{Name: "crd/convert/bad/" + bad.name, Tell: withHosts("v1", func(c custom, w *webhook) {
			w.answers(bad.answer)
			hostsFailing(c)
		})})
	}
	return append(told,
		story.Story{Name: "crd/convert/bad/v1beta1-uid", Tell: withHosts("v1beta1", func(c custom, w *webhook) {
			w.answers(func(r *review, o []object) object { r.wrong = "x"; return well(r, o) }) // not looked at
			hostsFailing(c)
		})},
		story.Story{Name: "crd/convert/bad/down", Tell: withHosts("v1", func(c custom, w *webhook) {
			w.close()
			hostsFailing(c)
		})},
		story.Story{Name: "crd/convert/fails-later", Tell: withHosts("v1", func(c custom, w *webhook) {
			c.host("a", 1)
			c.host("b", 2)
			c.Get(c.in("v2") + "/a")
			c.Get(c.in("v2"))
			w.answers(refuse)
			c.Get(c.in("v2") + "/a")
			c.Get(c.in("v2") + "/a?resourceVersion=0")
			c.Get(c.in("v2")) // is known still
			c.Get(c.in("v2"), story.Accept("application/json"+asTable))
			c.Patch(c.in("v2")+"/a", story.MergePatch, `{"spec":{"address":"c:3"}}`)
			c.Put(c.in("v2")+"/a", sample.With(c.object("v2", "a", `{spec: {address: "b:2"}}`), c.stored("a"), "metadata", "resourceVersion"))
			c.Patch(c.in("v2")+"/a?fieldManager=x", applyPatch, c.object("v2", "a", `{spec: {address: "d:4"}}`))
			c.Delete(c.in("v2")+"/a", nil)
			c.Get(c.in("v1"))
			w.answers(well)
			c.Patch(c.in("v2")+"/a", story.MergePatch, `{"spec":{"address":"c:3"}}`)
			c.Delete(c.in("v2"), nil)
		})},
		story.Story{Name: "crd/convert/unreadable", Tell: withHosts("v1", hostsUnreadable)},
		story.Story{Name: "crd/convert/ends", Tell: withHosts("v1", func(c custom, w *webhook) {
			c.host("a", 1)
			c.create("held", `{metadata: {finalizers: [example.com/x]}, spec: {host: h, port: 2}}`)
			w.answers(refuse)
			c.Delete(c.uri(), nil)
			c.Await(c.in("v1")+"/a", story.NotFound)
			c.merge("held", `{metadata: {finalizers: null}}`)
			c.Await(c.uri(), story.NotFound)
		})},
	)
}

// hostsLife is every verb, in both versions.
func hostsLife(c custom, _ *webhook) {
	c.host("a", 1)
	c.Post(c.in("v2")+"?dryRun=All", c.object("v2", "b", `{spec: {address: "b:2"}}`))
	c.Post(c.in("v2"), c.object("v2", "b", `{spec: {address: "b:2", unknown: 1}}`))
	c.Post(c.in("v2"), c.object("v1", "c", `{spec: {host: c}}`))
	for _, version := range []string{"v1", "v2"} {
		c.Get(c.in(version) + "/a")
		c.Get(c.in(version) + "/b?resourceVersion=0")
		c.Get(c.in(version))
	}
	c.put(c.in("v2")+"/a", c.object("v2", "a", `{spec: {address: "a:7"}}`))
	c.put(c.in("v1")+"/b", c.object("v1", "b", `{spec: {host: b, port: 8}}`))
	c.Patch(c.in("v2")+"/a", story.MergePatch, `{"spec":{"address":"a:8"}}`)
	c.Patch(c.in("v2")+"/a", story.MergePatch, `{"spec":{"address":"a:8"}}`) // changes nothing
	c.Patch(c.in("v2")+"/b", story.JSONPatch, `[{"op":"replace","path":"/spec/address","value":"b:9"}]`)
	c.Patch(c.in("v2")+"/b?dryRun=All", story.MergePatch, `{"spec":{"address":"b:10"}}`)
	c.Get(c.in("v1"))
	c.Delete(c.in("v2")+"/a?dryRun=All", nil)
	c.Delete(c.in("v2")+"/a", nil)
	c.host("d", 4)
	c.Delete(c.in("v2"), nil)
	c.Get(c.in("v2"))
}

// hostsLists lists in every form and by every selector.
func hostsLists(c custom, _ *webhook) {
	for i := range 5 {
		c.host(fmt.Sprint("h", i), i)
	}
	for _, version := range []string{"v2", "v1"} {
		for _, form := range []string{"application/json", "application/yaml", "application/json" + asTable, "application/json" + asPartials, protobuf + asPartials} {
			c.Get(c.in(version), story.Accept(form))
			c.Get(c.all(version)+"?limit=2&labelSelector=port!=0", story.Accept(form))
		}
		for _, query := range []string{
			"labelSelector=port=1", "fieldSelector=spec.address=h1:1", "fieldSelector=spec.address!=h1:1", "fieldSelector=metadata.name=h2",
			"fieldSelector=metadata.name=h2,spec.address=h2:2", "resourceVersion=0", "limit=2", "limit=3&fieldSelector=spec.address!=h1:1",
		} {
			c.Get(c.in(version) + "?" + query)
		}
		c.Get(c.in(version)+"/h1", story.Accept("application/json"+asTable+";includeObject=Object"))
		c.Get(c.in(version)+"?includeObject=Object", story.Accept("application/json"+asTable))
	}
	c.Delete(c.in("v2")+"?labelSelector=port=1", nil)
	c.Delete(c.in("v2")+"?fieldSelector=spec.address=h2:2", nil)
	c.Get(c.in("v2"))
}

// hostsWatch watches both versions while objects change in both.
func hostsWatch(c custom, _ *webhook) {
	c.host("a", 1)
	c.host("b", 2)
	second := c.Watch(c.in("v2") + "?watch=true")
	second.Next(2)
	first := c.Watch(c.in("v1") + "?watch=true&resourceVersion=" + revision(c.Get(c.in("v1"))))
	some := c.Watch(c.in("v2") + "?watch=true&fieldSelector=spec.address=a:5&resourceVersion=" + revision(c.Get(c.in("v2"))))
	rows := c.Watch(c.in("v2")+"?watch=true&resourceVersion="+revision(c.Get(c.in("v2"))), story.Accept("application/json"+asTable))
	c.merge("a", `{spec: {port: 5}}`)
	c.Patch(c.in("v2")+"/a", story.MergePatch, `{"spec":{"address":"a:6"}}`)
	c.Delete(c.in("v2")+"/a", nil)
	first.Until(story.Gone("a"))
	second.Until(story.Gone("a"))
	some.Until(story.Gone("a"))
	rows.Next(3)
	c.Watch(c.in("v2") + "?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true").Next(2)
}

// hostsFailing is what can be done while nothing is converted.
func hostsFailing(c custom) {
	c.host("a", 1)
	c.Get(c.in("v2") + "/a")
	c.Get(c.in("v2")+"/a", story.Accept("application/json"+asTable))
	c.Get(c.in("v2")+"/a", story.Accept("application/json"+asPartial))
	c.Get(c.in("v2") + "/a/scale")
	c.Get(c.in("v2") + "/none")
	c.Post(c.in("v2"), c.object("v2", "b", `{spec: {address: "b:2"}}`))
	c.Post(c.in("v2")+"?dryRun=All", c.object("v2", "b", `{spec: {address: "b:2"}}`))
	c.Put(c.in("v2")+"/a", c.object("v2", "a", `{metadata: {resourceVersion: "1"}, spec: {address: "b:2"}}`))
	c.Patch(c.in("v2")+"/a", story.MergePatch, `{"spec":{"address":"c:3"}}`)
	c.Patch(c.in("v2")+"/a?dryRun=All", story.MergePatch, `{"spec":{"address":"c:3"}}`)
	c.Patch(c.in("v2")+"/a?fieldManager=x", applyPatch, c.object("v2", "a", `{spec: {address: "d:4"}}`))
	c.Patch(c.in("v2")+"/new?fieldManager=x", applyPatch, c.object("v2", "new", `{spec: {address: "d:4"}}`))
	c.Delete(c.in("v2")+"/a?dryRun=All", nil)
	c.Delete(c.in("v2")+"/a", nil)
	c.Get(c.in("v1"))
	c.Delete(c.in("v1")+"/a", nil)
}

// refuse answers that nothing is converted.
func refuse(*review, []object) object {
	return object{"result": object{"status": "Failed", "message": "not today"}}
}

// hostsUnreadable is one object that cannot be converted among others that can.
func hostsUnreadable(c custom, w *webhook) {
	w.answers(func(r *review, converted []object) object {
		for _, o := range r.Request.Objects {
			if o["metadata"].(object)["name"] == "bad" {
				return refuse(r, converted)
			}
		}
		return well(r, converted)
	})
	c.host("a", 1)
	c.host("bad", 2)
	c.host("c", 3)
	c.Get(c.in("v2") + "/a")
	c.Get(c.in("v2") + "/bad")
	c.Get(c.in("v2") + "?limit=500")
	c.Get(c.in("v2")+"?limit=500", story.Accept("application/json"+asTable))
	c.Get(c.in("v2") + "?limit=1")
	c.Get(c.in("v2"))
	c.Delete(c.in("v2"), nil)
	c.Get(c.in("v1"))
	c.Patch(c.in("v2")+"/c", story.MergePatch, `{"spec":{"address":"c:4"}}`)
	c.Delete(c.in("v2")+"/bad", nil)
	c.Delete(c.in("v2")+"/bad?ignoreStoreReadErrorWithClusterBreakingPotential=true&dryRun=All", nil)
	c.Delete(c.in("v2")+"/a?ignoreStoreReadErrorWithClusterBreakingPotential=true", nil)
	c.Delete(c.in("v2")+"/bad?ignoreStoreReadErrorWithClusterBreakingPotential=true", nil)
	c.Get(c.in("v1"))
	c.Get(c.in("v2") + "/a")
}

// badAnswers are answers that are not taken.
var badAnswers = []struct {
	name   string
	answer answering
}{
	{"refused", refuse},
	{"refused-silently", func(*review, []object) object { return object{"result": object{"status": "Failed"}} }},
	{"no-result", func(_ *review, o []object) object { return object{"convertedObjects": o} }},
	{"no-response", func(*review, []object) object { return nil }},
	{"uid", func(r *review, o []object) object {
		r.wrong = "11111111-2222-3333-4444-555555555555"
		return well(r, o)
	}},
	{"no-objects", func(r *review, _ []object) object { return well(r, nil) }},
	{"too-many", func(r *review, o []object) object { return well(r, append(o, o...)) }},
	{"null", func(r *review, _ []object) object {
		return object{"result": object{"status": "Success"}, "convertedObjects": []any{nil}}
	}},
	{"text", func(r *review, _ []object) object {
		return object{"result": object{"status": "Success"}, "convertedObjects": []any{"x"}}
	}},
	{"apiVersion", each(func(o object) { o["apiVersion"] = "example.com/v9" })},
	{"no-apiVersion", each(func(o object) { delete(o, "apiVersion") })},
	{"kind", each(func(o object) { o["kind"] = "Other" })},
	{"name", each(func(o object) { metadataOf(o)["name"] = "other" })},
	{"no-name", each(func(o object) { delete(metadataOf(o), "name") })},
	{"namespace", each(func(o object) { metadataOf(o)["namespace"] = "other" })},
	{"object-uid", each(func(o object) { metadataOf(o)["uid"] = "11111111-2222-3333-4444-555555555555" })},
	{"no-metadata", each(func(o object) { delete(o, "metadata") })},
	{"metadata-text", each(func(o object) { o["metadata"] = "x" })},
	{"labels", each(func(o object) { metadataOf(o)["labels"] = object{"a": "not a label!"} })},
	{"labels-numbers", each(func(o object) { metadataOf(o)["labels"] = object{"a": 1} })},
	{"labels-list", each(func(o object) { metadataOf(o)["labels"] = []any{"a"} })},
	{"annotations", each(func(o object) { metadataOf(o)["annotations"] = object{"not a name!": "x"} })},
	{"no-json", func(r *review, _ []object) object { r.raw = "sorry"; return nil }},
	{"half-json", func(r *review, _ []object) object { r.raw = `{"apiVersion":`; return nil }},
	{"empty", func(r *review, _ []object) object { r.status = 200; return nil }},
	{"other-kind", func(r *review, _ []object) object { r.raw = `{"apiVersion":"v1","kind":"Pod"}`; return nil }},
	{"v1beta1", func(r *review, _ []object) object {
		r.raw = `{"apiVersion":"apiextensions.k8s.io/v1beta1","kind":"ConversionReview","response":{}}`
		return nil
	}},
	{"500", func(r *review, _ []object) object { r.status, r.raw = 500, `{"oh":"no"}`; return nil }},
	{"404", func(r *review, _ []object) object { r.status, r.raw = 404, `gone`; return nil }},
	{"status", func(r *review, _ []object) object {
		r.status, r.raw = 403, `{"apiVersion":"v1","kind":"Status","status":"Failure","reason":"Forbidden","message":"no, you","code":403}`
		return nil
	}},
	{"redirect", func(r *review, _ []object) object { r.status = 302; return nil }},
}
