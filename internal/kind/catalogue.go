package kind

import (
	"slices"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Catalogue is what is served at one time: groups in the order of discovery.
// It is immutable; a change of what is served makes a new one.
type Catalogue struct {
	Groups []*Group

	byName map[string]*Group
	byGVR  map[schema.GroupVersionResource]*Version
}

// Group is an API group as served.
type Group struct {
	// Name is empty for the core group.
	Name string
	// Versions, most preferred first. None is without a resource.
	Versions []string
	// Resources, sorted by name. A custom resource is there once for each of its
	// versions.
	Resources []*Resource
	// Ending names the custom resources whose objects are being deleted with
	// their definition: clients are not told that they may write any.
	Ending map[string]bool
}

// Told returns the verbs of a resource of the group that clients are told of.
func (g *Group) Told(r *Resource) []string {
	if !r.Custom() || !g.Ending[r.Name] {
		return r.Verbs
	}
	return slices.DeleteFunc(slices.Clone(r.Verbs), func(verb string) bool {
		return verb == "create" || verb == "patch" || verb == "update"
	})
}

// NewCatalogue returns the catalogue of groups, which it keeps.
func NewCatalogue(groups []*Group) *Catalogue {
	c := &Catalogue{Groups: groups, byName: map[string]*Group{}, byGVR: map[schema.GroupVersionResource]*Version{}}
	for _, g := range groups {
		c.byName[g.Name] = g
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
func (c *Catalogue) Group(name string) *Group { return c.byName[name] }

// Custom reports whether all that the group has are custom resources.
func (g *Group) Custom() bool {
	return !slices.ContainsFunc(g.Resources, func(r *Resource) bool { return !r.Custom() })
}

// CustomVersion reports whether all that it has in a version are.
func (g *Group) CustomVersion(version string) bool {
	return !slices.ContainsFunc(g.Resources, func(r *Resource) bool {
		return !r.Custom() && slices.ContainsFunc(r.Versions, func(v *Version) bool { return v.Name == version })
	})
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
