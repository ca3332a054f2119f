package openapi

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	explain "k8s.io/kubectl/pkg/explain/v2"
	"k8s.io/kubectl/pkg/util/openapi"
	"k8s.io/kubectl/pkg/validation"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/kind/custom/customtest"
	"github.com/knarr-io/knarr/internal/kind/native"
)

// withCustom is the catalogue of native kinds and those made of crds.
func withCustom(t testing.TB, crds []*apiextensionsv1.CustomResourceDefinition) *kind.Catalogue {
	t.Helper()
	return kind.NewCatalogue(append(slices.Clone(catalogue(t, native.Options{}).Groups), customtest.Groups(t, crds)...))
}

// All documents are those of a kube-apiserver that has the definitions of
// customtest, byte by byte.
func TestCustomUpstream(t *testing.T) {
	h := newHandler(withCustom(t, customtest.Definitions(t)))
	want := parseIndex(t, append(append([]byte(`{"paths":`), fixture(t, "custom-index.json")...), '}'))
	got := parseIndex(t, body(t, serve(h, "GET", "/openapi/v3")))
	keys := slices.Sorted(maps.Keys(upstreamIndex(t)))
	keys = append(keys, slices.Collect(maps.Keys(want))...)
	slices.Sort(keys)
	if diff := cmp.Diff(keys, slices.Sorted(maps.Keys(got))); diff != "" {
		t.Errorf("index (-want +got):\n%s", diff)
	}
	var schemas struct{ V2, V3 map[string]any }
	if err := json.Unmarshal(fixture(t, "custom-schemas.json"), &schemas); err != nil {
		t.Fatal(err)
	}
	for key, document := range want {
		_, hash, _ := strings.Cut(document.ServerRelativeURL, "?hash=")
		response := serve(h, "GET", got[key].ServerRelativeURL)
		if cache := response.Header.Get("Cache-Control"); cache != "public, immutable" || response.Header.Get("Etag") != `"`+hash+`"` {
			t.Errorf("%s: Cache-Control %q, ETag %s", key, cache, response.Header.Get("Etag"))
		}
		content := body(t, response)
		if fmt.Sprintf("%X", sha512.Sum512(content)) != hash {
			t.Errorf("%s is another document", key)
		}
		if diff := cmp.Diff(schemas.V3[key], own(t, content, "components", "schemas")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", key, diff)
		}
	}
	for line := range strings.Lines(string(fixture(t, "custom-proto.sha256"))) {
		hash, path, _ := strings.Cut(strings.TrimSpace(line), "  ")
		if got := fmt.Sprintf("%x", sha256.Sum256(body(t, serve(h, "GET", path, "Accept", protoV3)))); got != hash {
			t.Errorf("%s is another document as protobuf", path)
		}
	}

	content := body(t, serve(h, "GET", "/openapi/v2"))
	if diff := cmp.Diff(any(schemas.V2), own(t, content, "definitions")); diff != "" {
		t.Errorf("version 2 (-want +got):\n%s", diff)
	}
	if got := fmt.Sprintf("%X", sha512.Sum512(content)); got != strings.TrimSpace(string(fixture(t, "custom-v2.sha512"))) {
		t.Error("/openapi/v2 is another document")
	}
}

// own returns the schemas of customtest's kinds at a path in a document.
func own(t *testing.T, content []byte, path ...string) any {
	t.Helper()
	at := parse(t, content)
	for _, key := range path {
		at = at.(map[string]any)[key]
	}
	schemas := maps.Clone(at.(map[string]any))
	maps.DeleteFunc(schemas, func(name string, _ any) bool { return !strings.HasPrefix(name, "com.example.") })
	return schemas
}

