package stories

import (
	"github.com/knarr-io/knarr/twin/sample"
	"github.com/knarr-io/knarr/twin/story"
)

func deletes() []story.Story {
	options := func(fields object) object {
		o := object{"apiVersion": "v1", "kind": "DeleteOptions"}
		for key, value := range fields {
			o[key] = value
		}
		return o
	}
	return []story.Story{
		{Name: "delete/options", Tell: func(s *story.Session) {
			for _, body := range []any{
				nil, ``, `{}`, `{`, `[]`, options(nil), options(object{"propagationPolicy": "Foreground"}), options(object{"propagationPolicy": "Orphan"}),
				options(object{"propagationPolicy": "Background"}), options(object{"propagationPolicy": "Other"}), options(object{"orphanDependents": true}),
				options(object{"orphanDependents": true, "propagationPolicy": "Orphan"}), options(object{"gracePeriodSeconds": 0}),
				options(object{"gracePeriodSeconds": -1}), options(object{"gracePeriodSeconds": 5}), options(object{"dryRun": []string{"All"}}),
				options(object{"dryRun": []string{"Some"}}), options(object{"preconditions": object{"uid": "00000000-0000-4000-8000-000000000000"}}),
				options(object{"preconditions": object{"resourceVersion": "1"}}), options(object{"unknown": 1}),
				object{"apiVersion": "v1", "kind": "ConfigMap"}, object{"apiVersion": "apps/v1", "kind": "DeleteOptions"},
			} {
				s.Post(configMaps(s), configMap("a", nil))
				s.Delete(configMaps(s)+"/a", body)
				s.Get(configMaps(s) + "/a")
				s.Patch(configMaps(s)+"/a", story.MergePatch, object{"metadata": object{"finalizers": nil}})
			}
		}},
		{Name: "delete/query", Tell: func(s *story.Session) {
			for _, query := range []string{
				"propagationPolicy=Foreground", "propagationPolicy=Orphan", "propagationPolicy=Other", "orphanDependents=true", "orphanDependents=x",
				"gracePeriodSeconds=0", "gracePeriodSeconds=x", "dryRun=All", "dryRun=Some", "unknown=1",
			} {
				s.Post(configMaps(s), configMap("a", nil))
				s.Delete(configMaps(s)+"/a?"+query, nil)
				s.Get(configMaps(s) + "/a")
				s.Patch(configMaps(s)+"/a", story.MergePatch, object{"metadata": object{"finalizers": nil}})
			}
			s.Post(configMaps(s), configMap("a", nil))
			s.Delete(configMaps(s)+"/a?propagationPolicy=Foreground", options(object{"propagationPolicy": "Orphan"})) // the body counts
		}},
		{Name: "delete/preconditions", Tell: func(s *story.Session) {
			made := s.Post(configMaps(s), configMap("a", nil))
			s.Delete(configMaps(s)+"/a", options(object{"preconditions": object{"uid": made.Text("metadata", "uid"), "resourceVersion": "1"}}))
			s.Delete(configMaps(s)+"/a", options(object{"preconditions": object{"uid": made.Text("metadata", "uid"), "resourceVersion": revision(made)}}))
			s.Delete(configMaps(s)+"/a", options(object{"preconditions": object{"uid": made.Text("metadata", "uid")}}))
		}},
		{Name: "delete/pod-grace", Tell: func(s *story.Session) {
			onNode := sample.With(pod("a", nil), "node-1", "spec", "nodeName")
			s.Post(pods(s), onNode)
			w := s.Watch(pods(s) + "?watch=true&resourceVersion=" + revision(s.Get(pods(s))))
			s.Delete(pods(s)+"/a", nil) // waits for its node
			s.Delete(pods(s)+"/a", nil)
			s.Delete(pods(s)+"/a?gracePeriodSeconds=10", nil) // sooner
			s.Delete(pods(s)+"/a?gracePeriodSeconds=20", nil) // not later
			s.Delete(pods(s)+"/a?gracePeriodSeconds=0", nil)
			s.Get(pods(s) + "/a")
			w.Until(func(e story.Event) bool { return e.Type == "DELETED" })
			s.Post(pods(s), pod("unscheduled", nil))
			s.Delete(pods(s)+"/unscheduled", nil)
			s.Get(pods(s) + "/unscheduled")
		}},
		{Name: "delete/collection", Tell: func(s *story.Session) {
			some(s, 4)
			s.Delete(configMaps(s)+"?labelSelector=parity=odd", nil)
			s.Delete(configMaps(s)+"?fieldSelector=metadata.name=item-0", nil)
			s.Delete(configMaps(s)+"?labelSelector=a+b", nil)
			s.Delete(configMaps(s)+"?fieldSelector=data.key=value", nil)
			s.Get(configMaps(s))
			s.Delete(configMaps(s), options(object{"preconditions": object{"uid": "x"}}))
			s.Delete(configMaps(s), options(object{"propagationPolicy": "Orphan"}))
			s.Get(configMaps(s))
			s.Delete(configMaps(s)+"?limit=1", nil)
			s.Delete(configMaps(s), nil, story.Accept("application/json"+asTable))
			some(s, 1)
			s.Delete(configMaps(s), nil, story.Accept(protobuf))
		}},
		{Name: "delete/namespace", Tell: func(s *story.Session) {
			other := s.Namespace + "-doomed"
			s.Post("/api/v1/namespaces", object{"metadata": object{"name": other}})
			s.Delete("/api/v1/namespaces/"+other, nil)
			s.Post("/api/v1/namespaces/"+other+"/configmaps", configMap("late", nil))
			s.Delete("/api/v1/namespaces/default", nil)
			s.Delete("/api/v1/namespaces/kube-system", nil)
			s.Delete("/api/v1/namespaces/none", nil)
			s.Delete("/api/v1/namespaces", nil)
		}},
	}
}
