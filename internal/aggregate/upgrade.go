package aggregate

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"net/url"
	"strings"

	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/transport"
)

// isUpgrade reports whether a request asks for another protocol on its
// connection.
func isUpgrade(r *http.Request) bool {
	for _, header := range r.Header.Values("Connection") {
		if strings.Contains(strings.ToLower(header), "upgrade") {
			return true
		}
	}
	return false
}

// passUpgrade passes on a request for another protocol. The connection to the
// server is none of those that are kept. Until it has switched, the request has
// the time that any has; then it lasts, whatever it was about, until one of the
// three leaves.
func (p *Proxy) passUpgrade(w http.ResponseWriter, r *http.Request, location *url.URL, who user.Info, t *http.Transport) {
	life, end := p.untilStop(context.WithoutCancel(r.Context()))
	defer end()
	lasts := context.AfterFunc(r.Context(), end)
	out, cancel := asOwn(r, location)
	defer cancel()
	transport.SetAuthProxyHeaders(out, who.GetName(), toldUID(who), who.GetGroups(), who.GetExtra())
	p.handler(r, location, dialsUntil(life, t), true).ServeHTTP(&switching{w, func() { lasts() }}, out)
}

// switching tells when the client's connection has another protocol.
type switching struct {
	http.ResponseWriter
	switched func()
}

func (s *switching) Unwrap() http.ResponseWriter { return s.ResponseWriter }

func (s *switching) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(s.ResponseWriter).Hijack()
	if err == nil {
		s.switched()
	}
	return c, rw, err
}

// dialsUntil returns a transport to take connections from, as those of t, that
// are closed when life ends: nothing else ends one whose protocol is another.
func dialsUntil(life context.Context, t *http.Transport) *http.Transport {
	return &http.Transport{
		TLSClientConfig: t.TLSClientConfig,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			defer context.AfterFunc(life, cancel)()
			c, err := t.DialContext(ctx, network, address)
			if err == nil {
				context.AfterFunc(life, func() { _ = c.Close() })
			}
			return c, err
		},
	}
}
