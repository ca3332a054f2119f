package endpoint_test

import (
	"slices"
	"strings"
	"testing"
)

const old = "/apis/extensions/v1beta1/namespaces/default/"

// An old manifest makes what apps/v1 and networking.k8s.io/v1 show too.
func TestExtensions(t *testing.T) {
	s := newServer(t)
	const deprecated = "extensions/v1beta1 Deployment is deprecated in v1.8+, unavailable in v1.16+; use apps/v1 Deployment"
	made := s.do("POST "+old+"deployments?fieldManager=old", `{"apiVersion":"extensions/v1beta1","kind":"Deployment","metadata":{"name":"d"},
		"spec":{"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}`)
	made.warns(deprecated)
	made.is(201, "apiVersion", "extensions/v1beta1", "spec.replicas", 1.0, "spec.selector.matchLabels.a", "b",
		"spec.strategy.rollingUpdate.maxSurge", 1.0, "spec.strategy.rollingUpdate.maxUnavailable", 1.0,
		"spec.revisionHistoryLimit", 2147483647.0, "spec.progressDeadlineSeconds", 2147483647.0)
	s.do("GET "+deployments+"/d", "").is(200, "apiVersion", "apps/v1", "metadata.uid", made.str("metadata.uid"),
		"metadata.resourceVersion", made.str("metadata.resourceVersion"), "spec.revisionHistoryLimit", 2147483647.0).warns()

	// Changes by one are seen by the other, and owned under the name of each.
	s.do("PATCH "+deployments+"/d?fieldManager=new", `{"spec":{"replicas":3}}`).is(200)
	s.do("PATCH "+old+"deployments/d?fieldManager=old", `{"spec":{"paused":true}}`).is(200, "spec.replicas", 3.0)
	shown := s.do("GET "+deployments+"/d", "").is(200, "spec.paused", true)
	owners := []string{}
	for _, entry := range shown.at("metadata.managedFields").([]any) {
		e := &answer{body: entry.(map[string]any)}
		owners = append(owners, e.str("manager")+" "+e.str("apiVersion"))
	}
	slices.Sort(owners)
	if want := []string{"new apps/v1", "old extensions/v1beta1"}; !slices.Equal(owners, want) {
		t.Errorf("the owners are %v, want %v", owners, want)
	}

	// Its scale is of its own version.
	s.do("GET "+old+"deployments/d/scale", "").is(200, "apiVersion", "extensions/v1beta1", "kind", "Scale", "spec.replicas", 3.0,
		"status.targetSelector", "a=b", "status.selector", map[string]any{"a": "b"})
	s.do("PATCH "+old+"deployments/d/scale", `{"spec":{"replicas":4}}`).is(200, "spec.replicas", 4.0)
	s.do("PATCH "+old+"deployments/d/status", `{"status":{"replicas":2}}`).is(200, "status.replicas", 2.0)
	s.do("GET "+deployments+"/d/scale", "").is(200, "apiVersion", "autoscaling/v1", "spec.replicas", 4.0, "status.replicas", 2.0)
	s.do("GET "+old+"deployments/d/rollback", "").is(404)

	if got := s.do("GET "+old+"deployments", "").is(200, "kind", "DeploymentList", "apiVersion", "extensions/v1beta1").names(); !slices.Equal(got, []string{"d"}) {
		t.Errorf("there are %v", got)
	}
	s.do("DELETE "+old+"deployments/d", "").is(200)
	s.do("GET "+deployments+"/d", "").is(404)
}

func TestExtensionsOthers(t *testing.T) {
	s := newServer(t)
	const networking = "/apis/networking.k8s.io/v1/namespaces/default/"
	s.do("POST "+old+"ingresses", `{"apiVersion":"extensions/v1beta1","kind":"Ingress","metadata":{"name":"i"},
		"spec":{"backend":{"serviceName":"s","servicePort":80},"rules":[{"host":"h.example","http":{"paths":[{"path":"/","backend":{"serviceName":"t","servicePort":"web"}}]}}]}}`).is(201).
		warns("extensions/v1beta1 Ingress is deprecated in v1.14+, unavailable in v1.22+; use networking.k8s.io/v1 Ingress")
	path := s.do("GET "+networking+"ingresses/i", "").is(200, "spec.defaultBackend.service.name", "s", "spec.defaultBackend.service.port.number", 80.0)
	if !strings.Contains(path.text, `"paths":[{"path":"/","pathType":"ImplementationSpecific","backend":{"service":{"name":"t","port":{"name":"web"}}}}]`) {
		t.Errorf("the ingress is %s", path.text)
	}
	s.do("POST "+networking+"ingresses", `{"metadata":{"name":"j"},"spec":{"defaultBackend":{"service":{"name":"s","port":{"number":8080}}}}}`).is(201)
	s.do("GET "+old+"ingresses/j", "").is(200, "spec.backend.serviceName", "s", "spec.backend.servicePort", 8080.0)

	s.do("POST "+old+"networkpolicies", `{"metadata":{"name":"n"},"spec":{"podSelector":{}}}`).is(201, "spec.policyTypes", list("Ingress"))
	s.do("GET "+networking+"networkpolicies/n", "").is(200, "spec.policyTypes", list("Ingress"))

	template := `"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}`
	s.do("POST "+old+"daemonsets", `{"metadata":{"name":"d"},"spec":{`+template+`}}`).is(201, "spec.updateStrategy.type", "OnDelete", "spec.revisionHistoryLimit", 10.0)
	s.do("GET /apis/apps/v1/namespaces/default/daemonsets/d", "").is(200, "spec.updateStrategy.type", "OnDelete")
	s.do("POST "+old+"replicasets", `{"metadata":{"name":"r"},"spec":{"replicas":2,`+template+`}}`).is(201, "spec.selector.matchLabels.a", "b")
	s.do("PATCH "+old+"replicasets/r?fieldManager=m", `{"apiVersion":"extensions/v1beta1","kind":"ReplicaSet","metadata":{"name":"r","labels":{"l":"m"}}}`,
		"Content-Type: application/apply-patch+yaml").is(200, "metadata.labels.l", "m")
	s.do("GET /apis/apps/v1/namespaces/default/replicasets/r", "").is(200, "metadata.labels.l", "m", "spec.replicas", 2.0)
}

// Events are of two groups as well, but core is apart from all others: neither
// knows what was owned in the other, and its owners are lost, as upstream's are.
func TestEventsAreOwnedInOneGroup(t *testing.T) {
	s := newServer(t)
	s.do("POST /apis/events.k8s.io/v1/namespaces/default/events?fieldManager=a", `{"metadata":{"name":"e"},"eventTime":"2026-01-01T00:00:00.000000Z",
		"reportingController":"a.example/c","reportingInstance":"c","action":"Do","reason":"Done","type":"Normal","regarding":{"namespace":"default"}}`).is(201)
	s.do("PATCH /api/v1/namespaces/default/events/e?fieldManager=b", `{"metadata":{"labels":{"a":"b"}}}`).is(200)
	e := s.do("PATCH /apis/events.k8s.io/v1/namespaces/default/events/e?fieldManager=c", `{"metadata":{"labels":{"c":"d"}}}`).is(200)
	owners := []string{}
	for _, entry := range e.at("metadata.managedFields").([]any) {
		e := &answer{body: entry.(map[string]any)}
		owners = append(owners, e.str("manager")+" "+e.str("apiVersion"))
	}
	slices.Sort(owners)
	if want := []string{"c events.k8s.io/v1"}; !slices.Equal(owners, want) {
		t.Errorf("the owners are %v, want %v", owners, want)
	}
}
