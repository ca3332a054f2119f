package stories

import "github.com/knarr-io/knarr/twin/story"

// credentials tells who is let in, and in which words others are turned away.
func credentials() []story.Story {
	paths := []string{
		"/", "/api", "/apis", "/apis/apps/v1", "/version", "/healthz", "/metrics", "/none",
		"/api/v1/pods", "/api/v1/namespaces", "/api/v1/namespaces/default", "/api/v1/namespaces/default/pods/none",
		"/api/v1/namespaces/default/pods/none/log", "/apis/apps/v1/namespaces/default/deployments?watch=true",
		"/apis/none.example.com/v1/widgets", "/api/v1/nodes/none/status",
	}
	get := func(option story.Option) func(*story.Session) {
		return func(s *story.Session) {
			for _, path := range paths {
				s.Get(path, option)
			}
		}
	}
	return []story.Story{
		{Name: "credentials/none", Tell: get(story.Anonymous)},
		{Name: "credentials/token", Tell: get(story.Token("outsider-token"))},
		{Name: "credentials/bad-token", Tell: get(story.Token("nobody"))},
		{Name: "credentials/basic", Tell: func(s *story.Session) {
			s.Get("/api/v1/pods", story.Header("Authorization", "Basic YTpi"))
			s.Get("/version", story.Header("Authorization", "Bearer"))
			s.Get("/version", story.Header("Authorization", "Bearer "))
		}},
		{Name: "credentials/writes", Tell: func(s *story.Session) {
			for _, who := range []story.Option{story.Anonymous, story.Token("outsider-token")} {
				s.Post(configMaps(s), configMap("a", nil), who)
				s.Put(configMaps(s)+"/a", configMap("a", nil), who)
				s.Patch(configMaps(s)+"/a", story.MergePatch, object{}, who)
				s.Delete(configMaps(s)+"/a", nil, who)
				s.Delete(configMaps(s), nil, who)
				s.Post("/api/v1/namespaces", object{}, who)
			}
		}},
	}
}
