package authn

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/authentication/authenticator"

	"github.com/knarr-io/knarr/internal/pki"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const tokens = `secret-1,ann,uid-1,"dev,ops"
secret-2,bob,uid-2
secret-3,system:anonymous,uid-3
`

func tokenFile(t testing.TB, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tokens.csv")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func bundle(t testing.TB) *pki.Bundle {
	t.Helper()
	b, err := pki.New(pki.Options{Hosts: []string{"127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func clientCert(t testing.TB, b *pki.Bundle, name string, groups ...string) *x509.Certificate {
	t.Helper()
	pair, err := b.CA.IssueClient(name, groups...)
	if err != nil {
		t.Fatal(err)
	}
	return pair.Leaf()
}

// request returns a request over TLS with the client's certificates and the
// headers, given as name and value by turns.
func request(certs []*x509.Certificate, headers ...string) *http.Request {
	req := httptest.NewRequest(http.MethodGet, "https://localhost/api", nil)
	req.TLS = &tls.ConnectionState{PeerCertificates: certs}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	return req
}

func certs(c ...*x509.Certificate) []*x509.Certificate { return c }

// anyone may ask without credentials.
var anyone = apiserver.AnonymousAuthConfig{Enabled: true}

// fixed are authorities that stay as they are.
func fixed(pool *x509.CertPool) func() *x509.CertPool {
	return func() *x509.CertPool { return pool }
}

func TestAuthenticate(t *testing.T) {
	b, other := bundle(t), bundle(t)
	auth, err := New(Options{ClientCAs: fixed(b.CA.Pool()), TokenFile: tokenFile(t, tokens), Anonymous: anyone})
	if err != nil {
		t.Fatal(err)
	}
	admin := b.Admin.Leaf()
	websocketToken := "base64url.bearer.authorization.k8s.io." + base64.RawURLEncoding.EncodeToString([]byte("secret-1"))

	for _, c := range []struct {
		name    string
		req     *http.Request
		user    string // empty: refused
		uid     string
		groups  []string
		wantErr string
	}{
		{
			name:   "nothing",
			req:    request(nil),
			user:   "system:anonymous",
			groups: []string{"system:unauthenticated"},
		},
		{
			name:   "basic auth is no credential here",
			req:    request(nil, "Authorization", "Basic YW5uOnNlY3JldA=="),
			user:   "system:anonymous",
			groups: []string{"system:unauthenticated"},
		},
		{
			name:   "a front proxy's headers are not trusted",
			req:    request(nil, "X-Remote-User", "root", "X-Remote-Group", "system:masters"),
			user:   "system:anonymous",
			groups: []string{"system:unauthenticated"},
		},
		{
			name:   "certificate",
			req:    request(certs(admin)),
			user:   "kubernetes-admin",
			groups: []string{"system:masters", "system:authenticated"},
		},
		{
			name:   "certificate without groups",
			req:    request(certs(clientCert(t, b, "jane"))),
			user:   "jane",
			groups: []string{"system:authenticated"},
		},
		{
			name:    "another authority's certificate",
			req:     request(certs(other.Admin.Leaf())),
			wantErr: "certificate signed by unknown authority",
		},
		{
			name:    "a server's certificate",
			req:     request(certs(b.Serving.Leaf())),
			wantErr: "incompatible key usage",
		},
		{
			name:   "token with groups",
			req:    request(nil, "Authorization", "Bearer secret-1"),
			user:   "ann",
			uid:    "uid-1",
			groups: []string{"dev", "ops", "system:authenticated"},
		},
		{
			name:   "token without groups, scheme in lower case",
			req:    request(nil, "Authorization", "bearer secret-2"),
			user:   "bob",
			uid:    "uid-2",
			groups: []string{"system:authenticated"},
		},
		{
			name: "token for the anonymous user",
			req:  request(nil, "Authorization", "Bearer secret-3"),
			user: "system:anonymous",
			uid:  "uid-3",
		},
		{
			name:    "unknown token",
			req:     request(nil, "Authorization", "Bearer guess"),
			wantErr: "invalid bearer token",
		},
		{
			name:   "certificate before token",
			req:    request(certs(admin), "Authorization", "Bearer secret-1"),
			user:   "kubernetes-admin",
			groups: []string{"system:masters", "system:authenticated"},
		},
		{
			name:   "good certificate, unknown token",
			req:    request(certs(admin), "Authorization", "Bearer guess"),
			user:   "kubernetes-admin",
			groups: []string{"system:masters", "system:authenticated"},
		},
		{
			name:   "bad certificate, good token",
			req:    request(certs(other.Admin.Leaf()), "Authorization", "Bearer secret-1"),
			user:   "ann",
			uid:    "uid-1",
			groups: []string{"dev", "ops", "system:authenticated"},
		},
		{
			name: "websocket protocol",
			req: request(nil, "Connection", "Upgrade", "Upgrade", "websocket",
				"Sec-Websocket-Protocol", websocketToken+", v5.channel.k8s.io"),
			user:   "ann",
			uid:    "uid-1",
			groups: []string{"dev", "ops", "system:authenticated"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			for range 2 { // the second answer may come from memory
				req := c.req.Clone(t.Context())
				resp, ok, err := auth.AuthenticateRequest(req)
				if c.user == "" {
					if ok || err == nil || !strings.Contains(err.Error(), c.wantErr) {
						t.Fatalf("%v, %v, %v; want error %q", resp, ok, err, c.wantErr)
					}
					continue
				}
				if err != nil || !ok {
					t.Fatalf("%v, %v", ok, err)
				}
				u := resp.User
				if u.GetName() != c.user || u.GetUID() != c.uid || !slices.Equal(u.GetGroups(), c.groups) {
					t.Errorf("got %q %q %q, want %q %q %q", u.GetName(), u.GetUID(), u.GetGroups(), c.user, c.uid, c.groups)
				}
				for _, header := range []string{"Authorization", "X-Remote-User", "X-Remote-Group"} {
					if got := req.Header.Get(header); got != "" {
						t.Errorf("%s is still %q", header, got)
					}
				}
				if got := req.Header.Get("Sec-WebSocket-Protocol"); strings.Contains(got, "bearer") {
					t.Errorf("the token is still in the protocols: %s", got)
				}
			}
		})
	}
}

func TestCredentialsAreRemoved(t *testing.T) {
	auth, err := New(Options{Anonymous: anyone})
	if err != nil {
		t.Fatal(err)
	}
	req := request(nil, "Authorization", "Basic x", "X-Remote-User", "a", "X-Remote-Uid", "b", "X-Remote-Group", "c",
		"X-Remote-Extra-Scopes", "d", "X-Remote-Extra-", "e", "Accept", "text/plain", "X-Remote-Other", "f")
	if _, ok, err := auth.AuthenticateRequest(req); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if len(req.Header) != 2 || req.Header.Get("Accept") == "" || req.Header.Get("X-Remote-Other") == "" {
		t.Errorf("headers left: %v", req.Header)
	}
}

func TestWithoutAnonymous(t *testing.T) {
	b := bundle(t)
	auth, err := New(Options{ClientCAs: fixed(b.CA.Pool())})
	if err != nil {
		t.Fatal(err)
	}
	if resp, ok, err := auth.AuthenticateRequest(request(nil)); ok || err != nil {
		t.Errorf("no credentials: %v, %v, %v; want no answer and no error", resp, ok, err)
	}
	if _, ok, err := auth.AuthenticateRequest(request(certs(b.Admin.Leaf()))); !ok || err != nil {
		t.Errorf("certificate: %v, %v", ok, err)
	}
	// A token that nobody knows is wrong, with and without a token file.
	if _, ok, err := auth.AuthenticateRequest(request(nil, "Authorization", "Bearer x")); ok || err == nil {
		t.Errorf("token: %v, %v; want an error", ok, err)
	}
	// Plain HTTP, in tests of handlers.
	req := request(nil)
	req.TLS = nil
	if _, ok, err := auth.AuthenticateRequest(req); ok || err != nil {
		t.Errorf("no TLS: %v, %v; want no answer and no error", ok, err)
	}
}

func TestNewRefuses(t *testing.T) {
	absent := filepath.Join(t.TempDir(), "absent")
	short := tokenFile(t, "top-secret,ann\n")
	quotes := tokenFile(t, "top-\"secret,ann,uid\n")
	for _, c := range []struct {
		name    string
		options Options
		want    string
	}{
		{"no way in", Options{}, "no one could reach this server"},
		{"no token file", Options{TokenFile: absent}, absent},
		{"too few columns", Options{TokenFile: short}, "must have at least 3 columns"},
		{"not CSV", Options{TokenFile: quotes}, quotes},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := New(c.options)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("error %v, want one line with %q", err, c.want)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the error tells a token: %v", err)
			}
		})
	}
}

