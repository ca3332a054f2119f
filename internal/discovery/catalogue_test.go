package discovery

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/discovery"

	"github.com/knarr-io/knarr/internal/kind"
)

// widgets is a group of one resource in two versions, which scales in one.
func widgets(versions ...string) *kind.Group {
	r := &kind.Resource{Group: "example.com", Name: "widgets", Singular: "widget", Kind: "Widget", Verbs: []string{"get"}}
	for _, version := range versions {
		r.Versions = append(r.Versions, &kind.Version{Resource: r, Name: version})
	}
	r.Subresources = []*kind.Subresource{{
		Name: "scale", Verbs: []string{"get"}, Versions: []string{"v2"},
		Kind: schema.GroupVersionKind{Group: "autoscaling", Version: "v1", Kind: "Scale"},
	}}
	return &kind.Group{Name: "example.com", Versions: versions, Resources: []*kind.Resource{r}}
}

func TestSubresourceOfSomeVersions(t *testing.T) {
	h := newHandler(t, kind.NewCatalogue([]*kind.Group{widgets("v2", "v1")}))
	for version, want := range map[string][]string{"v1": {"widgets"}, "v2": {"widgets", "widgets/scale"}} {
		var list metav1.APIResourceList
		if err := json.Unmarshal(body(t, serve(h, "GET", "/apis/example.com/"+version, nil)), &list); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range list.APIResources {
			got = append(got, r.Name)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", version, diff)
		}
	}
}

// What is served may change while the server runs.
func TestNewCatalogue(t *testing.T) {
	h := newHandler(t, nil)
	catalogue := kind.NewCatalogue([]*kind.Group{widgets("v1")})
	h.options.Catalogue = func() *kind.Catalogue { return catalogue }

	aggregatedOf := func() (tag string) {
		return serve(h, "GET", "/apis", map[string]string{"Accept": acceptAggregated}).Header.Get("ETag")
	}
	before := aggregatedOf()
	if before == "" || before != aggregatedOf() {
		t.Error("the ETag must be there and stay")
	}
	if code := serve(h, "GET", "/apis/example.com/v2", nil).StatusCode; code != http.StatusNotFound {
		t.Errorf("a version that is not served: %d", code)
	}

	catalogue = kind.NewCatalogue([]*kind.Group{widgets("v2", "v1")})
	if after := aggregatedOf(); after == before {
		t.Error("the ETag did not change with the catalogue")
	}
	if code := serve(h, "GET", "/apis/example.com/v2", nil).StatusCode; code != http.StatusOK {
		t.Errorf("a version that is served now: %d", code)
	}
}

// Without a core group, nothing is at /api.
func TestNoCore(t *testing.T) {
	h := newHandler(t, kind.NewCatalogue([]*kind.Group{widgets("v1")}))
	for _, path := range []string{"/api", "/api/v1"} {
		response := serve(h, "GET", path, nil)
		if got := string(body(t, response)); response.StatusCode != http.StatusNotFound || got != "404 page not found\n" {
			t.Errorf("%s: %d %q", path, response.StatusCode, got)
		}
	}
}

// Clients inside the service network are told the address of the Service.
func TestAddressesByClient(t *testing.T) {
	h := newHandler(t, nativeCatalogue(t))
	_, services, err := net.ParseCIDR("10.0.0.0/24")
	if err != nil {
		t.Fatal(err)
	}
	h.options.Addresses = discovery.DefaultAddresses{
		DefaultAddress: "192.0.2.1:6443",
		CIDRRules:      []discovery.CIDRRule{{IPRange: *services, Address: "10.0.0.1:443"}},
	}
	for client, want := range map[string][]string{
		"192.0.2.9:1234": {"192.0.2.1:6443"},
		"10.0.0.9:1234":  {"192.0.2.1:6443", "10.0.0.1:443"},
	} {
		r := httptest.NewRequest("GET", "/api", nil)
		r.RemoteAddr = client
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		var versions metav1.APIVersions
		if err := json.Unmarshal(w.Body.Bytes(), &versions); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, address := range versions.ServerAddressByClientCIDRs {
			got = append(got, address.ServerAddress)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", client, diff)
		}
	}
}

// Large documents are compressed for clients that accept it, small ones never.
func TestGzip(t *testing.T) {
	many := &kind.Group{Name: "example.com", Versions: []string{"v1"}}
	for i := range 1000 {
		r := &kind.Resource{Group: many.Name, Name: fmt.Sprintf("things%04d", i), Kind: "Thing", Verbs: []string{"get"}}
		r.Versions = []*kind.Version{{Resource: r, Name: "v1"}}
		many.Resources = append(many.Resources, r)
	}
	h := newHandler(t, kind.NewCatalogue([]*kind.Group{many}))
	accept := map[string]string{"Accept": acceptAggregated, "Accept-Encoding": "br, gzip"}

	plain := body(t, serve(h, "GET", "/apis", map[string]string{"Accept": acceptAggregated}))
	compressed := serve(h, "GET", "/apis", accept)
	if got := compressed.Header.Get("Content-Encoding"); got != "gzip" {
		t.Fatalf("Content-Encoding %q", got)
	}
	if diff := cmp.Diff([]string{"Accept", "Accept-Encoding"}, compressed.Header.Values("Vary")); diff != "" {
		t.Errorf("Vary (-want +got):\n%s", diff)
	}
	unzip, err := gzip.NewReader(compressed.Body)
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(unzip)
	if err != nil {
		t.Fatal(err)
	}
	if string(content) != string(plain) {
		t.Error("the compressed document is another one")
	}
	if got := serve(h, "GET", "/apis/example.com", accept).Header.Get("Content-Encoding"); got != "" {
		t.Errorf("a small document has Content-Encoding %q", got)
	}
}
