package discovery

import (
	"maps"
	"slices"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/discovery"

	"github.com/knarr-io/knarr/internal/kind"
)

// documents are those of one catalogue and what is served elsewhere at the time,
// each made when it is first asked for. There is nothing here for a client to make
// grow.
type documents struct {
	catalogue *kind.Catalogue
	elsewhere *Elsewhere // nil for nothing

	groupList func() *document
	// groups by name, as this server has them.
	groups map[string]*groupDocuments
	// mergedGroups are the documents of those that have more elsewhere, by name.
	mergedGroups map[string]func() *document
	// versions by version as in apiVersion: "v1", "apps/v1".
	versions map[string]*versionDocument

	aggregatedCore, aggregatedGroups func() *document
}

// newDocuments takes over what previous (which may be nil) has of groups that
// did not change.
func (h *Handler) newDocuments(c *kind.Catalogue, elsewhere *Elsewhere, previous *documents) *documents {
	e := h.encoders
	d := &documents{catalogue: c, elsewhere: elsewhere, groups: map[string]*groupDocuments{}, versions: map[string]*versionDocument{}}
	var core, named []func() aggregatedGroup
	var list []*kind.Group
	for _, g := range c.Groups {
		var group *groupDocuments
		if previous != nil {
			group = previous.groups[g.Name]
		}
		if group == nil || !group.holds(g) {
			group = newGroupDocuments(g, e)
		}
		d.groups[g.Name] = group
		if g.Name == "" {
			core = append(core, group.aggregated)
		} else {
			named, list = append(named, group.aggregated), append(list, g)
		}
		for version, document := range group.versions {
			d.versions[schema.GroupVersion{Group: g.Name, Version: version}.String()] = document
		}
	}
	d.groupList = sync.OnceValue(func() *document { return e.document(apiGroupList(list)) })
	if elsewhere != nil {
		m := h.merge(c, elsewhere, d.groups)
		d.groupList = sync.OnceValue(func() *document { return e.document(m.list) })
		d.mergedGroups, named = m.groups, m.aggregated
	}
	d.aggregatedCore = sync.OnceValue(func() *document { return aggregated(core, e) })
	d.aggregatedGroups = sync.OnceValue(func() *document { return aggregated(named, e) })
	return d
}

// groupDocuments are those of one group, and its part of aggregated ones.
type groupDocuments struct {
	of         *kind.Group
	document   func() *document
	versions   map[string]*versionDocument
	aggregated func() aggregatedGroup
}

// versionDocument tells the resources of a version.
type versionDocument struct {
	// custom is whether all of them are custom resources.
	custom   bool
	document func() *document
}

func newGroupDocuments(g *kind.Group, e *encoders) *groupDocuments {
	lazily := func(object func() runtime.Object) func() *document {
		return sync.OnceValue(func() *document { return e.document(object()) })
	}
	d := &groupDocuments{of: g, versions: map[string]*versionDocument{}}
	d.document = lazily(func() runtime.Object { return apiGroup(g) })
	for _, version := range g.Versions {
		d.versions[version] = &versionDocument{
			custom:   g.CustomVersion(version),
			document: lazily(func() runtime.Object { return apiResourceList(g, version) }),
		}
	}
	d.aggregated = sync.OnceValue(func() aggregatedGroup { return newAggregatedGroup(g) })
	return d
}

// holds reports whether the documents are those of g.
func (d *groupDocuments) holds(g *kind.Group) bool {
	return d.of == g || d.of.Name == g.Name && slices.Equal(d.of.Versions, g.Versions) && slices.Equal(d.of.Resources, g.Resources) &&
		maps.Equal(d.of.Ending, g.Ending)
}

// apiVersions, like the resources of the core group, has no apiVersion: clients
// of old expect none.
func apiVersions(core *kind.Group, addresses []metav1.ServerAddressByClientCIDR) *metav1.APIVersions {
	return &metav1.APIVersions{
		TypeMeta:                   metav1.TypeMeta{Kind: "APIVersions"},
		Versions:                   core.Versions,
		ServerAddressByClientCIDRs: addresses,
	}
}