// The whole Status, as kube-apiserver writes it.
func TestUnauthorized(t *testing.T) {
	status := Unauthorized().Status()
	status.APIVersion, status.Kind = "v1", "Status"
	got, err := json.Marshal(&status)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Unauthorized","reason":"Unauthorized","code":401}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// Over real connections: a bad certificate passes the handshake and fails here.
func TestOverTLS(t *testing.T) {
	b, other := bundle(t), bundle(t)
	auth, err := New(Options{ClientCAs: fixed(b.CA.Pool()), Anonymous: anyone})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		resp, ok, err := auth.AuthenticateRequest(req)
		if err != nil || !ok {
			w.WriteHeader(int(Unauthorized().Status().Code))
			return
		}
		w.Header().Set("User", resp.User.GetName())
	}))
	server.EnableHTTP2 = true
	server.TLS = &tls.Config{Certificates: []tls.Certificate{b.Serving.TLS()}, ClientAuth: tls.RequestClientCert}
	server.StartTLS()
	defer server.Close()

	for _, c := range []struct {
		name string
		cert []tls.Certificate
		code int
		user string
	}{
		{"admin", []tls.Certificate{b.Admin.TLS()}, 200, "kubernetes-admin"},
		{"nobody", nil, 200, "system:anonymous"},
		{"another's admin", []tls.Certificate{other.Admin.TLS()}, 401, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{
				RootCAs: b.CA.Pool(),
				// Whatever authorities the server names, send this one.
				GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
					if c.cert == nil {
						return &tls.Certificate{}, nil
					}
					return &c.cert[0], nil
				},
			}}
			defer transport.CloseIdleConnections()
			for range 2 {
				resp, err := (&http.Client{Transport: transport}).Get(server.URL)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				if resp.StatusCode != c.code || resp.Header.Get("User") != c.user {
					t.Errorf("%d %q, want %d %q", resp.StatusCode, resp.Header.Get("User"), c.code, c.user)
				}
			}
		})
	}
}

