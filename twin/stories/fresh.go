package stories

import "github.com/knarr-io/knarr/twin/story"

// fresh tells what a server holds that nobody has written to yet.
func fresh() []story.Story {
	collections := []string{
		"/apis/apiregistration.k8s.io/v1/apiservices",
		"/apis/networking.k8s.io/v1/servicecidrs",
		"/apis/networking.k8s.io/v1/ipaddresses",
		"/apis/scheduling.k8s.io/v1/priorityclasses",
		"/apis/rbac.authorization.k8s.io/v1/clusterroles",
		"/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
		"/apis/rbac.authorization.k8s.io/v1/roles",
		"/apis/rbac.authorization.k8s.io/v1/rolebindings",
		"/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas",
		"/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations",
		"/apis/discovery.k8s.io/v1/endpointslices",
		"/api/v1/services",
		"/api/v1/endpoints",
		"/api/v1/configmaps",
		"/api/v1/secrets",
		"/api/v1/serviceaccounts",
		"/api/v1/pods",
		"/api/v1/nodes",
	}
	var all []story.Story
	for _, path := range collections {
		all = append(all, story.Story{Name: "fresh" + path, Tell: func(s *story.Session) { s.Get(path) }})
	}
	all = append(all, story.Story{Name: "fresh/api/v1/namespaces", Tell: func(s *story.Session) {
		for _, name := range []string{"default", "kube-system", "kube-public", "kube-node-lease"} {
			s.Get("/api/v1/namespaces/" + name)
			s.Delete("/api/v1/namespaces/"+name+"?dryRun=All", nil)
		}
		s.Get("/api/v1/namespaces?labelSelector=kubernetes.io/metadata.name+in+(default,kube-system,kube-public,kube-node-lease)")
	}})
	return all
}
