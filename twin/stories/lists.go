package stories

import (
	"fmt"
	"net/url"

	"github.com/knarr-io/knarr/twin/sample"
	"github.com/knarr-io/knarr/twin/story"
)

func lists() []story.Story {
	return []story.Story{
		{Name: "list/labels", Tell: func(s *story.Session) {
			some(s, 4)
			for _, selector := range []string{
				"parity=even", "parity==odd", "parity!=even", "parity", "!parity", "number in (0,3)", "number notin (0,3)",
				"number>1", "number<2", "number>x", "parity=even,number!=0", "none", "", "=", "parity in ()", "a b", "parity in (even",
				"bad key!=x", "-parity=even", "parity=value with spaces", "example.com/x=y",
			} {
				s.Get(configMaps(s) + "?labelSelector=" + url.QueryEscape(selector))
			}
		}},
		{Name: "list/fields", Tell: func(s *story.Session) {
			some(s, 2)
			for _, selector := range []string{
				"metadata.name=item-0", "metadata.name==item-1", "metadata.name!=item-0", "metadata.namespace=" + s.Namespace,
				"metadata.namespace=other", "metadata.name=item-0,metadata.namespace!=x", "data.key=value", "metadata.labels=x",
				"metadata.name", "metadata.name in (a)", "", "metadata.name=", "metadata.uid=x",
			} {
				s.Get(configMaps(s) + "?fieldSelector=" + url.QueryEscape(selector))
				s.Get(configMaps(s) + "/item-0?fieldSelector=" + url.QueryEscape(selector))
			}
		}},
		{Name: "list/fields-of-kinds", Tell: fieldsOfKinds},
		{Name: "list/pages", Tell: func(s *story.Session) {
			some(s, 5)
			for _, query := range []string{"limit=2", "limit=2&labelSelector=parity", "limit=5", "limit=6", "limit=0", "limit=1&resourceVersion=0"} {
				s.Get(configMaps(s) + "?" + query)
			}
			page := s.Get(configMaps(s) + "?limit=2")
			s.Post(configMaps(s), configMap("item-2-later", nil)) // not in the pages that follow
			s.Delete(configMaps(s)+"/item-3", nil)
			for token := page.Text("metadata", "continue"); token != ""; {
				next := s.Get(configMaps(s) + "?limit=2&continue=" + url.QueryEscape(token))
				token = next.Text("metadata", "continue")
			}
			token := url.QueryEscape(page.Text("metadata", "continue"))
			s.Get(configMaps(s) + "?continue=" + token)
			s.Get(configMaps(s) + "?limit=2&continue=" + token + "&resourceVersion=0")
			s.Get(configMaps(s) + "?limit=2&continue=" + token + "&resourceVersion=" + revision(page))
			s.Get(configMaps(s) + "?limit=2&continue=" + token + "&resourceVersionMatch=Exact&resourceVersion=" + revision(page))
			s.Get(configMaps(s) + "?limit=2&continue=" + token + "&resourceVersionMatch=NotOlderThan")
			s.Get(configMaps(s)+"?limit=1&labelSelector=parity", story.Accept("application/json"+asTable))
			s.Get(configMaps(s)+"?limit=1", story.Accept("application/json"+asPartials))
		}},
		{Name: "list/bad-parameters", Tell: func(s *story.Session) {
			for _, query := range []string{
				"limit=x", "limit=-1", "continue=nonsense", "continue=e30", "timeoutSeconds=x", "watch=maybe", "resourceVersion=x",
				"resourceVersion=-1", "resourceVersion=1.5", "resourceVersionMatch=Other&resourceVersion=1", "allowWatchBookmarks=perhaps",
				"sendInitialEvents=true", "unknown=parameter", "limit=1&limit=2", "pretty=yes", "%zz",
			} {
				s.Get(configMaps(s) + "?" + query)
			}
		}},
		{Name: "list/versions", Tell: versions},
		{Name: "list/all-namespaces", Tell: func(s *story.Session) {
			s.Post(configMaps(s), configMap("a", object{"story": s.Namespace}))
			s.Get("/api/v1/configmaps?labelSelector=story=" + s.Namespace)
			s.Get("/api/v1/configmaps?fieldSelector=metadata.namespace=" + s.Namespace)
			s.Post("/api/v1/configmaps", configMap("b", nil))
			s.Delete("/api/v1/configmaps", nil)
			s.Get("/api/v1/namespaces/none/configmaps")
			s.Get("/api/v1/namespaces/none/configmaps/a")
		}},
	}
}

