package knarr_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/keyutil"

	"github.com/knarr-io/knarr"
	"github.com/knarr-io/knarr/internal/auth/authn/authntest"
	"github.com/knarr-io/knarr/internal/pki"
	"github.com/knarr-io/knarr/knarrtest"
)

// pairs makes certificates of one authority, in files.
type pairs struct {
	*testing.T
	dir string
}

func (p pairs) path(name string) string { return filepath.Join(p.dir, name) }

func (p pairs) write(name string, content []byte) string {
	p.Helper()
	// In one go, as those who replace certificates do.
	if err := os.WriteFile(p.path(name)+".new", content, 0o600); err != nil {
		p.Fatal(err)
	}
	if err := os.Rename(p.path(name)+".new", p.path(name)); err != nil {
		p.Fatal(err)
	}
	return p.path(name)
}

// bundle makes an authority, which has certificates for hosts.
func (p pairs) bundle(hosts ...string) *pki.Bundle {
	p.Helper()
	b, err := pki.New(pki.Options{Hosts: hosts})
	if err != nil {
		p.Fatal(err)
	}
	return b
}

// serving writes a certificate for hosts and returns whom it is of.
func (p pairs) serving(name string, hosts ...string) *pki.Bundle {
	p.Helper()
	b := p.bundle(hosts...)
	p.write(name+".key", b.Serving.KeyPEM)
	p.write(name+".crt", b.Serving.CertPEM)
	return b
}

// shown is the state of a new connection to the server.
func shown(t *testing.T, server *knarr.Server, config *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	config.InsecureSkipVerify = true
	conn, err := tls.Dial("tcp", strings.TrimPrefix(server.URL(), "https://"), config)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer conn.Close()
	return conn.ConnectionState(), nil
}

func TestServingCertificates(t *testing.T) {
	p := pairs{t, t.TempDir()}
	first := p.serving("first", "127.0.0.1", "first.example")
	named := p.serving("named", "a.example", "*.b.example")
	told := p.serving("told", "unused.example")
	server := knarrtest.StartWith(t, knarr.Options{
		TLSCertFile: p.path("first.crt"), TLSPrivateKeyFile: p.path("first.key"),
		TLSSNICertKeys: []knarr.NamedCertKey{
			{CertFile: p.path("named.crt"), KeyFile: p.path("named.key")},
			{CertFile: p.path("told.crt"), KeyFile: p.path("told.key"), Names: []string{"*.c.example", "x.b.example"}},
		},
	})
	is := func(name string) *x509.Certificate {
		t.Helper()
		state, err := shown(t, server, &tls.Config{ServerName: name})
		if err != nil {
			t.Fatal(err)
		}
		return state.PeerCertificates[0]
	}
	for name, want := range map[string]*pki.Bundle{
		"": first, "first.example": first, "z.example": first, "a.example": named, "A.Example": named, "y.b.example": named, "y.y.b.example": first,
		"x.b.example": told, "1.c.example": told, "c.example": first, "unused.example": first,
	} {
		if got := is(name); !got.Equal(want.Serving.Leaf()) {
			// One that is for no name that is told may still fit best.
			if name != "unused.example" || !got.Equal(told.Serving.Leaf()) {
				t.Errorf("%q: the certificate for %v", name, got.DNSNames)
			}
		}
	}

	again := p.serving("named", "a.example")
	eventually(t, "another certificate", func() bool { return is("a.example").Equal(again.Serving.Leaf()) })
	p.write("named.crt", []byte("nothing")) // what was good stays
	second := p.serving("first", "127.0.0.1")
	p.write("named.crt", again.Serving.CertPEM)
	eventually(t, "another certificate for all", func() bool { return is("").Equal(second.Serving.Leaf()) })
	if !is("a.example").Equal(again.Serving.Leaf()) {
		t.Error("the certificate for a name has gone")
	}
}

// Who asks for no name gets the certificate that is for the address he came to.
func TestCertificateForAnAddress(t *testing.T) {
	p := pairs{t, t.TempDir()}
	address := p.serving("address", "address.example")
	server := knarrtest.StartWith(t, knarr.Options{TLSSNICertKeys: []knarr.NamedCertKey{{CertFile: p.path("address.crt"), KeyFile: p.path("address.key"), Names: []string{"127.0.0.1"}}}})
	for name, want := range map[string]bool{"": true, "kubernetes": false} {
		state, err := shown(t, server, &tls.Config{ServerName: name})
		if err != nil {
			t.Fatal(err)
		}
		if got := state.PeerCertificates[0]; got.Equal(address.Serving.Leaf()) != want {
			t.Errorf("%q: the certificate for %v", name, got.DNSNames)
		}
	}
}

