package discovery

import (
	"encoding/json"
	"net/http"
	"slices"
	"testing"

	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/kind/custom/customtest"
	"github.com/knarr-io/knarr/internal/kind/native"
)

func nativePriority(gv schema.GroupVersion) (group, version int32, ok bool) {
	p, ok := native.Priorities()[gv]
	return p.Group, p.Version, ok
}

// sample is what the sample server tells of a version, or that there is nothing
// to tell.
func sample(t testing.TB, group, version string) *apidiscoveryv2.APIVersionDiscovery {
	t.Helper()
	var list apidiscoveryv2.APIGroupDiscoveryList
	if err := json.Unmarshal(fixture(t, "elsewhere-sample.json"), &list); err != nil {
		t.Fatal(err)
	}
	for _, g := range list.Items {
		for _, v := range g.Versions {
			if g.Name == group && v.Version == version {
				return &v
			}
		}
	}
	return &apidiscoveryv2.APIVersionDiscovery{Version: version, Freshness: apidiscoveryv2.DiscoveryFreshnessCurrent}
}

// stories are what is served elsewhere, and here, in those of the fixtures.
func stories(t testing.TB) map[string]struct {
	elsewhere *Elsewhere
	catalogue *kind.Catalogue
} {
	t.Helper()
	version := func(group, version string, groupPriority, versionPriority int32) ElsewhereVersion {
		return ElsewhereVersion{group, version, groupPriority, versionPriority, sample(t, group, version)}
	}
	both := []ElsewhereVersion{version("wardle.example.com", "v1alpha1", 2000, 10), version("wardle.example.com", "v1beta1", 1500, 20)}
	gone := version("gone.example.com", "v1", 17450, 5)
	gone.Told.Freshness = apidiscoveryv2.DiscoveryFreshnessStale
	four := append(slices.Clone(both), gone, version("other.example.com", "v1", 900, 5))
	type story = struct {
		elsewhere *Elsewhere
		catalogue *kind.Catalogue
	}
	return map[string]story{
		"both":  {&Elsewhere{both}, nativeCatalogue(t)},
		"crd":   {&Elsewhere{both}, withCustom(t, []*apiextensionsv1.CustomResourceDefinition{customtest.Gadgets("v1")})},
		"gone":  {&Elsewhere{four}, withCustom(t, []*apiextensionsv1.CustomResourceDefinition{customtest.Gadgets("v1")})},
		"taken": {&Elsewhere{append(four, version("batch", "v1", 16650, 3))}, withCustom(t, []*apiextensionsv1.CustomResourceDefinition{customtest.Gadgets("v1", "v1beta1")})},
	}
}

func elsewhereHandler(t testing.TB, c *kind.Catalogue, elsewhere func() *Elsewhere) *Handler {
	t.Helper()
	h := newHandler(t, c)
	h.options.Elsewhere, h.options.Priority = elsewhere, nativePriority
	return h
}

// What a kube-apiserver answers, byte by byte, when other servers serve some of
// its groups, versions of its groups, and versions that it serves itself.
func TestElsewhereAnswers(t *testing.T) {
	for name, story := range stories(t) {
		t.Run(name, func(t *testing.T) {
			testAnswers(t, elsewhereHandler(t, story.catalogue, func() *Elsewhere { return story.elsewhere }), "elsewhere-"+name+".json")
		})
	}
}

// With nothing served elsewhere, the places of what is served here give the order
// that it has by itself.
func TestPlacesHere(t *testing.T) {
	c := withCustom(t, append(customtest.Definitions(t), customtest.Gadgets("v1")))
	h := elsewhereHandler(t, c, func() *Elsewhere { return &Elsewhere{} })
	plain := newHandler(t, c)
	for _, accept := range []string{"application/json", acceptAggregated} {
		header := map[string]string{"Accept": accept}
		got, want := body(t, serve(h, "GET", "/apis", header)), body(t, serve(plain, "GET", "/apis", header))
		if string(got) != string(want) {
			t.Errorf("%s: another order:\n%s\nwant\n%s", accept, got, want)
		}
	}
}

