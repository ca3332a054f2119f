package openapi

import (
	"net/http"
	"slices"
	"strings"

	"github.com/emicklei/go-restful/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/apiserver/pkg/endpoints/handlers/negotiation"
	"k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/common/restfuladapter"

	"github.com/knarr-io/knarr/internal/kind"
)

// service is what is served below one path, with a document of its own in
// version 3: a group, a version of a group, or a single path. It is described
// in the terms of go-restful, upstream's router, which its builders of
// documents read; nothing is ever routed by it.
type service struct {
	path string
	// versions of resources are what the service was made from. They tell
	// whether a document that was made earlier still holds.
	versions []*kind.Version
	routes   func() ([]restful.Route, error)
	// published, if not empty, are the custom resources of a version. They
	// describe themselves: there are no routes.
	published []kind.Published
}

// custom reports whether the service has custom resources, and no others.
func (s *service) custom() bool { return len(s.published) > 0 }

// same reports whether a document of s is one of other.
func (s *service) same(other *service) bool {
	return slices.Equal(s.versions, other.versions) &&
		slices.EqualFunc(s.published, other.published, func(a, b kind.Published) bool { return a.ID() == b.ID() })
}

// key is the service's name in the index: its path without the first slash.
func (s *service) key() string { return s.path[1:] }

// fixed is a service of one route, which does not depend on the catalogue.
func fixed(path string, route restful.Route) *service {
	route.Method = http.MethodGet
	return &service{path: path, routes: func() ([]restful.Route, error) { return []restful.Route{route}, nil }}
}

// services returns all that has a document. issuer is whether the server tells
// how the tokens of service accounts are verified.
func services(c *kind.Catalogue, issuer bool) []*service {
	list := []*service{versionInfo()}
	if issuer {
		list = append(list, issuerInfo()...)
	}
	if len(c.Groups) > 0 {
		list = append(list, groupList(c))
	}
	for _, g := range c.Groups {
		root := "/apis/" + g.Name
		if g.Name == "" {
			root = "/api"
		}
		if !g.Custom() {
			list = append(list, groupInfo(root, g))
		}
		for _, name := range g.Versions {
			if g.CustomVersion(name) {
				list = append(list, customVersion(root, g, name))
			} else {
				list = append(list, groupVersion(root, g, name))
			}
		}
	}
	return list
}

// versionInfo is /version.
func versionInfo() *service {
	return fixed("/version", restful.Route{
		Path:        "/version/",
		Operation:   "getCodeVersion",
		Doc:         "get the version information for this server",
		Consumes:    []string{runtime.ContentTypeJSON},
		Produces:    []string{runtime.ContentTypeJSON},
		WriteSample: version.Info{},
	})
}

// issuerInfo is what OpenID Connect asks of an issuer.
func issuerInfo() []*service {
	route := func(path, media, operation, doc string) *service {
		r := restful.Route{Path: path + "/", Operation: operation, Doc: doc, Produces: []string{media}}
		answers(&r, "", http.StatusOK)
		return fixed(path, r)
	}
	return []*service{
		route("/.well-known/openid-configuration", runtime.ContentTypeJSON, "getServiceAccountIssuerOpenIDConfiguration",
			"get service account issuer OpenID configuration, also known as the 'OIDC discovery doc'"),
		route("/openid/v1/jwks", "application/jwk-set+json", "getServiceAccountIssuerOpenIDKeyset",
			"get service account issuer OpenID JSON Web Key Set (contains public token verification keys)"),
	}
}

// groupList is /apis.
func groupList(c *kind.Catalogue) *service {
	media, _ := mediaTypes(c.Groups[0])
	return fixed("/apis", discoveryRoute("/apis", media, "getAPIVersions", "get available API versions", metav1.APIGroupList{}))
}

// groupInfo is /api or a group's path below /apis.
func groupInfo(path string, g *kind.Group) *service {
	media, _ := mediaTypes(g)
	if g.Name == "" {
		return fixed(path, discoveryRoute(path, media, "getAPIVersions", "get available API versions", metav1.APIVersions{}))
	}
	return fixed(path, discoveryRoute(path, media, "getAPIGroup", "get information of a group", metav1.APIGroup{}))
}

// groupVersion is a version of a group with its resources.
func groupVersion(root string, g *kind.Group, name string) *service {
	s := &service{path: root + "/" + name}
	for _, r := range g.Resources {
		for _, v := range r.Versions {
			if v.Name == name && !r.Custom() {
				s.versions = append(s.versions, v)
			}
		}
	}
	s.routes = func() ([]restful.Route, error) {
		media, streams := mediaTypes(g)
		routes := []restful.Route{discoveryRoute(s.path, media, "getAPIResources", "get available resources", metav1.APIResourceList{})}
		for _, v := range s.versions {
			of, err := resourceRoutes(s.path, v, media, streams)
			if err != nil {
				return nil, err
			}
			routes = append(routes, of...)
		}
		return routes, nil
	}
	return s
}

// customVersion is a version of a group that has custom resources alone.
// Upstream tells nothing of its discovery.
func customVersion(root string, g *kind.Group, name string) *service {
	s := &service{path: root + "/" + name}
	for _, r := range g.Resources {
		if r.Versions[0].Name == name {
			s.published = append(s.published, r.Published)
		}
	}
	return s
}

// discoveryRoute is the route that tells what is below a path.
func discoveryRoute(path string, media []string, operation, doc string, answer any) restful.Route {
	return restful.Route{
		Method: http.MethodGet, Path: path + "/", Operation: operation, Doc: doc,
		Consumes: media, Produces: media, WriteSample: answer,
	}
}

// mediaTypes returns those of single answers and those of watches.
func mediaTypes(g *kind.Group) (media, streams []string) {
	return negotiation.MediaTypesForSerializer(g.Resources[0].Serializer)
}

// container is a service as upstream's builders read it.
type container struct {
	root   string
	routes []common.Route
}

func (s *service) container() (*container, error) {
	routes, err := s.routes()
	if err != nil {
		return nil, err
	}
	c := &container{root: s.path}
	for i := range routes {
		c.routes = append(c.routes, &restfuladapter.RouteAdapter{Route: &routes[i]})
	}
	return c, nil
}

func (c *container) RootPath() string                   { return c.root }
func (c *container) PathParameters() []common.Parameter { return nil }
func (c *container) Routes() []common.Route             { return c.routes }

// groupAndVersion returns what the service is a version of, if it is one.
func (s *service) groupAndVersion() (group, version string, ok bool) {
	segments := strings.Split(s.key(), "/")
	switch {
	case segments[0] == "api" && len(segments) == 2:
		return "", segments[1], true
	case segments[0] == "apis" && len(segments) == 3:
		return segments[1], segments[2], true
	}
	return "", "", false
}
