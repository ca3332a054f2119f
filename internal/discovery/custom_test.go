package discovery

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"syscall"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/kind/custom/customtest"
)

// withCustom is the catalogue of native kinds and those made of crds.
func withCustom(t testing.TB, crds []*apiextensionsv1.CustomResourceDefinition) *kind.Catalogue {
	t.Helper()
	return kind.NewCatalogue(append(slices.Clone(nativeCatalogue(t).Groups), customtest.Groups(t, crds)...))
}

// What a kube-apiserver answers that has the custom resources of customtest
// beside the native ones: their documents, and those of all, byte by byte.
// Upstream has the resources of a version in no order where it is not aggregated;
// it was asked again until they were sorted.
func TestCustomAnswers(t *testing.T) {
	testAnswers(t, newHandler(t, withCustom(t, customtest.Definitions(t))), "custom.json")
}

// A storage version that is not served has no hash.
func TestStorageVersionNotServed(t *testing.T) {
	crd := customtest.Definitions(t)[2]
	for i := range crd.Spec.Versions {
		crd.Spec.Versions[i].Served = !crd.Spec.Versions[i].Storage
	}
	h := newHandler(t, kind.NewCatalogue(customtest.Groups(t, []*apiextensionsv1.CustomResourceDefinition{crd})))
	var list metav1.APIResourceList
	if err := json.Unmarshal(body(t, serve(h, "GET", "/apis/net.example.com/v1alpha1", nil)), &list); err != nil {
		t.Fatal(err)
	}
	if hash := list.APIResources[0].StorageVersionHash; hash != "" {
		t.Errorf("the hash is %q", hash)
	}
}

// Groups are sorted by their APIServices where they are not aggregated: their
// first versions come before their names.
func TestCustomGroups(t *testing.T) {
	crds := customtest.Definitions(t)[1:]
	for i, group := range []string{"b.example.com", "a.example.com"} { // v1, and v1alpha1 with v1beta1
		crds[i].Spec.Group = group
	}
	h := newHandler(t, withCustom(t, crds))
	var list metav1.APIGroupList
	if err := json.Unmarshal(body(t, serve(h, "GET", "/apis", nil)), &list); err != nil {
		t.Fatal(err)
	}
	last := list.Groups[len(list.Groups)-2:]
	if last[0].Name != "b.example.com" || last[1].Name != "a.example.com" {
		t.Errorf("%s before %s", last[0].Name, last[1].Name)
	}
}

// When one definition changes, what tells of other groups stays.
func TestCustomChange(t *testing.T) {
	crds := customtest.Definitions(t)
	native := nativeCatalogue(t).Groups
	groups := customtest.Groups(t, crds)
	h := newHandler(t, nil)
	catalogue := kind.NewCatalogue(append(slices.Clone(native), groups...))
	h.options.Catalogue = func() *kind.Catalogue { return catalogue }
	accept := map[string]string{"Accept": acceptAggregated}
	before := serve(h, "GET", "/apis", accept).Header.Get("Etag")
	kept := h.documents.Load().groups

	// The same resources in another group and catalogue are the same.
	again := *groups[0]
	again.Resources = slices.Clone(again.Resources)
	catalogue = kind.NewCatalogue(append(slices.Clone(native), &again, groups[1]))
	if after := serve(h, "GET", "/apis", accept).Header.Get("Etag"); after != before {
		t.Error("the ETag changed without a reason")
	}
	crds[2] = crds[2].DeepCopy() // kinds keep theirs
	crds[2].Status.AcceptedNames.ShortNames = []string{"other"}
	catalogue = kind.NewCatalogue(append(slices.Clone(native), groups[0], customtest.Groups(t, crds[2:])[0]))
	if after := serve(h, "GET", "/apis", accept).Header.Get("Etag"); after == before {
		t.Error("the ETag did not change")
	}
	for name, group := range h.documents.Load().groups {
		if same := group == kept[name]; same != (name != "net.example.com") {
			t.Errorf("%q is kept: %v", name, same)
		}
	}
}

// synthetic makes n definitions, perGroup of them in each group.
func synthetic(t testing.TB, n, perGroup int) []*apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	template := customtest.Definitions(t)[0]
	crds := make([]*apiextensionsv1.CustomResourceDefinition, n)
	for i := range crds {
		crd := template.DeepCopy()
		crd.Spec.Group = fmt.Sprintf("group%d.example.com", i/perGroup)
		names := &crd.Spec.Names
		names.Plural, names.Singular = fmt.Sprintf("widgets%d", i), fmt.Sprintf("widget%d", i)
		names.Kind, names.ListKind = fmt.Sprintf("Widget%d", i), fmt.Sprintf("Widget%dList", i)
		crd.Name = names.Plural + "." + crd.Spec.Group
		crd.Status.AcceptedNames = *names
		crds[i] = crd
	}
	return crds
}

// BenchmarkCustom tells the CPU that an aggregated request costs with 2,000
// definitions: the first of all, and the first after one has changed.
func BenchmarkCustom(b *testing.B) {
	accept := http.Header{"Accept": {acceptAggregated}, "Accept-Encoding": {"gzip"}}
	ask := func(h *Handler) {
		r := httptest.NewRequest("GET", "/apis", nil)
		r.Header = accept
		h.ServeHTTP(&discard{header: http.Header{}}, r)
	}
	for _, perGroup := range []int{10, 2000} {
		crds := synthetic(b, 2000, perGroup)
		catalogue := withCustom(b, crds)
		b.Run(fmt.Sprintf("first/%d-in-a-group", perGroup), func(b *testing.B) {
			b.ReportAllocs()
			began := cpu(b)
			for b.Loop() {
				ask(newHandler(b, catalogue))
			}
			b.ReportMetric((cpu(b)-began).Seconds()*1000/float64(b.N), "cpu-ms/op")
		})
		b.Run(fmt.Sprintf("changed/%d-in-a-group", perGroup), func(b *testing.B) {
			h := newHandler(b, catalogue)
			ask(h)
			// Two that take turns differ in the last group.
			last := len(catalogue.Groups) - 1
			other := *catalogue.Groups[last]
			other.Resources = other.Resources[1:]
			turns := []*kind.Catalogue{catalogue, kind.NewCatalogue(append(slices.Clone(catalogue.Groups[:last]), &other))}
			b.ReportAllocs()
			began := cpu(b)
			for i := 0; b.Loop(); i++ {
				h.options.Catalogue = func() *kind.Catalogue { return turns[i%2] }
				ask(h)
			}
			b.ReportMetric((cpu(b)-began).Seconds()*1000/float64(b.N), "cpu-ms/op")
		})
	}
}

// cpu is what the process has used of all processors.
func cpu(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
