package openapi

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/emicklei/go-restful/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/knarr-io/knarr/internal/kind"
)

// endpoint is a resource in a version, or one of its subresources. Its routes
// are those that upstream's installer makes for it (k8s.io/apiserver,
// pkg/endpoints), in the same words: clients are generated from them.
type endpoint struct {
	version     *kind.Version
	subresource *kind.Subresource // nil for the resource itself
	media       []string          // of single answers
	streams     []string          // of watches

	// collection and item are paths; they are the same for a subresource.
	// everywhere, if not empty, is the collection in all namespaces.
	collection, item, everywhere string
	// watching is put before the three to watch them the old way.
	watching string

	gvk    schema.GroupVersionKind // of bodies
	object any                     // a body
	verbs  []string

	routes []restful.Route
	err    error // the first there was
}

// resourceRoutes returns the routes of a resource and its subresources.
func resourceRoutes(root string, v *kind.Version, media, streams []string) ([]restful.Route, error) {
	var routes []restful.Route
	for _, s := range append([]*kind.Subresource{nil}, v.Resource.Subresources...) {
		if s != nil && v.Subresource(s.Name) != s {
			continue // not in this version
		}
		e := newEndpoint(root, v, s)
		e.media, e.streams = media, streams
		if e.addAll(); e.err != nil {
			return nil, fmt.Errorf("%s: %w", e.item, e.err)
		}
		routes = append(routes, e.routes...)
	}
	return routes, nil
}

func newEndpoint(root string, v *kind.Version, s *kind.Subresource) *endpoint {
	r := v.Resource
	e := &endpoint{version: v, subresource: s, gvk: v.GVK(), verbs: r.Verbs, watching: root + "/watch/"}
	root += "/"
	e.collection = r.Name
	if r.Namespaced {
		e.collection = "namespaces/{namespace}/" + r.Name
		e.everywhere = r.Name
	}
	e.item = e.collection + "/{name}"
	if s != nil {
		e.gvk, e.verbs = s.GVK(v), s.Verbs
		e.item += "/" + s.Name
		e.collection, e.everywhere = e.item, ""
	}
	e.object = e.sample(e.gvk)
	return e
}

// sample returns an empty object of a kind, for the name of its type.
func (e *endpoint) sample(gvk schema.GroupVersionKind) any {
	object, err := e.version.Resource.Scheme.New(gvk)
	if err != nil {
		e.fail(err)
		return nil
	}
	return value(object)
}