// fieldsOfKinds selects by the fields that upstream lets each kind be selected by, and by one it does not.
func fieldsOfKinds(s *story.Session) {
	own := "/api/v1/namespaces/" + s.Namespace
	s.Post(pods(s), sample.With(pod("on-node", nil), "node-1", "spec", "nodeName"))
	s.Post(pods(s), pod("nowhere", nil))
	for _, selector := range []string{
		"spec.nodeName=node-1", "spec.nodeName=", "spec.nodeName!=node-1", "spec.restartPolicy=Always", "spec.schedulerName=default-scheduler",
		"spec.serviceAccountName=", "spec.hostNetwork=false", "status.phase=Pending", "status.podIP=", "status.podIPs=", "status.nominatedNodeName=",
		"spec.unknown=x", "status.phase!=Running,spec.nodeName=node-1",
	} {
		s.Get(own + "/pods?fieldSelector=" + url.QueryEscape(selector))
	}
	for path, selectors := range fieldQueries(own) {
		for _, selector := range selectors {
			s.Get(path + "?limit=3&fieldSelector=" + url.QueryEscape(selector))
		}
	}
}

func fieldQueries(own string) func(func(string, []string) bool) {
	queries := []struct {
		path      string
		selectors []string
	}{
		{own + "/secrets", []string{"type=Opaque", "data=x"}},
		{own + "/services", []string{"spec.clusterIP=None", "spec.type=ClusterIP", "spec.ports=x"}},
		{own + "/events", []string{"involvedObject.kind=Pod", "reason=Started", "reportingComponent=x", "source=x", "type=Normal", "message=x"}},
		{"/apis/events.k8s.io/v1/namespaces/default/events", []string{"regarding.kind=Pod", "reason=Started", "reportingController=x", "involvedObject.kind=Pod"}},
		{"/api/v1/namespaces", []string{"status.phase=Terminating", "spec=x"}},
		{"/api/v1/nodes", []string{"spec.unschedulable=true", "spec.podCIDR=x"}},
		{own + "/replicationcontrollers", []string{"status.replicas=0", "spec.replicas=0"}},
		{"/apis/apps/v1/namespaces/default/replicasets", []string{"status.replicas=0", "spec.replicas=0"}},
		{"/apis/apps/v1/namespaces/default/deployments", []string{"status.replicas=0"}},
		{"/apis/batch/v1/namespaces/default/jobs", []string{"status.successful=0", "status.succeeded=0"}},
		{"/apis/certificates.k8s.io/v1/certificatesigningrequests", []string{"spec.signerName=x", "spec.username=x"}},
		{"/apis/networking.k8s.io/v1/ipaddresses", []string{"spec.parentRef.name=x", "ipVersion=4"}},
		{"/apis/resource.k8s.io/v1/resourceslices", []string{"spec.nodeName=x", "spec.driver=x", "spec.pool.name=x"}},
		{"/apis/apiextensions.k8s.io/v1/customresourcedefinitions", []string{"spec.group=x", "metadata.name=x"}},
		{"/apis/apiregistration.k8s.io/v1/apiservices", []string{"spec.group=x", "metadata.name=x"}},
	}
	return func(yield func(string, []string) bool) {
		for _, q := range queries {
			if !yield(q.path, q.selectors) {
				return
			}
		}
	}
}

// versions lists and gets with every combination of resourceVersion and
// resourceVersionMatch that the API's documentation names, and those it forbids.
func versions(s *story.Session) {
	answers := some(s, 3)
	s.Delete(configMaps(s)+"/item-0", nil)
	s.Patch(configMaps(s)+"/item-1", story.MergePatch, object{"data": object{"key": "changed"}})
	s.Get(configMaps(s)) // what is cached is now as new as this
	given := []string{"", "0", revision(answers[0]), revision(answers[2]), "1", "999999999999"}
	for _, match := range []string{"", "Exact", "NotOlderThan"} {
		for _, version := range given {
			for _, limit := range []string{"0", "1"} {
				s.Get(fmt.Sprintf("%s?resourceVersion=%s&resourceVersionMatch=%s&limit=%s", configMaps(s), version, match, limit))
			}
		}
	}
	for _, version := range given {
		s.Get(configMaps(s) + "/item-1?resourceVersion=" + version)
		s.Get(configMaps(s) + "/item-0?resourceVersion=" + version)
		s.Get(configMaps(s) + "?labelSelector=parity=odd&resourceVersion=" + version)
	}
}
