package endpoint

import (
	"compress/gzip"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/endpoints/handlers/negotiation"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/util/flowcontrol"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/verb"
)

// watch streams events until its time is over, the client is gone, the server
// stops or the resource is no longer served.
func (q *query) watch() error {
	form, err := q.negotiate()
	if err != nil {
		return err
	}
	opts, err := q.listOptions()
	if err != nil {
		return err
	}
	if _, err := negotiation.NegotiateOutputMediaTypeStream(q.r, q.target.Version.Resource.Serializer, q.restrictions()); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(q.r.Context(), q.watchTime(opts), errWatchOver)
	defer cancel()
	ctx, stop := q.withEnd(request.WithNamespace(ctx, q.target.Namespace))
	defer stop()
	w, err := q.verbs.Watch(ctx, q.target, opts)
	if err != nil {
		return err
	}
	flowcontrol.WatchInitialized(ctx) // it no longer counts as running
	s := &stream{w: q.w, flusher: http.NewResponseController(q.w)}
	if initial := opts.SendInitialEvents; initial != nil && *initial && opts.AllowWatchBookmarks && acceptsGzip(q.r) {
		s.gzips = &q.gzips
	}
	q.stream(ctx, w, &framer{query: q, shape: form, out: s})
	return nil
}

var errWatchOver = errors.New("the time of the watch is over")

// watchTime is how long a watch lasts: as asked, or long and random so that
// the clients of one server do not all come back at once.
func (q *query) watchTime(opts *metainternalversion.ListOptions) time.Duration {
	if s := opts.TimeoutSeconds; s != nil && *s > 0 {
		return time.Duration(*s) * time.Second
	}
	return time.Duration(float64(q.MinRequestTimeout) * (rand.Float64() + 1))
}

// withEnd returns a context that ends when the server begins to stop or the
// resource is no longer served. A watch tells what there is to tell before it
// looks at its context.
func (q *query) withEnd(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	gone := q.target.Version.Resource.Gone
	if q.Stopping == nil && gone == nil {
		return ctx, cancel
	}
	done := make(chan struct{})
	go func() {
		select {
		case <-q.Stopping:
			cancel()
		case <-gone:
			cancel()
		case <-done:
		}
	}()
	return ctx, func() { close(done); cancel() }
}

// stream is the body of a watch. What is written between two flushes is, for
// a streaming list whose client accepts it, one member of a gzip file, so that
// an idle watch holds no compressor (upstream's WatchListCompression).
type stream struct {
	w       http.ResponseWriter
	flusher *http.ResponseController
	gzips   *sync.Pool // nil if the stream is not compressed
	gzip    *gzip.Writer
	written bool  // since the last flush
	err     error // the first
}

// begin sends the headers.
func (s *stream) begin(contentType string) error {
	h := s.w.Header()
	h.Set("Content-Type", contentType)
	if s.gzips != nil {
		h.Set("Content-Encoding", "gzip")
		h.Add("Vary", "Accept-Encoding")
	}
	s.w.WriteHeader(http.StatusOK)
	return s.flusher.Flush()
}

// write writes frames, or parts of them.
func (s *stream) write(p []byte) {
	if len(p) == 0 || s.err != nil {
		return
	}
	s.written = true
	if s.gzips == nil {
		_, s.err = s.w.Write(p)
		return
	}
	if s.gzip == nil {
		s.gzip = s.gzips.Get().(*gzip.Writer)
		s.gzip.Reset(s.w)
	}
	_, s.err = s.gzip.Write(p)
}

// flush sends what was written.
func (s *stream) flush() error {
	if s.gzip != nil {
		// Flushed first: a reader that meets the data together with the end of a
		// member waits for the next before it hands the data on.
		if err := errors.Join(s.gzip.Flush(), s.gzip.Close()); s.err == nil {
			s.err = err
		}
		s.gzips.Put(s.gzip)
		s.gzip = nil
	}
	if s.written && s.err == nil {
		s.err = s.flusher.Flush()
	}
	s.written = false
	return s.err
}