func TestTLSOptions(t *testing.T) {
	server := knarrtest.StartWith(t, knarr.Options{TLSMinVersion: "VersionTLS13", DisableHTTP2Serving: true})
	if state, err := shown(t, server, &tls.Config{NextProtos: []string{"h2", "http/1.1"}}); err != nil || state.NegotiatedProtocol != "http/1.1" {
		t.Errorf("%q, %v", state.NegotiatedProtocol, err)
	}
	if _, err := shown(t, server, &tls.Config{MaxVersion: tls.VersionTLS12}); err == nil {
		t.Error("speaks 1.2")
	}
	suite := tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
	server = knarrtest.StartWith(t, knarr.Options{TLSCipherSuites: []string{"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"}, TLSCurvePreferences: []int32{24}})
	if state, err := shown(t, server, &tls.Config{NextProtos: []string{"h2"}, MaxVersion: tls.VersionTLS12}); err != nil || state.CipherSuite != tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 || state.NegotiatedProtocol != "h2" {
		t.Errorf("%v, %v", state.CipherSuite, err)
	}
	for name, config := range map[string]*tls.Config{
		"another suite": {MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{suite}},
		"another curve": {CurvePreferences: []tls.CurveID{tls.X25519}},
		"1.1":           {MinVersion: tls.VersionTLS11, MaxVersion: tls.VersionTLS11},
	} {
		if _, err := shown(t, server, config); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	for _, c := range []struct {
		options knarr.Options
		want    string
	}{
		{knarr.Options{TLSMinVersion: "1.3"}, `unknown tls version "1.3"`},
		{knarr.Options{TLSCipherSuites: []string{"X"}}, "Cipher suite X not supported or doesn't exist"},
		{knarr.Options{TLSCipherSuites: []string{tls.CipherSuiteName(suite)}}, "HTTP/2 needs a cipher suite"},
		{knarr.Options{TLSCurvePreferences: []int32{1}}, "curve preference 1 is not supported"},
		{knarr.Options{GoawayChance: 0.1}, "--goaway-chance can not be less than 0 or greater than 0.02"},
		{knarr.Options{CORSAllowedOrigins: []string{"//a$", "("}}, `--cors-allowed-origins has "(", which is no expression`},
		{knarr.Options{CORSAllowedOrigins: []string{"//example.com"}}, `--cors-allowed-origins has "//example.com", which would match parts of hosts`},
		{knarr.Options{CORSAllowedOrigins: []string{""}}, "which would match parts of hosts"},
		{knarr.Options{StrictTransportSecurityDirectives: []string{"preload", "max-age"}}, `--strict-transport-security-directives has "max-age"`},
		{knarr.Options{HTTP2MaxStreamsPerConnection: -1}, "--http2-max-streams-per-connection"},
		{knarr.Options{TLSCertFile: "a"}, "a serving certificate needs both"},
		{knarr.Options{TLSSNICertKeys: []knarr.NamedCertKey{{CertFile: "/absent", KeyFile: "/absent"}}}, "/absent"},
	} {
		if server, err := knarr.Start(t.Context(), c.options); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v; want %q", err, c.want)
			if err == nil {
				_ = server.Stop(t.Context())
			}
		}
	}
}

