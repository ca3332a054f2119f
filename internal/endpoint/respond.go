package endpoint

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/handlers/responsewriters"
	"k8s.io/apiserver/pkg/storage"
	"sigs.k8s.io/yaml"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/verb"
)

var errNoRequestInfo = errors.New("no RequestInfo found in the context")

const (
	// gzipFrom is the size from which answers are compressed for clients that
	// accept it, and gzipLevel how much: both are upstream's.
	gzipFrom  = 128 << 10
	gzipLevel = 1
	// chunk is how much of a list is gathered before it is written: a write
	// costs a switch to the connection's goroutine.
	chunk = 256 << 10
)

// error answers with a Status.
func (e *Endpoint) error(w http.ResponseWriter, r *http.Request, ns runtime.NegotiatedSerializer, err error) {
	responsewriters.ErrorNegotiated(err, ns, metav1.Unversioned, w, r)
}

// fail answers with a Status in the terms of the resource.
func (q *query) fail(err error) {
	v := q.target.Version
	responsewriters.ErrorNegotiated(err, v.Resource.Serializer, v.GroupVersion(), q.w, q.r)
}

// writeObject answers with one object. A subresource that shows it as another
// kind is made first.
func (q *query) writeObject(code int, s shape, o *object.Object) error {
	v := q.target.Version
	if sub := q.target.Subresource; sub != nil && sub.View != nil {
		view, err := q.target.View(o)
		if err != nil {
			return err
		}
		return q.writeHub(code, s, view)
	}
	if v.Resource.Custom() {
		if err := takenForList(o); err != nil {
			return err
		}
	}
	if s.isTable() {
		return q.writeTable(code, s, []*object.Object{o}, nil)
	}
	if s.isMetadata() && s.as.Kind == "PartialObjectMetadataList" {
		if v.Resource.Custom() {
			return errNoList
		}
		return notAcceptable("you requested PartialObjectMetadataList, but the requested object is not a list (" + hubType(v) + ")")
	}
	encode := q.cache.Encoded
	if q.fresh || q.info.Verb != "get" && !v.Resource.Foreign(o) {
		encode = q.cache.Peek
	}
	b, err := encode(o, s.form(v))
	if err != nil {
		return q.target.ReadError(o, err)
	}
	if err := q.record(s, o); err != nil {
		return err
	}
	b = s.asVersion(b)
	if s.media == mediaProtobuf {
		head := kind.AppendEnvelopeHead(make([]byte, 0, 128), s.gvk(v.GVK()), len(b))
		q.writeParts(code, s, head, b, kind.AppendEnvelopeTail(nil))
		return nil
	}
	return q.writeJSON(code, s, b)
}

// asVersion renames metadata encoded as meta.k8s.io/v1 to the version asked for.
func (s *shape) asVersion(b []byte) []byte {
	if s.isMetadata() && s.as.Version != "v1" && s.media != mediaProtobuf {
		return bytes.Replace(b, []byte(`"apiVersion":"meta.k8s.io/v1"`), []byte(`"apiVersion":"meta.k8s.io/`+s.as.Version+`"`), 1)
	}
	return b
}

// writeHub answers with a hub object that is not stored as such, or with a
// Status, encoded on the spot.
func (q *query) writeHub(code int, s shape, obj runtime.Object) error {
	codecs, gv := q.target.Version.Resource.Serializer, q.bodyVersion()
	if s.as != nil {
		codecs, gv = metaCodecs(), s.as.GroupVersion()
		var err error
		if obj, err = q.transformed(s, obj); err != nil {
			return err
		}
	}
	responsewriters.WriteObjectNegotiated(codecs, q.restrictions(), gv, q.w, q.r, code, obj, false)
	return nil
}

// transformed is a hub object as a table or as its metadata. A Status stays
// what it is.
func (q *query) transformed(s shape, obj runtime.Object) (runtime.Object, error) {
	if _, ok := obj.(*metav1.Status); ok {
		return obj, nil
	}
	if s.isTable() {
		return q.table(q.r.Context(), s, obj)
	}
	if apimeta.IsListType(obj) {
		return partialList(obj, s.as)
	}
	if s.as.Kind == "PartialObjectMetadataList" {
		return nil, notAcceptable(fmt.Sprintf("you requested PartialObjectMetadataList, but the requested object is not a list (%T)", obj))
	}
	return partial(obj, s.as.GroupVersion())
}

// bodyVersion is the group and version of the objects that are served: of the
// resource, or of its subresource.
func (q *query) bodyVersion() schema.GroupVersion {
	if s := q.target.Subresource; s != nil {
		return s.GVK(q.target.Version).GroupVersion()
	}
	return q.target.Version.GroupVersion()
}

