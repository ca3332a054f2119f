package openapi

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/resource"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"k8s.io/kube-openapi/pkg/handler"

	"github.com/knarr-io/knarr/internal/kind/native"
)

const (
	protoV2    = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
	protoV2Old = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
	protoV3    = "application/com.github.proto-openapi.spec.v3.v1.0+protobuf"
	protoV3Old = "application/com.github.proto-openapi.spec.v3@v1.0+protobuf"
)

// The answers are those of a kube-apiserver, which were read off its wire.
func TestNegotiation(t *testing.T) {
	h := newHandler(catalogue(t, native.Options{}))
	for _, test := range []struct {
		path, accept string
		code         int
		contentType  string
	}{
		{"/openapi/v2", "", 200, "application/json"},
		{"/openapi/v2", "*/*", 200, "application/json"},
		{"/openapi/v2", "application/json;q=0.1,application/*", 200, "application/json"},
		{"/openapi/v2", protoV2, 200, protoV2},
		{"/openapi/v2", protoV2Old, 200, protoV2},
		{"/openapi/v2", protoV3, 406, ""},
		{"/openapi/v2", "application/xml", 406, ""},
		{"/openapi/v3", "", 200, "text/plain; charset=utf-8"},
		{"/openapi/v3", "x/y", 200, "text/plain; charset=utf-8"},
		{"/openapi/v3?hash=1", "", 200, "text/plain; charset=utf-8"},
		{"/openapi/v3/api", "", 200, "application/json"},
		{"/openapi/v3/api", "application/json, */*", 200, "application/json"},
		{"/openapi/v3/api", protoV3, 200, protoV3},
		{"/openapi/v3/api", protoV3Old, 200, protoV3},
		{"/openapi/v3/api", "text/*", 406, ""},
		{"/openapi/v3/api/", "", 404, ""},
		{"/openapi/v3/", "", 404, ""},
		{"/openapi/v3/nope", "x/y", 404, ""},
	} {
		if path, _, _ := strings.Cut(test.path, "?"); !h.Handles(path) {
			t.Errorf("%s is not handled", path)
			continue
		}
		response := serve(h, "GET", test.path, "Accept", test.accept)
		got := response.Header.Get("Content-Type")
		if response.StatusCode != test.code || got != test.contentType {
			t.Errorf("%s, Accept %q: %d %q, want %d %q", test.path, test.accept, response.StatusCode, got, test.code, test.contentType)
		}
	}
	for _, path := range []string{"/openapi", "/openapi/v2/", "/openapi/v2/x", "/openapi/v30"} {
		if h.Handles(path) {
			t.Errorf("%s is handled", path)
		}
	}
}

func TestCaching(t *testing.T) {
	h := newHandler(catalogue(t, native.Options{}))
	address := upstreamIndex(t)["apis/batch/v1"].ServerRelativeURL
	path, hash, _ := strings.Cut(address, "?hash=")
	etag := `"` + hash + `"`

	check := func(response *http.Response, code int, cacheControl string) {
		t.Helper()
		if response.StatusCode != code {
			t.Errorf("%s, want %d", response.Status, code)
		}
		if got := response.Header.Get("Cache-Control"); got != cacheControl {
			t.Errorf("Cache-Control %q, want %q", got, cacheControl)
		}
		if got := response.Header.Get("ETag"); got != etag {
			t.Errorf("ETag %s, want %s", got, etag)
		}
		if vary := response.Header.Values("Vary"); !slices.Contains(vary, "Accept") {
			t.Errorf("Vary %q", vary)
		}
	}
	const never, always = "no-cache, private", "public, immutable"

	check(serve(h, "GET", path), 200, never)
	check(serve(h, "GET", path, "If-None-Match", etag), 304, never)
	check(serve(h, "GET", path, "If-None-Match", `"0"`), 200, never)
	check(serve(h, "GET", path, "Accept", protoV3, "If-None-Match", etag), 304, never)

	response := serve(h, "GET", address)
	check(response, 200, always)
	expires, err := time.Parse(time.RFC1123, response.Header.Get("Expires"))
	if err != nil || time.Until(expires) < 364*24*time.Hour {
		t.Errorf("Expires %q: %v", response.Header.Get("Expires"), err)
	}
	check(serve(h, "GET", address, "If-None-Match", etag), 304, always)

	response = serve(h, "GET", path+"?hash=0")
	check(response, 301, never)
	if got := response.Header.Get("Location"); got != address {
		t.Errorf("an old hash leads to %q, want %q", got, address)
	}
	if content := body(t, response); len(content) > 0 {
		t.Errorf("the redirection has a body: %q", content)
	}

	// Version 2 has an ETag and knows no hashes.
	etag = serve(h, "GET", "/openapi/v2").Header.Get("ETag")
	check(serve(h, "GET", "/openapi/v2?hash=0"), 200, never)
	check(serve(h, "GET", "/openapi/v2", "If-None-Match", etag), 304, never)
}

