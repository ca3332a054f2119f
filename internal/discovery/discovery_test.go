package discovery

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/apiserver/pkg/endpoints/discovery"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/kind/native"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const acceptAggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

// fixture returns a file of testdata: what a kube-apiserver v1.37.2 answered.
func fixture(t testing.TB, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// newHandler returns a handler of a catalogue, set up as the kube-apiserver that
// the fixtures are from.
func newHandler(t testing.TB, catalogue *kind.Catalogue) *Handler {
	t.Helper()
	var info version.Info
	if err := json.Unmarshal(fixture(t, "version.json"), &info); err != nil {
		t.Fatal(err)
	}
	return New(Options{
		Catalogue: func() *kind.Catalogue { return catalogue },
		Paths:     func() []string { return []string{"/readyz/ping", "/healthz", "/readyz"} },
		Addresses: discovery.DefaultAddresses{DefaultAddress: "192.0.2.1:34443"},
		Version:   info,
	})
}

// nativeCatalogue returns what a server with default flags serves.
func nativeCatalogue(t testing.TB) *kind.Catalogue {
	t.Helper()
	catalogue, err := native.Catalogue(native.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return catalogue
}

func serve(h *Handler, method, path string, header map[string]string) *http.Response {
	r := httptest.NewRequest(method, path, nil)
	for name, value := range header {
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	if h.Handles(r.URL.Path) {
		h.ServeHTTP(w, r)
	} else {
		h.NotFound(w, r)
	}
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

// TestAnswers asks what a kube-apiserver was asked, and wants its answers: status,
// headers and the bytes of the body. Of long bodies, only the hash was kept.
func TestAnswers(t *testing.T) { testAnswers(t, newHandler(t, nativeCatalogue(t)), "answers.json") }

func testAnswers(t *testing.T, h *Handler, name string) {
	var answers []struct {
		Method, Path     string
		Header, Response map[string]string
		Status           int
		Body             string
		SHA256           string
	}
	if err := json.Unmarshal(fixture(t, name), &answers); err != nil {
		t.Fatal(err)
	}
	for _, a := range answers {
		name := a.Method + " " + a.Path
		for header, value := range a.Header {
			name += " " + header + ": " + value
		}
		t.Run(name, func(t *testing.T) {
			response := serve(h, a.Method, a.Path, a.Header)
			content := body(t, response)
			if response.StatusCode != a.Status {
				t.Fatalf("status %d, want %d:\n%s", response.StatusCode, a.Status, content)
			}
			header := map[string]string{}
			for _, name := range []string{"Content-Type", "Etag", "Vary", "Cache-Control", "X-Content-Type-Options"} {
				if value := response.Header.Get(name); value != "" {
					header[name] = value
				}
			}
			if diff := cmp.Diff(a.Response, header); diff != "" {
				t.Errorf("headers (-want +got):\n%s", diff)
			}
			if a.Method == http.MethodHead {
				return // net/http leaves bodies out, the recorder does not
			}
			if a.SHA256 != "" {
				if sum := sha256.Sum256(content); hex.EncodeToString(sum[:]) != a.SHA256 {
					t.Errorf("another body (%d bytes)", len(content))
				}
			} else if diff := cmp.Diff(a.Body, string(content)); diff != "" {
				t.Errorf("body (-want +got):\n%s", diff)
			}
		})
	}
}

// The aggregated documents are compared as a whole, in their order.
func TestAggregatedDocuments(t *testing.T) {
	h := newHandler(t, nativeCatalogue(t))
	for path, name := range map[string]string{"/api": "discovery-api.json", "/apis": "discovery-apis.json"} {
		got := indented(t, body(t, serve(h, "GET", path, map[string]string{"Accept": acceptAggregated})))
		want := indented(t, fixture(t, name))
		if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
}

// indented brings JSON to one form of white space; the order of fields stays.
func indented(t *testing.T, document []byte) string {
	t.Helper()
	var out bytes.Buffer
	if err := json.Indent(&out, document, "", " "); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out.String())
}

// The root lists what kube-apiserver's lists below /api and /apis, and nothing
// that it does not.
func TestRootPaths(t *testing.T) {
	var want, got metav1.RootPaths
	if err := json.Unmarshal(fixture(t, "root-paths.json"), &want); err != nil {
		t.Fatal(err)
	}
	want.Paths = filter(want.Paths, func(path string) bool {
		switch path {
		case "/healthz", "/readyz", "/readyz/ping", "/version":
			return true
		}
		return strings.HasPrefix(path, "/api")
	})
	response := serve(newHandler(t, nativeCatalogue(t)), "GET", "/", nil)
	if err := json.Unmarshal(body(t, response), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func filter(list []string, keep func(string) bool) []string {
	var kept []string
	for _, s := range list {
		if keep(s) {
			kept = append(kept, s)
		}
	}
	return kept
}

func TestHandles(t *testing.T) {
	h := newHandler(t, kind.NewCatalogue(nil))
	for path, want := range map[string]bool{
		"/": true, "/index.html": true, "/version": true, "/version/": true,
		"/api": true, "/api/": true, "/api/v1": true, "/api/v9/": true,
		"/apis": true, "/apis/": true, "/apis/a": true, "/apis/a/": true, "/apis/a/v1": true, "/apis/a/v1/": true,
		"": false, "*": false, "//": false, "//api": false, "/apiz": false, "/version/x": false, "/healthz": false,
		"/api/v1/pods": false, "/apis/a/v1/b": false, "/apis/a/v1/b/": false, "/index.html/": false,
	} {
		if h.Handles(path) != want {
			t.Errorf("%q: %t", path, !want)
		}
	}
}
