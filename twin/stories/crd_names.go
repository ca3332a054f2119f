package stories

import (
	"fmt"
	"strings"

	"github.com/knarr-io/knarr/twin/sample"
	"github.com/knarr-io/knarr/twin/story"
)

// definitionNames tells of names, which two resources of a group may not share, of
// scopes and of groups that are protected.
func definitionNames() []story.Story {
	var all []story.Story
	for _, clash := range []struct{ name, names string }{
		{"plural", `{plural: others, singular: other, kind: Other, listKind: OtherList, shortNames: [widgets]}`},
		{"singular", `{plural: others, singular: widget, kind: Other, listKind: OtherList}`},
		{"short-name", `{plural: others, singular: other, kind: Other, listKind: OtherList, shortNames: [ot, wd]}`},
		{"kind", `{plural: others, singular: other, kind: Widget, listKind: OtherList}`},
		{"list-kind", `{plural: others, singular: other, kind: Other, listKind: WidgetList}`},
		{"list-kind-as-kind", `{plural: others, singular: other, kind: WidgetList, listKind: OtherList}`},
		{"several", `{plural: others, singular: widget, kind: Widget, listKind: WidgetList, shortNames: [wd, widgets]}`},
	} {
		all = append(all, story.Story{Name: "crd/names/conflict-of-" + clash.name, Tell: withCustom(
			`{names: {plural: widgets, singular: widget, kind: Widget, listKind: WidgetList, shortNames: [wd]}, `+oneVersion+`}`,
			func(c custom) { nameConflict(c, clash.names) },
		)})
	}
	return append(all, []story.Story{
		{Name: "crd/names/guessed", Tell: func(s *story.Session) {
			c := newCustom(s, `{`+oneVersion+`}`)
			delete(c.names(), "singular")
			delete(c.names(), "listKind")
			c.define()
			defer c.remove()
			s.Get(c.uri())
			s.Only("spec", "names")
			s.Get(c.uri())
			s.Only("status", "acceptedNames")
			s.Get(c.in("v1"))
		}},
		{Name: "crd/names/change", Tell: withCustom(`{`+oneVersion+`}`, func(c custom) {
			document := "/apis/" + c.group + "/v1"
			c.redefine(`{names: {plural: widgets, singular: gadget, kind: Widget, listKind: Gadgets, shortNames: [gd, g], categories: [all, tools]}, ` + oneVersion + `}`)
			c.Get(c.uri())
			c.Only("status", "acceptedNames")
			c.Await(document, func(a story.Answer) bool { return strings.Contains(string(a.Body), "tools") })
			c.Get(c.in("v1")) // as the new kind of list
			c.Get("/apis/" + c.group + "/v1/namespaces/" + c.Namespace + "/gadgets")
			c.redefine(`{` + oneVersion + `}`)
			c.Await(document, func(a story.Answer) bool { return !strings.Contains(string(a.Body), "tools") })
		})},
		{Name: "crd/names/other-group", Tell: withCustom(`{`+oneVersion+`}`, func(c custom) {
			other := newCustom(c.Session, `{group: `+c.Namespace+`.example.org, `+oneVersion+`}`) // all names are the same
			other.define()
			defer other.remove()
			c.create("a", `{}`)
			other.create("b", `{}`)
			c.Get(c.in("v1"))
			c.Get(other.in("v1"))
		})},
		{Name: "crd/scope/cluster", Tell: withCustom(`{scope: Cluster, `+oneVersion+`}`, func(c custom) {
			c.create("a", `{size: 1}`)
			c.create("b", `{metadata: {namespace: default}, size: 1}`)
			in := "/apis/" + c.group + "/v1/namespaces/" + c.Namespace + "/widgets"
			for _, path := range []string{c.in("v1"), in} {
				c.Get(path)
				c.Get(path + "/a")
				c.Post(path, c.object("v1", "c", `{}`))
				c.Patch(path+"/a", story.MergePatch, `{"size":2}`)
				c.Delete(path+"/a", nil)
			}
			c.Get(c.in("v1") + "?fieldSelector=metadata.namespace=default")
			c.Get(c.in("v1") + "?fieldSelector=metadata.namespace=")
			c.Delete(c.in("v1"), nil)
		})},
		{Name: "crd/scope/namespaced", Tell: withCustom(`{`+oneVersion+`}`, func(c custom) {
			c.create("a", `{size: 1}`)
			c.create("b", `{metadata: {namespace: default}, size: 1}`)
			all := c.all("v1")
			c.Get(all)
			c.Get(all + "?fieldSelector=metadata.namespace=" + c.Namespace)
			c.Get(all + "?labelSelector=none")
			c.Watch(all + "?watch=true").Next(1)
			c.Get(all + "/a")
			c.Post(all, c.object("v1", "c", `{}`))
			c.put(all+"/a", c.object("v1", "a", `{}`))
			c.Patch(all+"/a", story.MergePatch, `{}`)
			c.Delete(all+"/a", nil)
			c.Delete(all, nil)
			none := "/apis/" + c.group + "/v1/namespaces/none/widgets"
			c.Get(none)
			c.Get(none + "/a")
			c.Post(none, c.object("v1", "c", `{}`))
		})},
		{Name: "crd/scope/doomed-namespace", Tell: withCustom(`{`+oneVersion+`}`, func(c custom) {
			doomed := c.Namespace + "-doomed"
			c.Quietly(func() {
				c.Post("/api/v1/namespaces", object{"metadata": object{"name": doomed, "finalizers": []string{"example.com/hold"}}})
				c.Delete("/api/v1/namespaces/"+doomed, nil)
			})
			c.Post("/apis/"+c.group+"/v1/namespaces/"+doomed+"/widgets", c.object("v1", "c", `{}`))
		})},
		{Name: "crd/protected/unapproved", Tell: func(s *story.Session) { protectedGroup(s, "unapproved, experimental-only") }},
		{Name: "crd/protected/approved", Tell: func(s *story.Session) { protectedGroup(s, "https://example.com/pull/1") }},
		{Name: "crd/protected/refused", Tell: func(s *story.Session) {
			c := newCustom(s, `{group: `+s.Namespace+`.k8s.io, `+oneVersion+`}`)
			s.Post(definitions, c.definition)
			s.Post(definitions, approved(c, "somebody said so").definition)
			c = approved(c, "https://example.com/pull/1")
			c.define()
			defer c.remove()
			s.Settle(c.uri())
			s.Patch(c.uri()+"?dryRun=All", story.MergePatch, `{"metadata":{"annotations":{"api-approved.kubernetes.io":null}}}`)
			s.Patch(c.uri()+"?dryRun=All", story.MergePatch, `{"metadata":{"annotations":{"api-approved.kubernetes.io":"nonsense"}}}`)
		}},
	}...)
}

