package discovery

import (
	"crypto/sha512"
	"encoding/json"
	"fmt"
	"sync"

	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/discovery"

	"github.com/knarr-io/knarr/internal/kind"
)

// documents are those of one catalogue, each made when it is first asked for.
// There is nothing here for a client to make grow.
type documents struct {
	catalogue *kind.Catalogue

	groupList func() *document
	// groups by name, without the core group.
	groups map[string]func() *document
	// resources by version as in apiVersion: "v1", "apps/v1".
	resources map[string]func() *document

	aggregatedCore, aggregatedGroups func() *document
}

func newDocuments(c *kind.Catalogue, e *encoders) *documents {
	lazily := func(object func() runtime.Object) func() *document {
		return sync.OnceValue(func() *document { return e.document(object()) })
	}
	d := &documents{
		catalogue: c,
		groups:    map[string]func() *document{},
		resources: map[string]func() *document{},
	}
	var core, named []*kind.Group
	for _, g := range c.Groups {
		if g.Name == "" {
			core = append(core, g)
		} else {
			named = append(named, g)
			d.groups[g.Name] = lazily(func() runtime.Object { return apiGroup(g) })
		}
		for _, version := range g.Versions {
			gv := schema.GroupVersion{Group: g.Name, Version: version}
			d.resources[gv.String()] = lazily(func() runtime.Object { return apiResourceList(g, version) })
		}
	}
	d.groupList = lazily(func() runtime.Object { return apiGroupList(named) })
	d.aggregatedCore = sync.OnceValue(func() *document { return aggregated(core, e) })
	d.aggregatedGroups = sync.OnceValue(func() *document { return aggregated(named, e) })
	return d
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
	for _, g := range groups {
		group := apiGroup(g)
		group.TypeMeta = metav1.TypeMeta{}
		list.Groups = append(list.Groups, *group)
	}
	return list
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
	eachResource(g, version, func(r *kind.Resource, subresources []*kind.Subresource) {
		list.APIResources = append(list.APIResources, metav1.APIResource{
			Name:               r.Name,
			SingularName:       r.Singular,
			Namespaced:         r.Namespaced,
			Kind:               r.Kind,
			Verbs:              r.Verbs,
			ShortNames:         r.ShortNames,
			Categories:         r.Categories,
			StorageVersionHash: storageVersionHash(r),
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

func storageVersionHash(r *kind.Resource) string {
	if r.Storage == nil {
		return ""
	}
	return discovery.StorageVersionHash(r.Storage.Version.Group, r.Storage.Version.Version, r.Kind)
}

// aggregated returns the document of all that groups hold, and its ETag.
func aggregated(groups []*kind.Group, e *encoders) *document {
	list := &apidiscoveryv2.APIGroupDiscoveryList{}
	for _, g := range groups {
		group := apidiscoveryv2.APIGroupDiscovery{ObjectMeta: metav1.ObjectMeta{Name: g.Name}}
		for _, version := range g.Versions {
			group.Versions = append(group.Versions, apidiscoveryv2.APIVersionDiscovery{
				Version:   version,
				Resources: resourceDiscovery(g, version),
				Freshness: apidiscoveryv2.DiscoveryFreshnessCurrent,
			})
		}
		list.Items = append(list.Items, group)
	}
	tag := etag(list)
	list.TypeMeta = metav1.TypeMeta{Kind: aggregatedGVK.Kind, APIVersion: aggregatedGVK.GroupVersion().String()}
	d := e.document(list)
	d.etag = tag
	return d
}

func resourceDiscovery(g *kind.Group, version string) []apidiscoveryv2.APIResourceDiscovery {
	var list []apidiscoveryv2.APIResourceDiscovery
	eachResource(g, version, func(r *kind.Resource, subresources []*kind.Subresource) {
		resource := apidiscoveryv2.APIResourceDiscovery{
			Resource: r.Name,
			// Group and version are empty where they are those of the resource.
			ResponseKind:     &metav1.GroupVersionKind{Kind: r.Kind},
			Scope:            apidiscoveryv2.ScopeCluster,
			SingularResource: r.Singular,
			Verbs:            r.Verbs,
			ShortNames:       r.ShortNames,
			Categories:       r.Categories,
		}
		if r.Namespaced {
			resource.Scope = apidiscoveryv2.ScopeNamespace
		}
		for _, s := range subresources {
			responseKind := metav1.GroupVersionKind(s.Kind)
			resource.Subresources = append(resource.Subresources, apidiscoveryv2.APISubresourceDiscovery{
				Subresource:  s.Name,
				ResponseKind: &responseKind,
				Verbs:        s.Verbs,
			})
		}
		list = append(list, resource)
	})
	return list
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

// etag is the same for all encodings of a list, which Vary tells apart, and the
// same as upstream's, so that a client that moves from a kube-apiserver of equal
// resources keeps what it has cached.
func etag(list *apidiscoveryv2.APIGroupDiscoveryList) string {
	content, err := json.Marshal(list)
	if err != nil {
		panic("discovery: internal error: " + err.Error()) // a struct of strings
	}
	return fmt.Sprintf(`"%X"`, sha512.Sum512(content))
}
