package serviceaccount

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/knarr-io/knarr/internal/pki"
)

func TestSettings(t *testing.T) {
	for _, test := range []struct {
		name string
		in   Settings
		want Settings
		err  string
	}{
		{name: "nothing", want: Settings{Issuers: []string{DefaultIssuer}, APIAudiences: []string{DefaultIssuer}}},
		{
			name: "two issuers",
			in:   Settings{Issuers: []string{"https://a", "b"}},
			want: Settings{Issuers: []string{"https://a", "b"}, APIAudiences: []string{"https://a", "b"}},
		},
		{
			name: "audiences of their own",
			in:   Settings{APIAudiences: []string{"api"}, JWKSURI: "https://a/keys", MaxTokenExpiration: time.Hour},
			want: Settings{Issuers: []string{DefaultIssuer}, APIAudiences: []string{"api"}, JWKSURI: "https://a/keys", MaxTokenExpiration: time.Hour},
		},
		{name: "no issuer's name", in: Settings{Issuers: []string{""}}, err: "service-account-issuer should not be an empty string"},
		{name: "no URL", in: Settings{Issuers: []string{"https://a b"}}, err: `service-account-issuer "https://a b" contained a ':' but was not a valid URL: `},
		{name: "twice the same", in: Settings{Issuers: []string{"a", "b", "a"}}, err: `service-account-issuer "a" is already specified`},
		{name: "keys from no URL", in: Settings{JWKSURI: "https://a b"}, err: "service-account-jwks-uri must be a valid URL: "},
		{name: "keys in the open", in: Settings{JWKSURI: "http://a"}, err: "service-account-jwks-uri requires https scheme, parsed as: http://a"},
		{name: "too short", in: Settings{MaxTokenExpiration: time.Minute}, err: "the service-account-max-token-expiration must be between 1 hour and 2^32 seconds"},
		{name: "negative", in: Settings{MaxTokenExpiration: -time.Hour}, err: "the service-account-max-token-expiration must be between 1 hour and 2^32 seconds"},
		{name: "too long", in: Settings{MaxTokenExpiration: time.Second<<32 + 1}, err: "the service-account-max-token-expiration must be between 1 hour and 2^32 seconds"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := test.in
			err := got.Complete()
			if test.err != "" {
				if err == nil || !strings.HasPrefix(err.Error(), test.err) || strings.Contains(err.Error(), "\n") {
					t.Errorf("error %v, want %s", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func newKey(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := pki.NewSigningKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Keys are told in the order of the files; the signing key's own is last,
// unless a file has it.
func TestKeys(t *testing.T) {
	signing, first, second := newKey(t), newKey(t), newKey(t)
	for _, test := range []struct {
		name         string
		others, want []any
	}{
		{"alone", nil, []any{signing}},
		{"with others", []any{first.Public(), second.Public()}, []any{first, second, signing}},
		{"in a file", []any{signing.Public(), first.Public()}, []any{signing, first}},
	} {
		t.Run(test.name, func(t *testing.T) {
			issuer, err := NewIssuer(Settings{Issuers: []string{"a"}}, Keys{Signing: signing, Others: test.others})
			if err != nil {
				t.Fatal(err)
			}
			got := issuer.PublicKeys().GetPublicKeys(context.Background(), "")
			if len(got) != len(test.want) {
				t.Fatalf("%d keys, want %d", len(got), len(test.want))
			}
			for i, key := range test.want {
				if !samePublic(key.(crypto.Signer).Public(), got[i].PublicKey) {
					t.Errorf("key %d is another", i)
				}
			}
		})
	}
	_, unfit, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewIssuer(Settings{Issuers: []string{"a"}}, Keys{Signing: unfit}); err == nil || !strings.Contains(err.Error(), "unknown private key type ed25519.PrivateKey") {
		t.Errorf("a key that tokens cannot be signed with: %v", err)
	}
}

func TestDocuments(t *testing.T) {
	issuer, err := NewIssuer(Settings{Issuers: []string{"https://issuer"}}, Keys{Signing: newKey(t)})
	if err != nil {
		t.Fatal(err)
	}
	documents, err := issuer.Documents("127.0.0.1:6443")
	if err != nil {
		t.Fatal(err)
	}
	config, maxAge := documents.GetConfigJSON()
	const want = `{"issuer":"https://issuer","jwks_uri":"https://127.0.0.1:6443/openid/v1/jwks","response_types_supported":["id_token"],"subject_types_supported":["public"],"id_token_signing_alg_values_supported":["ES256"]}`
	if string(config) != want || maxAge != 3600 {
		t.Errorf("got  %s (%d s)\nwant %s", config, maxAge, want)
	}
	keys, _ := documents.GetKeysetJSON()
	var set struct{ Keys []map[string]string }
	if err := json.Unmarshal(keys, &set); err != nil {
		t.Fatal(err)
	}
	if len(set.Keys) != 1 || set.Keys[0]["alg"] != "ES256" || set.Keys[0]["d"] != "" || strings.Contains(string(keys), `"d"`) {
		t.Errorf("the keys are %s", keys)
	}

	issuer.JWKSURI = "https://elsewhere/keys"
	if documents, err = issuer.Documents("127.0.0.1:6443"); err != nil {
		t.Fatal(err)
	}
	if config, _ := documents.GetConfigJSON(); !strings.Contains(string(config), `"jwks_uri":"https://elsewhere/keys"`) {
		t.Errorf("the configuration is %s", config)
	}
	issuer.Issuers = []string{"somebody"}
	if _, err := issuer.Documents("127.0.0.1:6443"); err == nil {
		t.Error("an issuer that is no https URL has documents")
	}
}
