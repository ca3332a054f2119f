package stories

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	discovery "k8s.io/api/apidiscovery/v2"
	"k8s.io/client-go/rest"
)

// A resource is one that a server serves in one version.
type resource struct {
	group, version, name, kind string
	namespaced                 bool
	verbs                      []string
	subresources               map[string][]string // to their verbs
}

func (r resource) can(verb string) bool { return slices.Contains(r.verbs, verb) }

func (r resource) hasStatus() bool { return slices.Contains(r.subresources["status"], "update") }

func (r resource) groupVersion() string {
	if r.group == "" {
		return r.version
	}
	return r.group + "/" + r.version
}

// path is where the resource's objects are, in the namespace if they have one.
func (r resource) path(namespace string) string {
	path := "/apis/" + r.groupVersion()
	if r.group == "" {
		path = "/api/" + r.version
	}
	if r.namespaced {
		path += "/namespaces/" + namespace
	}
	return path + "/" + r.name
}

// discover asks a server for all its resources, in every version. The stories of
// Kinds are made from what the reference answers, so that a new release's resources
// are told about without a change here.
func discover(ctx context.Context, config *rest.Config) ([]resource, error) {
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	var resources []resource
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

func newResource(group, version string, served discovery.APIResourceDiscovery) resource {
	r := resource{
		group:        group,
		version:      version,
		name:         served.Resource,
		kind:         served.ResponseKind.Kind,
		namespaced:   served.Scope == discovery.ScopeNamespace,
		verbs:        served.Verbs,
		subresources: map[string][]string{},
	}
	for _, sub := range served.Subresources {
		r.subresources[sub.Subresource] = sub.Verbs
	}
	return r
}