// frames is how much of what is told together is gathered before it is written: as
// much is held by each watch whose client takes nothing.
const frames = 32 << 10

// stream writes frames as events come; those that come together are written
// together. An event that has no frame ends it.
func (q *query) stream(ctx context.Context, w *verb.Watch, f *framer) {
	if f.out.begin(f.contentType()) != nil {
		return
	}
	for {
		events, ok, err := w.Next(ctx)
		if err != nil || !ok || q.tell(events, f) != nil {
			return
		}
	}
}

// tell writes frames of events. An idle watch holds no buffer.
func (q *query) tell(events []verb.WatchEvent, f *framer) error {
	buffer := q.frames.Get().(*[]byte)
	buf := (*buffer)[:0]
	defer func() {
		if cap(buf) <= 2*frames {
			*buffer = buf
		}
		q.frames.Put(buffer)
	}()
	for i := range events {
		var err error
		buf, err = f.append(buf, &events[i])
		if told := verb.WatchError(&events[i], err); told != nil {
			buf, err = f.appendError(buf, told)
			err = errors.Join(told, err) // it is the last
		}
		if err != nil || len(buf) >= frames || i == len(events)-1 {
			f.out.write(buf)
			buf = buf[:0]
			if err := errors.Join(f.out.flush(), err); err != nil {
				return err
			}
		}
	}
	return nil
}

// framer turns events into frames of a stream.
type framer struct {
	*query
	shape
	out       *stream
	noHeaders bool // of tables: the first frame has shown the columns
}

// contentType is that of the stream.
func (f *framer) contentType() string {
	if f.media == mediaJSON {
		return f.media
	}
	return f.media + ";stream=watch"
}

// append appends the frame of one event.
func (f *framer) append(buf []byte, e *verb.WatchEvent) ([]byte, error) {
	switch {
	case e.Type == watch.Error:
		return f.appendError(buf, e.Err)
	case e.Type == watch.Bookmark:
		obj, err := f.bookmark(e)
		if err != nil {
			return buf, err
		}
		return f.appendHub(buf, e.Type, obj)
	case f.isMetadata() && f.as.Kind != "PartialObjectMetadata":
		return buf, notAcceptable("an event is not a list")
	case f.isTable():
		obj, err := f.target.Version.Resource.Decode(e.Object)
		if err != nil {
			return buf, err
		}
		return f.appendHub(buf, e.Type, obj)
	}
	b, err := f.cache.Encoded(e.Object, f.form(f.target.Version))
	if err != nil {
		return buf, err
	}
	return f.frame(buf, e.Type, f.asVersion(b))
}

// bookmark is an object that says nothing but how far the watch has come.
func (f *framer) bookmark(e *verb.WatchEvent) (runtime.Object, error) {
	obj := f.target.Version.Resource.New()
	m, err := apimeta.Accessor(obj)
	if err != nil {
		return nil, err
	}
	m.SetResourceVersion(formatRevision(e.Rev))
	if e.InitialEnd {
		m.SetAnnotations(map[string]string{metav1.InitialEventsAnnotationKey: "true"})
	}
	return obj, nil
}

// appendHub appends a frame with a hub object that is encoded on the spot.
func (f *framer) appendHub(buf []byte, t watch.EventType, obj runtime.Object) ([]byte, error) {
	v := f.target.Version
	switch {
	case f.isTable():
		table, err := f.tableRow(obj)
		if err != nil {
			return buf, err
		}
		b, err := json.Marshal(table)
		if err != nil {
			return buf, err
		}
		return f.frame(buf, t, b)
	case f.isMetadata():
		m, err := apimeta.Accessor(obj)
		if err != nil {
			return buf, err
		}
		partial := apimeta.AsPartialObjectMetadata(m)
		partial.SetGroupVersionKind(f.as.GroupVersion().WithKind("PartialObjectMetadata"))
		obj = partial
	default:
		var err error
		if obj, err = v.FromHub(obj); err != nil {
			return buf, err
		}
	}
	b, err := f.marshal(obj)
	if err != nil {
		return buf, err
	}
	return f.frame(buf, t, b)
}

