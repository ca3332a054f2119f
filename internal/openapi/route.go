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

	// collection and item are paths below root; they are the same for a
	// subresource. everywhere, if not empty, is the collection in all
	// namespaces.
	root, collection, item, everywhere string

	gvk    schema.GroupVersionKind // of bodies
	object any                     // a body, of which the type counts
	verbs  []string
}

// resourceRoutes returns the routes of a resource and its subresources.
func resourceRoutes(root string, v *kind.Version, media, streams []string) ([]restful.Route, error) {
	var routes []restful.Route
	for _, s := range append([]*kind.Subresource{nil}, v.Resource.Subresources...) {
		if s != nil && v.Subresource(s.Name) != s {
			continue // not in this version
		}
		e, err := newEndpoint(root, v, s)
		if err != nil {
			return nil, err
		}
		e.media, e.streams = media, streams
		of, err := e.routes()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.item, err)
		}
		routes = append(routes, of...)
	}
	return routes, nil
}

func newEndpoint(root string, v *kind.Version, s *kind.Subresource) (*endpoint, error) {
	r := v.Resource
	e := &endpoint{version: v, subresource: s, root: root + "/", gvk: v.GVK(), verbs: r.Verbs}
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
	var err error
	e.object, err = r.Scheme.New(e.gvk)
	return e, err
}

func (e *endpoint) has(verb string) bool { return slices.Contains(e.verbs, verb) }

// routes returns the routes of all verbs.
func (e *endpoint) routes() ([]restful.Route, error) {
	if e.connects() {
		return e.connections(), nil
	}
	var routes []restful.Route
	for _, verb := range e.verbs {
		var added []restful.Route
		var err error
		switch verb {
		case "list":
			added, err = e.list()
		case "watch":
			added = e.watch()
		case "get":
			added, err = e.get()
		case "create":
			added = e.create()
		case "update":
			added = e.update()
		case "patch":
			added = e.patch()
		case "delete":
			added = e.delete()
		case "deletecollection":
			added = e.deleteCollection()
		default:
			err = fmt.Errorf("verb %q has no description", verb)
		}
		if err != nil {
			return nil, err
		}
		routes = append(routes, added...)
	}
	return routes, nil
}

func (e *endpoint) list() ([]restful.Route, error) {
	list, err := e.version.Resource.Scheme.New(e.version.ListGVK())
	if err != nil {
		return nil, err
	}
	doc := "list objects of kind " + e.kind()
	if e.has("watch") {
		doc = "list or watch objects of kind " + e.kind()
	}
	var routes []restful.Route
	for _, path := range e.collections() {
		r := e.route(http.MethodGet, path, "list", "list", doc, metav1.ListOptions{})
		r.Produces = append(slices.Clone(e.media), e.streams...)
		answers(&r, list, http.StatusOK)
		routes = append(routes, r)
	}
	return routes, nil
}

// watch is the old way to watch, by a path of its own.
func (e *endpoint) watch() []restful.Route {
	var routes []restful.Route
	add := func(path, action, doc string) {
		r := e.route(http.MethodGet, "watch/"+path, action, "watch", doc, metav1.ListOptions{})
		r.Produces = append(slices.Clone(e.media), e.streams...)
		answers(&r, metav1.WatchEvent{}, http.StatusOK)
		routes = append(routes, r)
	}
	if e.has("list") {
		for _, path := range e.collections() {
			add(path, "watchlist", "watch individual changes to a list of "+e.kind()+
				". deprecated: use the 'watch' parameter with a list operation instead.")
		}
	}
	add(e.item, "watch", "watch changes to an object of kind "+e.kind()+
		". deprecated: use the 'watch' parameter with a list operation instead, filtered to a single item with the 'fieldSelector' parameter.")
	return routes
}

func (e *endpoint) get() ([]restful.Route, error) {
	r := e.route(http.MethodGet, e.item, "get", "read", e.doc("read the specified ", "read %s of the specified "), nil)
	if e.subresource != nil && e.subresource.Name == "log" {
		// The only one that answers with something else than its object, and
		// that has options for it.
		options, err := e.version.Resource.Scheme.New(e.version.GroupVersion().WithKind("PodLogOptions"))
		if err != nil {
			return nil, err
		}
		r.ParameterDocs = append(r.ParameterDocs, parametersOf(options)...)
		r.Produces = append([]string{"text/plain"}, e.media...)
		answers(&r, "", http.StatusOK)
		return []restful.Route{r}, nil
	}
	answers(&r, e.object, http.StatusOK)
	return []restful.Route{r}, nil
}

func (e *endpoint) create() []restful.Route {
	a := article(e.kind())
	r := e.route(http.MethodPost, e.collection, "post", "create", e.doc("create"+a, "create %s of"+a), metav1.CreateOptions{})
	reads(&r, e.object, true)
	answers(&r, e.object, http.StatusOK, http.StatusCreated, http.StatusAccepted)
	return []restful.Route{r}
}

func (e *endpoint) update() []restful.Route {
	r := e.route(http.MethodPut, e.item, "put", "replace", e.doc("replace the specified ", "replace %s of the specified "), metav1.UpdateOptions{})
	reads(&r, e.object, true)
	answers(&r, e.object, http.StatusOK, http.StatusCreated)
	return []restful.Route{r}
}

func (e *endpoint) patch() []restful.Route {
	r := e.route(http.MethodPatch, e.item, "patch", "patch",
		e.doc("partially update the specified ", "partially update %s of the specified "), metav1.PatchOptions{})
	r.Consumes = []string{
		string(types.JSONPatchType), string(types.MergePatchType), string(types.StrategicMergePatchType), string(types.ApplyYAMLPatchType),
	}
	if slices.Contains(e.media, runtime.ContentTypeCBOR) {
		r.Consumes = append(r.Consumes, string(types.ApplyCBORPatchType))
	}
	reads(&r, metav1.Patch{}, true)
	answers(&r, e.object, http.StatusOK, http.StatusCreated)
	return []restful.Route{r}
}

