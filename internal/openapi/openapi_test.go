package openapi

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/kube-openapi/pkg/handler3"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/kind/native"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixture returns a file of testdata: what a kube-apiserver v1.37.2 answered.
func fixture(t testing.TB, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// upstreamIndex is the index of the kube-apiserver that the fixtures are from.
func upstreamIndex(t testing.TB) map[string]handler3.OpenAPIV3DiscoveryGroupVersion {
	t.Helper()
	return parseIndex(t, fixture(t, "index.json"))
}

func parseIndex(t testing.TB, content []byte) map[string]handler3.OpenAPIV3DiscoveryGroupVersion {
	t.Helper()
	var index handler3.OpenAPIV3Discovery
	if err := json.Unmarshal(content, &index); err != nil {
		t.Fatal(err)
	}
	return index.Paths
}

func catalogue(t testing.TB, options native.Options) *kind.Catalogue {
	t.Helper()
	c, err := native.Catalogue(options)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// newHandler returns a handler of a catalogue, of the version that the fixtures
// are from.
func newHandler(c *kind.Catalogue) *Handler {
	return New(Options{
		Catalogue: func() *kind.Catalogue { return c },
		Version:   version.Info{EmulationMajor: "1", EmulationMinor: "37"},
		Issuer:    true,
	})
}

// serve asks for a path; headers are pairs.
func serve(h http.Handler, method, path string, headers ...string) *http.Response {
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	w.Header().Set("Cache-Control", "no-cache, private")
	h.ServeHTTP(w, r)
	return w.Result()
}

func body(t testing.TB, response *http.Response) []byte {
	t.Helper()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// All documents are those of kube-apiserver: of version 3 byte by byte, of
// version 2 in content.
func TestUpstream(t *testing.T) {
	h := newHandler(catalogue(t, native.Options{}))
	want := upstreamIndex(t)
	got := parseIndex(t, body(t, serve(h, "GET", "/openapi/v3")))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("index (-want +got):\n%s", diff)
	}
	for key, document := range want {
		_, hash, _ := strings.Cut(document.ServerRelativeURL, "?hash=")
		response := serve(h, "GET", document.ServerRelativeURL)
		if response.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", document.ServerRelativeURL, response.Status)
		} else if got := fmt.Sprintf("%X", sha512.Sum512(body(t, response))); got != hash {
			t.Errorf("%s is another document", key)
		}
	}

	if got := fmt.Sprintf("%X", sha512.Sum512(body(t, serve(h, "GET", "/openapi/v2")))); got != strings.TrimSpace(string(fixture(t, "v2.sha512"))) {
		t.Error("/openapi/v2 is another document")
	}

	for line := range strings.Lines(string(fixture(t, "proto.sha256"))) {
		hash, path, _ := strings.Cut(strings.TrimSpace(line), "  ")
		response := serve(h, "GET", path, "Accept", "application/com.github.proto-openapi.spec.v3.v1.0+protobuf")
		if got := fmt.Sprintf("%x", sha256.Sum256(body(t, response))); got != hash {
			t.Errorf("%s is another document as protobuf", path)
		}
	}
}

// What the server does not have is not described.
func TestWithoutIssuer(t *testing.T) {
	h := newHandler(catalogue(t, native.Options{}))
	h.options.Issuer = false
	got := slices.Sorted(maps.Keys(parseIndex(t, body(t, serve(h, "GET", "/openapi/v3")))))
	want := slices.DeleteFunc(slices.Sorted(maps.Keys(upstreamIndex(t))), func(key string) bool {
		return key == ".well-known/openid-configuration" || key == "openid/v1/jwks"
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if response := serve(h, "GET", "/openapi/v3/openid/v1/jwks"); response.StatusCode != http.StatusNotFound {
		t.Error(response.Status)
	}
	if bytes.Contains(body(t, serve(h, "GET", "/openapi/v2")), []byte("openid")) {
		t.Error("/openapi/v2 describes the issuer")
	}
}

// Each version of a group can be had without the index, and nothing else is
// made for it.
func TestOneDocument(t *testing.T) {
	h := newHandler(catalogue(t, native.Options{}))
	if response := serve(h, "GET", "/openapi/v3/apis/apps/v1"); response.StatusCode != http.StatusOK {
		t.Fatal(response.Status)
	}
	for key, lazy := range h.current().v3 {
		if made := lazy.made != nil; made != (key == "apis/apps/v1") {
			t.Errorf("%s made: %v", key, made)
		}
	}
}

// When the catalogue changes, what did not change is kept.
func TestNewCatalogue(t *testing.T) {
	full := catalogue(t, native.Options{})
	current := full
	h := newHandler(nil)
	h.options.Catalogue = func() *kind.Catalogue { return current }
	before := parseIndex(t, body(t, serve(h, "GET", "/openapi/v3")))
	kept := h.current().v3

	// Without batch, and with a policy group that has lost a resource.
	var groups []*kind.Group
	for _, g := range full.Groups {
		switch g.Name {
		case "batch":
			continue
		case "policy":
			less := *g
			less.Resources = catalogue(t, native.Options{}).Group("rbac.authorization.k8s.io").Resources[:1]
			groups = append(groups, &less)
			continue
		}
		groups = append(groups, g)
	}
	current = kind.NewCatalogue(groups)
	after := parseIndex(t, body(t, serve(h, "GET", "/openapi/v3")))

	for key, document := range h.current().v3 {
		if same := document == kept[key]; same != (key != "apis/policy/v1") {
			t.Errorf("%s is kept: %v", key, same)
		}
	}
	for key := range before {
		gone := key == "apis/batch" || key == "apis/batch/v1"
		if _, ok := after[key]; ok == gone {
			t.Errorf("%s is in the new index: %v", key, ok)
		}
		if response := serve(h, "GET", "/openapi/v3/"+key); (response.StatusCode == http.StatusNotFound) != gone {
			t.Errorf("%s: %s", key, response.Status)
		}
	}
	if before["apis/policy/v1"] == after["apis/policy/v1"] {
		t.Error("apis/policy/v1 has its old hash")
	}
}

// What is kept, when everything has been asked for, is little.
func TestKept(t *testing.T) {
	h := newHandler(catalogue(t, native.Options{}))
	serve(h, "GET", "/openapi/v3")
	serve(h, "GET", "/openapi/v2", "Accept", "application/com.github.proto-openapi.spec.v2@v1.0+protobuf")
	documents := h.current()
	v2, err := documents.v2()
	if err != nil {
		t.Fatal(err)
	}
	all := []*document{v2}
	for key, lazy := range documents.v3 {
		serve(h, "GET", "/openapi/v3/"+key, "Accept", "application/com.github.proto-openapi.spec.v3@v1.0+protobuf")
		all = append(all, lazy.made)
	}
	var kept int
	for _, d := range all {
		proto, err := d.proto()
		if err != nil {
			t.Fatal(err)
		}
		kept += cap(d.json) + cap(proto)
	}
	t.Logf("%d KB", kept>>10)
	if kept > 4<<20 {
		t.Errorf("%d documents keep %d bytes", len(all), kept)
	}
}
