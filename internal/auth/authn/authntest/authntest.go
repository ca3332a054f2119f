// Package authntest has a provider of OpenID Connect for tests of those who accept its
// tokens. It must not know how that is done.
package authntest

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// Provider is one of OpenID Connect, on a port of its own.
type Provider struct {
	testing.TB
	*httptest.Server
	key *rsa.PrivateKey
}

// NewProvider starts a provider that ends with the test.
func NewProvider(t testing.TB) *Provider {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p := &Provider{TB: t, key: key}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{
			"issuer": p.URL, "jwks_uri": p.URL + "/keys", "id_token_signing_alg_values_supported": []string{"RS256"},
			"authorization_endpoint": p.URL + "/auth", "token_endpoint": p.URL + "/token",
		})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": []any{map[string]any{
			"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "k",
			"n": base64.RawURLEncoding.EncodeToString(key.N.Bytes()), "e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(key.E)).Bytes()),
		}}})
	})
	p.Server = httptest.NewTLSServer(mux)
	t.Cleanup(p.Close)
	return p
}

// Authority is who signed its certificate, PEM.
func (p *Provider) Authority() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Certificate().Raw}))
}

// Token is one of the claims, with those that all tokens have unless they are
// told.
func (p *Provider) Token(claims map[string]any) string {
	p.Helper()
	all := map[string]any{"iss": p.URL, "aud": "me", "sub": "ann", "exp": time.Now().Add(time.Hour).Unix()}
	for name, value := range claims {
		all[name] = value
	}
	payload, err := json.Marshal(all)
	if err != nil {
		p.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	signed := encode([]byte(`{"alg":"RS256","kid":"k"}`)) + "." + encode(payload)
	digest := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(nil, p.key, crypto.SHA256, digest[:])
	if err != nil {
		p.Fatal(err)
	}
	return signed + "." + encode(signature)
}

// JWT is the provider's part of a configuration.
func (p *Provider) JWT(more string) string {
	quoted, err := json.Marshal(p.Authority())
	if err != nil {
		p.Fatal(err)
	}
	return fmt.Sprintf("- issuer: {url: %q, audiences: [me], certificateAuthority: %s}\n%s\n", p.URL, quoted, more)
}
