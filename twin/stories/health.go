package stories

import "github.com/knarr-io/knarr/twin/story"

func health() []story.Story {
	var all []story.Story
	for _, path := range []string{"/healthz", "/livez", "/readyz"} {
		all = append(all, story.Story{Name: "health" + path, Tell: func(s *story.Session) {
			s.Get(path)
			s.Get(path, story.Anonymous)
			s.Get(path + "?verbose")
			s.Get(path + "?exclude=ping")
			s.Get(path + "?verbose&exclude=ping&exclude=log")
			s.Get(path + "?exclude=nobody")
			s.Get(path + "?verbose=true&exclude=nobody")
			s.Get(path + "/ping")
			s.Get(path + "/ping?verbose")
			s.Get(path + "/nobody")
			s.Get(path + "/")
			s.Do("HEAD", path, nil)
			s.Post(path, nil)
		}})
	}
	return all
}
