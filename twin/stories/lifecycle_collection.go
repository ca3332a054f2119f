package stories

import (
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/knarr-io/knarr/twin/story"
)

// eventName is the end of the name of an event, which is a time.
var eventName = regexp.MustCompile(`\.[0-9a-f]{16}"`)

// blocking has an owner, deleted in the foreground, wait for who names it so.
func blocking(reference object) { reference["blockOwnerDeletion"] = true }

// absentUID is nobody's.
const absentUID = "00000000-0000-4000-8000-000000000000"

// absent is a reference to a ConfigMap that there is not.
func absent() object {
	return object{"apiVersion": "v1", "kind": "ConfigMap", "name": "absent", "uid": absentUID}
}

func mapOwner(owner story.Answer, more ...func(object)) object {
	return owned("v1", "ConfigMap", owner, more...)
}

const (
	foreground = "?propagationPolicy=Foreground"
	orphans    = "?propagationPolicy=Orphan"
)

// hold keeps an object from going.
func hold(s *story.Session, uri string) {
	s.Quietly(func() { s.Patch(uri, story.MergePatch, `{"metadata":{"finalizers":["example.com/hold"]}}`) })
}

// release lets go of it, and of nothing else that keeps it.
func release(s *story.Session, uri string) {
	s.Quietly(func() {
		var others []any
		metadata, _ := s.Get(uri).Object()["metadata"].(object)
		finalizers, _ := metadata["finalizers"].([]any)
		for _, f := range finalizers {
			if f != "example.com/hold" {
				others = append(others, f)
			}
		}
		s.Patch(uri, story.MergePatch, object{"metadata": object{"finalizers": others}})
	})
}

// passed waits until the collector has dealt with what was to be dealt with before.
func passed(s *story.Session) {
	s.Quietly(func() {
		for range 2 {
			ownedMap(s, "canary", absent())
			s.Await(mapsAt(s, "canary"), story.NotFound)
		}
		time.Sleep(300 * time.Millisecond)
	})
}

// collection tells of what goes with its owners, and what does not.
func collection() []story.Story {
	all := slices.Concat(collectionPolicies(), collectionReferences(), collectionKinds())
	for i := range all {
		all[i].Name = "lifecycle/collection/" + all[i].Name
	}
	return all
}

