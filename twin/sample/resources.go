// Package sample knows what there is: the resources a server serves, and for each a
// valid object, small and large, and one with every field set. The stories and the
// fuzzer take what they send from here.
//
// It must not know what is done with an object.
package sample

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	discovery "k8s.io/api/apidiscovery/v2"
	"k8s.io/client-go/rest"
)

// A Resource is one that a server serves in one version.
type Resource struct {
	Group, Version, Name, Kind string
	Namespaced                 bool
	Verbs                      []string
	Subresources               map[string][]string // to their verbs
}

// Can reports whether the resource has the verb.
func (r Resource) Can(verb string) bool { return slices.Contains(r.Verbs, verb) }

// HasStatus reports whether the objects' status is written apart.
func (r Resource) HasStatus() bool { return slices.Contains(r.Subresources["status"], "update") }

// GroupVersion is what the objects' apiVersion says.
func (r Resource) GroupVersion() string {
	if r.Group == "" {
		return r.Version
	}
	return r.Group + "/" + r.Version
}

// Path is where the resource's objects are, in the namespace if they have one.
func (r Resource) Path(namespace string) string {
	path := "/apis/" + r.GroupVersion()
	if r.Group == "" {
		path = "/api/" + r.Version
	}
	if r.Namespaced {
		path += "/namespaces/" + namespace
	}
	return path + "/" + r.Name
}

// Discover asks a server for all its resources, in every version. The stories of
// Kinds are made from what the reference answers, so that a new release's resources
// are told about without a change here.
func Discover(ctx context.Context, config *rest.Config) ([]Resource, error) {
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	var resources []Resource
	for _, path := range []string{"/api", "/apis"} {
		groups, err := fetch(ctx, client, config.Host+path)
		if err != nil {
			return nil, fmt.Errorf("discovery: %w", err)
		}
		for _, group := range groups.Items {
			for _, version := range group.Versions {
				for _, served := range version.Resources {
					resources = append(resources, newResource(group.Name, version.Version, served))
				}
			}
		}
	}
	return resources, nil
}

func fetch(ctx context.Context, client *http.Client, url string) (groups discovery.APIGroupDiscoveryList, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return groups, err
	}
	request.Header.Set("Accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")
	response, err := client.Do(request)
	if err != nil {
		return groups, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return groups, fmt.Errorf("%s: %s", url, response.Status)
	}
	return groups, json.NewDecoder(response.Body).Decode(&groups)
}

func newResource(group, version string, served discovery.APIResourceDiscovery) Resource {
	r := Resource{
		Group:        group,
		Version:      version,
		Name:         served.Resource,
		Kind:         served.ResponseKind.Kind,
		Namespaced:   served.Scope == discovery.ScopeNamespace,
		Verbs:        served.Verbs,
		Subresources: map[string][]string{},
	}
	for _, sub := range served.Subresources {
		r.Subresources[sub.Subresource] = sub.Verbs
	}
	return r
}
