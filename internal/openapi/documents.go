package openapi

import (
	"encoding/json"
	"net/url"
	"slices"
	"sync"

	"k8s.io/kube-openapi/pkg/handler3"

	"github.com/knarr-io/knarr/internal/kind"
)

// documents are those of one catalogue and of what is served elsewhere at the time.
// There are as many as there are services, and one of version 2 of them all:
// nothing here for a client to make grow.
type documents struct {
	catalogue *kind.Catalogue
	elsewhere *Elsewhere // nil for nothing
	services  []*service
	// v3 by the services' keys.
	v3 map[string]*lazy
	// v3Elsewhere are other servers', by key.
	v3Elsewhere elsewhereV3
	// index and v2 are made when they are first asked for.
	index func() ([]byte, error)
	v2    func() (*document, error)
	parts v2Parts
}

// lazy is a document that is made when it is first asked for.
type lazy struct {
	service *service

	mu   sync.Mutex // held while it is made; guards what follows
	made *document
	err  error
	used bool // after the last call of dropUnused

	// Of custom resources: place is the document's, which can be told before it
	// is made, and v2 its part in the document of version 2.
	place string
	v2    func() ([]byte, error)
}

func (h *Handler) newLazy(s *service) *lazy {
	l := &lazy{service: s}
	if s.custom() {
		l.place = placeOf(s, h.options.Version)
		l.v2 = h.kept(func() ([]byte, error) { return partV2(s) })
	}
	return l
}

// newDocuments takes over the documents of previous (which may be nil) that
// are still right.
func (h *Handler) newDocuments(c *kind.Catalogue, elsewhere *Elsewhere, previous *documents) *documents {
	if previous == nil {
		previous = &documents{}
	}
	d := &documents{catalogue: c, elsewhere: elsewhere, services: services(c, h.options.Issuer), v3: map[string]*lazy{}}
	d.parts.elsewhere = elsewhere.v2()
	kept, native := 0, 0 // services that are kept, and those of native kinds among them
	for _, s := range d.services {
		l := previous.v3[s.key()]
		if l != nil && l.service.same(s) {
			kept++
		} else {
			l = h.newLazy(s)
		}
		d.v3[s.key()] = l
		if s.custom() {
			d.parts.custom = append(d.parts.custom, l.v2)
		} else if l == previous.v3[s.key()] {
			native++
		}
	}
	d.v3Elsewhere = elsewhere.v3(d.v3)
	unchanged := kept == len(d.services) && kept == len(previous.services)
	if unchanged && elsewhere == previous.elsewhere {
		d.index, d.v2, d.parts = previous.index, previous.v2, previous.parts
		return d
	}
	if native == len(d.services)-len(d.parts.custom) && native == len(previous.services)-len(previous.parts.custom) {
		d.parts.native = previous.parts.native
	} else {
		d.parts.native = h.kept(func() ([]byte, error) { return buildV2(h.options.Version, d.services) })
	}
	d.index = sync.OnceValues(func() ([]byte, error) { return h.makeIndex(d) })
	if unchanged && slices.Equal(d.parts.elsewhere, previous.parts.elsewhere) {
		d.v2, d.parts = previous.v2, previous.parts
		return d
	}
	d.v2 = sync.OnceValues(func() (*document, error) { return h.makeV2(d.parts) })
	return d
}

// document makes a document of version 3, if it is not there yet.
func (h *Handler) document(l *lazy, s *session) (*document, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.used = true
	if l.made != nil || l.err != nil {
		return l.made, l.err
	}
	h.building.Lock()
	defer h.building.Unlock()
	content, err := s.build(l.service)
	if err != nil {
		l.err = err
		return nil, err
	}
	l.made = newDocument(content, handler3.ToV3ProtoBinary, &h.building)
	if l.place != "" {
		l.made.place = l.place
	}
	return l.made, nil
}

// dropUnused forgets the document if it was not asked for since the last call.
func (l *lazy) dropUnused() {
	if !l.mu.TryLock() {
		return // it is being made
	}
	defer l.mu.Unlock()
	if !l.used {
		l.made, l.err = nil, nil
	}
	l.used = false
}

// makeIndex returns the list of all documents, with the hashes of their
// addresses, for which all of native kinds have to be made.
func (h *Handler) makeIndex(d *documents) ([]byte, error) {
	index := handler3.OpenAPIV3Discovery{Paths: map[string]handler3.OpenAPIV3DiscoveryGroupVersion{}}
	s := newSession(h.options.Version)
	for key, lazy := range d.v3 {
		place := lazy.place
		if place == "" {
			document, err := h.document(lazy, s)
			if err != nil {
				return nil, err
			}
			place = document.place
		}
		index.Paths[key] = handler3.OpenAPIV3DiscoveryGroupVersion{ServerRelativeURL: address(key, place)}
	}
	for key, address := range d.v3Elsewhere.addresses {
		index.Paths[key] = handler3.OpenAPIV3DiscoveryGroupVersion{ServerRelativeURL: address}
	}
	return json.Marshal(index)
}

// address is where a document is found for ever: an other document at this
// place has an other address.
func address(key, place string) string {
	u := url.URL{Path: "/openapi/v3/" + key, RawQuery: url.Values{"hash": {place}}.Encode()}
	return u.String()
}