// The root lists what is served elsewhere.
func TestElsewherePaths(t *testing.T) {
	story := stories(t)["gone"]
	h := elsewhereHandler(t, story.catalogue, func() *Elsewhere { return story.elsewhere })
	var root metav1.RootPaths
	if err := json.Unmarshal(body(t, serve(h, "GET", "/", nil)), &root); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/apis/gone.example.com", "/apis/gone.example.com/v1", "/apis/wardle.example.com/v1", "/apis/wardle.example.com/v1beta1"} {
		if n := len(filter(root.Paths, func(p string) bool { return p == path })); n != 1 {
			t.Errorf("%s is there %d times", path, n)
		}
	}
}

// A version whose server was not asked yet is in the list of groups, but
// aggregated it is not there, or it is what this server has; it appears when its
// server has told, and goes with its APIService.
func TestElsewhereComesAndGoes(t *testing.T) {
	current := &Elsewhere{[]ElsewhereVersion{
		{"wardle.example.com", "v1", 2000, 10, nil}, {"new.example.com", "v1", 2000, 10, nil},
	}}
	c := withCustom(t, []*apiextensionsv1.CustomResourceDefinition{customtest.Gadgets("v1")})
	h := elsewhereHandler(t, c, func() *Elsewhere { return current })
	accept := map[string]string{"Accept": acceptAggregated}
	resources := func() map[string]int {
		t.Helper()
		var list apidiscoveryv2.APIGroupDiscoveryList
		if err := json.Unmarshal(body(t, serve(h, "GET", "/apis", accept)), &list); err != nil {
			t.Fatal(err)
		}
		found := map[string]int{}
		for _, g := range list.Items[len(list.Items)-2:] {
			found[g.Name] = len(g.Versions[0].Resources)
		}
		return found
	}
	if got := resources(); got["wardle.example.com"] != 1 || len(got) != 2 || got["new.example.com"] != 0 {
		t.Errorf("before it was asked: %v", got)
	}
	if r := serve(h, "GET", "/apis/new.example.com", nil); r.StatusCode != http.StatusOK {
		t.Errorf("the group is %s before its server was asked", r.Status)
	}
	before := serve(h, "GET", "/apis", accept).Header.Get("Etag")

	told := sample(t, "wardle.example.com", "v1alpha1")
	told.Version = "v1"
	current = &Elsewhere{[]ElsewhereVersion{
		{"wardle.example.com", "v1", 2000, 10, told}, {"new.example.com", "v1", 2000, 10, told},
	}}
	if got := resources(); got["wardle.example.com"] != 2 || got["new.example.com"] != 2 {
		t.Errorf("after it has told: %v", got)
	}
	if serve(h, "GET", "/apis", accept).Header.Get("Etag") == before {
		t.Error("the ETag did not change")
	}
	for _, media := range []string{"application/yaml", "application/vnd.kubernetes.protobuf"} {
		r := serve(h, "GET", "/apis", map[string]string{"Accept": media + ";g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"})
		if content := body(t, r); r.StatusCode != http.StatusOK || !json.Valid(content) && !slices.Contains([]byte(content), 'F') {
			t.Errorf("%s: %s", media, r.Status)
		}
	}

	current = nil
	if got := resources(); got["wardle.example.com"] != 1 {
		t.Errorf("when it is gone: %v", got)
	}
	if r := serve(h, "GET", "/apis/new.example.com", nil); r.StatusCode != http.StatusNotFound {
		t.Errorf("the group is %s when it is gone", r.Status)
	}
}

// Nothing elsewhere costs nothing: the documents are found without allocating.
func TestNothingElsewhereCostsNothing(t *testing.T) {
	h := elsewhereHandler(t, nativeCatalogue(t), func() *Elsewhere { return nil })
	h.current()
	if n := testing.AllocsPerRun(100, func() { h.current() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
