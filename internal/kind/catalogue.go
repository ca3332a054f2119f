package kind

import "k8s.io/apimachinery/pkg/runtime/schema"

// Catalogue is what is served at one time: groups in the order of discovery.
// It is immutable; a change of what is served makes a new one.
type Catalogue struct {
	Groups []*Group

	byGVR map[schema.GroupVersionResource]*Version
}

// Group is an API group as served.
type Group struct {
	// Name is empty for the core group.
	Name string
	// Versions, most preferred first. None is without a resource.
	Versions []string
	// Resources, sorted by name.
	Resources []*Resource
}

// NewCatalogue returns the catalogue of groups, which it keeps.
func NewCatalogue(groups []*Group) *Catalogue {
	c := &Catalogue{Groups: groups, byGVR: map[schema.GroupVersionResource]*Version{}}
	for _, g := range groups {
		for _, r := range g.Resources {
			for _, v := range r.Versions {
				c.byGVR[v.GVR()] = v
			}
		}
	}
	return c
}

// Lookup returns a resource in a version, or nil if it is not served.
func (c *Catalogue) Lookup(gvr schema.GroupVersionResource) *Version { return c.byGVR[gvr] }

// Group returns a group that is served, or nil.
func (c *Catalogue) Group(name string) *Group {
	for _, g := range c.Groups {
		if g.Name == name {
			return g
		}
	}
	return nil
}

// Serves reports whether any resource of the version is served.
func (g *Group) Serves(version string) bool {
	for _, v := range g.Versions {
		if v == version {
			return true
		}
	}
	return false
}

// Resource returns the resource of that name, in whatever versions, or nil.
func (c *Catalogue) Resource(gr schema.GroupResource) *Resource {
	if g := c.Group(gr.Group); g != nil {
		for _, r := range g.Resources {
			if r.Name == gr.Resource {
				return r
			}
		}
	}
	return nil
}

// Subresource returns the subresource of that name that v has, or nil.
func (v *Version) Subresource(name string) *Subresource {
	for _, s := range v.Resource.Subresources {
		if s.Name != name {
			continue
		}
		if s.Versions == nil {
			return s
		}
		for _, in := range s.Versions {
			if in == v.Name {
				return s
			}
		}
	}
	return nil
}
