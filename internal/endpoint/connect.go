package endpoint

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/endpoints/handlers/responsewriters"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/streaming/pkg/httpstream"
)

// connect connects the client to what is behind an object, until one of them
// leaves or the server stops.
func (q *query) connect(c rest.Connecter) error {
	if len(q.r.URL.Query()["dryRun"]) > 0 {
		return apierrors.NewBadRequest("dryRun is not supported")
	}
	opts, below, parameter := c.NewConnectOptions()
	if !below {
		parameter = ""
	}
	if err := q.connectOptions(opts, parameter); err != nil {
		return err
	}
	done := q.untilStop()
	defer done()
	handler, err := q.verbs.Connect(q.r.Context(), q.target, opts, failing{q})
	if err != nil {
		return err
	}
	handler.ServeHTTP(q.w, q.r)
	return nil
}

// open answers with what is read from behind an object, as it comes.
func (q *query) open(stream rest.GetterWithOptions) error {
	if _, err := q.negotiate(); err != nil {
		return err
	}
	opts, _, _ := stream.NewGetOptions()
	if err := q.connectOptions(opts, ""); err != nil {
		return err
	}
	done := q.untilStop()
	defer done()
	source, err := q.verbs.Open(q.r.Context(), q.target, opts)
	if err != nil {
		return err
	}
	v := q.target.Version
	responsewriters.WriteObjectNegotiated(v.Resource.Serializer, q.restrictions(), v.GroupVersion(), q.w, q.r, http.StatusOK, source, false)
	return nil
}

// connectOptions reads the query into a hub object of options. The rest of the path,
// below the subresource, becomes the parameter that is named, if one is.
func (q *query) connectOptions(into runtime.Object, rest string) error {
	values := q.r.URL.Query()
	if rest != "" {
		path := strings.Join(q.info.Parts[3:], "/")
		if path != "" && !strings.HasPrefix(path, "/") {
			path = "/" + path
		}
		if strings.HasSuffix(q.info.Path, "/") && !strings.HasSuffix(path, "/") {
			path += "/"
		}
		values[rest] = []string{path}
	}
	v := q.target.Version
	if err := v.Resource.ParameterCodec.DecodeParameters(values, v.GroupVersion(), into); err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	return nil
}

// failing answers with what has gone wrong behind an object.
type failing struct{ *query }

func (f failing) Error(err error) { f.fail(err) }

func (f failing) Object(code int, obj runtime.Object) {
	v := f.target.Version
	responsewriters.WriteObjectNegotiated(v.Resource.Serializer, f.restrictions(), v.GroupVersion(), f.w, f.r, code, obj, false)
}

// untilStop has the request end when the server begins to stop, also on a connection
// that is taken for another protocol. done must be called.
func (q *query) untilStop() (done func()) {
	ctx, cancel := context.WithCancel(q.r.Context())
	q.r = q.r.WithContext(ctx)
	if httpstream.IsUpgradeRequest(q.r) {
		q.w = &taken{q.w, ctx}
	}
	if q.Stopping == nil {
		return cancel
	}
	go func() {
		select {
		case <-q.Stopping:
			cancel()
		case <-ctx.Done():
		}
	}()
	return cancel
}

// taken closes the connection when ctx ends, if a handler has taken it: nothing else
// ends it then.
type taken struct {
	http.ResponseWriter
	ctx context.Context
}

func (t *taken) Unwrap() http.ResponseWriter { return t.ResponseWriter }

func (t *taken) Flush() {
	// Whether it was flushed is not for those who call this to know.
	_ = http.NewResponseController(t.ResponseWriter).Flush()
}

func (t *taken) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(t.ResponseWriter).Hijack()
	if err == nil {
		context.AfterFunc(t.ctx, func() { _ = c.Close() }) // it may be closed already
	}
	return c, rw, err
}
