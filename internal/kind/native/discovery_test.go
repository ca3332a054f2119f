package native

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apidiscovery "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/knarr-io/knarr/internal/kind"
)

// TestDiscovery compares the default catalogue with what kube-apiserver tells
// clients there is.
func TestDiscovery(t *testing.T) {
	c := catalogue(t, Options{})
	var want []apidiscovery.APIGroupDiscovery
	for _, file := range []string{"testdata/discovery-api.json", "testdata/discovery-apis.json"} {
		want = append(want, readDiscovery(t, file)...)
	}
	if len(want) < 20 {
		t.Fatalf("only %d groups to compare with", len(want))
	}
	if diff := cmp.Diff(want, discover(c)); diff != "" {
		t.Errorf("catalogue differs from kube-apiserver's (-want +got):\n%s", diff)
	}
}

func readDiscovery(t *testing.T, file string) []apidiscovery.APIGroupDiscovery {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var list apidiscovery.APIGroupDiscoveryList
	if err := json.Unmarshal(data, &list); err != nil {
		t.Fatal(err)
	}
	for _, g := range list.Items {
		for _, v := range g.Versions {
			for _, r := range v.Resources {
				sortResource(&r)
			}
		}
	}
	return list.Items
}

func sortResource(r *apidiscovery.APIResourceDiscovery) {
	slices.SortFunc(r.Subresources, func(a, b apidiscovery.APISubresourceDiscovery) int {
		return strings.Compare(a.Subresource, b.Subresource)
	})
}

// discover tells a catalogue as aggregated discovery would.
func discover(c *kind.Catalogue) []apidiscovery.APIGroupDiscovery {
	var groups []apidiscovery.APIGroupDiscovery
	for _, g := range c.Groups {
		group := apidiscovery.APIGroupDiscovery{ObjectMeta: metav1.ObjectMeta{Name: g.Name}}
		for _, name := range g.Versions {
			version := apidiscovery.APIVersionDiscovery{Version: name, Freshness: apidiscovery.DiscoveryFreshnessCurrent}
			for _, r := range g.Resources {
				for _, v := range r.Versions {
					if v.Name == name {
						version.Resources = append(version.Resources, discoverResource(v))
					}
				}
			}
			group.Versions = append(group.Versions, version)
		}
		groups = append(groups, group)
	}
	return groups
}

func discoverResource(v *kind.Version) apidiscovery.APIResourceDiscovery {
	r := v.Resource
	d := apidiscovery.APIResourceDiscovery{
		Resource:         r.Name,
		ResponseKind:     &metav1.GroupVersionKind{Kind: r.Kind},
		Scope:            apidiscovery.ScopeCluster,
		SingularResource: r.Singular,
		Verbs:            r.Verbs,
		ShortNames:       r.ShortNames,
		Categories:       r.Categories,
	}
	if r.Namespaced {
		d.Scope = apidiscovery.ScopeNamespace
	}
	for _, s := range r.Subresources {
		if v.Subresource(s.Name) == nil {
			continue
		}
		d.Subresources = append(d.Subresources, apidiscovery.APISubresourceDiscovery{
			Subresource:  s.Name,
			ResponseKind: &metav1.GroupVersionKind{Group: s.Kind.Group, Version: s.Kind.Version, Kind: s.Kind.Kind},
			Verbs:        s.Verbs,
		})
	}
	return d
}

func catalogue(t testing.TB, o Options) *kind.Catalogue {
	t.Helper()
	c, err := Catalogue(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
