// Package discovery tells clients what the server serves: /, /version, /api and
// /apis with everything that describes groups, versions and resources, each as
// its own document and aggregated (KEP-3352), in the words and the order of
// kube-apiserver. It also passes on what an issuer of tokens tells to those who
// verify them (OpenID Connect Discovery).
//
// It must not know what is behind a resource: all it says is read off the
// catalogue, or was told by the servers that serve it. Who asks, and whether they may, is decided before it is called.
package discovery

import (
	"net/http"
	"slices"
	"strings"
	"sync/atomic"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/apiserver/pkg/endpoints/discovery"

	"github.com/knarr-io/knarr/internal/kind"
)

// Options is what a Handler tells about. All of it is required, but for Issuer and
// Elsewhere.
type Options struct {
	// Catalogue returns what is served now. It is called for every request, so
	// it must be cheap; a catalogue that it returns again is not read again.
	Catalogue func() *kind.Catalogue
	// Paths returns the paths that / lists besides those of this package, in
	// any order.
	Paths func() []string
	// Addresses tells a client where the server is reached, for /api.
	Addresses discovery.Addresses
	// Version is the answer to /version.
	Version version.Info
	// Issuer has the documents of the issuer of service account tokens. If
	// it is nil, there are none.
	Issuer Issuer
	// Elsewhere returns what other servers serve now, nil for nothing. As
	// Catalogue, it must be cheap and return the same until something changes. It
	// may be nil itself. The documents of the versions are the other servers'.
	Elsewhere func() *Elsewhere
	// Priority returns the place of a native version, if it has one. It is asked
	// only if something is served elsewhere.
	Priority func(schema.GroupVersion) (group, version int32, ok bool)
}

// Handler serves discovery. It is safe for concurrent use and starts no
// goroutines.
//
// It leaves "Cache-Control: no-cache, private", which all responses of the
// server have, to its caller: set it before, and it is replaced where a client
// may cache.
type Handler struct {
	options   Options
	encoders  *encoders
	documents atomic.Pointer[documents]
}

// New returns a handler. Documents are made when they are first asked for, once
// per encoding, and made again when their group or, if they tell of all groups,
// the catalogue or what is served elsewhere has changed.
func New(options Options) *Handler {
	return &Handler{options: options, encoders: newEncoders()}
}

// Handles reports whether the path is one of this handler, whether or not there
// is something at it: a group or a version that is not served is a 404 from
// here.
func (h *Handler) Handles(path string) bool {
	if path == "/" || path == "/index.html" {
		return true
	}
	if h.issuerRoot(path) != "" {
		return true
	}
	switch root, rest := split(path); root {
	case "version":
		return len(rest) == 0
	case "api":
		return len(rest) <= 1
	case "apis":
		return len(rest) <= 2
	}
	return false
}

// split returns the first segment of a path and those that follow. Slashes at
// the end do not count.
func split(path string) (root string, rest []string) {
	segments := strings.Split(strings.TrimRight(strings.TrimPrefix(path, "/"), "/"), "/")
	return segments[0], segments[1:]
}

// ServeHTTP answers requests for the paths that Handles accepts.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if path := h.issuerRoot(r.URL.Path); path != "" {
		h.serveIssuer(w, r, path)
		return
	}
	root, rest := split(r.URL.Path)
	switch root {
	case "", "index.html":
		writeIndentedJSON(w, http.StatusOK, metav1.RootPaths{Paths: h.paths()})
	case "version":
		if h.admits(w, r, jsonOnly) {
			writeIndentedJSON(w, http.StatusOK, h.options.Version)
		}
	case "api":
		h.serveCore(w, r, rest)
	case "apis":
		h.serveGroups(w, r, rest)
	}
}

// serveCore answers /api and what is below it.
func (h *Handler) serveCore(w http.ResponseWriter, r *http.Request, rest []string) {
	docs := h.current()
	core := docs.catalogue.Group("")
	if core == nil || len(rest) == 1 && !core.Serves(rest[0]) {
		h.NotFound(w, r)
		return
	}
	if !h.admits(w, r, anyEncoding) {
		return
	}
	if len(rest) == 1 {
		h.write(w, r, docs.versions[rest[0]].document())
		return
	}
	if info, ok := h.wantsAggregated(r); ok {
		h.writeAggregated(w, r, docs.aggregatedCore(), info)
		return
	}
	addresses := h.options.Addresses.ServerAddressByClientCIDRs(utilnet.GetClientIP(r))
	h.write(w, r, h.encoders.document(apiVersions(core, addresses)))
}

// serveGroups answers /apis and what is below it.
func (h *Handler) serveGroups(w http.ResponseWriter, r *http.Request, rest []string) {
	docs := h.current()
	// With a slash at the end, it is never aggregated.
	if r.URL.Path == "/apis" {
		if info, ok := h.wantsAggregated(r); ok {
			h.writeAggregated(w, r, docs.aggregatedGroups(), info)
			return
		}
	}
	if len(rest) == 0 {
		h.write(w, r, docs.groupList())
		return
	}
	if len(rest) == 1 {
		if merged := docs.mergedGroups[rest[0]]; merged != nil {
			h.write(w, r, merged())
			return
		}
		group := docs.groups[rest[0]]
		if rest[0] == "" || group == nil {
			h.NotFound(w, r)
			return
		}
		h.write(w, r, group.document())
		return
	}
	version := docs.versions[strings.Join(rest, "/")]
	if version == nil {
		h.NotFound(w, r)
		return
	}
	// Only here does upstream have a route that is choosy, for native kinds.
	if version.custom || h.admits(w, r, anyEncoding) {
		h.write(w, r, version.document())
	}
}

// current returns the documents of what is served now.
func (h *Handler) current() *documents {
	catalogue, elsewhere := h.options.Catalogue(), h.elsewhere()
	docs := h.documents.Load()
	if docs == nil || docs.catalogue != catalogue || docs.elsewhere != elsewhere {
		// Two requests may both come here; either's documents will do.
		docs = h.newDocuments(catalogue, elsewhere, docs)
		h.documents.Store(docs)
	}
	return docs
}

func (h *Handler) elsewhere() *Elsewhere {
	if h.options.Elsewhere == nil {
		return nil
	}
	return h.options.Elsewhere()
}

// paths returns what / lists, sorted.
func (h *Handler) paths() []string {
	paths := append([]string{"/apis", "/apis/", "/version"}, h.options.Paths()...)
	if h.options.Issuer != nil {
		paths = append(paths, issuerConfiguration, issuerKeys)
	}
	for _, group := range h.options.Catalogue().Groups {
		root := "/apis/" + group.Name
		if group.Name == "" {
			root = "/api"
		}
		paths = append(paths, root)
		for _, version := range group.Versions {
			paths = append(paths, root+"/"+version)
		}
	}
	if elsewhere := h.elsewhere(); elsewhere != nil {
		for _, v := range elsewhere.Versions {
			paths = append(paths, "/apis/"+v.Group, "/apis/"+v.Group+"/"+v.Version)
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}