// The index makes no document of a custom resource. A definition that changes
// has its versions' documents made again, and no others.
func TestCustomChange(t *testing.T) {
	crds := customtest.Definitions(t)
	current := withCustom(t, crds)
	h := newHandler(nil)
	h.options.Catalogue = func() *kind.Catalogue { return current }
	before := parseIndex(t, body(t, serve(h, "GET", "/openapi/v3")))
	kept := h.current()
	for key, lazy := range kept.v3 {
		if custom := strings.Contains(key, "example.com"); custom == (lazy.made != nil) {
			t.Errorf("%s is made: %v", key, lazy.made != nil)
		}
	}

	// What is made anew of what did not change is the same.
	current = withCustom(t, crds)
	if after := h.current(); after == kept || after.v3["apis/example.com/v1"] != kept.v3["apis/example.com/v1"] {
		t.Error("documents are lost without a reason")
	}

	crds[2] = crds[2].DeepCopy() // kinds keep theirs
	crds[2].Generation++
	crds[2].Spec.Versions[1].Schema.OpenAPIV3Schema.Properties["more"] = apiextensionsv1.JSONSchemaProps{Type: "string"}
	current = withCustom(t, crds)
	after := parseIndex(t, body(t, serve(h, "GET", "/openapi/v3")))
	for key, address := range before {
		if same := after[key] == address; same == strings.Contains(key, "net.example.com") {
			t.Errorf("%s has its old address: %v", key, same)
		}
	}
	const key = "apis/net.example.com/v1beta1"
	response := serve(h, "GET", before[key].ServerRelativeURL)
	if response.StatusCode != http.StatusMovedPermanently || response.Header.Get("Location") != after[key].ServerRelativeURL {
		t.Errorf("%s, to %s", response.Status, response.Header.Get("Location"))
	}
	if !bytes.Contains(body(t, serve(h, "GET", after[key].ServerRelativeURL)), []byte(`"more":{"type":"string"}`)) {
		t.Error("the new document is not new")
	}
	if !bytes.Contains(body(t, serve(h, "GET", "/openapi/v2")), []byte(`"more":{"type":"string"}`)) {
		t.Error("version 2 is not new")
	}

	current = kind.NewCatalogue(slices.DeleteFunc(slices.Clone(current.Groups), func(g *kind.Group) bool { return g.Name == "net.example.com" }))
	if _, ok := parseIndex(t, body(t, serve(h, "GET", "/openapi/v3")))[key]; ok {
		t.Error("a group that is gone is in the index")
	}
	if code := serve(h, "GET", "/openapi/v3/"+key).StatusCode; code != http.StatusNotFound {
		t.Errorf("a group that is gone: %d", code)
	}
	if bytes.Contains(body(t, serve(h, "GET", "/openapi/v2")), []byte("net.example.com")) {
		t.Error("a group that is gone is in version 2")
	}
}

// A document of custom resources that nobody asks for is dropped, and made again
// as it was. Those of native kinds, which the index is made of, stay.
func TestDropUnused(t *testing.T) {
	h := newHandler(withCustom(t, customtest.Definitions(t)))
	h.DropUnused() // nothing is there yet
	const custom, native = "apis/example.com/v1", "apis/apps/v1"
	is := func(there bool) bool {
		return (h.current().v3[custom].made != nil) == there && h.current().v3[native].made != nil
	}
	body(t, serve(h, "GET", "/openapi/v3/"+native))
	first := body(t, serve(h, "GET", "/openapi/v3/"+custom))
	if h.DropUnused(); !is(true) {
		t.Error("a document that was asked for is dropped")
	}
	if h.DropUnused(); !is(false) {
		t.Error("a document that was not asked for is kept, or one of native kinds is not")
	}
	if again := body(t, serve(h, "GET", "/openapi/v3/"+custom)); !bytes.Equal(first, again) || !is(true) {
		t.Error("it is another document")
	}
}

// resources are what kubectl reads of /openapi/v2.
type resources struct{ *openapi.CachedOpenAPIParser }

func (r resources) OpenAPISchema() (openapi.Resources, error) { return r.Parse() }

// kubectl explains custom resources, and checks them before it sends them.
func TestCustomKubectl(t *testing.T) {
	server := httptest.NewServer(newHandler(withCustom(t, customtest.Definitions(t))))
	defer server.Close()
	client, err := discovery.NewDiscoveryClientForConfigAndClient(&rest.Config{Host: server.URL}, server.Client())
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	gvr := schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "widgets"}
	if err := explain.PrintModelDescription([]string{"spec", "color"}, &out, client.OpenAPIV3(), gvr, false, 0, "plaintext"); err != nil {
		t.Fatal(err)
	}
	const want = "GROUP:      example.com\nKIND:       Widget\nVERSION:    v1\n\nFIELD: color <string>\nENUM:\n    red\n    blue\n\nDESCRIPTION:\n    What it looks like.\n    \n\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("explain (-want +got):\n%s", diff)
	}

	check := validation.NewSchemaValidation(resources{openapi.NewOpenAPIParser(client)})
	for manifest, want := range map[string]string{
		`{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"w"},"spec":{"color":"red","free":{"any":1}}}`: "",
		`{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"w"},"spec":{"color":"red","odd":1}}`:          `ValidationError(Widget.spec): unknown field "odd" in com.example.v1.Widget.spec`,
		`{"apiVersion":"example.com/v1","kind":"Widget","spec":{}}`:                                                       `ValidationError(Widget.spec): missing required field "color" in com.example.v1.Widget.spec`,
		`{"apiVersion":"example.com/v1","kind":"Gadget","any":{"thing":1}}`:                                               "",
	} {
		err := check.ValidateBytes([]byte(manifest))
		if got := fmt.Sprint(err); got != want && (err != nil || want != "") {
			t.Errorf("%s: %v", manifest, err)
		}
	}
}
