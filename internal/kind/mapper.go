package kind

import (
	"sync/atomic"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Mapper is a RESTMapper of what is served now, made when somebody asks. It is
// safe for concurrent use.
type Mapper struct {
	// Catalogue tells what is served now.
	Catalogue func() *Catalogue
	made      atomic.Pointer[made]
}

// made is the mapper of one catalogue.
type made struct {
	meta.RESTMapper
	of *Catalogue
}

var _ meta.RESTMapper = &Mapper{}

func (m *Mapper) current() meta.RESTMapper {
	c := m.Catalogue()
	if last := m.made.Load(); last != nil && last.of == c {
		return last
	}
	var preferred []schema.GroupVersion
	for _, g := range c.Groups {
		for _, version := range g.Versions {
			preferred = append(preferred, schema.GroupVersion{Group: g.Name, Version: version})
		}
	}
	all := meta.NewDefaultRESTMapper(preferred)
	for _, g := range c.Groups {
		for _, r := range g.Resources {
			scope := meta.RESTScope(meta.RESTScopeRoot)
			if r.Namespaced {
				scope = meta.RESTScopeNamespace
			}
			for _, v := range r.Versions {
				gv := v.GroupVersion()
				all.AddSpecific(v.GVK(), gv.WithResource(r.Name), gv.WithResource(r.Singular), scope)
			}
		}
	}
	now := &made{all, c}
	m.made.Store(now)
	return now
}

func (m *Mapper) KindFor(r schema.GroupVersionResource) (schema.GroupVersionKind, error) {
	return m.current().KindFor(r)
}

func (m *Mapper) KindsFor(r schema.GroupVersionResource) ([]schema.GroupVersionKind, error) {
	return m.current().KindsFor(r)
}

func (m *Mapper) ResourceFor(r schema.GroupVersionResource) (schema.GroupVersionResource, error) {
	return m.current().ResourceFor(r)
}

func (m *Mapper) ResourcesFor(r schema.GroupVersionResource) ([]schema.GroupVersionResource, error) {
	return m.current().ResourcesFor(r)
}

func (m *Mapper) RESTMapping(gk schema.GroupKind, versions ...string) (*meta.RESTMapping, error) {
	return m.current().RESTMapping(gk, versions...)
}

func (m *Mapper) RESTMappings(gk schema.GroupKind, versions ...string) ([]*meta.RESTMapping, error) {
	return m.current().RESTMappings(gk, versions...)
}

func (m *Mapper) ResourceSingularizer(resource string) (string, error) {
	return m.current().ResourceSingularizer(resource)
}
