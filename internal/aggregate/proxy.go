package aggregate

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/proxy"
	"k8s.io/apiserver/pkg/endpoints/request"
	proxyutil "k8s.io/apiserver/pkg/util/proxy"
	"k8s.io/klog/v2"
)

// Proxy passes requests on to the servers that they are for. It is safe for
// concurrent use.
type Proxy struct {
	table *Table
	ProxyOptions
}

// ProxyOptions say how requests are passed on.
type ProxyOptions struct {
	// ForwardRedirects has clients sent elsewhere by the servers they are
	// passed on to. As upstream, answers that would do so are refused without.
	ForwardRedirects bool
	// Stopping, if not nil, is closed when the server begins to stop: requests
	// that may last, which are those without a deadline, end then; others are
	// answered.
	Stopping <-chan struct{}
}

// NewProxy returns a proxy of what is in the table.
func NewProxy(table *Table, o ProxyOptions) *Proxy { return &Proxy{table, o} }

// Handles reports whether what is at a path is served elsewhere.
func (p *Proxy) Handles(path string) bool { return p.find(path) != nil }

func (p *Proxy) find(path string) *Service {
	for _, s := range p.table.Current().All {
		if rest, ok := strings.CutPrefix(path, s.path); ok && s.path != "" && (rest == "" || rest[0] == '/') {
			return s
		}
	}
	return nil
}

// ServeHTTP passes a request on in the name of the user in its context.
// Refusals are plain text, as upstream's.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) { p.serve(w, r, p.find(r.URL.Path)) }

// serve passes a request on to the server of an APIService, which may be nil for
// one that has just gone.
func (p *Proxy) serve(w http.ResponseWriter, r *http.Request, s *Service) {
	switch {
	case s == nil:
		http.Error(w, "404 page not found", http.StatusNotFound)
		return
	case !s.Available:
		http.Error(w, "service unavailable", http.StatusServiceUnavailable)
		return
	}
	connector := p.table.connector
	t, err := connector.transport(s.backend.peer)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	who, ok := request.UserFrom(r.Context())
	if !ok {
		http.Error(w, errNoUser.Error(), http.StatusInternalServerError)
		return
	}
	location, err := connector.locate(s.backend, r.URL.Path, r.URL.Query().Encode())
	if err != nil {
		klog.ErrorS(err, "The server of an APIService cannot be found", "apiService", s.Name)
		http.Error(w, "service unavailable", http.StatusServiceUnavailable)
		return
	}
	if isUpgrade(r) {
		p.passUpgrade(w, r, location, who, t)
		return
	}
	ctx, done := p.untilStop(r.Context())
	defer done()
	r = r.WithContext(ctx)
	out, cancel := asOwn(r, location)
	defer cancel()
	p.handler(r, location, inNameOf(who, ending{t}), false).ServeHTTP(w, out)
}

// handler passes what is made of the request r on to location.
func (p *Proxy) handler(r *http.Request, location *url.URL, by http.RoundTripper, upgrade bool) http.Handler {
	h := proxy.NewUpgradeAwareHandler(location, by, true, upgrade, refusal{r})
	h.RejectForwardingRedirects = !p.ForwardRedirects
	return h
}

// asOwn returns a request as it is sent to location. cancel must be called.
func asOwn(r *http.Request, location *url.URL) (_ *http.Request, cancel func()) {
	out, cancel := proxyutil.NewRequestForProxy(location, r)
	// Who asks was decided here. It is not to be decided again from what the
	// client says.
	for name := range out.Header {
		switch name {
		case authenticationv1.ImpersonateUserHeader, authenticationv1.ImpersonateUIDHeader, authenticationv1.ImpersonateGroupHeader:
			delete(out.Header, name)
		default:
			if strings.HasPrefix(name, authenticationv1.ImpersonateUserExtraHeaderPrefix) {
				delete(out.Header, name)
			}
		}
	}
	return out, cancel
}

// refusal answers a request that could not be passed on.
type refusal struct{ request *http.Request }

func (f refusal) Error(w http.ResponseWriter, _ *http.Request, err error) {
	// The client's own time is over, not only that which discovery has.
	if errors.Is(f.request.Context().Err(), context.DeadlineExceeded) {
		w.WriteHeader(http.StatusGatewayTimeout)
		late := apierrors.NewTimeoutError("request did not complete within the allotted timeout", 0)
		_ = json.NewEncoder(w).Encode(&late.ErrStatus) // the client is gone
		return
	}
	http.Error(w, err.Error(), http.StatusServiceUnavailable)
}

// errStopping is why requests end when the server stops.
var errStopping = errors.New("the server is stopping")

// untilStop returns a context that ends with errStopping when the server begins
// to stop, unless it has a deadline anyway. done must be called.
func (p *Proxy) untilStop(ctx context.Context) (_ context.Context, done func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	if _, bounded := ctx.Deadline(); bounded || p.Stopping == nil {
		return ctx, func() { cancel(nil) }
	}
	go func() {
		select {
		case <-p.Stopping:
			cancel(errStopping)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

// ending has answers end when the server stops as if they were complete: what a
// watch has told was all that there was to tell.
type ending struct{ *http.Transport }

// WrappedRoundTripper shows what it is made of to those who look for its parts.
func (e ending) WrappedRoundTripper() http.RoundTripper { return e.Transport }

func (e ending) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := e.Transport.RoundTrip(r)
	if err == nil && answer.ContentLength < 0 {
		answer.Body = &endingBody{answer.Body, r.Context()}
	}
	return answer, err
}

type endingBody struct {
	io.ReadCloser
	ctx context.Context
}

func (b *endingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && errors.Is(context.Cause(b.ctx), errStopping) {
		err = io.EOF
	}
	return n, err
}
