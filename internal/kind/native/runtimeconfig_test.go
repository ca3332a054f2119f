package native

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/registry/rest"

	"github.com/knarr-io/knarr/internal/kind"
)

// names lists what a catalogue has as upstream's keys do.
func names(c *kind.Catalogue) []string {
	set := map[string]bool{}
	for _, g := range c.Groups {
		for _, r := range g.Resources {
			for _, v := range r.Versions {
				name := g.Name + "/" + v.Name + "/" + r.Name
				set[name] = true
				for _, s := range r.Subresources {
					set[name+"/"+s.Name] = true
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(set))
}

// TestRuntimeConfig compares what is on with what kube-apiserver would install.
func TestRuntimeConfig(t *testing.T) {
	for _, config := range []string{
		"",
		"api/all=true",
		"api/beta=true",
		"api/alpha=true",
		"api/ga=false,api/beta=true",
		"api/all=false,apps/v1=true",
		"api/all=true,apps/v1=false",
		"batch/v1=false",
		"/v1=false",
		"apps/v1/deployments=false",
		"resource.k8s.io/v1beta1=true",
		"resource.k8s.io/v1beta2=true,resource.k8s.io/v1=false",
		"networking.k8s.io/v1beta1/ipaddresses=true",
		"flowcontrol.apiserver.k8s.io/v1beta3=true",
	} {
		t.Run(config, func(t *testing.T) {
			runtimeConfig := parse(config)
			want := newUpstream(t, runtimeConfig)
			own := func(name string) bool {
				return strings.HasPrefix(name, "apiextensions.k8s.io/") || strings.HasPrefix(name, "apiregistration.k8s.io/")
			}
			maps.DeleteFunc(want, func(name string, _ rest.Storage) bool { return own(name) })
			got := slices.DeleteFunc(names(catalogue(t, Options{RuntimeConfig: runtimeConfig})), own)
			if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), got); diff != "" {
				t.Errorf("what is served differs from kube-apiserver's (-want +got):\n%s", diff)
			}
		})
	}
}

func parse(s string) map[string]string {
	config := map[string]string{}
	for _, pair := range strings.FieldsFunc(s, func(r rune) bool { return r == ',' }) {
		key, value, _ := strings.Cut(pair, "=")
		config[key] = value
	}
	return config
}

// TestOwnSchemes checks the groups that kube-apiserver serves with schemes of
// their own: they follow the same keys, apart from one another.
func TestOwnSchemes(t *testing.T) {
	for config, want := range map[string]struct{ extensions, registration bool }{
		"":                                {true, true},
		"apiextensions.k8s.io/v1=false":   {false, true},
		"apiregistration.k8s.io/v1=false": {true, false},
		"api/all=false,apps/v1=true":      {false, false},
		"api/all=true,apiextensions.k8s.io/v1=false": {false, true},
	} {
		c := catalogue(t, Options{RuntimeConfig: parse(config)})
		if got := c.Group("apiextensions.k8s.io") != nil; got != want.extensions {
			t.Errorf("%q: apiextensions.k8s.io served = %v", config, got)
		}
		if got := c.Group("apiregistration.k8s.io") != nil; got != want.registration {
			t.Errorf("%q: apiregistration.k8s.io served = %v", config, got)
		}
	}
}

func TestRuntimeConfigErrors(t *testing.T) {
	for config, want := range map[string]string{
		"api/all=false":              "invalid runtime-config with only api/all=false",
		"api/beta=maybe":             "invalid value api/beta=maybe",
		"nothing.io/v1=true":         "unknown api groups nothing.io/v1",
		"b.io/v1=true,a.io/v1=true":  "unknown api groups a.io/v1,b.io/v1",
		"apps/v9=true":               "group version apps/v9 that has not been registered",
		"apps/v1/deployments/x=true": "runtime-config invalid key apps/v1/deployments/x",
		"apps=true":                  "runtime-config invalid key apps",
		"apps/v1=maybe":              `invalid value of apps/v1: maybe`,
		"apps/v1/Deployments=true":   `resource is always lowercase plural, not "Deployments"`,
	} {
		if _, err := Catalogue(Options{RuntimeConfig: parse(config)}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error = %v, want %q", config, err, want)
		}
	}
}

// TestEventsTogether checks that the events of both groups are the same
// objects, whichever group is served.
func TestEventsTogether(t *testing.T) {
	both := catalogue(t, Options{})
	core, other := both.Resource(schema.GroupResource{Resource: "events"}), both.Resource(schema.GroupResource{Group: "events.k8s.io", Resource: "events"})
	if core.Storage.Prefix != other.Storage.Prefix || core.Storage.Version != other.Storage.Version {
		t.Errorf("core events are kept as %s at %s, others as %s at %s", core.Storage.Version, core.Storage.Prefix, other.Storage.Version, other.Storage.Prefix)
	}
	alone := catalogue(t, Options{RuntimeConfig: parse("/v1=false")}).Resource(schema.GroupResource{Group: "events.k8s.io", Resource: "events"})
	if want := (schema.GroupVersion{Group: "events.k8s.io", Version: "v1"}); alone.Storage.Version != want || alone.Storage.Prefix != core.Storage.Prefix {
		t.Errorf("events alone are kept as %s at %s", alone.Storage.Version, alone.Storage.Prefix)
	}
}

// TestOrder checks that versions come most preferred first.
func TestOrder(t *testing.T) {
	c := catalogue(t, Options{RuntimeConfig: allOn()})
	for group, want := range map[string]string{
		"autoscaling":                  "v2 v1",
		"resource.k8s.io":              "v1 v1beta2 v1beta1 v1alpha3",
		"admissionregistration.k8s.io": "v1 v1beta1 v1alpha1",
		"coordination.k8s.io":          "v1 v1beta1 v1alpha2",
	} {
		if got := strings.Join(c.Group(group).Versions, " "); got != want {
			t.Errorf("versions of %s = %s, want %s", group, got, want)
		}
	}
	for _, g := range c.Groups {
		for _, r := range g.Resources {
			last := -1
			for _, v := range r.Versions {
				at := slices.Index(g.Versions, v.Name)
				if at <= last {
					t.Errorf("versions of %s.%s are not in the group's order", r.Name, g.Name)
				}
				last = at
			}
		}
	}
}
