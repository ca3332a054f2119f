package endpoint_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/kubernetes/pkg/api/legacyscheme"

	"github.com/knarr-io/knarr/internal/kind"
	actions "github.com/knarr-io/knarr/internal/pods"
)

const (
	inDefault = "/api/v1/namespaces/default/"
	podBody   = `{"metadata":{"name":"p","labels":{"app":"web"}},"spec":{"containers":[{"name":"c","image":"i"}]}}`
	boundBody = `{"metadata":{"name":"p"},"target":{"name":"n1"}}`
)

// newActing is a server whose pod p waits for a node.
func newActing(t *testing.T) *server {
	t.Helper()
	s := newServer(t)
	s.verbs.Actions = actions.Actions(s.verbs, func() *kind.Catalogue { return s.catalogue })
	s.do("POST "+inDefault+"pods", podBody).is(201)
	return s
}

// An action answers in every media type, and takes every one.
func TestActionMedia(t *testing.T) {
	for _, tt := range []struct {
		name, accept string
		code         int
		media        string
	}{
		{"JSON", "application/json", 201, "application/json"},
		{"anything", "", 201, "application/json"},
		{"YAML", "application/yaml", 201, "application/yaml"},
		{"protobuf", "application/vnd.kubernetes.protobuf", 201, "application/vnd.kubernetes.protobuf"},
		{"metadata", "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io", 201, "application/json"},
		{"a table, or else JSON", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json", 201, "application/json"},
		{"a table", "application/json;as=Table;v=v1;g=meta.k8s.io", 406, "application/json"},
		{"a picture", "image/png", 406, "application/json"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newActing(t)
			a := s.do("POST "+inDefault+"pods/p/binding", boundBody, "Accept: "+tt.accept)
			if a.code != tt.code || a.header.Get("Content-Type") != tt.media {
				t.Fatalf("%d %s, want %d %s: %s", a.code, a.header.Get("Content-Type"), tt.code, tt.media, a.text)
			}
			node := any("n1")
			if tt.code != 201 {
				node = nil
			}
			s.do("GET "+inDefault+"pods/p", "").is(200, "spec.nodeName", node)
			if tt.code != 201 {
				return
			}
			got := &metav1.Status{}
			obj, _, err := legacyscheme.Codecs.UniversalDeserializer().Decode([]byte(a.text), nil, got)
			if err != nil || obj != got || got.Status != metav1.StatusSuccess || got.Code != 201 {
				t.Errorf("the answer is %+v (%v)", got, err)
			}
		})
	}
	json := `{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Success","code":201}` + "\n"
	if got := newActing(t).do("POST "+inDefault+"bindings", boundBody).is(201).text; got != json {
		t.Errorf("got  %swant %s", got, json)
	}
	pretty := "{\n  \"kind\": \"Status\",\n  \"apiVersion\": \"v1\",\n  \"metadata\": {},\n  \"status\": \"Success\",\n  \"code\": 201\n}"
	if got := newActing(t).do("POST "+inDefault+"bindings?pretty=true", boundBody).is(201).text; got != pretty {
		t.Errorf("got  %s\nwant %s", got, pretty)
	}

	proto, _ := runtime.SerializerInfoForMediaType(legacyscheme.Codecs.SupportedMediaTypes(), runtime.ContentTypeProtobuf)
	binding := &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Target: corev1.ObjectReference{Name: "n1"}}
	encoded, err := runtime.Encode(legacyscheme.Codecs.EncoderForVersion(proto.Serializer, corev1.SchemeGroupVersion), binding)
	if err != nil {
		t.Fatal(err)
	}
	newActing(t).do("POST "+inDefault+"pods/p/binding", string(encoded), "Content-Type: "+runtime.ContentTypeProtobuf).is(201)
	newActing(t).do("POST "+inDefault+"pods/p/binding", "metadata: {name: p}\ntarget: {name: n1}\n", "Content-Type: application/yaml").is(201)
	newActing(t).do("POST "+inDefault+"pods/p/binding", boundBody, "Content-Type: text/plain").is(415, "reason", "UnsupportedMediaType")
}

