package stories

import (
	"fmt"
	"time"

	"github.com/knarr-io/knarr/twin/sample"
	"github.com/knarr-io/knarr/twin/story"
)

func watches() []story.Story {
	relabel := func(s *story.Session, name, value string) {
		s.Patch(configMaps(s)+"/"+name, story.MergePatch, object{"metadata": object{"labels": object{"parity": value}}})
	}
	return []story.Story{
		{Name: "watch/starts", Tell: func(s *story.Session) {
			answers := some(s, 3)
			relabel(s, "item-0", "none")
			list := s.Get(configMaps(s))
			for i, version := range []string{revision(answers[0]), revision(list)} {
				w := s.Watch(configMaps(s) + "?watch=true&resourceVersion=" + version)
				relabel(s, "item-1", fmt.Sprint("change-", i))
				w.Until(func(e story.Event) bool { return e.Type == "MODIFIED" && e.Name == "item-1" })
			}
			s.Watch(configMaps(s) + "?watch=true&resourceVersion=0").Next(3)
			s.Watch(configMaps(s) + "?watch=1").Next(3)
			s.Watch(configMaps(s) + "?watch").Next(3)
			for _, version := range []string{"1", "x", "-1", "999999999999"} {
				s.Watch(configMaps(s) + "?watch=true&timeoutSeconds=1&resourceVersion=" + version).Rest(5 * time.Second)
			}
		}},
		{Name: "watch/selectors", Tell: func(s *story.Session) {
			some(s, 2)
			list := s.Get(configMaps(s))
			from := configMaps(s) + "?watch=true&resourceVersion=" + revision(list)
			labels := s.Watch(from + "&labelSelector=parity=even")
			field := s.Watch(from + "&fieldSelector=metadata.name=item-1")
			relabel(s, "item-1", "even")                                                         // enters
			relabel(s, "item-0", "odd")                                                          // leaves
			s.Patch(configMaps(s)+"/item-0", story.MergePatch, object{"data": object{"k": "v"}}) // stays outside
			relabel(s, "item-0", "even")
			s.Delete(configMaps(s)+"/item-0", nil)
			s.Delete(configMaps(s)+"/item-1", nil)
			labels.Until(story.Gone("item-1"))
			field.Until(story.Gone("item-1"))
			later := s.Watch(from + "&labelSelector=parity=even") // the same, told afterwards
			later.Until(story.Gone("item-1"))
			s.Watch(configMaps(s) + "?watch=true&labelSelector=a+b").Next(1)
			s.Watch(configMaps(s) + "?watch=true&fieldSelector=data.key=x").Next(1)
		}},
		{Name: "watch/one-object", Tell: func(s *story.Session) {
			some(s, 2)
			s.Watch(configMaps(s) + "/item-0?watch=true").Next(1)
			s.Watch("/api/v1/watch/namespaces/" + s.Namespace + "/configmaps").Next(2)
			s.Watch("/api/v1/watch/namespaces/" + s.Namespace + "/configmaps/item-1").Next(1)
			s.Watch(configMaps(s) + "/item-0?watch=true&fieldSelector=metadata.name=item-1").Next(1)
		}},
		{Name: "watch/bookmarks", Tell: func(s *story.Session) {
			some(s, 2)
			initial := func(e story.Event) bool { return e.Initial }
			list := s.Get(configMaps(s))
			for _, query := range []string{
				"&sendInitialEvents=true&resourceVersionMatch=NotOlderThan",
				"&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=0",
				"&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=" + revision(list),
				"&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&labelSelector=parity=odd",
			} {
				s.Watch(configMaps(s) + "?watch=true&allowWatchBookmarks=true" + query).Until(initial)
			}
			for _, query := range []string{
				"&sendInitialEvents=true", "&sendInitialEvents=true&allowWatchBookmarks=true", "&sendInitialEvents=false",
				"&sendInitialEvents=true&resourceVersionMatch=Exact&resourceVersion=1", "&resourceVersionMatch=NotOlderThan",
				"&resourceVersionMatch=NotOlderThan&resourceVersion=0", "&sendInitialEvents=maybe",
				"&sendInitialEvents=false&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true",
				"&sendInitialEvents=true&resourceVersionMatch=NotOlderThan", "&continue=x", "&limit=1",
			} {
				s.Watch(configMaps(s) + "?watch=true&timeoutSeconds=1" + query).Rest(5 * time.Second)
			}
			w := s.Watch(configMaps(s) + "?watch=true&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan")
			w.Until(initial)
			relabel(s, "item-0", "none")
			w.Next(1)
		}},
		{Name: "watch/ends", Tell: func(s *story.Session) {
			some(s, 1)
			s.Watch(configMaps(s) + "?watch=true&timeoutSeconds=1").Rest(5 * time.Second)
			s.Watch(configMaps(s) + "?watch=true&timeoutSeconds=1&allowWatchBookmarks=true").Rest(5 * time.Second)
			s.Watch(configMaps(s)+"?watch=true&timeoutSeconds=1", story.Accept(protobuf)).Rest(5 * time.Second)
		}},
		{Name: "watch/media", Tell: func(s *story.Session) {
			some(s, 1)
			list := s.Get(configMaps(s))
			for _, accept := range []string{
				"application/json;stream=watch", protobuf, protobuf + ";stream=watch", "application/yaml", "text/html", "*/*",
				"application/json" + asTable, protobuf + asTable, "application/json" + asPartial, protobuf + asPartial,
				"application/json" + asPartials, "application/json" + asTable + ",application/json",
			} {
				w := s.Watch(configMaps(s)+"?watch=true&resourceVersion="+revision(list), story.Accept(accept))
				name := fmt.Sprintf("made-%d", len(s.Exchanges))
				s.Post(configMaps(s), configMap(name, nil))
				s.Delete(configMaps(s)+"/"+name, nil)
				w.Next(2)
				w.Close()
				list = s.Get(configMaps(s))
			}
			s.Watch(configMaps(s)+"?watch=true&includeObject=Object", story.Accept("application/json"+asTable)).Next(1)
			s.Watch(configMaps(s)+"?watch=true&includeObject=None", story.Accept("application/json"+asTable)).Next(1)
			s.Watch(configMaps(s) + "?watch=true&pretty=true").Next(1)
		}},
		{Name: "watch/finalizers", Tell: func(s *story.Session) {
			w := s.Watch(configMaps(s) + "?watch=true&resourceVersion=" + revision(s.Get(configMaps(s))))
			s.Post(configMaps(s), sample.With(configMap("held", nil), []string{"example.com/hold"}, "metadata", "finalizers"))
			s.Delete(configMaps(s)+"/held", nil)
			s.Delete(configMaps(s)+"/held", nil)
			s.Patch(configMaps(s)+"/held", story.MergePatch, object{"metadata": object{"finalizers": []string{"example.com/other"}}})
			s.Patch(configMaps(s)+"/held", story.MergePatch, object{"metadata": object{"finalizers": nil}})
			w.Until(func(e story.Event) bool { return e.Type == "DELETED" })
		}},
	}
}
