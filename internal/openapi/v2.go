package openapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"

	"k8s.io/klog/v2"
	"k8s.io/kube-openapi/pkg/handler"
	"k8s.io/kube-openapi/pkg/validation/spec"
)

// swagger is a document of version 2 as far as documents are joined: the
// one of native kinds and the parts that custom resources have in it. Parts are
// joined as JSON, since thousands of them decoded are gigabytes.
type swagger struct {
	Swagger             json.RawMessage            `json:"swagger"`
	Info                json.RawMessage            `json:"info"`
	Paths               map[string]json.RawMessage `json:"paths"`
	Definitions         map[string]json.RawMessage `json:"definitions"`
	Parameters          map[string]json.RawMessage `json:"parameters,omitempty"`
	SecurityDefinitions json.RawMessage            `json:"securityDefinitions,omitempty"`
	Security            json.RawMessage            `json:"security,omitempty"`
}

// partV2 is what a service of custom resources has in the document. A resource
// that cannot be described is left out, as upstream does.
func partV2(of *service) ([]byte, error) {
	part := &spec.Swagger{}
	part.Paths = &spec.Paths{Paths: map[string]spec.PathItem{}}
	part.Definitions, part.Parameters = spec.Definitions{}, map[string]spec.Parameter{}
	for _, p := range of.published {
		document, err := p.OpenAPIV2()
		if err != nil || document.Paths == nil {
			continue
		}
		maps.Copy(part.Paths.Paths, document.Paths.Paths)
		maps.Copy(part.Definitions, document.Definitions)
		maps.Copy(part.Parameters, document.Parameters)
	}
	maps.DeleteFunc(part.Definitions, func(name string, _ spec.Schema) bool { return isShared(name) })
	// As encodeV2, but by upstream's encoding alone: there may be thousands.
	content, err := part.MarshalJSON()
	if err != nil {
		return nil, err
	}
	decoded := &spec.Swagger{}
	if err := decoded.UnmarshalJSON(content); err != nil {
		return nil, err
	}
	return decoded.MarshalJSON()
}

// encodeV2 encodes what was built twice: upstream publishes what it has decoded,
// where the members of extensions are in order.
func encodeV2[T any](built T) ([]byte, error) {
	content, err := marshal(built)
	if err != nil {
		return nil, err
	}
	var decoded T
	if err := json.Unmarshal(content, &decoded); err != nil {
		return nil, err
	}
	return marshal(decoded)
}

// marshal is json.Marshal, but writes <, > and & as they are, as upstream does
// in these documents.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// encodeNative encodes the document of native kinds. What describes APIServices
// upstream has not decoded: they are of the server that joins the documents.
func encodeNative(built *spec.Swagger) ([]byte, error) {
	first, err := marshal(built)
	if err != nil {
		return nil, err
	}
	content, err := encodeV2(built)
	if err != nil {
		return nil, err
	}
	var own, whole swagger
	if err := errors.Join(json.Unmarshal(first, &own), json.Unmarshal(content, &whole)); err != nil {
		return nil, err
	}
	replace(whole.Paths, own.Paths, "/apis/apiregistration.k8s.io/")
	replace(whole.Definitions, own.Definitions, "io.k8s.kube-aggregator.")
	return marshal(whole)
}

// replace has those parts whose names begin so be what they are in other.
func replace(parts, other map[string]json.RawMessage, prefix string) {
	for name := range parts {
		if strings.HasPrefix(name, prefix) {
			parts[name] = other[name]
		}
	}
}

// isShared reports whether a schema is one of those that custom resources refer
// to, which are those of native kinds.
func isShared(schema string) bool {
	return strings.HasPrefix(schema, "io.k8s.apimachinery.pkg.") || strings.HasPrefix(schema, "io.k8s.api.autoscaling.v1.")
}

// v2Parts are the parts of one catalogue, each kept compressed.
type v2Parts struct {
	native func() ([]byte, error)
	custom []func() ([]byte, error)
	// elsewhere are other servers', in order.
	elsewhere []*PartV2
}