// collectionPolicies are of what is done with the dependents of what is deleted.
func collectionPolicies() []story.Story {
	background := func(query string) func(*story.Session) {
		return func(s *story.Session) {
			owner := ownedMap(s, "owner")
			dependent := ownedMap(s, "dependent", mapOwner(owner))
			ownedMap(s, "theirs", mapOwner(dependent))
			s.Delete(mapsAt(s, "owner")+query, nil)
			for _, name := range []string{"owner", "dependent", "theirs"} {
				s.Await(mapsAt(s, name), story.NotFound)
			}
		}
	}
	return []story.Story{
		{Name: "background", Tell: background("")},
		{Name: "background-asked-for", Tell: background("?propagationPolicy=Background")},
		{Name: "foreground-not-blocked", Tell: background(foreground)},
		{Name: "orphan-false", Tell: background("?orphanDependents=false")},
		{Name: "foreground", Tell: func(s *story.Session) {
			owner := ownedMap(s, "owner")
			blocker := ownedMap(s, "blocker", mapOwner(owner, blocking))
			ownedMap(s, "theirs", mapOwner(blocker, blocking))
			ownedMap(s, "other", mapOwner(owner))
			hold(s, mapsAt(s, "theirs"))
			s.Delete(mapsAt(s, "owner")+foreground, nil)
			s.Await(mapsAt(s, "other"), story.NotFound)
			s.Await(mapsAt(s, "theirs"), says("deletionTimestamp"))
			for _, name := range []string{"owner", "blocker", "theirs"} {
				s.Settle(mapsAt(s, name))
				s.Get(mapsAt(s, name))
			}
			release(s, mapsAt(s, "theirs"))
			for _, name := range []string{"theirs", "blocker", "owner"} {
				s.Await(mapsAt(s, name), story.NotFound)
			}
		}},
		{Name: "foreground-unblocked", Tell: func(s *story.Session) {
			owner := ownedMap(s, "owner")
			for _, name := range []string{"a", "b"} {
				ownedMap(s, name, mapOwner(owner, blocking))
				hold(s, mapsAt(s, name))
			}
			s.Delete(mapsAt(s, "owner")+foreground, nil)
			s.Await(mapsAt(s, "a"), says("deletionTimestamp"))
			s.Quietly(func() { s.Patch(mapsAt(s, "a"), story.MergePatch, `{"metadata":{"ownerReferences":null}}`) })
			passed(s)
			s.Get(mapsAt(s, "owner"))
			s.Quietly(func() {
				s.Patch(mapsAt(s, "b"), story.MergePatch, object{"metadata": object{"ownerReferences": []object{mapOwner(owner)}}})
			})
			s.Await(mapsAt(s, "owner"), story.NotFound)
			s.Get(mapsAt(s, "b"))
		}},
		{Name: "foreground-cycle", Tell: func(s *story.Session) {
			a := ownedMap(s, "a")
			b := ownedMap(s, "b", mapOwner(a, blocking))
			s.Patch(mapsAt(s, "a"), story.MergePatch, object{"metadata": object{"ownerReferences": []object{mapOwner(b, blocking)}}})
			s.Delete(mapsAt(s, "a")+foreground, nil)
			for _, name := range []string{"a", "b"} {
				s.Await(mapsAt(s, name), story.NotFound)
			}
		}},
		{Name: "background-cycle", Tell: func(s *story.Session) {
			a := ownedMap(s, "a")
			b := ownedMap(s, "b", mapOwner(a))
			s.Patch(mapsAt(s, "a"), story.MergePatch, object{"metadata": object{"ownerReferences": []object{mapOwner(b)}}})
			passed(s)
			s.Get(mapsAt(s, "a")) // they keep each other
			s.Delete(mapsAt(s, "a"), nil)
			s.Await(mapsAt(s, "b"), story.NotFound)
		}},
		{Name: "orphan", Tell: func(s *story.Session) {
			owner, other := ownedMap(s, "owner"), ownedMap(s, "other")
			ownedMap(s, "a", mapOwner(owner))
			ownedMap(s, "b", mapOwner(other), mapOwner(owner, blocking))
			s.Delete(mapsAt(s, "owner")+orphans, nil)
			s.Await(mapsAt(s, "owner"), story.NotFound)
			for _, name := range []string{"a", "b"} {
				s.Get(mapsAt(s, name)) // which of them was changed first is chance
				s.Only("metadata", "ownerReferences")
			}
		}},
		{Name: "orphan-true", Tell: func(s *story.Session) {
			ownedMap(s, "a", mapOwner(ownedMap(s, "owner")))
			s.Delete(mapsAt(s, "owner")+"?orphanDependents=true", nil)
			s.Await(mapsAt(s, "owner"), story.NotFound)
			s.Get(mapsAt(s, "a"))
		}},
		{Name: "orphan-held", Tell: func(s *story.Session) {
			ownedMap(s, "a", mapOwner(ownedMap(s, "owner")))
			hold(s, mapsAt(s, "owner"))
			s.Delete(mapsAt(s, "owner")+orphans, nil)
			s.Await(mapsAt(s, "a"), silent("ownerReferences"))
			s.Await(mapsAt(s, "owner"), silent(`"orphan"`))
			release(s, mapsAt(s, "owner"))
			s.Get(mapsAt(s, "owner"))
		}},
		{Name: "cascade-by-finalizers", Tell: func(s *story.Session) {
			owner := ownedMap(s, "owner")
			for _, finalizer := range []string{"orphan", "foregroundDeletion"} {
				own := ownedMap(s, finalizer, mapOwner(owner))
				s.Patch(mapsAt(s, finalizer), story.MergePatch, object{"metadata": object{"finalizers": []string{finalizer}}})
				ownedMap(s, finalizer+"-s", mapOwner(own, blocking))
			}
			hold(s, mapsAt(s, "foregroundDeletion-s"))
			s.Delete(mapsAt(s, "owner"), nil)
			s.Await(mapsAt(s, "orphan"), story.NotFound)
			s.Get(mapsAt(s, "orphan-s"))
			s.Await(mapsAt(s, "foregroundDeletion-s"), says("deletionTimestamp"))
			s.Settle(mapsAt(s, "foregroundDeletion"))
			s.Get(mapsAt(s, "foregroundDeletion"))
			release(s, mapsAt(s, "foregroundDeletion-s"))
			s.Await(mapsAt(s, "foregroundDeletion"), story.NotFound)
		}},
	}
}

