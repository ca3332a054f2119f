package stories

import (
	"net/http"

	"github.com/knarr-io/knarr/twin/story"
)

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
		{Name: "credentials/impersonation", Tell: func(s *story.Session) {
			as := func(headers ...string) story.Option {
				return func(r *http.Request) {
					for i := 0; i < len(headers); i += 2 {
						r.Header.Add(headers[i], headers[i+1])
					}
				}
			}
			for _, option := range []story.Option{
				as("Impersonate-User", "jane"),
				as("Impersonate-User", "jane", "Impersonate-Group", "dev", "Impersonate-Group", "system:masters"),
				as("Impersonate-User", "jane", "Impersonate-Uid", "7", "Impersonate-Extra-Scopes", "a", "Impersonate-Extra-Scopes", "b"),
				as("Impersonate-User", "system:serviceaccount:"+s.Namespace+":default"),
				as("Impersonate-User", "system:anonymous"),
				as("Impersonate-User", "system:node:a"),
				as("Impersonate-User", ""),
				as("Impersonate-Group", "dev"),
				as("Impersonate-Uid", "7"),
				as("Impersonate-Extra-Scopes", "a"),
				as("Impersonate-Bla", "x"),
			} {
				s.Get("/api/v1/pods", option)
				s.Get("/apis/apps/v1", option)
				s.Post("/apis/authentication.k8s.io/v1/selfsubjectreviews", object{}, option)
				s.Get("/api/v1/pods", option, story.Token("outsider-token"))
				s.Get("/version", option, story.Anonymous)
			}
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
