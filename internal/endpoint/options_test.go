package endpoint_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

const deployments = "/apis/apps/v1/namespaces/default/deployments"

func deployment(name string) string {
	return `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"` + name + `"},"spec":{"replicas":1,"selector":{"matchLabels":{"a":"b"}},
		"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}`
}

// A dry run answers as the real thing would, and leaves nothing behind.
func TestDryRun(t *testing.T) {
	s := newServer(t)
	s.do("POST "+deployments, deployment("d")).is(201)
	s.do("POST "+pods, pod("p")).is(201)
	s.do("POST "+configMaps, configMap(`"name":"kept","finalizers":["a.example/b"]`)).is(201)
	s.do("DELETE "+configMaps+"/kept", "").is(200)
	before, rev := s.do("GET "+deployments+"/d", "").is(200), s.verbs.State.Rev()

	const applied = "Content-Type: application/apply-patch+yaml"
	scale := `{"spec":{"replicas":5}}`
	s.do("POST "+deployments+"?dryRun=All", deployment("new")).is(201, "metadata.name", "new", "metadata.resourceVersion", nil, "metadata.generation", 1.0)
	s.do("POST "+deployments+"?dryRun=All", strings.Replace(deployment("new"), `"name":"new"`, `"generateName":"new-"`, 1)).is(201)
	for _, version := range []string{"abc", "0", "5"} { // nothing is stored that could not have it
		s.do("POST "+deployments+"?dryRun=All", strings.Replace(deployment("new"), `"name":"new"`, `"name":"new","resourceVersion":"`+version+`"`, 1)).is(201,
			"metadata.resourceVersion", version)
	}
	s.do("POST "+deployments+"?dryRun=All", deployment("d")).is(409, "reason", "AlreadyExists")
	s.do("POST "+configMaps+"?dryRun=All", configMap(`"name":"x","resourceVersion":"7"`)).is(201, "metadata.resourceVersion", "7")
	s.do("PUT "+deployments+"/d?dryRun=All", strings.Replace(deployment("d"), `"replicas":1`, `"replicas":3`, 1)).is(200,
		"spec.replicas", 3.0, "metadata.generation", 2.0, "metadata.resourceVersion", before.str("metadata.resourceVersion"))
	s.do("PATCH "+deployments+"/d?dryRun=All", `{"metadata":{"selfLink":"mine"}}`).is(200, "metadata.selfLink", "mine")
	s.do("PUT "+configMaps+"/kept?dryRun=All", configMap(`"name":"kept","uid":"other"`)).is(409, "message", `Operation cannot be fulfilled on configmaps "kept": `+
		`StorageError: invalid object, Code: 4, Key: /configmaps/default/kept, ResourceVersion: 0, AdditionalErrorMsg: `+
		`Precondition failed: UID in precondition: other, UID in object meta: `+s.do("GET "+configMaps+"/kept", "").str("metadata.uid"))
	s.do("PATCH "+deployments+"/d?dryRun=All", scale).is(200, "spec.replicas", 5.0)
	s.do("PATCH "+deployments+"/d?dryRun=All", `[{"op":"replace","path":"/spec/replicas","value":6}]`, "Content-Type: application/json-patch+json").is(200, "spec.replicas", 6.0)
	s.do("PATCH "+deployments+"/d?dryRun=All", scale, "Content-Type: application/strategic-merge-patch+json").is(200, "spec.replicas", 5.0)
	s.do("PATCH "+deployments+"/new?dryRun=All&fieldManager=me", deployment("new"), applied).is(201)
	s.do("PATCH "+deployments+"/d/status?dryRun=All", `{"status":{"replicas":2}}`).is(200, "status.replicas", 2.0)
	s.do("PATCH "+deployments+"/d/scale?dryRun=All", scale).is(200, "spec.replicas", 5.0)
	s.do("PUT /apis/coordination.k8s.io/v1/namespaces/default/leases/l?dryRun=All", `{"metadata":{"name":"l"}}`).is(201)
	s.do("PATCH "+configMaps+"/kept?dryRun=All", `{"metadata":{"finalizers":null}}`).is(200, "metadata.finalizers", nil)
	s.do("DELETE "+pods+"/p?dryRun=All", "").is(200, "metadata.deletionGracePeriodSeconds", 30.0)
	s.do("DELETE "+deployments+"/d?dryRun=All", "").is(200, "status", "Success")
	s.do("DELETE "+deployments+"/d", `{"dryRun":["All"],"propagationPolicy":"Foreground"}`).is(200, "metadata.finalizers", list("foregroundDeletion"))
	s.do("DELETE "+deployments+"?dryRun=All", "").is(200)
	s.do("DELETE "+pods+"/none?dryRun=All", "").is(404)

	if after := s.verbs.State.Rev(); after != rev {
		t.Errorf("the dry runs have made revisions %d to %d", rev+1, after)
	}
	if after := s.do("GET "+deployments+"/d", ""); after.text != before.text {
		t.Errorf("the object was %s and is %s", before.text, after.text)
	}
	for _, verb := range []string{"POST " + deployments, "PUT " + deployments + "/d", "PATCH " + deployments + "/d", "DELETE " + deployments + "/d"} {
		body := deployment("d")
		if strings.HasPrefix(verb, "DELETE") {
			body = ""
		}
		s.do(verb+"?dryRun=Some", body).is(422, "reason", "Invalid")
	}
}

