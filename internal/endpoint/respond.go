package endpoint

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/handlers/responsewriters"
	"k8s.io/klog/v2"
	"sigs.k8s.io/yaml"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/object"
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
	if errors.Is(err, errBusy) {
		refuse(q.w)
		return
	}
	if ctx := q.r.Context(); errors.Is(ctx.Err(), context.DeadlineExceeded) && becauseEnded(ctx, err) {
		err = apierrors.NewTimeoutError("request did not complete within the allotted timeout", 0)
	} else {
		err = outOfTime(ctx, err)
	}
	v := q.target.Version
	responsewriters.ErrorNegotiated(err, v.Resource.Serializer, v.GroupVersion(), q.w, q.r)
}

// writeObject answers with one object. A subresource that shows it as another
// kind is made first.
func (q *query) writeObject(code int, s shape, o *object.Object) error {
	q.release() // what it was made of is not needed any more
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
	out.end()
}

// answer gathers what is written into chunks.
type answer struct {
	q     *query
	code  int
	shape shape
	size  int // in all; negative if that is not known before the end
	begun bool
	gzip  *gzip.Writer
	buf   *[]byte
}

// begin makes an answer of size bytes. If size is negative, the answer is as long
// as what is written; one that is longer than a chunk then does not tell its length.
func (q *query) begin(code int, s shape, size int) *answer {
	return &answer{q: q, code: code, shape: s, size: size, buf: q.buffers.Get().(*[]byte)}
}

// head writes the head of the answer.
func (a *answer) head() {
	a.begun = true
	h := a.q.w.Header()
	h.Set("Content-Type", a.shape.media)
	if (a.size < 0 || a.size > gzipFrom) && acceptsGzip(a.q.r) {
		h.Set("Content-Encoding", "gzip")
		h.Add("Vary", "Accept-Encoding")
		a.gzip = a.q.gzips.Get().(*gzip.Writer)
		a.gzip.Reset(a.q.w)
	} else if a.size >= 0 {
		h.Set("Content-Length", strconv.Itoa(a.size))
	}
	a.q.w.WriteHeader(a.code)
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
	if !a.begun {
		a.head()
	}
	if a.gzip != nil {
		_, _ = a.gzip.Write(p)
		return
	}
	_, _ = a.q.w.Write(p)
}

// end writes what is left.
func (a *answer) end() {
	if !a.begun {
		if a.size < 0 {
			a.size = len(*a.buf)
		}
		a.head()
	}
	a.flush()
}

// fail is for an error that is met while the answer is made. If its head has been
// written, all that can be done is not to end it as if it were whole.
func (a *answer) fail(err error) error {
	if !a.begun {
		return err
	}
	klog.ErrorS(err, "An answer ends before it is whole", "path", a.q.r.URL.Path)
	panic(http.ErrAbortHandler)
}

// close gives back what the answer borrowed, and ends it if it was begun.
func (a *answer) close() {
	if a.gzip != nil {
		_ = a.gzip.Close()
		a.q.gzips.Put(a.gzip)
	}
	*a.buf = (*a.buf)[:0]
	a.q.buffers.Put(a.buf)
}

// pools are what answers borrow; each endpoint has its own.
type pools struct{ buffers, gzips, frames sync.Pool }

func newPools() *pools {
	return &pools{
		buffers: sync.Pool{New: func() any { b := make([]byte, 0, chunk); return &b }},
		gzips: sync.Pool{New: func() any {
			w, _ := gzip.NewWriterLevel(nil, gzipLevel) // the level is valid
			return w
		}},
		frames: sync.Pool{New: func() any { b := make([]byte, 0, frames); return &b }},
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
