package endpoint

import (
	"cmp"
	"net/http"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/warning"

	"github.com/knarr-io/knarr/internal/verb"
)

// route sends a request, which may be made, to its verb.
func (e *Endpoint) route(w http.ResponseWriter, r *http.Request) {
	info, ok := request.RequestInfoFrom(r.Context())
	if !ok {
		e.error(w, r, e.status, apierrors.NewInternalError(errNoRequestInfo))
		return
	}
	if e.Elsewhere != nil && e.Elsewhere.Handles(r.URL.Path) {
		e.Elsewhere.ServeHTTP(w, r)
		return
	}
	if !info.IsResourceRequest {
		for _, m := range e.Others {
			if m.Handles(r.URL.Path) {
				m.ServeHTTP(w, r)
				return
			}
		}
		if strings.HasPrefix(r.URL.Path, "/version/") {
			e.error(w, r, e.status, errNoResource()) // upstream's is one of a service with resources
			return
		}
		notFound(w)
		return
	}
	gv := schema.GroupVersion{Group: info.APIGroup, Version: info.APIVersion}
	catalogue := e.Catalogue()
	group := catalogue.Group(gv.Group)
	if group == nil || (gv.Group == "") != (info.APIPrefix == "api") || strings.HasPrefix(r.URL.Path, "//") {
		notFound(w)
		return
	}
	version := catalogue.Lookup(gv.WithResource(info.Resource))
	switch {
	case version != nil:
	case group.Custom():
		notFound(w)
		return
	default:
		e.error(w, r, e.status, errNoResource())
		return
	}
	q := &query{Endpoint: e, w: w, r: r, info: info, target: verb.Target{
		Version: version, Namespace: info.Namespace, Name: info.Name, Agent: r.UserAgent(),
	}}
	defer q.release()
	if version.Resource.Custom() {
		q.serveCustom()
		return
	}
	q.serve()
}

// notFound is the answer for paths that belong to no group that is served, or
// to one of custom resources, and have nothing at them.
func notFound(w http.ResponseWriter) {
	http.Error(w, "404 page not found", http.StatusNotFound)
}

// errNoResource is the answer for a path inside a served group of native kinds
// at which there is nothing.
func errNoResource() error {
	return apierrors.NewGenericServerResponse(http.StatusNotFound, "", schema.GroupResource{}, "", "404 page not found", 0, false)
}

func errMethod() error {
	return apierrors.NewGenericServerResponse(http.StatusMethodNotAllowed, "", schema.GroupResource{}, "", "405: Method Not Allowed", 0, false)
}

// query is one request about objects.
type query struct {
	*Endpoint
	w      http.ResponseWriter
	r      *http.Request
	info   *request.RequestInfo
	target verb.Target
	// fresh has the answer made for this request alone.
	fresh bool
	// reserved gives back what the request has of budgets.
	reserved []func()
}

// routeMedia is what a route checks before its handler sees a request: the type
// of a patch, and that the client accepts one of what is produced. Upstream's
// router knows no wildcard but */*, and words its refusals in its own way.
func (q *query) routeMedia(verb string) error {
	if verb == "patch" {
		contentType := cmp.Or(q.r.Header.Get("Content-Type"), "application/octet-stream")
		if !names(contentType, q.patchTypes()) {
			return apierrors.NewGenericServerResponse(http.StatusUnsupportedMediaType, "", schema.GroupResource{}, "", "415: Unsupported Media Type", 0, false)
		}
	}
	var produced []string
	if q.target.Subresource != nil && q.verbs.Stream(q.target) != nil {
		produced = []string{"text/plain"}
	}
	produced = append(produced, mediaJSON, mediaYAML)
	if q.target.Version.Protobuf != nil || q.target.Version.Resource.Storage == nil {
		produced = append(produced, mediaProtobuf)
	}
	accept := q.r.Header.Get("Accept")
	if accept == "" || names(accept, append([]string{"*/*"}, produced...)) {
		return nil
	}
	if verb == "list" || verb == "watch" {
		for _, m := range produced {
			if m != mediaYAML {
				produced = append(produced, m+";stream=watch")
			}
		}
	}
	return apierrors.NewGenericServerResponse(http.StatusNotAcceptable, "", schema.GroupResource{}, "",
		"406: Not Acceptable\n\nAvailable representations: "+strings.Join(produced, ", "), 0, false)
}

