package endpoint_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"k8s.io/apiserver/pkg/authentication/authenticator"

	"github.com/knarr-io/knarr/internal/endpoint"
)

// Browsers are told what they may show pages of certain origins, before anybody has
// to say who he is, and that the server is to be reached by TLS alone.
func TestBrowsers(t *testing.T) {
	s := newServer(t)
	s.options.CORSAllowedOrigins = []string{`//([a-z]+\.)?example\.com(:|$)`}
	s.options.HSTSDirectives = []string{"max-age=10", "preload"}
	s.options.Authenticator = authenticator.RequestFunc(func(*http.Request) (*authenticator.Response, bool, error) { return nil, false, nil })
	h := endpoint.New(s.options)
	for _, c := range []struct {
		method, origin string
		code           int
		allowed        bool
	}{
		{http.MethodOptions, "https://example.com", 204, true},
		{http.MethodOptions, "https://a.example.com:8443", 204, true},
		{http.MethodGet, "https://example.com", 401, true},
		{http.MethodOptions, "https://example.com.evil.org", 401, false},
		{http.MethodOptions, "https://evilexample.com", 401, false},
		{http.MethodOptions, "", 401, false},
	} {
		r := httptest.NewRequestWithContext(t.Context(), c.method, configMaps, nil)
		r.Header.Set("Origin", c.origin)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		want := ""
		if c.allowed {
			want = c.origin
		}
		if got := w.Header().Get("Access-Control-Allow-Origin"); w.Code != c.code || got != want {
			t.Errorf("%s from %q: %d, allowed %q", c.method, c.origin, w.Code, got)
		}
		if got := w.Header().Get("Strict-Transport-Security"); got != "max-age=10; preload" {
			t.Errorf("%s from %q: Strict-Transport-Security is %q", c.method, c.origin, got)
		}
	}
}
