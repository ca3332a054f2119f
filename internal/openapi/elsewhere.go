package openapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"k8s.io/kube-openapi/pkg/aggregator"
	"k8s.io/kube-openapi/pkg/handler3"
	"k8s.io/kube-openapi/pkg/openapiconv"
	"k8s.io/kube-openapi/pkg/validation/spec"
)

// Elsewhere is what other servers tell of what they serve, at one time. It is
// immutable.
type Elsewhere struct {
	// Descriptions are in the order in which they are joined: of what several
	// describe, the first counts, and this server's own before all. (Of documents
	// of version 3 upstream takes any.)
	Descriptions []*Description
}

// Description is what another server tells of what it serves. It is immutable.
type Description struct {
	// Group and Version are what it is known to serve: of that, its document of
	// version 3 counts before this server's own.
	Group, Version string
	// V3 are the addresses of its documents of version 3, by key, and ServeV3
	// answers requests for them.
	V3      map[string]string
	ServeV3 http.Handler
	// Converted, if set, is its only document of version 3.
	Converted *Converted
	// V2, if set, is its part in the document of version 2.
	V2 *PartV2
}

// Converted is a document of version 3 made of one of version 2, for servers that
// have no other. It is immutable.
type Converted struct{ document *document }

// Convert makes a document of version 3 of one of version 2, which is JSON. What
// version 2 does not say is lost.
func Convert(v2 []byte) (*Converted, error) {
	decoded := &spec.Swagger{}
	if err := decoded.UnmarshalJSON(v2); err != nil {
		return nil, err
	}
	content, err := json.Marshal(openapiconv.ConvertV2ToV3(decoded))
	if err != nil {
		return nil, err
	}
	return &Converted{newDocument(content, handler3.ToV3ProtoBinary, new(sync.Mutex))}, nil
}

// PartV2 is what a version of a group has in the document of version 2 of its
// server. It is immutable.
type PartV2 struct{ content []byte } // compressed

// NewPartV2 takes the part of a version of a group out of a document, as JSON:
// what is below its path, and what that refers to.
func NewPartV2(group, version string, v2 []byte) (*PartV2, error) {
	decoded := &spec.Swagger{}
	if err := decoded.UnmarshalJSON(v2); err != nil {
		return nil, err
	}
	part := aggregator.FilterSpecByPathsWithoutSideEffects(decoded, []string{"/apis/" + group + "/" + version + "/"})
	content, err := marshal(part)
	if err != nil {
		return nil, err
	}
	return &PartV2{compress(content)}, nil
}

// merge adds the part to a document that has all that comes before it. Paths
// which are there already are left out. A definition or parameter that is another
// than the one of its name gets a new name, as upstream gives it.
//
// Only what the two have in common is decoded: whole documents are large.
func (p *PartV2) merge(whole *swagger) error {
	content, err := decompress(p.content)
	if err != nil {
		return err
	}
	part := &spec.Swagger{}
	if err := part.UnmarshalJSON(content); err != nil {
		return err
	}
	if part.Paths == nil {
		return nil
	}
	common, err := inCommon(whole, part)
	if err != nil {
		return err
	}
	before := make(map[string][]byte, len(common.Definitions))
	for name, d := range common.Definitions {
		if before[name], err = marshal(d); err != nil {
			return err
		}
	}
	if err := aggregator.MergeSpecsIgnorePathConflictRenamingDefinitionsAndParameters(common, part); err != nil {
		return err
	}
	for name, d := range common.Definitions {
		content, err := marshal(d)
		if err != nil {
			return err
		}
		if string(content) != string(before[name]) { // new, or of more kinds now
			whole.Definitions[name] = content
		}
	}
	return errors.Join(
		addEncoded(whole.Paths, common.Paths.Paths),
		addEncoded(whole.Parameters, common.Parameters),
	)
}

// inCommon returns that of whole which decides what is merged of part, and how.
func inCommon(whole *swagger, part *spec.Swagger) (*spec.Swagger, error) {
	common := &spec.Swagger{}
	common.Paths = &spec.Paths{Paths: map[string]spec.PathItem{}}
	for path := range part.Paths.Paths {
		if _, ok := whole.Paths[path]; ok {
			common.Paths.Paths[path] = spec.PathItem{}
		}
	}
	var err error
	if common.Definitions, err = sameNames(whole.Definitions, part.Definitions); err != nil {
		return nil, err
	}
	for name, d := range common.Definitions {
		if d.Extensions == nil { // upstream's merge writes into it
			d.Extensions = spec.Extensions{}
			common.Definitions[name] = d
		}
	}
	common.Parameters, err = sameNames(whole.Parameters, part.Parameters)
	return common, err
}

// sameNames returns those of all that have the names of some in other, or the
// names that those could be given, in a row, because they are taken.
func sameNames[T any](all map[string]json.RawMessage, other map[string]T) (map[string]T, error) {
	found := map[string]T{}
	take := func(name string) error {
		raw, ok := all[name]
		if !ok {
			return nil
		}
		var decoded T
		if err := json.Unmarshal(raw, &decoded); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		found[name] = decoded
		return nil
	}
	for name := range other {
		if err := take(name); err != nil {
			return nil, err
		}
		for i := 2; ; i++ {
			next := fmt.Sprintf("%s_v%d", name, i)
			_, here := all[next]
			if _, there := other[next]; !here && !there {
				break
			}
			if err := take(next); err != nil {
				return nil, err
			}
		}
	}
	return found, nil
}

// addEncoded adds to parts what they do not have.
func addEncoded[T any](parts map[string]json.RawMessage, more map[string]T) error {
	for name, part := range more {
		if _, ok := parts[name]; ok {
			continue
		}
		content, err := marshal(part)
		if err != nil {
			return err
		}
		parts[name] = content
	}
	return nil
}

// elsewhereV3 are the documents of version 3 that other servers have.
type elsewhereV3 struct {
	addresses map[string]string
	documents map[string]func(h *Handler, w http.ResponseWriter, r *http.Request) // by key
}

// v3 returns those of e, which may be nil, that count, here being this server's
// own.
func (e *Elsewhere) v3(here map[string]*lazy) elsewhereV3 {
	if e == nil {
		return elsewhereV3{}
	}
	all := elsewhereV3{map[string]string{}, map[string]func(*Handler, http.ResponseWriter, *http.Request){}}
	for _, d := range e.Descriptions {
		own := "apis/" + d.Group + "/" + d.Version
		add := func(key, address string, serve func(*Handler, http.ResponseWriter, *http.Request)) {
			if _, ok := all.addresses[key]; !ok && here[key] == nil || key == own {
				all.addresses[key], all.documents[key] = address, serve
			}
		}
		for key, address := range d.V3 {
			add(key, address, func(_ *Handler, w http.ResponseWriter, r *http.Request) { d.ServeV3.ServeHTTP(w, r) })
		}
		if c := d.Converted; c != nil {
			add(own, address(own, c.document.place), func(h *Handler, w http.ResponseWriter, r *http.Request) {
				w.Header().Add("Vary", "Accept")
				h.serve(w, r, "v3", func() (*document, error) { return c.document, nil })
			})
		}
	}
	return all
}

// v2 returns the parts of e, which may be nil, in the order in which they are
// merged.
func (e *Elsewhere) v2() []*PartV2 {
	if e == nil {
		return nil
	}
	var parts []*PartV2
	for _, d := range e.Descriptions {
		if d.V2 != nil {
			parts = append(parts, d.V2)
		}
	}
	return parts
}
