package discovery

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/handlers/responsewriters"
)

// The media types of a route.
var (
	jsonOnly    = []string{runtime.ContentTypeJSON}
	anyEncoding = []string{runtime.ContentTypeJSON, runtime.ContentTypeYAML, runtime.ContentTypeProtobuf}
)

// NotFound answers a request for a path below /api or /apis that nothing is at:
// with a Status if its group is served and has native kinds, and in plain text
// otherwise, as net/http does, for upstream has no route for it then.
func (h *Handler) NotFound(w http.ResponseWriter, r *http.Request) {
	catalogue := h.options.Catalogue()
	root, rest := split(r.URL.Path)
	known := root == "version" || root == "api" && catalogue.Group("") != nil
	if root == "apis" && len(rest) > 0 && rest[0] != "" {
		group := catalogue.Group(rest[0])
		known = group != nil && !group.Custom()
	}
	if !known {
		http.NotFound(w, r)
		return
	}
	h.refuse(w, r, routeError(http.StatusNotFound, "404: Page Not Found"))
}

// admits checks what upstream's routes check before their handlers see a
// request, and in that order: the method (only GET is served), the type of the
// body, although there is none, and whether the client accepts one of types. It
// does not know wildcards but */*. If a check fails it answers and returns false.
func (h *Handler) admits(w http.ResponseWriter, r *http.Request, types []string) bool {
	return h.admitsBody(w, r, types, types)
}

// admitsBody is admits where bodies may be of other types than answers, or of
// any if consumed is nil.
func (h *Handler) admitsBody(w http.ResponseWriter, r *http.Request, consumed, types []string) bool {
	contentType, accept := r.Header.Get("Content-Type"), r.Header.Get("Accept")
	switch {
	case r.Method != http.MethodGet:
		h.refuse(w, r, routeError(http.StatusMethodNotAllowed, "405: Method Not Allowed"))
	case contentType != "" && consumed != nil && !names(contentType, consumed):
		h.refuse(w, r, routeError(http.StatusUnsupportedMediaType, "415: Unsupported Media Type"))
	case accept != "" && !names(accept, append([]string{"*/*"}, types...)):
		h.refuse(w, r, routeError(http.StatusNotAcceptable,
			"406: Not Acceptable\n\nAvailable representations: "+strings.Join(types, ", ")))
	default:
		return true
	}
	return false
}

// names reports whether a header's list of media types names one of types.
func names(header string, types []string) bool {
	for mediaType := range strings.SplitSeq(header, ",") {
		mediaType, _, _ = strings.Cut(mediaType, ";")
		if slices.Contains(types, strings.Trim(mediaType, " ")) {
			return true
		}
	}
	return false
}

func routeError(code int, message string) error {
	return apierrors.NewGenericServerResponse(code, "", schema.GroupResource{}, "", message, 0, false)
}

// refuse answers with the Status of err, in an encoding that the client accepts,
// or as indented JSON if it accepts none.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	responsewriters.ErrorNegotiated(err, h.encoders, schema.GroupVersion{}, w, r)
}

// writeIndentedJSON writes what is not an object of the API.
func writeIndentedJSON(w http.ResponseWriter, code int, value any) {
	body, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	w.Write(body) // an error is the client gone
}