// tableRow is the table of one event. Only the first shows the columns.
func (f *framer) tableRow(obj runtime.Object) (*metav1.Table, error) {
	opts := *f.shape.table
	opts.NoHeaders = opts.NoHeaders || f.noHeaders
	s := f.shape
	s.table = &opts
	table, err := f.query.table(f.r.Context(), s, obj)
	if err != nil {
		return nil, err
	}
	f.noHeaders = true
	table.SetGroupVersionKind(*f.as)
	return table, nil
}

func (f *framer) marshal(obj runtime.Object) ([]byte, error) {
	if f.media != mediaProtobuf {
		return json.Marshal(obj)
	}
	m, ok := obj.(interface{ Marshal() ([]byte, error) })
	if !ok {
		return nil, notAcceptable("the object has no protobuf form")
	}
	return m.Marshal()
}

// appendError appends a frame that ends the stream with a Status.
func (f *framer) appendError(buf []byte, err error) ([]byte, error) {
	status, ok := err.(*apierrors.StatusError)
	if !ok {
		status = apierrors.NewInternalError(err)
	}
	s := status.Status()
	s.SetGroupVersionKind(statusKind)
	if f.media == mediaProtobuf {
		b, err := s.Marshal()
		if err != nil {
			return buf, err
		}
		told := kind.Envelope(statusKind, b)
		return append(appendEventHead(buf, watch.Error, len(told)), told...), nil
	}
	b, err := json.Marshal(&s)
	if err != nil {
		return buf, err
	}
	return f.frame(buf, watch.Error, b)
}

var statusKind = metav1.Unversioned.WithKind("Status")

// frame appends the frame of an encoded object. A large one is not copied: that
// would be once for each client that takes nothing.
func (f *framer) frame(buf []byte, t watch.EventType, object []byte) ([]byte, error) {
	if f.media == mediaProtobuf {
		return f.protobufFrame(buf, t, object), nil
	}
	buf = append(append(append(buf, `{"type":"`...), t...), `","object":`...)
	return append(f.object(buf, object), "}\n"...), nil
}

// object appends an encoded object, or writes it after what is in buf.
func (f *framer) object(buf, object []byte) []byte {
	if len(object) < frames {
		return append(buf, object...)
	}
	f.out.write(buf)
	f.out.write(object)
	return buf[:0]
}

// protobufFrame appends a big-endian length and a bare WatchEvent
// { type = 1, object = 2 { raw = 1 } }; only the object in it has an envelope.
func (f *framer) protobufFrame(buf []byte, t watch.EventType, object []byte) []byte {
	var space [256]byte
	head := kind.AppendEnvelopeHead(space[:0], f.gvk(f.target.Version.GVK()), len(object))
	tail := kind.AppendEnvelopeTail(nil)
	buf = appendEventHead(buf, t, len(head)+len(object)+len(tail))
	return append(f.object(append(buf, head...), object), tail...)
}

// appendEventHead appends what is before an object of size bytes.
func appendEventHead(buf []byte, t watch.EventType, object int) []byte {
	inner := 1 + kind.UvarintLen(object) + object
	size := 1 + kind.UvarintLen(len(t)) + len(t) + 1 + kind.UvarintLen(inner) + inner
	buf = binary.BigEndian.AppendUint32(buf, uint32(size))
	buf = append(binary.AppendUvarint(append(buf, 0x0a), uint64(len(t))), t...)
	buf = binary.AppendUvarint(append(buf, 0x12), uint64(inner))
	return binary.AppendUvarint(append(buf, 0x0a), uint64(object))
}