// Unknown and doubled fields are refused, warned of or ignored, as the client
// wants it; it wants to be warned if it does not say.
func TestFieldValidation(t *testing.T) {
	s := newServer(t)
	jsonBody := `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"%s","labelz":{}},"data":{"a":"1","a":"2"},"more":1,"data":{}}`
	jsonFound := []string{`unknown field "metadata.labelz"`, `duplicate field "data.a"`, `unknown field "more"`, `duplicate field "data"`}
	yamlBody := "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: %s\n  labelz: {}\ndata:\n  a: \"1\"\n  a: \"2\"\nmore: 1\n"
	yamlFound := []string{`line 8: key \"a\" already set in map`, `unknown field \"metadata.labelz\"`, `unknown field \"more\"`}

	s.do("POST "+configMaps, fmt.Sprintf(jsonBody, "a")).is(201).warns(quoted(slices.Clone(jsonFound)...)...)
	s.do("POST "+configMaps+"?fieldValidation=Ignore", fmt.Sprintf(jsonBody, "b")).is(201).warns()
	s.do("POST "+configMaps+"?fieldValidation=Strict", fmt.Sprintf(jsonBody, "c")).is(400, "message",
		`ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: `+strings.Join(jsonFound, ", "))
	s.do("POST "+configMaps, fmt.Sprintf(yamlBody, "d"), "Content-Type: application/yaml").is(201).warns(yamlFound...)
	s.do("POST "+configMaps+"?fieldValidation=Strict", fmt.Sprintf(yamlBody, "e"), "Content-Type: application/yaml").is(400)
	s.do("POST "+configMaps+"?fieldValidation=Some", fmt.Sprintf(jsonBody, "f")).is(422, "message",
		`CreateOptions.meta.k8s.io "" is invalid: fieldValidation: Unsupported value: "Some": supported values: "", "Ignore", "Strict", "Warn"`)
	s.do("GET "+configMaps+"/c", "").is(404)

	unknown := `{"data":{"k":"v"},"more":1}`
	for _, patchType := range []string{"merge-patch", "strategic-merge-patch"} {
		contentType := "Content-Type: application/" + patchType + "+json"
		s.do("PATCH "+configMaps+"/a", unknown, contentType).is(200).warns(quoted(`unknown field "more"`)...)
		s.do("PATCH "+configMaps+"/a?fieldValidation=Ignore", unknown, contentType).is(200).warns()
		if got := s.do("PATCH "+configMaps+"/a?fieldValidation=Strict", unknown, contentType).is(422).str("message"); !strings.HasSuffix(got, `strict decoding error: unknown field "more"`) {
			t.Errorf("%s: %s", patchType, got)
		}
	}
	s.do("PATCH "+configMaps+"/a", `[{"op":"add","path":"/data/x","value":"1","more":1}]`, "Content-Type: application/json-patch+json").is(200).
		warns(quoted(`json patch unknown field "[0].more"`)...)
	s.do("PATCH "+configMaps+"/a?fieldManager=m&fieldValidation=Strict", "metadata: {name: a}\napiVersion: v1\nkind: ConfigMap\ndata: {y: a, y: b}\n", "Content-Type: application/apply-patch+yaml").is(400)
	s.do("PUT "+configMaps+"/a", `{"metadata":{"name":"a"},"more":1}`).is(200).warns(quoted(`unknown field "more"`)...)
	s.do("PUT "+configMaps+"/a?fieldValidation=Strict", `{"metadata":{"name":"a"},"more":1}`).is(400)
}

// quoted is texts as they are in a Warning header.
func quoted(texts ...string) []string {
	for i := range texts {
		texts[i] = strings.ReplaceAll(texts[i], `"`, `\"`)
	}
	return texts
}