// names reports whether a header's list of media types names one of types.
func names(header string, types []string) bool {
	for mediaType := range strings.SplitSeq(header, ",") {
		mediaType, _, _ = strings.Cut(mediaType, ";")
		if slices.Contains(types, strings.TrimSpace(mediaType)) {
			return true
		}
	}
	return false
}

// serve finds the handler for what is asked, as upstream's routes would.
func (q *query) serve() {
	handle, err := q.handler()
	if err == nil {
		if d := q.target.Version.Deprecated; d != "" {
			warning.AddWarning(q.r.Context(), "", d)
			defer q.recordDeprecation()
		}
		err = handle()
	}
	if err != nil {
		q.fail(err)
	}
}

// handler returns what serves the request, or the error that upstream has for
// a path or method without a route.
func (q *query) handler() (func() error, error) {
	resource := q.target.Version.Resource
	inNamespace := q.info.Namespace != "" && resource.Name != "namespaces"
	named := len(q.info.Parts) > 1
	switch {
	case inNamespace && !resource.Namespaced,
		resource.Namespaced && named && !inNamespace,
		// What is not kept has no path but the one to create it at.
		!slices.Contains(resource.Verbs, "list") && (named || resource.Namespaced && !inNamespace),
		// What is behind an object has paths of its own.
		q.info.Verb == "proxy", // the way that proxies were before they were subresources
		len(q.info.Parts) > 3 && q.info.Subresource != "proxy":
		return nil, errNoResource()
	}
	verbs := resource.Verbs
	if q.info.Subresource != "" {
		s := q.target.Version.Subresource(q.info.Subresource)
		if s == nil {
			return nil, errNoResource()
		}
		q.target.Subresource = s
		verbs = s.Verbs
		if c := q.verbs.Connecter(q.target); c != nil {
			if !slices.Contains(c.ConnectMethods(), q.r.Method) {
				return nil, errMethod()
			}
			return func() error { return q.connect(c) }, nil
		}
	}
	v := q.info.Verb
	if q.r.Method == http.MethodHead {
		v = ""
	}
	if v == "watch" && !q.byPath() { // ?watch=true on a list
		if !slices.Contains(verbs, "watch") {
			return nil, apierrors.NewMethodNotSupported(q.target.GroupResource(), "watch")
		}
	}
	if (v == "get" || v == "list") && !named {
		v = "list"
	}
	collection := v == "list" || v == "create" || v == "deletecollection"
	switch {
	case !slices.Contains(verbs, v),
		resource.Namespaced && !inNamespace && v != "list" && v != "watch",
		q.target.Subresource == nil && v != "watch" && named == collection:
		return nil, errMethod()
	}
	if err := q.routeMedia(v); err != nil {
		return nil, err
	}
	if q.target.Subresource != nil {
		return q.subresourceHandler(v)
	}
	if resource.Storage == nil {
		if objects := q.verbs.Computed[q.target.GroupResource()]; objects != nil {
			return q.computed(v, objects)
		}
		return q.action()
	}
	if handle := q.handlerOf(v); handle != nil {
		return handle, nil
	}
	return nil, errMethod()
}

// handlerOf returns what does a verb with objects or, of the verbs that it may
// have, with a subresource; nil if nothing does.
func (q *query) handlerOf(v string) func() error {
	switch v {
	case "get":
		return q.get
	case "update":
		return q.update
	case "patch":
		return q.patch
	}
	if q.target.Subresource != nil {
		return nil
	}
	switch v {
	case "list":
		return q.list
	case "watch":
		return q.watch
	case "create":
		return q.create
	case "delete":
		return q.delete
	case "deletecollection":
		return q.deleteCollection
	}
	return nil
}

// byPath reports whether a watch was asked for in the deprecated way, by a
// path that begins with /watch/.
func (q *query) byPath() bool {
	return q.r.URL.Query().Get("watch") == "" && q.info.Verb == "watch"
}

// action serves creates that make no object.
func (q *query) action() (func() error, error) {
	if q.verbs.Action(q.target) == nil {
		return nil, errNoResource()
	}
	return q.act, nil
}

// subresourceHandler serves the subresources.
func (q *query) subresourceHandler(v string) (func() error, error) {
	s := q.target.Subresource
	if stream := q.verbs.Stream(q.target); stream != nil {
		return func() error { return q.open(stream) }, nil
	}
	if s.Update == nil && s.View == nil {
		return q.action()
	}
	if handle := q.handlerOf(v); handle != nil {
		return handle, nil
	}
	return nil, errMethod()
}

// meta is the version that options are read as.
var meta = metav1.SchemeGroupVersion
