package discovery

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"strconv"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	auditinternal "k8s.io/apiserver/pkg/apis/audit"
	"k8s.io/apiserver/pkg/audit"
	"k8s.io/apiserver/pkg/endpoints/handlers/negotiation"
)

// gzipThreshold is the size of a body in bytes above which it is compressed for
// clients that accept it, upstream's.
const gzipThreshold = 128 << 10

// aggregatedGVK is the only form of aggregated discovery: v2beta1 ended with
// Kubernetes 1.35.
var aggregatedGVK = schema.GroupVersionKind{Group: "apidiscovery.k8s.io", Version: "v2", Kind: "APIGroupDiscoveryList"}

// aggregatedOnly restricts negotiation to aggregated discovery.
type aggregatedOnly struct{}

var _ negotiation.EndpointRestrictions = aggregatedOnly{}

func (aggregatedOnly) AllowsMediaTypeTransform(_, _ string, target *schema.GroupVersionKind) bool {
	return target != nil && *target == aggregatedGVK
}
func (aggregatedOnly) AllowsServerVersion(string) bool       { return false }
func (aggregatedOnly) AllowsStreamSchema(schema string) bool { return schema == "watch" }

// encoders are the serializers that clients can choose from: JSON, YAML and
// protobuf.
type encoders struct {
	serializer.CodecFactory
}

func newEncoders() *encoders {
	// The documents name their own kinds; what the scheme must know is the
	// Status of a refusal.
	scheme := runtime.NewScheme()
	scheme.AddUnversionedTypes(schema.GroupVersion{Version: "v1"}, &metav1.Status{})
	return &encoders{serializer.NewCodecFactory(scheme)}
}

// document is one object with its encodings, each made at its first use.
type document struct {
	etag      string // quoted; empty if there is none
	encodings map[runtime.Serializer]func() (encoding, error)
}

// encoding is shared by all requests: its bytes must not be modified.
type encoding struct {
	body []byte
	// gzipped is the body compressed, nil if it is too small for that.
	gzipped []byte
}

// document returns the document of an object, which has its kind and apiVersion
// set and is not modified any more.
func (e *encoders) document(object runtime.Object) *document {
	return e.lazyDocument(func() runtime.Object { return object })
}

// lazyDocument is document where the object costs something to make.
func (e *encoders) lazyDocument(object func() runtime.Object) *document {
	d := &document{encodings: map[runtime.Serializer]func() (encoding, error){}}
	for _, info := range e.SupportedMediaTypes() {
		for _, s := range []runtime.Serializer{info.Serializer, info.PrettySerializer} {
			if s != nil {
				d.encodings[s] = sync.OnceValues(func() (encoding, error) { return encode(object(), s) })
			}
		}
	}
	return d
}

func encode(object runtime.Object, s runtime.Serializer) (encoding, error) {
	body, err := runtime.Encode(s, object)
	if err != nil {
		return encoding{}, err
	}
	return compressed(body)
}

// compressed returns the encoding of a body, which it keeps.
func compressed(body []byte) (encoding, error) {
	if len(body) <= gzipThreshold {
		return encoding{body: body}, nil
	}
	var gzipped bytes.Buffer
	zip, err := gzip.NewWriterLevel(&gzipped, gzip.BestSpeed)
	if err != nil {
		return encoding{}, err
	}
	if _, err := zip.Write(body); err != nil {
		return encoding{}, err
	}
	if err := zip.Close(); err != nil {
		return encoding{}, err
	}
	return encoding{body, gzipped.Bytes()}, nil
}

// write answers with a document in the encoding that the client wants.
func (h *Handler) write(w http.ResponseWriter, r *http.Request, d *document) {
	_, info, err := negotiation.NegotiateOutputMediaType(r, h.encoders, negotiation.DefaultEndpointRestrictions)
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	h.writeEncoded(w, r, d, info.Serializer, info.MediaType)
}

// wantsAggregated reports whether the client accepts aggregated discovery, and
// in which encoding. One that accepts both forms, in whatever order, gets it.
func (h *Handler) wantsAggregated(r *http.Request) (runtime.SerializerInfo, bool) {
	options, info, err := negotiation.NegotiateOutputMediaType(r, h.encoders, aggregatedOnly{})
	// Without an Accept header, whatever comes first is negotiated.
	return info, err == nil && options.Convert != nil
}

// writeAggregated is write for aggregated documents, which clients may keep and
// ask for by ETag.
func (h *Handler) writeAggregated(w http.ResponseWriter, r *http.Request, d *document, info runtime.SerializerInfo) {
	header := w.Header()
	header.Set("ETag", d.etag)
	header.Set("Vary", "Accept")
	header.Set("Cache-Control", "public")
	if r.Header.Get("If-None-Match") == d.etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.writeEncoded(w, r, d, info.Serializer,
		info.MediaType+";g="+aggregatedGVK.Group+";v="+aggregatedGVK.Version+";as="+aggregatedGVK.Kind)
}

func (h *Handler) writeEncoded(w http.ResponseWriter, r *http.Request, d *document, s runtime.Serializer, contentType string) {
	e, err := d.encodings[s]()
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	h.record(r, d)
	body, header := e.body, w.Header()
	if e.gzipped != nil && acceptsGzip(r) {
		body = e.gzipped
		header.Set("Content-Encoding", "gzip")
		header.Add("Vary", "Accept-Encoding")
	}
	header.Set("Content-Type", contentType)
	header.Set("Content-Length", strconv.Itoa(len(body)))
	w.Write(body) // an error is the client gone
}

// record records the answer, if the request's audit policy asks for answers.
func (h *Handler) record(r *http.Request, d *document) {
	a := audit.AuditContextFrom(r.Context())
	if a == nil || a.GetEventLevel().Less(auditinternal.LevelRequestResponse) {
		return
	}
	if e, err := d.encodings[h.encoders.SupportedMediaTypes()[0].Serializer](); err == nil { // JSON
		a.LogResponseObject(nil, &runtime.Unknown{Raw: e.body, ContentType: runtime.ContentTypeJSON})
	}
}

func acceptsGzip(r *http.Request) bool {
	for accepted := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		if strings.TrimSpace(accepted) == "gzip" {
			return true
		}
	}
	return false
}
