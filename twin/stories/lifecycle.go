package stories

import (
	"fmt"
	"slices"

	"github.com/knarr-io/knarr/twin/story"
)

// Lifecycle tells what is deleted by itself: by kube-controller-manager's controllers or by
// the server's own. Each area is in a file of its own.
func Lifecycle() []story.Story {
	return slices.Concat(collection(), timesToLive(), endings())
}

// owned is the reference of an object to its owner. The uid is that of the answer to the
// request that made the owner.
func owned(apiVersion, kind string, owner story.Answer, more ...func(object)) object {
	reference := object{"apiVersion": apiVersion, "kind": kind, "name": owner.Text("metadata", "name"), "uid": owner.Text("metadata", "uid")}
	for _, change := range more {
		change(reference)
	}
	return reference
}

// ownedMap makes a ConfigMap with owners.
func ownedMap(s *story.Session, name string, owners ...object) story.Answer {
	metadata := object{"name": name}
	if len(owners) > 0 {
		metadata["ownerReferences"] = owners
	}
	var answer story.Answer
	create := func() { answer = s.Post(mapsAt(s), object{"metadata": metadata}) }
	if len(owners) > 1 { // whose owners' fields are told in the order of uids, which is chance
		s.Quietly(create)
	} else {
		create()
	}
	return answer
}

// mapsAt is where ConfigMaps are, or the one of a name.
func mapsAt(s *story.Session, name ...string) string {
	uri := fmt.Sprintf("/api/v1/namespaces/%s/configmaps", s.Namespace)
	for _, n := range name {
		uri += "/" + n
	}
	return uri
}
