// Package openapi describes what is served to clients that check or explain
// objects, or are generated: /openapi/v3 with an index and a document for each
// version of a group (KEP-2896), and /openapi/v2 with one document of all. They
// are equal to those of kube-apiserver, made by upstream's builders from the
// catalogue and upstream's definitions of types, or as custom resources describe
// themselves.
//
// It must not know what is behind a resource: all it says is read off the
// catalogue, or was told by the servers that serve it. Who asks, and whether they may, is decided before it is called.
package openapi

import (
	"bytes"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/munnerz/goautoneg"
	"k8s.io/apimachinery/pkg/version"

	"github.com/knarr-io/knarr/internal/kind"
)

// Options is what a Handler tells about.
type Options struct {
	// Catalogue returns what is served now. It is called for every request, so
	// it must be cheap; a catalogue that it returns again is not read again.
	Catalogue func() *kind.Catalogue
	// Version is the release of Kubernetes that is served.
	Version version.Info
	// Issuer is whether the server tells how the tokens of service accounts
	// are verified, at /.well-known/openid-configuration and /openid/v1/jwks.
	Issuer bool
	// Elsewhere returns what other servers tell of what they serve, nil for
	// nothing. As Catalogue, it must be cheap and return the same until something
	// changes. It may be nil itself.
	Elsewhere func() *Elsewhere
}

// Handler serves documents. It is safe for concurrent use and starts no
// goroutines.
//
// A document is made when it is first asked for, one at a time, and kept as
// compressed bytes, three megabytes for all there are in all encodings;
// what it is made from, some tens of megabytes, is dropped. The index has the
// hashes of all documents of native kinds, so the first to ask for it waits for
// those, about 0.3 s of CPU; those of custom resources, of which there may be
// thousands, are told without making them. When the catalogue changes, only
// documents of versions whose resources changed are made again, and the one of
// version 2, which is of all, when it is asked for.
//
// What other servers have is joined with it: their documents of version 3 are in
// the index and are asked of them, each time; of version 2 their parts are kept,
// compressed.
//
// It leaves "Cache-Control: no-cache, private", which all responses of the
// server have, to its caller: set it before, and it is replaced where a client
// may cache.
type Handler struct {
	options  Options
	building sync.Mutex // held while anything is made, for the memory it takes

	mu        sync.Mutex // guards documents
	documents *documents
}

// New returns a handler. It makes nothing yet.
func New(options Options) *Handler { return &Handler{options: options} }

const (
	pathV2 = "/openapi/v2"
	pathV3 = "/openapi/v3"
)

// Paths returns what / lists of this handler.
func (h *Handler) Paths() []string { return []string{pathV2, pathV3, pathV3 + "/"} }

// Handles reports whether the path is one of this handler, whether or not there
// is something at it.
func (h *Handler) Handles(path string) bool {
	return path == pathV2 || path == pathV3 || strings.HasPrefix(path, pathV3+"/")
}

// ServeHTTP answers requests for the paths that Handles accepts, by whatever
// method, as upstream does.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	docs := h.current()
	switch r.URL.Path {
	case pathV2:
		// Vary in two lines is what upstream sends.
		w.Header().Add("Vary", "Accept-Encoding")
		w.Header().Add("Vary", "Accept")
		h.serve(w, r, "v2", docs.v2)
	case pathV3:
		index, err := docs.index()
		if err != nil {
			fail(w, err)
			return
		}
		// It is as of now, which is told to the second: another within the same
		// second must not be taken for it.
		r = r.Clone(r.Context())
		r.Header.Del("If-Modified-Since")
		http.ServeContent(w, r, "", time.Now(), bytes.NewReader(index))
	default:
		key := strings.TrimPrefix(r.URL.Path, pathV3+"/")
		if serve := docs.v3Elsewhere.documents[key]; serve != nil {
			serve(h, w, r)
			return
		}
		lazy, ok := docs.v3[key]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Add("Vary", "Accept")
		h.serve(w, r, "v3", func() (*document, error) { return h.document(lazy, newSession(h.options.Version)) })
	}
}

// DropUnused drops the documents of version 3 of custom resources, of which there
// may be thousands, that were not asked for since the last call. They are made
// anew when they are. It does not wait for anything that is being made.
func (h *Handler) DropUnused() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.documents == nil {
		return
	}
	for _, l := range h.documents.v3 {
		if l.service.custom() {
			l.dropUnused()
		}
	}
}

// current returns the documents of what is served now.
func (h *Handler) current() *documents {
	catalogue := h.options.Catalogue()
	var elsewhere *Elsewhere
	if h.options.Elsewhere != nil {
		elsewhere = h.options.Elsewhere()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.documents == nil || h.documents.catalogue != catalogue || h.documents.elsewhere != elsewhere {
		h.documents = h.newDocuments(catalogue, elsewhere, h.documents)
	}
	return h.documents
}

// serve answers with a document in the encoding that the client likes best.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request, version string, document func() (*document, error)) {
	encoding := negotiate(r.Header.Get("Accept"), encodings(version))
	if encoding == nil {
		w.WriteHeader(http.StatusNotAcceptable)
		return
	}
	d, err := document()
	if err != nil {
		fail(w, err)
		return
	}
	header := w.Header()
	header.Set("Content-Type", encoding.contentType)
	header.Set("ETag", `"`+d.hash+`"`)
	if hash := r.URL.Query().Get("hash"); hash != "" && version == "v3" {
		if hash != d.place {
			http.Redirect(w, r, address(strings.TrimPrefix(r.URL.Path, pathV3+"/"), d.place), http.StatusMovedPermanently)
			return
		}
		header.Set("Cache-Control", "public, immutable")
		header.Set("Expires", time.Now().AddDate(1, 0, 0).Format(time.RFC1123)) // for ever
	}
	content, err := encoding.bytes(d)
	if err != nil {
		fail(w, err)
		return
	}
	d.serve(w, r, content)
}

// negotiate returns the first encoding of the most preferred media type that
// there is one for, or nil. Without a header it is the default.
func negotiate(accept string, encodings []encoding) *encoding {
	if accept == "" {
		return &encodings[0]
	}
	for _, clause := range goautoneg.ParseAccept(accept) {
		for i, e := range encodings {
			if (clause.Type == "application" || clause.Type == "*") && (clause.SubType == e.subtype || clause.SubType == "*") {
				return &encodings[i]
			}
		}
	}
	return nil
}

// fail answers where a document could not be made: a type without a
// definition, for which there is no remedy at run time.
func fail(w http.ResponseWriter, err error) {
	for _, name := range []string{"Content-Type", "Content-Encoding", "ETag", "Expires"} {
		w.Header().Del(name)
	}
	http.Error(w, err.Error(), http.StatusInternalServerError)
}