// What is wrong with a request is said as of any create.
func TestActionRequests(t *testing.T) {
	s := newActing(t)
	const (
		binding, eviction = "POST " + inDefault + "pods/p/binding", "POST " + inDefault + "pods/p/eviction"
		noMethod          = "the server does not allow this method on the requested resource"
		noResource        = "the server could not find the requested resource"
	)
	for _, tt := range []struct {
		name, request, body string
		code                int
		message             string
	}{
		{"options", binding + "?dryRun=Some", boundBody, 422, `CreateOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value: ["Some"]: supported values: "All"`},
		{"no body", binding, "", 400, "the object provided is unrecognized (must be of type Binding): "},
		{"no JSON", binding, "{", 400, "the object provided is unrecognized (must be of type Binding): "},
		{"unknown field", binding + "?fieldValidation=Strict", `{"metadata":{"name":"p"},"target":{"name":"n1"},"x":1}`, 400,
			`Binding in version "v1" cannot be handled as a Binding: strict decoding error: unknown field "x"`},
		{"a pod", binding, `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"p"}}`, 400, `Pod in version "v1" cannot be handled as a Binding: converting (v1.Pod) to (core.Binding): `},
		{"a version that there is not", eviction, `{"kind":"Eviction","apiVersion":"policy/v2","metadata":{"name":"p"}}`, 400,
			`Eviction in version "v2" cannot be handled as a Eviction: no kind "Eviction" is registered for version "policy/v2" in scheme`},
		{"another namespace", binding, `{"metadata":{"name":"p","namespace":"else"},"target":{"name":"n1"}}`, 400,
			"the namespace of the provided object does not match the namespace sent on the request"},
		{"another name", eviction, `{"metadata":{"name":"q"}}`, 400, "name in URL does not match name in Eviction object"},
		{"no pod", "POST " + inDefault + "pods/q/eviction", `{"metadata":{"name":"q"}}`, 404, `pods "q" not found`},
		{"no name", "POST " + inDefault + "bindings", `{"target":{"name":"n1"}}`, 400, "Name parameter required."},
		{"no namespace", "POST /api/v1/bindings", boundBody, 404, noResource},
		{"get", "GET " + inDefault + "pods/p/binding", "", 405, noMethod},
		{"update", "PUT " + inDefault + "pods/p/eviction", "{}", 405, noMethod},
		{"delete", "DELETE " + inDefault + "pods/p/eviction", "", 405, noMethod},
		{"list", "GET " + inDefault + "bindings", "", 405, noMethod},
		{"get one", "GET " + inDefault + "bindings/p", "", 404, noResource},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := s.do(tt.request, tt.body).is(tt.code)
			if got := a.str("message"); !strings.HasPrefix(got, tt.message) {
				t.Errorf("got  %s\nwant %s", got, tt.message)
			}
		})
	}
	s.do(binding+"?dryRun=All", `{"metadata":{"name":"p"},"target":{"name":"n1"},"x":1}`).is(201, "code", 201.0).warns(`unknown field \"x\"`)
	s.do("GET "+inDefault+"pods/p", "").is(200, "spec.nodeName", nil)
}

