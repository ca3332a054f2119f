package stories

import (
	"fmt"
	"time"

	"github.com/knarr-io/knarr/twin/story"
)

// patiently waits longer than Await: kube-controller-manager looks for new kinds every
// thirty seconds.
func patiently(s *story.Session, uri string, wanted func(story.Answer) bool) story.Answer {
	s.Quietly(func() {
		for deadline := time.Now().Add(90 * time.Second); time.Now().Before(deadline) && !wanted(s.Get(uri)); {
			time.Sleep(100 * time.Millisecond)
		}
	})
	return s.Get(uri)
}

// collectionKinds are of kinds that have something of their own.
func collectionKinds() []story.Story {
	const two = `{versions: [{name: v1, properties: {size: {type: integer}}}, {name: v2, properties: {size: {type: integer}}}]}`
	return []story.Story{
		{Name: "pods", Tell: func(s *story.Session) {
			owner := s.Post(fmt.Sprintf("/apis/apps/v1/namespaces/%s/replicasets", s.Namespace), object{"metadata": object{"name": "web"}, "spec": object{
				"replicas": 2, "selector": object{"matchLabels": object{"app": "web"}},
				"template": object{"metadata": object{"labels": object{"app": "web"}}, "spec": object{"containers": []object{{"name": "web", "image": "example.com/web:1"}}}},
			}})
			for _, name := range []string{"a", "b"} {
				p := pod(name, object{"app": "web"})
				p["metadata"].(object)["ownerReferences"] = []object{owned("apps/v1", "ReplicaSet", owner, blocking, func(o object) { o["controller"] = true })}
				if name == "b" {
					p["spec"].(object)["nodeName"] = "somewhere"
				}
				s.Post(pods(s), p)
			}
			s.Delete(fmt.Sprintf("/apis/apps/v1/namespaces/%s/replicasets/web", s.Namespace)+foreground, nil)
			s.Await(pods(s)+"/a", story.NotFound)
			s.Await(pods(s)+"/b", says("deletionTimestamp"))
			s.Settle(pods(s) + "/b")
			s.Get(pods(s) + "/b") // nobody has stopped it
			s.Get(fmt.Sprintf("/apis/apps/v1/namespaces/%s/replicasets/web", s.Namespace))
			s.Quietly(func() { s.Delete(pods(s)+"/b?gracePeriodSeconds=0", nil) })
			s.Await(fmt.Sprintf("/apis/apps/v1/namespaces/%s/replicasets/web", s.Namespace), story.NotFound)
		}},
		{Name: "leases", Tell: func(s *story.Session) {
			leases := fmt.Sprintf("/apis/coordination.k8s.io/v1/namespaces/%s/leases", s.Namespace)
			s.Post(leases, object{"metadata": object{"name": "a", "ownerReferences": []object{mapOwner(ownedMap(s, "owner"))}}})
			s.Delete(mapsAt(s, "owner"), nil)
			s.Await(leases+"/a", story.NotFound)
		}},
		{Name: "events", Tell: func(s *story.Session) { // they have an end of their own
			events := fmt.Sprintf("/api/v1/namespaces/%s/events", s.Namespace)
			s.Post(events, object{"metadata": object{"name": "a", "ownerReferences": []object{absent()}}, "involvedObject": object{"namespace": s.Namespace}})
			passed(s)
			s.Get(events + "/a")
		}},
		{Name: "custom", Tell: withCustom(two, func(c custom) {
			custom := func(version string) func(story.Answer) object {
				return func(a story.Answer) object { return owned(c.group+"/"+version, "Widget", a) }
			}
			a, b := c.create("a", `{}`), c.create("b", `{}`)
			other := ownedMap(c.Session, "other")
			ownedMap(c.Session, "of-a", custom("v1")(a))
			ownedMap(c.Session, "of-b", custom("v2")(b))
			set := func(name string, references ...object) {
				c.Quietly(func() {
					c.Patch(c.in("v1")+"/"+name, story.MergePatch, object{"metadata": object{"ownerReferences": references}})
				})
			}
			c.create("c", `{}`)
			set("c", custom("v1")(a), mapOwner(other))
			c.create("d", `{}`)
			set("d", custom("v2")(b))
			c.Delete(c.in("v1")+"/a", nil)
			patiently(c.Session, mapsAt(c.Session, "of-a"), story.NotFound)
			patiently(c.Session, c.in("v1")+"/c", silent(a.Text("metadata", "uid")))
			c.Delete(c.in("v2")+"/b"+orphans, nil)
			patiently(c.Session, c.in("v1")+"/b", story.NotFound)
			for _, uri := range []string{c.in("v1") + "/d", mapsAt(c.Session, "of-b")} {
				c.Get(uri) // which of them was changed first is chance
				c.Only("metadata", "ownerReferences")
			}
		})},
		{Name: "custom-gone", Tell: func(s *story.Session) {
			c := newCustom(s, two)
			c.define()
			a := c.create("a", `{}`)
			ownedMap(s, "known", owned(c.group+"/v1", "Widget", a))
			s.Quietly(func() { // until the definition is known to the collector
				canary := c.create("canary", `{}`)
				ownedMap(s, "of-canary", owned(c.group+"/v1", "Widget", canary))
				c.Delete(c.in("v1")+"/canary", nil)
				patiently(s, mapsAt(s, "of-canary"), story.NotFound)
			})
			c.remove()
			patiently(s, mapsAt(s, "known"), story.NotFound)
		}},
	}
}

