// Package loopback lets parts of a server that are written as clients of the API
// ask it in the same process: what client-go sends goes to the server's own
// handler, through the whole chain, in the name of kube-apiserver's own client,
// system:apiserver. There is no connection and no credential that could leak.
//
// It must not know what is asked.
package loopback

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/rest"
)

// Transport is the way to one server. Its zero value has no server yet and refuses
// requests. It is safe for concurrent use.
type Transport struct {
	mu      sync.Mutex // guards what follows
	handler http.Handler
	closed  bool
	running sync.WaitGroup
}

var _ http.RoundTripper = &Transport{}

// Serve has h answer from now on.
func (t *Transport) Serve(h http.Handler) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.handler = h
}

// Close refuses further requests and waits until those that run have ended, which
// their callers' contexts must bring about.
func (t *Transport) Close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.running.Wait()
}

// Config returns a new configuration of clients, which are not held back.
func (t *Transport) Config() *rest.Config {
	return &rest.Config{Host: "http://loopback", Transport: t, QPS: -1, UserAgent: "kube-apiserver"}
}

// start runs serve by the handler, or says why it cannot.
func (t *Transport) start(serve func(http.Handler)) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed:
		return errors.New("the server has stopped")
	case t.handler == nil:
		return errors.New("the server does not serve yet")
	}
	h := t.handler
	t.running.Go(func() { serve(h) })
	return nil
}

type ownClient struct{}

// apart is a context that ends with another and knows nothing else of it: who asks
// may be in the middle of answering another request, whose user, warnings and audit
// record are not those of this one.
type apart struct{ context.Context }

func (apart) Value(any) any { return nil }

// AfterFunc spares who waits for its end a goroutine.
func (a apart) AfterFunc(f func()) (stop func() bool) { return context.AfterFunc(a.Context, f) }

// RoundTrip asks the server. The answer's body is what the handler writes, as it
// writes; closing it ends the request.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(context.WithValue(apart{r.Context()}, ownClient{}, true))
	asked := r.Clone(ctx)
	asked.RequestURI = r.URL.RequestURI()
	asked.RemoteAddr = "127.0.0.1:0"
	asked.Host = r.URL.Host
	if asked.Body == nil {
		asked.Body = http.NoBody
	}
	reader, writer := io.Pipe()
	a := &answer{header: http.Header{}, body: writer, begun: make(chan struct{})}
	err := t.start(func(h http.Handler) {
		defer cancel()
		defer func() {
			p := recover()
			a.begin(http.StatusOK)
			if p != nil {
				_ = writer.CloseWithError(io.ErrUnexpectedEOF) // it is never an error
				return
			}
			_ = writer.Close()
		}()
		h.ServeHTTP(a, asked)
	})
	if err != nil {
		cancel()
		return nil, err
	}
	select {
	case <-a.begun:
	case <-ctx.Done():
		select {
		case <-a.begun: // it has ended, and so its context
		default:
			_ = reader.Close() // who still writes gets an error
			return nil, context.Cause(ctx)
		}
	}
	return &http.Response{
		Status: http.StatusText(a.status), StatusCode: a.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: a.sent, ContentLength: -1, Request: r, Body: &body{reader, cancel},
	}, nil
}

// body ends the request when it is closed.
type body struct {
	*io.PipeReader
	cancel context.CancelFunc
}

func (b *body) Close() error {
	b.cancel()
	return b.PipeReader.Close()
}

// answer is the ResponseWriter of one request.
type answer struct {
	header http.Header
	body   *io.PipeWriter
	once   sync.Once
	begun  chan struct{} // closed when what follows is set
	status int
	sent   http.Header
}

var _ http.Flusher = &answer{}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) { a.begin(status) }

func (a *answer) begin(status int) {
	a.once.Do(func() {
		a.status, a.sent = status, a.header.Clone()
		close(a.begun)
	})
}

func (a *answer) Write(p []byte) (int, error) {
	a.begin(http.StatusOK)
	return a.body.Write(p)
}

// Flush has nothing to flush but the header: what is written is read at once.
func (a *answer) Flush() { a.begin(http.StatusOK) }

// Authenticator returns one that knows requests of a Transport, and leaves all
// others to next.
func Authenticator(next authenticator.Request) authenticator.Request {
	return authenticator.RequestFunc(func(r *http.Request) (*authenticator.Response, bool, error) {
		if own, _ := r.Context().Value(ownClient{}).(bool); !own {
			return next.AuthenticateRequest(r)
		}
		return &authenticator.Response{User: &user.DefaultInfo{
			Name: user.APIServerUser, Groups: []string{user.AllAuthenticated, user.SystemPrivilegedGroup},
		}}, true, nil
	})
}
