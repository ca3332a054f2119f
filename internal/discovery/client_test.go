package discovery

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
)

// client-go finds the resources that kubectl api-resources lists for a
// kube-apiserver, by aggregated discovery and without.
func TestClientGo(t *testing.T) {
	server := httptest.NewServer(newHandler(t, nativeCatalogue(t)))
	defer server.Close()

	for name, aggregated := range map[string]bool{"aggregated": true, "plain": false} {
		t.Run(name, func(t *testing.T) {
			client, err := discovery.NewDiscoveryClientForConfigAndClient(&rest.Config{Host: server.URL}, server.Client())
			if err != nil {
				t.Fatal(err)
			}
			client.UseLegacyDiscovery = !aggregated

			lists, err := client.ServerPreferredResources()
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, list := range lists {
				for _, r := range list.APIResources {
					got = append(got, fmt.Sprint([]any{r.Name, strings.Join(r.ShortNames, ","), list.GroupVersion, r.Namespaced, r.Kind}))
				}
			}
			slices.Sort(got)
			if diff := cmp.Diff(apiResources(t), got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// apiResources reads the output of kubectl api-resources.
func apiResources(t *testing.T) []string {
	var resources []string
	for line := range strings.Lines(string(fixture(t, "api-resources.txt"))) {
		fields := strings.Fields(line)
		if len(fields) == 4 { // without short names
			fields = slices.Insert(fields, 1, "")
		}
		resources = append(resources, fmt.Sprint(fields))
	}
	slices.Sort(resources)
	return resources
}

func BenchmarkAggregated(b *testing.B) {
	h := newHandler(b, nativeCatalogue(b))
	r := httptest.NewRequest("GET", "/apis", nil)
	r.Header.Set("Accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json")
	w := &discard{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(w, r)
	}
	b.SetBytes(int64(w.n) / int64(b.N))
}

// BenchmarkDocuments makes all that the first client after a start asks for.
func BenchmarkDocuments(b *testing.B) {
	catalogue := nativeCatalogue(b)
	r := httptest.NewRequest("GET", "/apis", nil)
	r.Header.Set("Accept", acceptAggregated)
	b.ReportAllocs()
	for b.Loop() {
		newHandler(b, catalogue).ServeHTTP(&discard{header: http.Header{}}, r)
	}
}

// discard is a ResponseWriter that counts.
type discard struct {
	header http.Header
	n      int
}

func (d *discard) Header() http.Header { return d.header }
func (d *discard) WriteHeader(int)     {}
func (d *discard) Write(p []byte) (int, error) {
	d.n += len(p)
	return len(p), nil
}
