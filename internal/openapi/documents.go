package openapi

import (
	"encoding/json"
	"net/url"
	"slices"
	"sync"

	"k8s.io/kube-openapi/pkg/handler"
	"k8s.io/kube-openapi/pkg/handler3"

	"github.com/knarr-io/knarr/internal/kind"
)

// documents are those of one catalogue. There are as many as it has services,
// and one of version 2 of them all: nothing here for a client to make grow.
type documents struct {
	catalogue *kind.Catalogue
	services  []*service
	// v3 by the services' keys.
	v3 map[string]*lazy
	// index and v2 are made when they are first asked for.
	index func() ([]byte, error)
	v2    func() (*document, error)
}

// lazy is a document that is made when it is first asked for.
type lazy struct {
	service *service
	once    sync.Once
	made    *document
	err     error
}

// newDocuments takes over the documents of previous (which may be nil) that
// are still right.
func (h *Handler) newDocuments(c *kind.Catalogue, previous *documents) *documents {
	d := &documents{catalogue: c, services: services(c, h.options.Issuer), v3: map[string]*lazy{}}
	for _, s := range d.services {
		document := &lazy{service: s}
		if previous != nil {
			old, ok := previous.v3[s.key()]
			if ok && slices.Equal(old.service.versions, s.versions) {
				document = old
			}
		}
		d.v3[s.key()] = document
	}
	d.index = sync.OnceValues(func() ([]byte, error) { return h.makeIndex(d) })
	d.v2 = sync.OnceValues(func() (*document, error) {
		h.building.Lock()
		defer h.building.Unlock()
		content, err := buildV2(h.options.Version, d.services)
		if err != nil {
			return nil, err
		}
		return newDocument(content, handler.ToProtoBinary, &h.building), nil
	})
	return d
}

// document makes a document of version 3, if it is not there yet.
func (h *Handler) document(l *lazy, s *session) (*document, error) {
	l.once.Do(func() {
		h.building.Lock()
		defer h.building.Unlock()
		var content []byte
		if content, l.err = s.build(l.service); l.err == nil {
			l.made = newDocument(content, handler3.ToV3ProtoBinary, &h.building)
		}
	})
	return l.made, l.err
}

// makeIndex returns the list of all documents, with their hashes, for which
// all have to be made.
func (h *Handler) makeIndex(d *documents) ([]byte, error) {
	index := handler3.OpenAPIV3Discovery{Paths: map[string]handler3.OpenAPIV3DiscoveryGroupVersion{}}
	s := newSession(h.options.Version)
	for key, lazy := range d.v3 {
		document, err := h.document(lazy, s)
		if err != nil {
			return nil, err
		}
		index.Paths[key] = handler3.OpenAPIV3DiscoveryGroupVersion{ServerRelativeURL: address(key, document)}
	}
	return json.Marshal(index)
}

// address is where a document is found for ever: an other document at this
// place has an other address.
func address(key string, d *document) string {
	u := url.URL{Path: "/openapi/v3/" + key, RawQuery: url.Values{"hash": {d.hash}}.Encode()}
	return u.String()
}