// oneVersion is all that has to be said of versions.
const oneVersion = `versions: [{name: v1, properties: {size: {type: integer}}}]`

// nameConflict defines another resource in the group with names that are taken, and
// gives it those in the end.
func nameConflict(c custom, names string) {
	other := newCustom(c.Session, `{names: `+names+`, `+oneVersion+`}`)
	c.Quietly(func() { c.Post(definitions, other.definition) })
	defer other.remove()
	c.Quietly(func() { c.Await(other.uri(), condition("NamesAccepted", "False")) })
	c.Settle(other.uri())
	c.Get(other.uri())
	c.Only("status")
	c.Get(other.in("v1"))
	other.create("a", `{}`)
	c.Get(c.in("v1"))
	c.Await("/apis/"+c.group+"/v1", story.Found)
	c.remove()
	other.awaitServed()
	c.Settle(other.uri())
	c.Get(other.uri())
	c.Only("status")
	c.Await(fmt.Sprint("/apis/", c.group, "/v1"), func(a story.Answer) bool { return strings.Contains(string(a.Body), `"others"`) })
	other.create("a", `{}`)
}

func approved(c custom, by string) custom {
	c.definition = sample.With(c.definition, object{"api-approved.kubernetes.io": by}, "metadata", "annotations")
	return c
}

func protectedGroup(s *story.Session, by string) {
	c := approved(newCustom(s, `{group: `+s.Namespace+`.k8s.io, `+oneVersion+`}`), by)
	c.define()
	defer c.remove()
	told := func(status string) {
		s.Quietly(func() { s.Await(c.uri(), condition("KubernetesAPIApprovalPolicyConformant", status)) })
		s.Get(c.uri()) // which condition is there first is chance
		s.Only("status", "conditions", "KubernetesAPIApprovalPolicyConformant")
	}
	first, second := "True", "False"
	next := "unapproved, not yet"
	if !strings.HasPrefix(by, "https:") {
		first, second, next = "False", "True", "https://example.com/pull/2"
	}
	told(first)
	c.create("a", `{}`)
	s.Quietly(func() {
		s.Patch(c.uri(), story.MergePatch, object{"metadata": object{"annotations": object{"api-approved.kubernetes.io": next}}})
	})
	told(second)
}