func apiGroupList(groups []*kind.Group) *metav1.APIGroupList {
	list := &metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}}
	for _, g := range byService(groups) {
		group := apiGroup(g)
		group.TypeMeta = metav1.TypeMeta{}
		list.Groups = append(list.Groups, *group)
	}
	return list
}

// byService returns groups with those of custom resources, which have one
// priority, in the order that upstream has them in where it is not aggregated: by
// the names of their APIServices, of which the first counts.
func byService(groups []*kind.Group) []*kind.Group {
	var custom []*kind.Group
	for _, g := range groups {
		if g.Custom() {
			custom = append(custom, g)
		}
	}
	slices.SortFunc(custom, func(a, b *kind.Group) int {
		return strings.Compare(slices.Min(a.Versions)+"."+a.Name, slices.Min(b.Versions)+"."+b.Name)
	})
	sorted := slices.Clone(groups)
	for i, g := range sorted {
		if g.Custom() {
			sorted[i], custom = custom[0], custom[1:]
		}
	}
	return sorted
}

func apiGroup(g *kind.Group) *metav1.APIGroup {
	group := &metav1.APIGroup{
		TypeMeta: metav1.TypeMeta{Kind: "APIGroup", APIVersion: "v1"},
		Name:     g.Name,
	}
	for _, version := range g.Versions {
		group.Versions = append(group.Versions, metav1.GroupVersionForDiscovery{
			GroupVersion: g.Name + "/" + version,
			Version:      version,
		})
	}
	group.PreferredVersion = group.Versions[0]
	return group
}

func apiResourceList(g *kind.Group, version string) *metav1.APIResourceList {
	list := &metav1.APIResourceList{
		TypeMeta:     metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"},
		GroupVersion: schema.GroupVersion{Group: g.Name, Version: version}.String(),
	}
	if g.Name == "" {
		list.APIVersion = ""
	}
	hash := storageVersionHashes(g)
	eachResource(g, version, func(r *kind.Resource, subresources []*kind.Subresource) {
		list.APIResources = append(list.APIResources, metav1.APIResource{
			Name:               r.Name,
			SingularName:       r.Singular,
			Namespaced:         r.Namespaced,
			Kind:               r.Kind,
			Verbs:              g.Told(r),
			ShortNames:         r.ShortNames,
			Categories:         r.Categories,
			StorageVersionHash: hash(r),
		})
		for _, s := range subresources {
			list.APIResources = append(list.APIResources, metav1.APIResource{
				Name:       r.Name + "/" + s.Name,
				Namespaced: r.Namespaced,
				Group:      s.Kind.Group,
				Version:    s.Kind.Version,
				Kind:       s.Kind.Kind,
				Verbs:      s.Verbs,
			})
		}
	})
	return list
}

// storageVersionHashes returns what tells the hashes of a group's resources.
// Upstream does not tell that of a custom resource whose storage version is not
// served.
func storageVersionHashes(g *kind.Group) func(*kind.Resource) string {
	type stored struct{ resource, version string }
	served := map[stored]bool{}
	for _, r := range g.Resources {
		if r.Custom() {
			served[stored{r.Name, r.Versions[0].Name}] = true
		}
	}
	return func(r *kind.Resource) string {
		if r.Storage == nil || r.Custom() && !served[stored{r.Name, r.Storage.Version.Version}] {
			return ""
		}
		return discovery.StorageVersionHash(r.Storage.Version.Group, r.Storage.Version.Version, r.Kind)
	}
}

// eachResource calls visit for the resources of a group that are served in a
// version, with those of their subresources that are.
func eachResource(g *kind.Group, version string, visit func(*kind.Resource, []*kind.Subresource)) {
	for _, r := range g.Resources {
		for _, v := range r.Versions {
			if v.Name != version {
				continue
			}
			var subresources []*kind.Subresource
			for _, s := range r.Subresources {
				if v.Subresource(s.Name) == s {
					subresources = append(subresources, s)
				}
			}
			visit(r, subresources)
		}
	}
}