// timesToLive tells of Jobs that are deleted when they have been finished for long enough.
func timesToLive() []story.Story {
	job := func(s *story.Session, name string, spec object) string {
		jobs := fmt.Sprintf("/apis/batch/v1/namespaces/%s/jobs", s.Namespace)
		spec = merged(object{"template": object{"spec": object{"restartPolicy": "Never", "containers": []object{{"name": "a", "image": "example.com/a"}}}}}, spec)
		s.Post(jobs, object{"metadata": object{"name": name}, "spec": spec})
		return jobs + "/" + name
	}
	finish := func(s *story.Session, uri, how string) {
		now := time.Now().UTC().Format(time.RFC3339)
		conditions := []object{
			{"type": map[string]string{"Complete": "SuccessCriteriaMet", "Failed": "FailureTarget"}[how], "status": "True", "lastTransitionTime": now, "lastProbeTime": now},
			{"type": how, "status": "True", "lastTransitionTime": now, "lastProbeTime": now},
		}
		status := object{"startTime": now, "conditions": conditions}
		if how == "Complete" {
			status["completionTime"], status["succeeded"] = now, 1
		}
		s.Quietly(func() { s.Patch(uri+"/status", story.MergePatch, object{"status": status}) })
	}
	return []story.Story{
		{Name: "lifecycle/ttl/finished", Tell: func(s *story.Session) {
			complete, failed := job(s, "complete", object{"ttlSecondsAfterFinished": 0}), job(s, "failed", object{"ttlSecondsAfterFinished": 1})
			long, never := job(s, "long", object{"ttlSecondsAfterFinished": 3600}), job(s, "never", nil)
			running, later := job(s, "running", object{"ttlSecondsAfterFinished": 0}), job(s, "later", nil)
			ownedMap(s, "of-failed", owned("batch/v1", "Job", s.Get(failed), blocking))
			for _, uri := range []string{complete, long, never, later} {
				finish(s, uri, "Complete")
			}
			finish(s, failed, "Failed")
			s.Await(complete, story.NotFound)
			s.Await(failed, story.NotFound)
			s.Await(mapsAt(s, "of-failed"), story.NotFound)
			s.Quietly(func() { s.Patch(later, story.MergePatch, `{"spec":{"ttlSecondsAfterFinished":1}}`) })
			s.Await(later, story.NotFound)
			for _, uri := range []string{long, never, running} {
				s.Get(uri)
				s.Only("metadata", "name")
			}
		}},
	}
}