// Evictions of the older version are taken, with or without a kind; a refusal
// says when to come again.
func TestEvictionVersions(t *testing.T) {
	for _, body := range []string{
		`{"metadata":{"name":"p"}}`,
		`{"kind":"Eviction","apiVersion":"policy/v1","metadata":{"name":"p"}}`,
		`{"kind":"Eviction","apiVersion":"policy/v1beta1","metadata":{"name":"p"},"deleteOptions":{"gracePeriodSeconds":0}}`,
	} {
		s := newActing(t)
		s.do("POST "+inDefault+"pods/p/eviction", body).is(201, "status", "Success", "code", 201.0)
		s.do("GET "+inDefault+"pods/p", "").is(404)
	}

	s := newActing(t)
	s.do("PATCH "+inDefault+"pods/p/status", `{"status":{"phase":"Running"}}`).is(200)
	budgets := "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
	s.do("POST "+budgets, `{"metadata":{"name":"b"},"spec":{"minAvailable":1,"selector":{"matchLabels":{"app":"web"}}}}`).is(201)
	a := s.do("POST "+inDefault+"pods/p/eviction", `{"metadata":{"name":"p"}}`).is(429, "reason", "TooManyRequests", "details.retryAfterSeconds", 10.0)
	if got := a.header.Get("Retry-After"); got != "10" {
		t.Errorf("Retry-After is %q", got)
	}
	s.do("PATCH "+budgets+"/b/status", `{"status":{"observedGeneration":1,"currentHealthy":1,"desiredHealthy":1,"expectedPods":1,"disruptionsAllowed":0}}`).is(200)
	s.do("PATCH "+inDefault+"pods/p/status", `{"status":{"conditions":[{"type":"Ready","status":"True"}]}}`).is(200)
	a = s.do("POST "+inDefault+"pods/p/eviction", `{"metadata":{"name":"p"}}`).is(429, "details.retryAfterSeconds", nil)
	if got := a.header.Get("Retry-After"); got != "" {
		t.Errorf("Retry-After is %q, though nothing will change by itself", got)
	}
	s.do("POST "+budgets, `{"metadata":{"name":"c"},"spec":{"minAvailable":1,"selector":{}}}`).is(201)
	s.do("POST "+inDefault+"pods/p/eviction", `{"metadata":{"name":"p"}}`).is(500, "reason", nil, "message",
		"This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.")
}

// A status that upstream serves without printed columns has none, and a Scale
// has its own.
func TestSubresourceTables(t *testing.T) {
	const table = "Accept: application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
	s := newActing(t)
	s.do("GET "+inDefault+"pods/p/status", "", table).is(200, "kind", "Table")
	s.do("GET "+inDefault+"pods/p/resize", "", table).is(200, "kind", "Pod")
	s.do("GET "+inDefault+"pods/p/ephemeralcontainers", "", table).is(200, "kind", "Pod")
	s.do("GET "+inDefault+"pods/p/resize", "", "Accept: application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io").is(200, "kind", "PartialObjectMetadata")

	const claims = "/apis/resource.k8s.io/v1/namespaces/default/resourceclaims"
	s.do("POST "+claims, `{"metadata":{"name":"c"},"spec":{}}`).is(201)
	s.do("GET "+claims+"/c", "", table).is(200, "kind", "Table")
	s.do("GET "+claims+"/c/status", "", table).is(200, "kind", "ResourceClaim")

	const deployments = "/apis/apps/v1/namespaces/default/deployments"
	s.do("POST "+deployments, `{"metadata":{"name":"d"},"spec":{"replicas":3,"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}`).is(201)
	a := s.do("GET "+deployments+"/d/scale", "", table).is(200, "kind", "Table")
	rows, _ := a.at("rows").([]any)
	if len(rows) != 1 || !strings.Contains(a.text, `"cells":["d",3,0,`) {
		t.Errorf("the table of a Scale: %s", a.text)
	}
	s.do("GET "+deployments+"/d/scale?includeObject=Object", "", table).is(200)
	s.do("GET "+deployments+"/d/scale", "", "Accept: application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io").is(200, "kind", "PartialObjectMetadata", "metadata.name", "d")
	s.do("GET "+deployments+"/d/scale", "", "Accept: application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io").is(406, "message",
		"you requested PartialObjectMetadataList, but the requested object is not a list (*autoscaling.Scale)")
	// The Scale that was seen is the one that is changed.
	s.do("PATCH "+deployments+"/d/scale", `{"metadata":{"uid":"u"},"spec":{"replicas":4}}`).is(409, "details.name", "d", "message",
		`Operation cannot be fulfilled on deployments/scale.apps "d": Precondition failed: UID in precondition: u, UID in object meta: `+s.do("GET "+deployments+"/d", "").str("metadata.uid"))
}
