package aggregate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apiserver/pkg/authentication/user"
	clientdiscovery "k8s.io/client-go/discovery"
)

// discoveryDocument is what a server tells of all that it has. It is immutable.
type discoveryDocument struct {
	etag     string
	versions map[schema.GroupVersion]apidiscoveryv2.APIVersionDiscovery
}

// version is what it tells of a service's version: nothing, if the server does
// not know it.
func (d *discoveryDocument) version(s *Service) *apidiscoveryv2.APIVersionDiscovery {
	version := d.versions[schema.GroupVersion{Group: s.Group, Version: s.Version}]
	version.Version, version.Freshness = s.Version, apidiscoveryv2.DiscoveryFreshnessCurrent
	return &version
}

// discoveryParser reads what servers tell, in whatever form and encoding.
type discoveryParser struct{ decoder runtime.Decoder }

func newDiscoveryParser() *discoveryParser {
	scheme := runtime.NewScheme()
	scheme.AddKnownTypes(apidiscoveryv2.SchemeGroupVersion, &apidiscoveryv2.APIGroupDiscoveryList{})
	scheme.AddUnversionedTypes(schema.GroupVersion{Version: "v1"}, &metav1.APIResourceList{})
	return &discoveryParser{serializer.NewCodecFactory(scheme).UniversalDeserializer()}
}

// into decodes content, which must be of the type of object.
func (p *discoveryParser) into(content []byte, object runtime.Object) error {
	decoded, _, err := p.decoder.Decode(content, nil, object)
	if err == nil && decoded != object {
		err = fmt.Errorf("%T is not expected", decoded)
	}
	return err
}

// errNotAggregated is the error of a server that tells of its versions one by
// one.
var errNotAggregated = errors.New("discovery is not aggregated")

// aggregatedDiscovery is the document that a server is asked for first.
var aggregatedDiscovery = apidiscoveryv2.SchemeGroupVersion.WithKind("APIGroupDiscoveryList")

// fetchWhole asks a server, that of s, for what it tells of all that it has.
// before is what it told last, or nil.
func (d *Discovery) fetchWhole(ctx context.Context, s *Service, before *discoveryDocument) (*discoveryDocument, error) {
	who := &user.DefaultInfo{Name: "system:kube-aggregator", Groups: []string{user.SystemPrivilegedGroup}}
	a, err := get(ctx, s, who, d.timeout, "/apis", "Accept", clientdiscovery.AcceptV2, "If-None-Match", etagOf(before))
	if err != nil {
		return nil, err
	}
	aggregated, _ := clientdiscovery.ContentTypeIsGVK(a.header.Get("Content-Type"), aggregatedDiscovery)
	switch {
	case a.code == http.StatusNotModified && before != nil:
		return before, nil
	case a.code == http.StatusServiceUnavailable:
		return nil, a.unexpected("/apis")
	case a.code != http.StatusOK || !aggregated:
		return nil, errNotAggregated
	}
	list := &apidiscoveryv2.APIGroupDiscoveryList{}
	if err := d.parse.into(a.body, list); err != nil {
		return nil, err
	}
	whole := &discoveryDocument{a.header.Get("ETag"), map[schema.GroupVersion]apidiscoveryv2.APIVersionDiscovery{}}
	for _, g := range list.Items {
		for _, v := range g.Versions {
			haveKinds(v.Resources)
			whole.versions[schema.GroupVersion{Group: g.Name, Version: v.Version}] = v
		}
	}
	return whole, nil
}

func etagOf(d *discoveryDocument) string {
	if d == nil {
		return ""
	}
	return d.etag
}

// haveKinds gives every resource a kind, be it empty: clients of old do not
// reckon with none.
func haveKinds(resources []apidiscoveryv2.APIResourceDiscovery) {
	for i := range resources {
		r := &resources[i]
		if r.ResponseKind == nil {
			r.ResponseKind = &metav1.GroupVersionKind{}
		}
		for j := range r.Subresources {
			if r.Subresources[j].ResponseKind == nil {
				r.Subresources[j].ResponseKind = &metav1.GroupVersionKind{}
			}
		}
	}
}

// fetchOne asks a server, that knows no other discovery, for what it tells of one
// version.
func (d *Discovery) fetchOne(ctx context.Context, s *Service, before *discoveryDocument) (*apidiscoveryv2.APIVersionDiscovery, error) {
	path := "/apis/" + s.Group + "/" + s.Version
	who := &user.DefaultInfo{Name: "system:kube-aggregator"}
	a, err := get(ctx, s, who, d.timeout, path, "Accept", runtime.ContentTypeJSON, "If-None-Match", etagOf(before))
	if err != nil {
		return nil, err
	}
	if a.code != http.StatusOK {
		return nil, a.unexpected(path)
	}
	list := &metav1.APIResourceList{}
	if err := d.parse.into(a.body, list); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	resources, err := inAggregatedForm(list.APIResources)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &apidiscoveryv2.APIVersionDiscovery{
		Version: s.Version, Resources: resources, Freshness: apidiscoveryv2.DiscoveryFreshnessCurrent,
	}, nil
}

// inAggregatedForm returns what a document of one version tells, as an aggregated
// one tells it: subresources in their resources, which are there for them even
// where they are not told of.
func inAggregatedForm(told []metav1.APIResource) ([]apidiscoveryv2.APIResourceDiscovery, error) {
	var resources []apidiscoveryv2.APIResourceDiscovery
	place := map[string]int{} // in resources, by name
	for i := range told {
		r := &told[i]
		if strings.Contains(r.Name, "/") {
			continue
		}
		place[r.Name] = len(resources)
		resources = append(resources, apidiscoveryv2.APIResourceDiscovery{
			Resource: r.Name, SingularResource: r.SingularName, Scope: scopeOf(r), ResponseKind: kindOf(r),
			Verbs: r.Verbs, ShortNames: r.ShortNames, Categories: r.Categories,
		})
	}
	for i := range told {
		r := &told[i]
		name, subresource, ok := strings.Cut(r.Name, "/")
		if !ok {
			continue
		}
		at, ok := place[name]
		if !ok {
			at = len(resources)
			place[name] = at
			resources = append(resources, apidiscoveryv2.APIResourceDiscovery{
				Resource: name, Scope: scopeOf(r), ResponseKind: &metav1.GroupVersionKind{},
			})
		}
		of := &resources[at]
		if of.Scope != scopeOf(r) {
			return nil, fmt.Errorf("%s is %s and %s %s", name, of.Scope, r.Name, scopeOf(r))
		}
		kind := &metav1.GroupVersionKind{}
		if r.Kind != "" {
			kind = kindOf(r)
		}
		of.Subresources = append(of.Subresources, apidiscoveryv2.APISubresourceDiscovery{
			Subresource: subresource, ResponseKind: kind, Verbs: r.Verbs,
		})
	}
	return resources, nil
}

func scopeOf(r *metav1.APIResource) apidiscoveryv2.ResourceScope {
	if r.Namespaced {
		return apidiscoveryv2.ScopeNamespace
	}
	return apidiscoveryv2.ScopeCluster
}

func kindOf(r *metav1.APIResource) *metav1.GroupVersionKind {
	return &metav1.GroupVersionKind{Group: r.Group, Version: r.Version, Kind: r.Kind}
}
