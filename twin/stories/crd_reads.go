package stories

import (
	"fmt"
	"net/url"

	"github.com/knarr-io/knarr/twin/story"
)

// items makes n objects, item-0 onwards, labelled by whether their number is even or
// odd, and returns the answers.
func (c custom) items(count int) []story.Answer {
	var answers []story.Answer
	for i := range count {
		answers = append(answers, c.create(fmt.Sprint("item-", i),
			fmt.Sprintf(`{metadata: {labels: {parity: %s, number: "%d"}}, spec: {size: %d}}`, []string{"even", "odd"}[i%2], i, i)))
	}
	return answers
}

// customReads tells of gets and lists.
func customReads() []story.Story {
	return []story.Story{
		{Name: "crd/read/accept", Tell: withCustom(plain, func(c custom) {
			c.items(2)
			for _, path := range []string{c.in("v1"), c.in("v1") + "/item-0", c.in("v1") + "/none"} {
				for _, accept := range []string{
					"", "*/*", "application/*", "application/json", "application/yaml", protobuf, "text/html", "application/cbor", "application/json;pretty=1",
					"text/html, application/yaml;q=0.5, */*;q=0.1", protobuf + ",application/json", "application/json;stream=watch",
					"application/json" + asTable, "application/yaml" + asTable, protobuf + asTable, "application/json" + asTableBeta,
					"application/json;as=Other;v=v1;g=meta.k8s.io", "application/json" + asTable + ",application/json",
					"application/json" + asPartial, "application/yaml" + asPartial, protobuf + asPartial,
					"application/json" + asPartials, "application/yaml" + asPartials, protobuf + asPartials, "application/json;as=PartialObjectMetadata;v=v1beta1;g=meta.k8s.io",
				} {
					c.Get(path, story.Accept(accept))
				}
			}
		})},
		{Name: "crd/read/partial-writes", Tell: withCustom(plain, func(c custom) {
			for _, form := range []string{"application/json", protobuf} {
				c.create("a", `{spec: {size: 1}, metadata: {labels: {a: b}}}`, story.Accept(form+asPartial))
				c.put(c.in("v1")+"/a", c.object("v1", "a", `{spec: {size: 2}}`), story.Accept(form+asPartial))
				c.Patch(c.in("v1")+"/a", story.MergePatch, `{"metadata":{"labels":{"c":"d"}}}`, story.Accept(form+asPartial))
				c.Patch(c.in("v1")+"/a?fieldManager=x", applyPatch, c.object("v1", "a", `{metadata: {labels: {e: f}}}`), story.Accept(form+asPartial))
				c.Get(c.all("v1"), story.Accept(form+asPartials))
				c.Delete(c.in("v1")+"/a", nil, story.Accept(form+asPartial))
				c.Get(c.in("v1"), story.Accept(form+asPartials)) // of nothing
			}
			c.create("a", `{spec: {size: x}}`, story.Accept(protobuf+asPartial))
			c.Post(c.in("v1"), `{"apiVersion":"meta.k8s.io/v1","kind":"PartialObjectMetadata","metadata":{"name":"a"}}`)
		})},
		{Name: "crd/read/labels", Tell: withCustom(plain, func(c custom) {
			c.items(4)
			for _, selector := range []string{
				"parity=even", "parity!=even", "!parity", "number in (0,3)", "number notin (0,3)", "number>1", "number>x", "parity=even,number!=0", "a b", "bad key!=x", "=",
			} {
				c.Get(c.in("v1") + "?labelSelector=" + url.QueryEscape(selector))
			}
		})},
		{Name: "crd/read/names", Tell: withCustom(plain, func(c custom) {
			c.items(2)
			for _, selector := range []string{
				"metadata.name=item-0", "metadata.name!=item-0", "metadata.namespace=" + c.Namespace, "metadata.namespace=other", "metadata.name=",
				"spec.size=1", "metadata.labels=x", "status.phase=x", "metadata.name", "metadata.name in (a)", "metadata.uid=x", "kind=Widget",
			} {
				c.Get(c.in("v1") + "?fieldSelector=" + url.QueryEscape(selector))
				c.Get(c.all("v1") + "?fieldSelector=" + url.QueryEscape(selector))
			}
		})},
		{Name: "crd/read/pages", Tell: withCustom(plain, func(c custom) {
			c.items(5)
			all := c.in("v1")
			for _, query := range []string{"limit=2", "limit=2&labelSelector=parity", "limit=5", "limit=6", "limit=0", "limit=1&resourceVersion=0", "limit=-1", "limit=x", "continue=e30"} {
				c.Get(all + "?" + query)
			}
			page := c.Get(all + "?limit=2")
			c.create("item-2-later", `{}`) // not in the pages that follow
			c.Delete(all+"/item-3", nil)
			for token := page.Text("metadata", "continue"); token != ""; {
				token = c.Get(all+"?limit=2&continue="+url.QueryEscape(token)).Text("metadata", "continue")
			}
			token := url.QueryEscape(page.Text("metadata", "continue"))
			c.Get(all + "?continue=" + token)
			c.Get(all + "?limit=2&continue=" + token + "&resourceVersion=" + revision(page))
			c.Get(all+"?limit=2&continue="+token, story.Accept("application/json"+asTable))
			c.Get(all+"?limit=2&continue="+token, story.Accept(protobuf+asPartials))
			c.Get(c.all("v1") + "?continue=" + token)
		})},
		{Name: "crd/read/revisions", Tell: withCustom(plain, func(c custom) {
			answers := c.items(3)
			c.Delete(c.in("v1")+"/item-0", nil)
			c.merge("item-1", `{spec: {size: 9}}`)
			c.Get(c.in("v1"))
			given := []string{"", "0", revision(answers[0]), revision(answers[2]), "999999999999", "x", "-1"}
			for _, match := range []string{"", "Exact", "NotOlderThan", "Other"} {
				for _, version := range given {
					c.Get(fmt.Sprintf("%s?resourceVersion=%s&resourceVersionMatch=%s", c.in("v1"), version, match))
				}
			}
			for _, version := range given {
				c.Get(c.in("v1") + "/item-1?resourceVersion=" + version)
				c.Get(c.in("v1") + "/item-0?resourceVersion=" + version)
			}
		})},
		{Name: "crd/read/pretty", Tell: withCustom(plain, func(c custom) {
			c.items(1)
			c.Get(c.in("v1") + "/item-0?pretty=true")
			c.Get(c.in("v1") + "?pretty=1")
			c.Get(c.in("v1")+"/item-0", story.Header("User-Agent", "curl/8.0"))
			c.Do("HEAD", c.in("v1")+"/item-0", nil)
			c.Get(c.in("v1")+"/item-0", story.Anonymous)
			c.Get(c.in("v1")+"/item-0", story.Token("outsider-token"))
			c.Post(c.in("v1"), c.object("v1", "a", `{}`), story.Token("outsider-token"))
			c.Delete(c.in("v1"), nil, story.Token("outsider-token"))
			c.Get(c.in("v1")+"/item-0/status", story.Token("outsider-token"))
		})},
	}
}