func (e *endpoint) delete() []restful.Route {
	a := article(e.kind())
	r := e.route(http.MethodDelete, e.item, "delete", "delete", e.doc("delete"+a, "delete %s of"+a), metav1.DeleteOptions{})
	reads(&r, metav1.DeleteOptions{}, false)
	var answer any = metav1.Status{}
	// Namespaces are returned too, but upstream's documents do not say so.
	if resource := e.version.Resource; e.version.ReturnDeleted && !(resource.Group == "" && resource.Name == "namespaces") {
		answer = e.object
	}
	answers(&r, answer, http.StatusOK, http.StatusAccepted)
	return []restful.Route{r}
}

func (e *endpoint) deleteCollection() []restful.Route {
	r := e.route(http.MethodDelete, e.collection, "deletecollection", "deletecollection", "delete collection of "+e.kind(), metav1.DeleteOptions{})
	r.ParameterDocs = append(r.ParameterDocs, parametersOf(metav1.ListOptions{}, "watch", "allowWatchBookmarks")...)
	reads(&r, metav1.DeleteOptions{}, false)
	answers(&r, metav1.Status{}, http.StatusOK)
	return []restful.Route{r}
}

// connects reports whether the endpoint is a connection to something behind
// the object (exec, proxy): its kind is that of the connection's options.
func (e *endpoint) connects() bool {
	return e.subresource != nil && strings.HasSuffix(e.subresource.Kind.Kind, "Options")
}

func (e *endpoint) connections() []restful.Route {
	methods := map[string]string{
		"get": http.MethodGet, "create": http.MethodPost, "update": http.MethodPut, "patch": http.MethodPatch, "delete": http.MethodDelete,
	}
	var connected []string
	for _, verb := range e.verbs {
		connected = append(connected, methods[verb])
	}
	paths := []string{e.item}
	if e.subresource.Name == "proxy" {
		// It takes every method, of which two are no verbs, and any path.
		connected = append(connected, http.MethodHead, http.MethodOptions)
		paths = append(paths, e.item+"/{path:*}")
	}
	var routes []restful.Route
	for _, path := range paths {
		for _, method := range connected {
			r := e.route(method, path, "connect", "connect"+title(method), "connect "+method+" requests to "+e.subresource.Name+" of "+e.kind(), nil)
			r.ParameterDocs = append(e.pathParameters(path), parametersOf(e.object)...)
			r.Consumes, r.Produces = []string{"*/*"}, []string{"*/*"}
			r.WriteSample = "string"
			routes = append(routes, r)
		}
	}
	return routes
}

// collections returns the paths of the collection, in one and in all
// namespaces.
func (e *endpoint) collections() []string {
	if e.everywhere == "" {
		return []string{e.collection}
	}
	return []string{e.collection, e.everywhere}
}

// kind is that of the resource, also for its subresources.
func (e *endpoint) kind() string { return e.version.Resource.Kind }

// doc returns what is said of the resource, or of the subresource, whose name
// takes the place of %s.
func (e *endpoint) doc(resource, subresource string) string {
	if e.subresource == nil {
		return resource + e.kind()
	}
	return fmt.Sprintf(subresource, e.subresource.Name) + e.kind()
}

// route returns what all routes have. options are what may be in its query;
// nil if there are none.
func (e *endpoint) route(method, path, action, operation, doc string, options any) restful.Route {
	r := restful.Route{
		Method:   method,
		Path:     e.root + path,
		Doc:      doc,
		Consumes: []string{"*/*"},
		Produces: e.media,
		Metadata: map[string]any{
			"x-kubernetes-action":             action,
			"x-kubernetes-group-version-kind": metav1.GroupVersionKind(e.gvk),
		},
		ParameterDocs: append(e.pathParameters(path), pretty()),
	}
	if options != nil {
		r.ParameterDocs = append(r.ParameterDocs, parametersOf(options)...)
	}
	if strings.Contains(path, "{namespace}") {
		operation += "Namespaced"
	}
	operation += e.kind()
	if e.subresource != nil {
		operation += title(e.subresource.Name)
	}
	if action == "watchlist" {
		operation += "List"
	}
	switch {
	case strings.HasSuffix(path, "/{path:*}"):
		operation += "WithPath"
	case e.everywhere != "" && !strings.Contains(path, "{namespace}"):
		operation += "ForAllNamespaces"
	}
	r.Operation = operation
	return r
}

// reads sets the body of a request.
func reads(r *restful.Route, body any, required bool) {
	r.ReadSample = body
	r.ParameterDocs = append(r.ParameterDocs, restful.BodyParameter("body", "").Required(required))
}

// answers sets the body of the answers with the codes of success.
func answers(r *restful.Route, body any, codes ...int) {
	r.WriteSample = body
	r.ResponseErrors = map[int]restful.ResponseError{}
	for _, code := range codes {
		r.ResponseErrors[code] = restful.ResponseError{Code: code, Message: http.StatusText(code), Model: body}
	}
}

// title writes a word with a capital at its beginning only.
func title(word string) string {
	return strings.ToUpper(word[:1]) + strings.ToLower(word[1:])
}

// article returns what stands between a verb and a kind, as upstream has it:
// plurals have no article.
func article(kind string) string {
	switch {
	case strings.HasSuffix(kind, "s") && !strings.HasSuffix(kind, "ss"):
		return " "
	case strings.ContainsAny(kind[:1], "AEIOU"):
		return " an "
	}
	return " a "
}