func BenchmarkAuthenticate(b *testing.B) {
	pkiBundle := bundle(b)
	auth, err := New(Options{ClientCAs: fixed(pkiBundle.CA.Pool()), TokenFile: tokenFile(b, tokens), Anonymous: anyone})
	if err != nil {
		b.Fatal(err)
	}
	run := func(name string, auth authenticator.Request, certs []*x509.Certificate, headers ...string) {
		b.Run(name, func(b *testing.B) {
			req := request(certs, "Accept", "application/json", "User-Agent", "kubectl", "Accept-Encoding", "gzip")
			b.ReportAllocs()
			for b.Loop() {
				for i := 0; i < len(headers); i += 2 {
					req.Header[headers[i]] = []string{headers[i+1]}
				}
				if _, ok, err := auth.AuthenticateRequest(req); !ok || err != nil {
					b.Fatal(ok, err)
				}
			}
		})
	}
	admin := certs(pkiBundle.Admin.Leaf())
	run("certificate", auth, admin)
	run("certificate-each-verified", forgetful{newCertificates(fixed(pkiBundle.CA.Pool()), time.Now)}, admin)
	run("token", auth, nil, "Authorization", "Bearer secret-1")
	run("anonymous", auth, nil)
}

// forgetful verifies every time, as upstream does.
type forgetful struct{ *certificates }

func (f forgetful) AuthenticateRequest(req *http.Request) (*authenticator.Response, bool, error) {
	v, ok, err := f.verify(req, f.now(), f.authorities())
	return v.response, ok, err
}