// customWatches tells of watches.
func customWatches() []story.Story {
	relabel := func(c custom, name, value string) { c.merge(name, `{metadata: {labels: {parity: `+value+`}}}`) }
	return []story.Story{
		{Name: "crd/watch/starts", Tell: withCustom(plain, func(c custom) {
			answers := c.items(3)
			relabel(c, "item-0", "none")
			list := c.Get(c.in("v1"))
			for i, version := range []string{revision(answers[0]), revision(list)} {
				w := c.Watch(c.in("v1") + "?watch=true&resourceVersion=" + version)
				relabel(c, "item-1", fmt.Sprint("change-", i))
				w.Until(func(e story.Event) bool { return e.Type == "MODIFIED" && e.Name == "item-1" })
			}
			c.Watch(c.in("v1") + "?watch=true&resourceVersion=0").Next(3)
			c.Watch(c.all("v1") + "?watch=1").Next(3)
			c.Watch(c.in("v1") + "/item-0?watch=true").Next(1)
			c.Watch("/apis/" + c.group + "/v1/watch/namespaces/" + c.Namespace + "/widgets/item-1").Next(1)
			c.Watch("/apis/" + c.group + "/v1/watch/widgets").Next(3)
			for _, version := range []string{"x", "-1"} {
				c.Watch(c.in("v1") + "?watch=true&timeoutSeconds=1&resourceVersion=" + version).Next(1)
			}
		})},
		{Name: "crd/watch/selectors", Tell: withCustom(plain, func(c custom) {
			c.items(2)
			from := c.in("v1") + "?watch=true&resourceVersion=" + revision(c.Get(c.in("v1")))
			labels := c.Watch(from + "&labelSelector=parity=even")
			field := c.Watch(from + "&fieldSelector=metadata.name=item-1")
			relabel(c, "item-1", "even") // enters
			relabel(c, "item-0", "odd")  // leaves
			c.merge("item-0", `{spec: {size: 7}}`)
			relabel(c, "item-0", "even")
			c.Delete(c.in("v1")+"/item-0", nil)
			c.Delete(c.in("v1")+"/item-1", nil)
			labels.Until(story.Gone("item-1"))
			field.Until(story.Gone("item-1"))
			c.Watch(from + "&labelSelector=parity=even").Until(story.Gone("item-1")) // the same, told afterwards
			c.Watch(c.in("v1") + "?watch=true&fieldSelector=spec.size=1").Next(1)
		})},
		{Name: "crd/watch/bookmarks", Tell: withCustom(plain, func(c custom) {
			c.items(2)
			initial := func(e story.Event) bool { return e.Initial }
			list := c.Get(c.in("v1"))
			for _, query := range []string{"", "&resourceVersion=0", "&resourceVersion=" + revision(list), "&labelSelector=parity=odd"} {
				c.Watch(c.in("v1") + "?watch=true&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan" + query).Until(initial)
			}
			c.Watch(c.in("v1") + "?watch=true&sendInitialEvents=true").Next(1)
			w := c.Watch(c.in("v1") + "?watch=true&timeoutSeconds=1&allowWatchBookmarks=true&resourceVersion=" + revision(list))
			c.merge("item-0", `{spec: {size: 8}}`)
			w.Next(1)
		})},
		{Name: "crd/watch/media", Tell: withCustom(plain, func(c custom) {
			c.items(1)
			list := c.Get(c.in("v1"))
			for _, accept := range []string{
				"application/json;stream=watch", protobuf, protobuf + ";stream=watch", "application/yaml", "text/html", "*/*", protobuf + ",application/json",
				"application/json" + asTable, protobuf + asTable, "application/json" + asPartial, protobuf + asPartial, "application/json" + asPartials,
				protobuf + ";stream=watch" + asPartial,
			} {
				w := c.Watch(c.in("v1")+"?watch=true&resourceVersion="+revision(list), story.Accept(accept))
				name := fmt.Sprintf("made-%d", len(c.Exchanges))
				c.create(name, `{spec: {size: 1}}`)
				c.Delete(c.in("v1")+"/"+name, nil)
				w.Next(2)
				w.Close()
				list = c.Get(c.in("v1"))
			}
			c.Watch(c.in("v1")+"?watch=true&includeObject=Object", story.Accept("application/json"+asTable)).Next(1)
			c.Watch(c.in("v1") + "?watch=true&pretty=true").Next(1)
		})},
	}
}
