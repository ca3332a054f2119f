package stories

import (
	"github.com/knarr-io/knarr/twin/story"
)

// definitionEnds tells of what becomes of the objects when their definition goes.
func definitionEnds() []story.Story {
	gone := func(c custom) { c.Quietly(func() { c.Await(c.uri(), story.NotFound) }) }
	return []story.Story{
		{Name: "crd/end/empty", Tell: func(s *story.Session) {
			c := newCustom(s, plain)
			c.define()
			s.Settle(c.uri())
			s.Delete(c.uri()+"?dryRun=All", nil)
			s.Delete(c.uri(), `{"preconditions":{"uid":"00000000-0000-4000-8000-000000000000"}}`)
			s.Get(c.in("v1"))
			s.Delete(c.uri(), nil)
			gone(c)
			s.Get(c.uri())
			s.Delete(c.uri(), nil)
			s.Await(c.in("v1"), story.NotFound)
			for _, path := range []string{c.in("v1") + "/a", c.all("v1"), c.in("v2"), c.in("v1") + "?watch=true"} {
				s.Get(path)
			}
			c.create("a", `{}`)
			c.merge("a", `{}`)
			s.Delete(c.in("v1")+"/a", nil)
			s.Await("/apis/"+c.group+"/v1", story.NotFound)
			s.Await("/apis/"+c.group, story.NotFound)
		}},
		{Name: "crd/end/objects-go", Tell: func(s *story.Session) {
			c := newCustom(s, plain)
			c.define()
			c.create("a", `{spec: {size: 1}}`)
			c.create("b", `{spec: {size: 2}}`)
			s.Quietly(func() { s.Post("/apis/"+c.group+"/v1/namespaces/default/widgets", c.object("v1", "c", `{}`)) })
			w := s.Watch(c.in("v1") + "?watch=true&resourceVersion=" + revision(s.Get(c.in("v1"))))
			s.Quietly(func() { s.Delete(c.uri(), nil) })
			w.Until(func(e story.Event) bool { return e.Type == "DELETED" && e.Name == "b" })
			gone(c)
			s.Await(c.in("v1"), story.NotFound)
			c.define() // again: nothing is there
			defer c.remove()
			s.Get(c.all("v1"))
			c.create("a", `{spec: {size: 3}}`)
		}},
		{Name: "crd/end/held", Tell: heldByObject},
		{Name: "crd/end/held-itself", Tell: func(s *story.Session) {
			c := newCustom(s, plain)
			c.define()
			c.create("a", `{}`)
			s.Quietly(func() {
				s.Patch(c.uri(), story.MergePatch, `{"metadata":{"finalizers":["example.com/hold","customresourcecleanup.apiextensions.k8s.io"]}}`)
				s.Delete(c.uri(), nil)
				s.Await(c.uri(), condition("Terminating", "False"))
			})
			s.Settle(c.uri())
			s.Get(c.uri())
			s.Get(c.in("v1"))
			c.create("b", `{}`)
			s.Quietly(func() { s.Patch(c.uri(), story.MergePatch, `{"metadata":{"finalizers":null}}`) })
			gone(c)
			s.Await(c.in("v1"), story.NotFound)
		}},
		{Name: "crd/end/again-otherwise", Tell: func(s *story.Session) {
			c := newCustom(s, plain)
			c.define()
			c.create("a", `{spec: {size: 1}}`)
			c.remove()
			c = newCustom(s, `{scope: Cluster, names: {plural: widgets, singular: w, kind: Gadget, listKind: Gadgets}, versions: [{name: v1, properties: {spec: {type: string}}}, {name: v2, properties: {}}]}`)
			c.define()
			defer c.remove()
			s.Get(c.in("v1"))
			c.create("a", `{spec: {size: 1}}`)
			c.create("a", `{spec: text}`)
			s.Get(c.in("v2"))
		}},
		{Name: "crd/end/never-established", Tell: withCustom(`{`+oneVersion+`}`, func(c custom) {
			other := newCustom(c.Session, `{names: {plural: others, singular: widget, kind: Other, listKind: OtherList}, `+oneVersion+`}`)
			c.Quietly(func() {
				c.Post(definitions, other.definition)
				c.Await(other.uri(), condition("NamesAccepted", "False"))
			})
			c.Settle(other.uri())
			c.Delete(other.uri(), nil)
			gone(other)
			c.Get(other.uri())
		})},
		{Name: "crd/end/collection", Tell: func(s *story.Session) {
			c := newCustom(s, plain)
			c.definition = merged(c.definition, object{"metadata": object{"labels": object{"story": s.Namespace}}})
			c.define()
			defer c.remove()
			s.Delete(definitions+"?labelSelector=story=none-of-"+s.Namespace, nil)
			s.Settle(c.uri())
			s.Delete(definitions+"?dryRun=All&labelSelector=story="+s.Namespace, nil)
			s.Quietly(func() { s.Delete(definitions+"?labelSelector=story="+s.Namespace, nil) })
			gone(c)
			s.Get(c.uri())
		}},
	}
}

// heldByObject deletes a definition while one of its objects must not go.
func heldByObject(s *story.Session) {
	c := newCustom(s, plain)
	c.define()
	c.create("free", `{}`)
	c.create("held", `{metadata: {finalizers: [example.com/hold]}}`)
	s.Quietly(func() {
		s.Delete(c.uri(), nil)
		s.Await(c.uri(), condition("Terminating", "True"))
		s.Await(c.in("v1")+"/free", story.NotFound)
	})
	s.Settle(c.uri())
	s.Get(c.uri())
	s.Get(c.in("v1"))
	c.create("late", `{}`)
	c.apply("late", "late", `{}`)
	c.merge("none", `{}`)
	s.Post(c.in("v1")+"?dryRun=All", c.object("v1", "late", `{}`))
	c.merge("held", `{spec: {size: 1}}`)
	c.apply("late", "held", `{spec: {color: red}}`)
	s.Delete(c.in("v1")+"/held", nil)
	s.Delete(c.in("v1"), nil)
	s.Await("/apis/"+c.group+"/v1", story.Found)
	s.Post(definitions, c.definition) // there still
	s.Quietly(func() { s.Patch(c.in("v1")+"/held", story.MergePatch, `{"metadata":{"finalizers":null}}`) })
	s.Await(c.uri(), story.NotFound)
	s.Await(c.in("v1"), story.NotFound)
}