// Authorities that change hold for connections that are open, and are told to clients
// and other servers.
func TestAuthoritiesChange(t *testing.T) {
	p := pairs{t, t.TempDir()}
	first, second := p.bundle(), p.bundle()
	proxies, err := pki.NewFrontProxies(pki.Options{})
	if err != nil {
		t.Fatal(err)
	}
	p.write("clients.crt", first.CA.CertPEM())
	p.write("proxies.crt", proxies.CA.CertPEM())
	server := knarrtest.StartWith(t, knarr.Options{
		ClientCAFile: p.path("clients.crt"), RequestHeaderClientCAFile: p.path("proxies.crt"), RequestHeaderUsernameHeaders: []string{"X-Remote-User"},
	})
	// knows asks on one connection each, which stays open.
	knows := func(b *pki.Bundle) func() bool {
		pair, err := b.CA.IssueClient("jane")
		if err != nil {
			t.Fatal(err)
		}
		config := rest.AnonymousClientConfig(server.ClientConfig())
		config.CertData, config.KeyData = pair.CertPEM, pair.KeyPEM
		client := clientOf(t, config)
		return func() bool {
			review, err := client.AuthenticationV1().SelfSubjectReviews().Create(t.Context(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
			return err == nil && review.Status.UserInfo.Username == "jane"
		}
	}
	ofFirst, ofSecond := knows(first), knows(second)
	told := func(what *pki.Authority) bool {
		m, err := clientOf(t, server.ClientConfig()).CoreV1().ConfigMaps("kube-system").Get(t.Context(), "extension-apiserver-authentication", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(m.Data["client-ca-file"], strings.TrimSpace(string(what.CertPEM())))
	}
	asked := func(what *pki.Authority) (is bool) {
		_, err := shown(t, server, &tls.Config{GetClientCertificate: func(r *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			is = slices.ContainsFunc(r.AcceptableCAs, func(raw []byte) bool { return string(raw) == string(what.Certificate().RawSubject) })
			return &tls.Certificate{}, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		return is
	}
	if !ofFirst() || ofSecond() || !told(first.CA) || told(second.CA) || !asked(proxies.CA) {
		t.Fatal("at first", ofFirst(), ofSecond(), told(first.CA), told(second.CA), asked(proxies.CA))
	}
	p.write("clients.crt", second.CA.CertPEM())
	eventually(t, "the second authority's client", ofSecond)
	if ofFirst() {
		t.Error("the first authority's client is known")
	}
	eventually(t, "others are told", func() bool { return told(second.CA) })
	if !told(first.CA) {
		t.Error("others are no longer told what another server may still trust")
	}
	p.write("clients.crt", slices.Concat(second.CA.CertPEM(), first.CA.CertPEM()))
	eventually(t, "both authorities' clients", func() bool { return ofFirst() && ofSecond() })
}

func TestTokenKeysChange(t *testing.T) {
	p := pairs{t, t.TempDir()}
	key := func() []byte {
		signer, err := pki.NewSigningKey()
		if err != nil {
			t.Fatal(err)
		}
		data, err := keyutil.MarshalPrivateKeyToPEM(signer)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	first, second := key(), key()
	p.write("signing.key", first)
	p.write("others.key", first)
	server := knarrtest.StartWith(t, knarr.Options{ServiceAccountSigningKeyFile: p.path("signing.key"), ServiceAccountKeyFiles: []string{p.path("others.key")}})
	old := newToken(t, server, authenticationv1.TokenRequestSpec{})
	id := header(t, old)["kid"]
	p.write("signing.key", second)
	var young string
	eventually(t, "another key", func() bool {
		young = newToken(t, server, authenticationv1.TokenRequestSpec{})
		return header(t, young)["kid"] != id
	})
	known := func(token string) bool { _, err := whoami(t, server, token); return err == nil }
	if !known(old) || !known(young) {
		t.Error("one of two keys is not known")
	}
	if keys := string(raw(t, server, "/openid/v1/jwks")); !strings.Contains(keys, fmt.Sprint(id)) || !strings.Contains(keys, fmt.Sprint(header(t, young)["kid"])) {
		t.Errorf("others are told of %s", keys)
	}
	p.write("others.key", second)
	eventually(t, "the end of the first key", func() bool { return !known(old) })
	if !known(young) {
		t.Error("the key in use is not known")
	}
}

// A configuration holds from when it is read, while the server runs.
func TestAuthenticationConfigChanges(t *testing.T) {
	p := pairs{t, t.TempDir()}
	write := func(jwt string) {
		p.write("authentication.yaml", []byte("apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\nanonymous: {enabled: true}\njwt:\n"+jwt))
	}
	first, second := authntest.NewProvider(t), authntest.NewProvider(t)
	const mapping = "  claimMappings: {username: {claim: sub, prefix: 'oidc:'}}"
	write(first.JWT(mapping))
	server := knarrtest.StartWith(t, knarr.Options{AuthenticationConfigFile: p.path("authentication.yaml")})
	knows := func(token string) func() bool {
		return func() bool {
			is, err := whoami(t, server, token)
			return err == nil && is == "oidc:ann [system:authenticated]"
		}
	}
	ofFirst, ofSecond := knows(first.Token(nil)), knows(second.Token(nil))
	eventually(t, "the first issuer's user", ofFirst)
	write("- nothing: {}\n") // what was good stays
	write(first.JWT(mapping) + second.JWT(mapping))
	eventually(t, "the second issuer's user", ofSecond)
	if !ofFirst() {
		t.Error("the first issuer's user is not known")
	}
	write(second.JWT(mapping))
	eventually(t, "the end of the first issuer", func() bool { return !ofFirst() })
	if !ofSecond() {
		t.Error("the second issuer's user is not known")
	}
	// One that nobody answers for is waited for, but not when the server stops.
	write(`- {issuer: {url: "https://127.0.0.1:1", audiences: [a]}, claimMappings: {username: {claim: sub, prefix: ""}}}` + "\n")
}
