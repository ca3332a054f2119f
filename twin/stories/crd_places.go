package stories

import "github.com/knarr-io/knarr/twin/story"

// definitionPlaces tells of definitions in groups that have native kinds, in
// versions that these have and in others.
func definitionPlaces() []story.Story {
	var all []story.Story
	for _, version := range []string{"v1", "v9"} {
		all = append(all, story.Story{Name: "crd/places/native-group-" + version, Tell: func(s *story.Session) {
			c := newCustom(s, `{group: apps, names: {plural: gizmos, singular: gizmo, kind: Gizmo, listKind: GizmoList}, versions: [{name: `+version+`, properties: {size: {type: integer}}}]}`)
			c.define()
			defer c.remove()
			s.Settle("/apis/apps")
			at := "/apis/apps/" + version + "/namespaces/" + s.Namespace + "/gizmos"
			s.Get("/apis/apps")
			s.Get("/apis/apps/" + version)
			s.Get(at)
			s.Post(at, object{"apiVersion": "apps/" + version, "kind": "Gizmo", "metadata": object{"name": "a"}, "size": 1})
			s.Get(at + "/a")
			s.Get("/apis/apps/" + version + "/gizmos")
			s.Delete(at+"/a", nil)
		}})
	}
	return all
}
