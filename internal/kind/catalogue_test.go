package kind

import (
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

func TestCatalogue(t *testing.T) {
	webs := &Resource{
		Group: "x.io", Name: "webs", Kind: "Web",
		Subresources: []*Subresource{
			{Name: "status"},
			{Name: "scale", Versions: []string{"v2"}, Kind: schema.GroupVersionKind{Group: "autoscaling", Version: "v1", Kind: "Scale"}},
		},
	}
	v1, v2 := &Version{Resource: webs, Name: "v1"}, &Version{Resource: webs, Name: "v2"}
	webs.Versions = []*Version{v2, v1}
	c := NewCatalogue([]*Group{{Name: "x.io", Versions: []string{"v2", "v1"}, Resources: []*Resource{webs}}})

	if got := c.Lookup(schema.GroupVersionResource{Group: "x.io", Version: "v1", Resource: "webs"}); got != v1 {
		t.Errorf("v1 webs = %v", got)
	}
	if got := c.Lookup(schema.GroupVersionResource{Group: "x.io", Version: "v3", Resource: "webs"}); got != nil {
		t.Errorf("v3 webs = %v, want none", got)
	}
	if got := c.Resource(schema.GroupResource{Group: "x.io", Resource: "webs"}); got != webs {
		t.Errorf("webs = %v", got)
	}
	if got := c.Resource(schema.GroupResource{Group: "y.io", Resource: "webs"}); got != nil {
		t.Errorf("webs of another group = %v, want none", got)
	}
	if g := c.Group("x.io"); !g.Serves("v1") || g.Serves("v3") {
		t.Errorf("versions = %v", g.Versions)
	}
	if v1.Subresource("status") == nil || v1.Subresource("scale") != nil || v2.Subresource("scale") == nil || v1.Subresource("log") != nil {
		t.Error("subresources are not those of their versions")
	}
	if got, want := v1.Subresource("status").GVK(v1), (schema.GroupVersionKind{Group: "x.io", Version: "v1", Kind: "Web"}); got != want {
		t.Errorf("kind of status = %v, want %v", got, want)
	}
	if got, want := v2.Subresource("scale").GVK(v2), (schema.GroupVersionKind{Group: "autoscaling", Version: "v1", Kind: "Scale"}); got != want {
		t.Errorf("kind of scale = %v, want %v", got, want)
	}
}

func TestStorageKey(t *testing.T) {
	s := &Storage{Prefix: "/registry/pods"}
	if got := s.Key("ns", "a"); got != "/registry/pods/ns/a" {
		t.Errorf("key = %s", got)
	}
	if got := s.Key("", "a"); got != "/registry/pods/a" {
		t.Errorf("key = %s", got)
	}
}