// writeJSON answers with a JSON document, as YAML or indented if asked for.
func (q *query) writeJSON(code int, s shape, b []byte) error {
	switch {
	case s.media == mediaYAML:
		out, err := yaml.JSONToYAML(b)
		if err != nil {
			return err
		}
		q.writeParts(code, s, out)
	case s.pretty:
		var out bytes.Buffer
		if err := json.Indent(&out, b, "", "  "); err != nil {
			return err
		}
		q.writeParts(code, s, out.Bytes())
	default:
		q.writeParts(code, s, b, newline)
	}
	return nil
}

var newline = []byte{'\n'}

// writeParts answers with the concatenation of parts.
func (q *query) writeParts(code int, s shape, parts ...[]byte) {
	size := 0
	for _, p := range parts {
		size += len(p)
	}
	out := q.begin(code, s, size)
	defer out.close()
	for _, p := range parts {
		out.write(p)
	}
	out.flush()
}

// answer gathers what is written into chunks.
type answer struct {
	w     http.ResponseWriter
	gzip  *gzip.Writer
	buf   *[]byte
	pools *pools
}

// begin writes the head of an answer of size bytes.
func (q *query) begin(code int, s shape, size int) *answer {
	h := q.w.Header()
	h.Set("Content-Type", s.media)
	a := &answer{w: q.w, buf: q.buffers.Get().(*[]byte), pools: q.pools}
	if size > gzipFrom && acceptsGzip(q.r) {
		h.Set("Content-Encoding", "gzip")
		h.Add("Vary", "Accept-Encoding")
		a.gzip = q.gzips.Get().(*gzip.Writer)
		a.gzip.Reset(q.w)
	} else {
		h.Set("Content-Length", strconv.Itoa(size))
	}
	q.w.WriteHeader(code)
	return a
}

func (a *answer) write(p []byte) {
	if len(*a.buf)+len(p) > cap(*a.buf) {
		a.flush()
	}
	if len(p) >= cap(*a.buf) {
		a.out(p)
		return
	}
	*a.buf = append(*a.buf, p...)
}

func (a *answer) flush() {
	if len(*a.buf) > 0 {
		a.out(*a.buf)
		*a.buf = (*a.buf)[:0]
	}
}

// out writes for good. A client that is gone is noticed by the server.
func (a *answer) out(p []byte) {
	if a.gzip != nil {
		_, _ = a.gzip.Write(p)
		return
	}
	_, _ = a.w.Write(p)
}

// close ends the answer and gives back what it borrowed.
func (a *answer) close() {
	if a.gzip != nil {
		_ = a.gzip.Close()
		a.pools.gzips.Put(a.gzip)
	}
	*a.buf = (*a.buf)[:0]
	a.pools.buffers.Put(a.buf)
}

// pools are what answers borrow; each endpoint has its own.
type pools struct{ buffers, gzips sync.Pool }

func newPools() *pools {
	return &pools{
		buffers: sync.Pool{New: func() any { b := make([]byte, 0, chunk); return &b }},
		gzips: sync.Pool{New: func() any {
			w, _ := gzip.NewWriterLevel(nil, gzipLevel) // the level is valid
			return w
		}},
	}
}

func acceptsGzip(r *http.Request) bool {
	for part := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		if part = strings.TrimSpace(part); part == "gzip" || strings.HasPrefix(part, "gzip;") {
			return true
		}
	}
	return false
}

// writeList answers with a list: its items are copied from their encodings.
func (q *query) writeList(s shape, list *verb.List) error {
	if s.isTable() {
		return q.writeTable(http.StatusOK, s, list.Objects, list)
	}
	v := q.target.Version
	gvk := v.ListGVK()
	if s.isMetadata() {
		if s.as.Kind == "PartialObjectMetadata" {
			return notAcceptable("you requested PartialObjectMetadata, but the requested object is a list (" + hubType(v) + "List)")
		}
		gvk = *s.as
	}
	items := make([][]byte, len(list.Objects))
	form := s.form(v)
	remote := v.Resource.Storage != nil && v.Resource.Storage.Remote != nil
	for i, o := range list.Objects {
		if remote && q.r.Context().Err() != nil { // or a webhook is asked for who has gone
			return storage.NewTimeoutError(v.Resource.Storage.Key(o.Namespace, o.Name), "request did not complete within requested timeout")
		}
		b, err := q.cache.Encoded(o, form)
		if err != nil {
			return q.target.ListError(slices.Values(list.Objects), err)
		}
		items[i] = s.asVersion(b)
	}
	if err := q.recordList(s, list); err != nil {
		return err
	}
	meta := &metav1.ListMeta{ResourceVersion: formatRevision(list.Rev), Continue: list.Continue, RemainingItemCount: list.Remaining}
	if s.media == mediaProtobuf {
		return q.writeProtobufList(s, gvk, meta, items)
	}
	return q.writeJSONList(s, gvk, meta, items)
}