// collectionReferences are of owners that are not there, or not where they are said to be.
func collectionReferences() []story.Story {
	elsewhere := func(s *story.Session) story.Answer {
		var owner story.Answer
		s.Quietly(func() {
			owner = s.Post("/api/v1/namespaces/default/configmaps", object{"metadata": object{"name": s.Namespace}})
		})
		return owner
	}
	warnings := func(s *story.Session, namespace, name string) {
		uri := fmt.Sprintf("/api/v1/namespaces/%s/events?fieldSelector=involvedObject.name=%s", namespace, name)
		s.Await(uri, says("OwnerRefInvalidNamespace"))
		s.Only("items")
		last := s.Exchanges[len(s.Exchanges)-1]
		last.Bodies[0] = eventName.ReplaceAll(last.Bodies[0], []byte(`.<time>"`))
	}
	stays := func(change func(object)) func(*story.Session) {
		return func(s *story.Session) {
			ownedMap(s, "a", mapOwner(ownedMap(s, "owner"), change))
			passed(s)
			s.Get(mapsAt(s, "a"))
		}
	}
	goes := func(change func(object)) func(*story.Session) {
		return func(s *story.Session) {
			ownedMap(s, "a", mapOwner(ownedMap(s, "owner"), change))
			s.Await(mapsAt(s, "a"), story.NotFound)
		}
	}
	return []story.Story{
		{Name: "absent", Tell: func(s *story.Session) {
			ownedMap(s, "a", absent())
			s.Await(mapsAt(s, "a"), story.NotFound)
		}},
		{Name: "absent-later", Tell: func(s *story.Session) {
			ownedMap(s, "a")
			s.Patch(mapsAt(s, "a"), story.MergePatch, object{"metadata": object{"ownerReferences": []object{absent()}}})
			s.Await(mapsAt(s, "a"), story.NotFound)
		}},
		{Name: "other-uid", Tell: goes(func(o object) { o["uid"] = absentUID })},
		{Name: "other-name", Tell: goes(func(o object) { o["name"] = "other" })},
		{Name: "other-kind", Tell: goes(func(o object) { o["kind"] = "Secret" })},
		{Name: "unknown-kind", Tell: stays(func(o object) { o["kind"] = "Unknown" })},
		{Name: "unknown-kind-absent", Tell: stays(func(o object) { o["kind"], o["uid"] = "Unknown", absentUID })},
		{Name: "unknown-version", Tell: stays(func(o object) { o["apiVersion"], o["uid"] = "v9", absentUID })},
		{Name: "unknown-group", Tell: stays(func(o object) { o["apiVersion"], o["uid"] = "example.com/v1", absentUID })},
		{Name: "review", Tell: goes(func(o object) {
			o["apiVersion"], o["kind"], o["uid"] = "authorization.k8s.io/v1", "SubjectAccessReview", absentUID
		})},
		{Name: "unknown-deleted", Tell: func(s *story.Session) {
			owner := ownedMap(s, "owner")
			ownedMap(s, "a", mapOwner(owner), object{"apiVersion": "example.com/v1", "kind": "Unknown", "name": "x", "uid": "x"})
			s.Delete(mapsAt(s, "owner"), nil)
			passed(s)
			s.Get(mapsAt(s, "a"))
		}},
		{Name: "several-one-stays", Tell: func(s *story.Session) {
			one, other := ownedMap(s, "one"), ownedMap(s, "other")
			ownedMap(s, "a", mapOwner(one, blocking), mapOwner(other), absent())
			s.Await(mapsAt(s, "a"), silent(absentUID))
			s.Only("metadata", "ownerReferences")
			s.Delete(mapsAt(s, "one"), nil)
			s.Await(mapsAt(s, "a"), silent(one.Text("metadata", "uid")))
			s.Delete(mapsAt(s, "other"), nil)
			s.Await(mapsAt(s, "a"), story.NotFound)
		}},
		{Name: "several-one-waits", Tell: func(s *story.Session) {
			one, other := ownedMap(s, "one"), ownedMap(s, "other")
			ownedMap(s, "a", mapOwner(one, blocking), mapOwner(other, blocking))
			s.Delete(mapsAt(s, "one")+foreground, nil)
			s.Await(mapsAt(s, "one"), story.NotFound)
			s.Await(mapsAt(s, "a"), silent(one.Text("metadata", "uid")))
			s.Delete(mapsAt(s, "other")+foreground, nil)
			s.Await(mapsAt(s, "a"), story.NotFound)
			s.Await(mapsAt(s, "other"), story.NotFound)
		}},
		{Name: "other-namespace", Tell: func(s *story.Session) {
			owner := elsewhere(s)
			ownedMap(s, "a", mapOwner(owner))
			s.Await(mapsAt(s, "a"), story.NotFound)
			warnings(s, s.Namespace, "a")
			s.Get("/api/v1/namespaces/default/configmaps/" + s.Namespace)
		}},
		{Name: "other-namespace-and-one-here", Tell: func(s *story.Session) {
			there := elsewhere(s)
			ownedMap(s, "a", mapOwner(there), mapOwner(ownedMap(s, "owner")))
			s.Await(mapsAt(s, "a"), silent(there.Text("metadata", "uid")))
			s.Only("metadata", "ownerReferences")
			warnings(s, s.Namespace, "a")
		}},
		{Name: "namespaced-owner-of-cluster-scoped", Tell: func(s *story.Session) {
			owner := ownedMap(s, "owner")
			const roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
			s.Post(roles, object{"metadata": object{"name": s.Namespace, "ownerReferences": []object{mapOwner(owner)}}})
			warnings(s, "default", s.Namespace)
			s.Delete(mapsAt(s, "owner"), nil)
			passed(s)
			s.Get(roles + "/" + s.Namespace)
			s.Quietly(func() { s.Delete(roles+"/"+s.Namespace, nil) })
		}},
		{Name: "cluster-scoped-owner", Tell: func(s *story.Session) {
			const roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
			owner := s.Post(roles, object{"metadata": object{"name": s.Namespace}})
			reference := owned("rbac.authorization.k8s.io/v1", "ClusterRole", owner, blocking)
			ownedMap(s, "a", reference)
			s.Post(roles, object{"metadata": object{"name": s.Namespace + "-s", "ownerReferences": []object{reference}}})
			passed(s)
			s.Get(mapsAt(s, "a"))
			s.Delete(roles+"/"+s.Namespace+foreground, nil)
			s.Await(roles+"/"+s.Namespace, story.NotFound)
			s.Await(roles+"/"+s.Namespace+"-s", story.NotFound)
			s.Await(mapsAt(s, "a"), story.NotFound)
		}},
	}
}