// kept has what takes a build made once, one at a time, and kept compressed.
func (h *Handler) kept(build func() ([]byte, error)) func() ([]byte, error) {
	return sync.OnceValues(func() ([]byte, error) {
		h.building.Lock()
		defer h.building.Unlock()
		content, err := build()
		if err != nil {
			return nil, err
		}
		return compress(content), nil
	})
}

// makeV2 joins the parts. What native kinds have stays as it is.
func (h *Handler) makeV2(parts v2Parts) (*document, error) {
	native, err := parts.native()
	if err != nil {
		return nil, err
	}
	var custom [][]byte
	for _, made := range parts.custom {
		part, err := made()
		if err != nil {
			return nil, err
		}
		custom = append(custom, part)
	}
	h.building.Lock()
	defer h.building.Unlock()
	content, err := decompress(native)
	if err == nil && len(custom)+len(parts.elsewhere) == 0 {
		return newDocument(content, handler.ToProtoBinary, &h.building), nil
	}
	var whole *swagger
	if err == nil {
		whole, err = joinV2(content, custom, parts.elsewhere)
	}
	var d *document
	if err == nil {
		d, err = writeDocument(whole.writeTo, handler.ToProtoBinary, &h.building)
	}
	if err != nil {
		return nil, fmt.Errorf("version 2: %w", err)
	}
	return d, nil
}

// writeTo writes the document as marshal would. With thousands of parts it is too
// large to be there a second time. Its parts must be compact.
func (s *swagger) writeTo(w io.Writer) error {
	out := &memberWriter{to: w}
	out.value("{", "swagger", s.Swagger)
	out.value(",", "info", s.Info)
	out.values(",", "paths", s.Paths)
	out.values(",", "definitions", s.Definitions)
	if len(s.Parameters) > 0 {
		out.values(",", "parameters", s.Parameters)
	}
	if len(s.SecurityDefinitions) > 0 {
		out.value(",", "securityDefinitions", s.SecurityDefinitions)
	}
	if len(s.Security) > 0 {
		out.value(",", "security", s.Security)
	}
	out.write([]byte("}"))
	return out.err
}

// memberWriter writes members of JSON objects until that fails.
type memberWriter struct {
	to  io.Writer
	err error
}

func (m *memberWriter) write(content []byte) {
	if m.err == nil {
		_, m.err = m.to.Write(content)
	}
}

// name writes a name after what stands before it.
func (m *memberWriter) name(before, name string) {
	quoted, err := marshal(name)
	m.err = errors.Join(m.err, err)
	m.write([]byte(before))
	m.write(quoted)
	m.write([]byte(":"))
}

func (m *memberWriter) value(before, name string, value json.RawMessage) {
	m.name(before, name)
	m.write(value)
}

func (m *memberWriter) values(before, name string, values map[string]json.RawMessage) {
	m.name(before, name)
	before = "{"
	for _, name := range slices.Sorted(maps.Keys(values)) {
		m.value(before, name, values[name])
		before = ","
	}
	if len(values) == 0 {
		m.write([]byte("{"))
	}
	m.write([]byte("}"))
}

// joinV2 returns native with compressed parts, and with those of other servers. One
// of those that cannot be merged is left out: its server must not take from
// clients what all others say.
func joinV2(native []byte, parts [][]byte, elsewhere []*PartV2) (*swagger, error) {
	whole := &swagger{}
	if err := json.Unmarshal(native, whole); err != nil {
		return nil, err
	}
	if whole.Parameters == nil {
		whole.Parameters = map[string]json.RawMessage{}
	}
	for _, part := range parts {
		content, err := decompress(part)
		if err != nil {
			return nil, err
		}
		var custom swagger
		if err := json.Unmarshal(content, &custom); err != nil {
			return nil, err
		}
		add(whole.Paths, custom.Paths)
		add(whole.Definitions, custom.Definitions)
		add(whole.Parameters, custom.Parameters)
	}
	for _, part := range elsewhere {
		if err := part.merge(whole); err != nil {
			klog.ErrorS(err, "What another server tells of what it serves is left out of /openapi/v2")
		}
	}
	return whole, nil
}

// add adds to parts what they do not have.
func add(parts, more map[string]json.RawMessage) {
	for name, part := range more {
		if _, ok := parts[name]; !ok {
			parts[name] = part
		}
	}
}