// writeProtobufList writes { metadata = 1, repeated items = 2 }.
func (q *query) writeProtobufList(s shape, gvk schema.GroupVersionKind, meta *metav1.ListMeta, items [][]byte) error {
	m, err := meta.Marshal()
	if err != nil {
		return err
	}
	size := 1 + kind.UvarintLen(len(m)) + len(m)
	for _, b := range items {
		size += 1 + kind.UvarintLen(len(b)) + len(b)
	}
	head := kind.AppendEnvelopeHead(make([]byte, 0, 512), gvk, size)
	tail := kind.AppendEnvelopeTail(nil)
	out := q.begin(http.StatusOK, s, len(head)+size+len(tail))
	defer out.close()
	out.write(head)
	var prefix [binary.MaxVarintLen64 + 1]byte
	out.write(append(binary.AppendUvarint(append(prefix[:0], 0x0a), uint64(len(m))), m...))
	for _, b := range items {
		out.write(binary.AppendUvarint(append(prefix[:0], 0x12), uint64(len(b))))
		out.write(b)
	}
	out.write(tail)
	out.flush()
	return nil
}

// writeJSONList writes head, items joined by commas, tail. Items of native
// lists carry no kind and apiVersion.
func (q *query) writeJSONList(s shape, gvk schema.GroupVersionKind, meta *metav1.ListMeta, items [][]byte) error {
	head, tail, err := q.listEnds(s, gvk, meta, len(items))
	if err != nil {
		return err
	}
	typed := []byte(nil)
	if !s.isMetadata() {
		typed = []byte(`{"kind":"` + q.target.Version.Resource.Kind + `","apiVersion":"` + gvk.GroupVersion().String() + `",`)
	}
	if s.media == mediaYAML || s.pretty {
		tail = tail[:len(tail)-1]
	}
	size := len(head) + len(tail) + max(len(items)-1, 0)
	for i, b := range items {
		if typed != nil && bytes.HasPrefix(b, typed) {
			items[i] = b[len(typed)-1:] // from the comma, which becomes a brace
		}
		size += len(items[i])
	}
	out := &answer{}
	if s.media == mediaYAML || s.pretty {
		whole := make([]byte, 0, size)
		out.buf = &whole
	} else {
		out = q.begin(http.StatusOK, s, size)
		defer out.close()
	}
	out.write(head)
	for i, b := range items {
		if i > 0 {
			out.write(comma)
		}
		if len(b) > 0 && b[0] == ',' {
			out.write(brace)
			b = b[1:]
		}
		out.write(b)
	}
	out.write(tail)
	if out.w == nil {
		return q.writeJSON(http.StatusOK, s, *out.buf)
	}
	out.flush()
	return nil
}

// listEnds returns what a JSON list has before and after its items. Those of
// custom resources are maps to upstream: in order of their keys, and with a
// continue that may be empty. The metadata of no objects are no list.
func (q *query) listEnds(s shape, gvk schema.GroupVersionKind, meta *metav1.ListMeta, items int) (head, tail []byte, err error) {
	apiVersion := gvk.GroupVersion().String()
	if !q.target.Version.Resource.Custom() || s.isMetadata() {
		m, err := json.Marshal(meta)
		if err != nil {
			return nil, nil, err
		}
		head = append([]byte(`{"kind":"`+gvk.Kind+`","apiVersion":"`+apiVersion+`","metadata":`), m...)
		if s.isMetadata() && items == 0 {
			return append(head, `,"items":null`...), []byte("}\n"), nil
		}
		return append(head, `,"items":[`...), []byte("]}\n"), nil
	}
	fields := map[string]any{"continue": meta.Continue, "resourceVersion": meta.ResourceVersion}
	if meta.RemainingItemCount != nil {
		fields["remainingItemCount"] = *meta.RemainingItemCount
	}
	m, err := json.Marshal(fields)
	if err != nil {
		return nil, nil, err
	}
	tail = append([]byte(`],"kind":"`+gvk.Kind+`","metadata":`), m...)
	return []byte(`{"apiVersion":"` + apiVersion + `","items":[`), append(tail, "}\n"...), nil
}

var comma, brace = []byte{','}, []byte{'{'}
