package stories

import "github.com/knarr-io/knarr/twin/story"

const (
	aggregated      = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
	aggregatedBeta  = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"
	aggregatedProto = "application/vnd.kubernetes.protobuf;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
)

func discoveryDocuments() []story.Story {
	return []story.Story{
		{Name: "discovery/documents", Tell: func(s *story.Session) {
			for _, path := range []string{
				"/", "/api", "/api/", "/api/v1", "/apis", "/apis/", "/apis/apps", "/apis/apps/v1", "/apis/batch/v1",
				"/apis/autoscaling", "/apis/autoscaling/v1", "/apis/autoscaling/v2", "/apis/networking.k8s.io/v1",
				"/apis/apiextensions.k8s.io", "/apis/apiextensions.k8s.io/v1", "/apis/apiregistration.k8s.io",
				"/apis/apiregistration.k8s.io/v1", "/apis/resource.k8s.io/v1", "/apis/authorization.k8s.io/v1",
				"/apis/none", "/apis/apps/v9", "/api/v2", "/version", "/version/",
			} {
				s.Get(path)
			}
		}},
		{Name: "discovery/forms", Tell: func(s *story.Session) {
			for _, path := range []string{"/api", "/apis", "/apis/apps", "/apis/apps/v1"} {
				for _, accept := range []string{
					aggregated, aggregatedBeta, aggregatedProto, aggregated + "," + aggregatedBeta + ",application/json",
					"application/yaml", "application/vnd.kubernetes.protobuf", "application/cbor", "text/html", "*/*",
				} {
					s.Get(path, story.Accept(accept))
				}
			}
		}},
		{Name: "discovery/not-modified", Tell: func(s *story.Session) {
			for _, path := range []string{"/api", "/apis"} {
				tag := s.Get(path, story.Accept(aggregated)).Header.Get("Etag")
				s.Get(path, story.Accept(aggregated), story.Header("If-None-Match", tag))
				s.Get(path, story.Accept(aggregated), story.Header("If-None-Match", `"other"`))
			}
		}},
		{Name: "discovery/pretty", Tell: func(s *story.Session) {
			for _, path := range []string{"/api?pretty=true", "/apis/apps?pretty=true", "/apis/apps/v1?pretty=1", "/version?pretty=false"} {
				s.Get(path)
			}
			for _, agent := range []string{"curl/8.0", "Wget/1.2", "Mozilla/5.0", "kubectl/v1.37"} {
				s.Get("/apis/apps", story.Header("User-Agent", agent))
				s.Get("/api/v1/namespaces/default", story.Header("User-Agent", agent))
			}
		}},
		{Name: "discovery/methods", Tell: func(s *story.Session) {
			for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"} {
				for _, path := range []string{"/api", "/apis", "/apis/apps/v1", "/version", "/"} {
					s.Do(method, path, nil)
				}
			}
		}},
	}
}
