package stories

import "github.com/knarr-io/knarr/twin/story"

// collection tells of what goes with its owners, and what does not.
func collection() []story.Story {
	return []story.Story{
		{Name: "lifecycle/collection/background", Tell: func(s *story.Session) {
			owner := ownedMap(s, "owner")
			ownedMap(s, "dependent", owned("v1", "ConfigMap", owner))
			s.Delete(mapsAt(s, "owner"), nil)
			s.Await(mapsAt(s, "dependent"), story.NotFound)
		}},
	}
}