// An index that a client got a moment ago may be another by now.
func TestIndexIsNotCached(t *testing.T) {
	h := newHandler(catalogue(t, native.Options{}))
	soon := time.Now().Add(time.Minute).UTC().Format(http.TimeFormat)
	if response := serve(h, "GET", "/openapi/v3", "If-Modified-Since", soon); response.StatusCode != http.StatusOK || len(body(t, response)) == 0 {
		t.Errorf("the index is %s", response.Status)
	}
}

// Documents of version 3 do not vary by encoding upstream, where none is
// compressed.
func TestVary(t *testing.T) {
	h := newHandler(catalogue(t, native.Options{}))
	for _, c := range []struct {
		path, encoding string
		want           []string
	}{
		{"/openapi/v2", "", []string{"Accept-Encoding", "Accept"}},
		{"/openapi/v2", "gzip", []string{"Accept-Encoding", "Accept"}},
		{"/openapi/v3/apis/apps/v1", "", []string{"Accept"}},
		{"/openapi/v3/apis/apps/v1", "gzip", []string{"Accept", "Accept-Encoding"}},
	} {
		if got := serve(h, "GET", c.path, "Accept-Encoding", c.encoding).Header.Values("Vary"); !slices.Equal(got, c.want) {
			t.Errorf("%s, %q: Vary %q, want %q", c.path, c.encoding, got, c.want)
		}
	}
}

func TestGzip(t *testing.T) {
	h := newHandler(catalogue(t, native.Options{}))
	for path, proto := range map[string]string{"/openapi/v3/apis/apps/v1": protoV3, "/openapi/v2": protoV2} {
		for _, accept := range []string{"application/json", proto} {
			plain := body(t, serve(h, "GET", path, "Accept", accept))
			response := serve(h, "GET", path, "Accept", accept, "Accept-Encoding", "br, gzip")
			if got := response.Header.Get("Content-Encoding"); got != "gzip" {
				t.Errorf("%s: Content-Encoding %q", path, got)
				continue
			}
			unzip, err := gzip.NewReader(response.Body)
			if err != nil {
				t.Fatal(err)
			}
			content, err := io.ReadAll(unzip)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(content, plain) {
				t.Errorf("%s: the compressed document is another one", path)
			}
		}
		part := serve(h, "GET", path, "Accept-Encoding", "gzip", "Range", "bytes=2-8")
		if got := string(body(t, part)); part.StatusCode != http.StatusPartialContent || got != `openapi` && got != `swagger` {
			t.Errorf("%s: a part is %s %q", path, part.Status, got)
		}
	}
}

// What kubectl looks for is there: without it, it validates on its own.
func TestKubectl(t *testing.T) {
	server := httptest.NewServer(newHandler(catalogue(t, native.Options{})))
	defer server.Close()
	client, err := discovery.NewDiscoveryClientForConfigAndClient(&rest.Config{Host: server.URL}, server.Client())
	if err != nil {
		t.Fatal(err)
	}
	for _, gvk := range []schema.GroupVersionKind{
		{Version: "v1", Kind: "Pod"},
		{Group: "apps", Version: "v1", Kind: "Deployment"},
		{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"},
	} {
		v3 := resource.NewQueryParamVerifierV3(nil, client.OpenAPIV3(), resource.QueryParamFieldValidation)
		if err := v3.HasSupport(gvk); err != nil {
			t.Errorf("version 3: %v", err)
		}
		v2 := resource.NewQueryParamVerifier(nil, client, resource.QueryParamFieldValidation)
		if err := v2.HasSupport(gvk); err != nil {
			t.Errorf("version 2: %v", err)
		}
	}

	got, err := client.OpenAPISchema()
	if err != nil {
		t.Fatal(err)
	}
	response, err := server.Client().Get(server.URL + "/openapi/v2")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	want, err := handler.ToProtoBinary(body(t, response))
	if err != nil {
		t.Fatal(err)
	}
	content, err := proto.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(content, want) {
		t.Error("version 2 as protobuf is not what it is as JSON")
	}
	groupVersions, err := client.OpenAPIV3().Paths()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(len(upstreamIndex(t)), len(groupVersions)); diff != "" {
		t.Errorf("documents of version 3 (-want +got):\n%s", diff)
	}
}
