package discovery

import (
	"crypto/sha512"
	"fmt"
	"sync"

	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/knarr-io/knarr/internal/kind"
)

// aggregatedGroup is a group's part of an aggregated document. It is kept while
// the group is what it is, so that a change elsewhere costs no more than joining
// the parts.
type aggregatedGroup struct {
	group apidiscoveryv2.APIGroupDiscovery
	json  []byte
}

func newAggregatedGroup(g *kind.Group) aggregatedGroup {
	group := apidiscoveryv2.APIGroupDiscovery{ObjectMeta: metav1.ObjectMeta{Name: g.Name}}
	for _, version := range g.Versions {
		group.Versions = append(group.Versions, apidiscoveryv2.APIVersionDiscovery{
			Version:   version,
			Resources: resourceDiscovery(g, version),
			Freshness: apidiscoveryv2.DiscoveryFreshnessCurrent,
		})
	}
	return encodeGroup(group)
}

// What the JSON of an aggregated document has around its groups. The kind is
// left out for the ETag.
const (
	aggregatedKind = `"kind":"APIGroupDiscoveryList","apiVersion":"apidiscovery.k8s.io/v2",`
	aggregatedHead = `"metadata":{},"items":`
)

// aggregated returns the document of all that groups hold, and its ETag, which
// is the same for all encodings, told apart by Vary, and the same as upstream's,
// so that a client that moves from a kube-apiserver of equal resources keeps what
// it has cached.
func aggregated(groups []func() aggregatedGroup, e *encoders) *document {
	items := []byte("null")
	if len(groups) > 0 {
		items = nil
		separator := byte('[')
		for _, group := range groups {
			items = append(append(items, separator), group().json...)
			separator = ','
		}
		items = append(items, ']')
	}
	hash := sha512.New()
	hash.Write([]byte("{" + aggregatedHead))
	hash.Write(items)
	hash.Write([]byte("}"))

	list := sync.OnceValue(func() runtime.Object {
		list := &apidiscoveryv2.APIGroupDiscoveryList{
			TypeMeta: metav1.TypeMeta{Kind: aggregatedGVK.Kind, APIVersion: aggregatedGVK.GroupVersion().String()},
		}
		for _, group := range groups {
			list.Items = append(list.Items, group().group)
		}
		return list
	})
	d := e.lazyDocument(list)
	d.etag = fmt.Sprintf(`"%X"`, hash.Sum(nil))
	json := e.SupportedMediaTypes()[0].Serializer
	d.encodings[json] = sync.OnceValues(func() (encoding, error) {
		body := append([]byte("{"+aggregatedKind+aggregatedHead), items...)
		return compressed(append(body, "}\n"...))
	})
	return d
}

func resourceDiscovery(g *kind.Group, version string) []apidiscoveryv2.APIResourceDiscovery {
	var list []apidiscoveryv2.APIResourceDiscovery
	eachResource(g, version, func(r *kind.Resource, subresources []*kind.Subresource) {
		resource := apidiscoveryv2.APIResourceDiscovery{
			Resource: r.Name,
			// Group and version are empty where they are those of a native resource.
			ResponseKind:     &metav1.GroupVersionKind{Kind: r.Kind},
			Scope:            apidiscoveryv2.ScopeCluster,
			SingularResource: r.Singular,
			Verbs:            g.Told(r),
			ShortNames:       r.ShortNames,
			Categories:       r.Categories,
		}
		if r.Custom() {
			*resource.ResponseKind = metav1.GroupVersionKind(r.Versions[0].GVK())
		}
		if r.Namespaced {
			resource.Scope = apidiscoveryv2.ScopeNamespace
		}
		for _, s := range subresources {
			responseKind := metav1.GroupVersionKind(s.Kind)
			if r.Custom() {
				responseKind = metav1.GroupVersionKind(s.GVK(r.Versions[0]))
			}
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
