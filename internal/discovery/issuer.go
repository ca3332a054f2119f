package discovery

import (
	"fmt"
	"net/http"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
)

// Issuer has what OpenID Connect asks of an issuer of tokens: documents in
// JSON, and for how many seconds they may be cached.
type Issuer interface {
	GetConfigJSON() (document []byte, maxAge int)
	GetKeysetJSON() (document []byte, maxAge int)
}

// Where the documents of an issuer are.
const (
	issuerConfiguration = "/.well-known/openid-configuration"
	issuerKeys          = "/openid/v1/jwks"
)

// mediaKeySet is the media type of keys (RFC 7517, section 8.5.1).
const mediaKeySet = "application/jwk-set+json"

// issuerRoot returns the path of the issuer's document that path is that of,
// or is below of, or "".
func (h *Handler) issuerRoot(path string) string {
	if h.options.Issuer == nil {
		return ""
	}
	for _, root := range []string{issuerConfiguration, issuerKeys} {
		if path == root || strings.HasPrefix(path, root+"/") {
			return root
		}
	}
	return ""
}

// serveIssuer answers requests for a document of the issuer, and for what is
// below it, which is nothing.
func (h *Handler) serveIssuer(w http.ResponseWriter, r *http.Request, path string) {
	if strings.TrimRight(r.URL.Path, "/") != path {
		h.refuse(w, r, routeError(http.StatusNotFound, "404: Page Not Found"))
		return
	}
	media, document := runtime.ContentTypeJSON, h.options.Issuer.GetConfigJSON
	if path == issuerKeys {
		media, document = mediaKeySet, h.options.Issuer.GetKeysetJSON
	}
	if !h.admitsBody(w, r, nil, []string{media}) {
		return
	}
	body, maxAge := document()
	w.Header().Set("Content-Type", media)
	w.Header().Set("Cache-Control", fmt.Sprintf("public, max-age=%d", maxAge))
	w.Write(body) // an error is the client gone
}