// What a version's types and a kind's rules warn of arrives as headers, each
// once.
func TestWarnings(t *testing.T) {
	s := newServer(t)
	s.do("GET /api/v1/namespaces/default/endpoints", "").is(200).warns("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice")
	s.do("GET /api/v1/namespaces/default/endpoints/none", "").is(404).warns("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice")
	s.do("GET "+configMaps, "").is(200).warns()
	twice := strings.Replace(pod("p"), `"containers":[`, `"containers":[{"name":"d","image":"i","env":[{"name":"X"},{"name":"X"}]},`, 1)
	s.do("POST "+pods, twice).is(201).warns(
		`spec.containers[0].env[1]: hides previous definition of \"X\", which may be dropped when using apply`)
	s.do("POST "+deployments, strings.Replace(deployment("d"), `"image":"i"`, `"image":"i","env":[{"name":"X"},{"name":"X"}]`, 1)).is(201).warns(
		`spec.template.spec.containers[0].env[1]: hides previous definition of \"X\", which may be dropped when using apply`)
	s.do("PATCH "+deployments+"/d", `{"spec":{"template":{"metadata":{"labels":{"c":"d"}}}}}`).is(200).warns(
		`spec.template.spec.containers[0].env[1]: hides previous definition of \"X\", which may be dropped when using apply`)
	owner := `{"apiVersion":"v1","kind":"Pod","name":"p","uid":"u"}`
	s.do("POST "+configMaps, configMap(`"name":"c","ownerReferences":[`+owner+`,`+owner+`]`)).is(201,
		"metadata.ownerReferences", list(map[string]any{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"})).warns(
		".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, and may reject such requests as early as 1.24; " +
			"please fix your requests; duplicate UID(s) observed: u")
}

// Warnings together are at most 4096 characters: when they would be more, each
// is cut to 256.
func TestWarningsAreLimited(t *testing.T) {
	s := newServer(t)
	var long, short string
	for i := range 40 {
		long += fmt.Sprintf(`,"%02d%s":1`, i, strings.Repeat("x", 500))
		short += fmt.Sprintf(`,"%02d":1`, i)
	}
	headers := s.do("POST "+configMaps+"?dryRun=All", `{"metadata":{"name":"c"}`+long+`}`).is(201).header.Values("Warning")
	if len(headers) != 4096/256 {
		t.Errorf("there are %d warnings", len(headers))
	}
	for _, h := range headers {
		if n := len(strings.TrimSuffix(strings.TrimPrefix(h, `299 - "`), `"`)); n > 256+2 { // and what quotes quotes
			t.Errorf("a warning has %d characters", n)
		}
	}
	if n := len(s.do("POST "+configMaps+"?dryRun=All", `{"metadata":{"name":"c"}`+short+`}`).is(201).header.Values("Warning")); n != 40 {
		t.Errorf("there are %d short warnings", n)
	}
}

// A request that has no time left is refused, and does nothing.
func TestTimeout(t *testing.T) {
	s := newServer(t)
	s.do("GET "+configMaps+"?timeout=soon", "").is(400, "message", `invalid timeout specified in the request URL - time: invalid duration "soon"`)
	for _, request := range []string{"POST " + configMaps, "PUT " + configMaps + "/c", "PATCH " + configMaps + "/c", "DELETE " + configMaps + "/c", "DELETE " + configMaps} {
		s.do("POST "+configMaps, configMap(`"name":"c"`))
		method, path, _ := strings.Cut(request, " ")
		body := configMap(`"name":"d"`)
		if method != http.MethodPost {
			body = configMap(`"name":"c","labels":{"a":"b"}`)
		}
		if method == http.MethodDelete {
			body = "{}"
		}
		s.do(method+" "+path+"?timeout=1ns", body).is(504, "reason", "Timeout",
			"message", "Timeout: request did not complete within the allotted timeout")
		s.do("GET "+configMaps+"/c", "").is(200, "metadata.labels", nil)
		s.do(method+" "+path+"?dryRun=All&timeout=0s", body)
	}
	s.do("GET "+configMaps+"/d", "").is(404)
}

func TestPretty(t *testing.T) {
	s := newServer(t)
	s.do("POST "+configMaps, configMap(`"name":"c"`)).is(201)
	for _, test := range []struct {
		query, agent string
		want         bool
	}{
		{"", "", false}, {"?pretty", "", false}, {"?pretty=1", "", true}, {"?pretty=true", "", true}, {"?pretty=false", "curl/8", false}, {"?pretty=0", "", false},
		{"", "curl/8", true}, {"", "Wget/1", true}, {"", "Mozilla/5.0", true}, {"", "kubectl/v1", false},
	} {
		a := s.do("GET "+configMaps+"/c"+test.query, "", "User-Agent: "+test.agent).is(200)
		if got := strings.HasPrefix(a.text, "{\n  \"kind\""); got != test.want {
			t.Errorf("%q by %q: pretty is %v", test.query, test.agent, got)
		}
	}
}

// Upstream's lists of nothing: no objects are an empty list, their metadata are
// none.
func TestEmptyLists(t *testing.T) {
	s := newServer(t)
	for accept, want := range map[string]string{
		"application/json": `"items":[]}` + "\n",
		"application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io":      `"items":null}` + "\n",
		"application/json;as=PartialObjectMetadataList;v=v1beta1;g=meta.k8s.io": `"items":null}` + "\n",
		"application/yaml;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io":      "items: null\n",
	} {
		if a := s.do("GET "+deployments, "", "Accept: "+accept).is(200); !strings.Contains(a.text, want) {
			t.Errorf("%s: %s", accept, a.text)
		}
	}
}
