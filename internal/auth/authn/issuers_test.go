package authn

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/knarr-io/knarr/internal/auth/authn/authntest"
)

// config writes a configuration.
func config(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "authentication.yaml")
	text = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n" + text
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func configured(t *testing.T, file string) *Authenticator {
	t.Helper()
	c, err := ReadConfiguration(file, []string{"https://ours"})
	if err != nil {
		t.Fatal(err)
	}
	return running(t, c)
}

// running waits until all issuers are known.
func running(t *testing.T, c *Configuration) *Authenticator {
	t.Helper()
	anonymous, err := WhoMayBeAnonymous(nil, c)
	if err != nil {
		t.Fatal(err)
	}
	a, err := New(Options{Configuration: c, Anonymous: anonymous, APIAudiences: []string{"api"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		err := a.issuers.current.Load().ready()
		if err == nil {
			return a
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// who is whoever the token is of, or why nobody.
func who(a *Authenticator, token string) (user.Info, error) {
	answer, ok, err := a.AuthenticateRequest(bearer(token, "api"))
	if !ok {
		return nil, err
	}
	return answer.User, err
}

const mappings = `
  claimMappings:
    username: {expression: '"u:" + claims.sub'}
    groups: {expression: 'claims.?roles.orValue([])'}
    uid: {expression: 'claims.?oid.orValue("none")'}
    extra: [{key: example.com/tenant, valueExpression: 'claims.?tenant.orValue("")'}]
  claimValidationRules:
  - expression: 'claims.?verified.orValue(true) == true'
    message: not verified
  userValidationRules:
  - expression: '!user.username.startsWith("u:system:")'
    message: reserved`

func TestConfiguredIssuers(t *testing.T) {
	one, two, stranger := authntest.NewProvider(t), authntest.NewProvider(t), authntest.NewProvider(t)
	a := configured(t, config(t, "jwt:\n"+one.JWT(mappings)+two.JWT("  claimMappings: {username: {claim: sub, prefix: 'two:'}}")))
	for _, c := range []struct {
		name, token string
		want        *user.DefaultInfo
		err         string
	}{
		{name: "of the first", token: one.Token(map[string]any{"roles": []string{"dev"}, "oid": "7", "tenant": "acme"}),
			want: &user.DefaultInfo{Name: "u:ann", UID: "7", Groups: []string{"dev", "system:authenticated"}, Extra: map[string][]string{"example.com/tenant": {"acme"}}}},
		{name: "of the second", token: two.Token(nil), want: &user.DefaultInfo{Name: "two:ann", Groups: []string{"system:authenticated"}}},
		{name: "of nobody", token: stranger.Token(nil), err: "invalid bearer token"},
		{name: "in another's name", token: stranger.Token(map[string]any{"iss": one.URL}), err: "failed to verify signature"},
		{name: "expired", token: one.Token(map[string]any{"exp": time.Now().Add(-time.Minute).Unix()}), err: "expired"},
		{name: "for another", token: one.Token(map[string]any{"aud": "you"}), err: "expected audience"},
		{name: "a claim that is not valid", token: one.Token(map[string]any{"verified": false}), err: "not verified"},
		{name: "a user that is not valid", token: one.Token(map[string]any{"sub": "system:admin"}), err: "reserved"},
		{name: "cut short", token: one.Token(nil)[:200], err: "failed to verify signature"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for range 2 { // the second time it may be remembered
				got, err := who(a, c.token)
				if c.want == nil {
					if err == nil || !strings.Contains(err.Error(), c.err) {
						t.Errorf("%v, %v; want %q", got, err, c.err)
					}
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				if got.GetName() != c.want.Name || got.GetUID() != c.want.UID || !slices.Equal(got.GetGroups(), c.want.Groups) ||
					fmt.Sprint(got.GetExtra()) != fmt.Sprint(c.want.Extra) {
					t.Errorf("got %+v, want %+v", got, c.want)
				}
			}
		})
	}
}

// What has changed holds as soon as it is known, for tokens that were accepted
// before too.
func TestIssuersChange(t *testing.T) {
	one, two := authntest.NewProvider(t), authntest.NewProvider(t)
	mapping := "  claimMappings: {username: {claim: sub, prefix: ''}}"
	a := configured(t, config(t, "jwt:\n"+one.JWT(mapping)))
	of := map[*authntest.Provider]string{one: one.Token(nil), two: two.Token(nil)}
	knows := func(p *authntest.Provider, want bool) {
		t.Helper()
		if _, err := who(a, of[p]); (err == nil) != want {
			t.Errorf("known: %v, want %v", err, want)
		}
	}
	update := func(text string) error {
		c, err := ReadConfiguration(config(t, text), nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		return a.Update(ctx, c)
	}
	knows(one, true)
	knows(two, false)
	if err := update("jwt:\n" + two.JWT(mapping)); err != nil {
		t.Fatal(err)
	}
	knows(one, false)
	knows(two, true)
	if err := update("anonymous: {enabled: false}\njwt:\n" + one.JWT(mapping)); err == nil || !strings.Contains(err.Error(), "changed from initial") {
		t.Errorf("anonymous: %v", err)
	}
	one.Close()
	if err := update("jwt:\n" + one.JWT(mapping)); err == nil {
		t.Error("issuers that cannot be reached are taken")
	}
	knows(two, true)
	if err := update("jwt: []\n"); err != nil {
		t.Fatal(err)
	}
	knows(two, false)
}

func TestOIDCFlags(t *testing.T) {
	p := authntest.NewProvider(t)
	ca := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(ca, []byte(p.Authority()), 0o600); err != nil {
		t.Fatal(err)
	}
	base := OIDC{IssuerURL: p.URL, ClientID: "me", CAFile: ca}
	with := func(change func(*OIDC)) OIDC {
		o := base
		change(&o)
		return o
	}
	claims := map[string]any{"email": "ann@example.com", "groups": []string{"dev"}}
	for _, c := range []struct {
		name   string
		oidc   OIDC
		claims map[string]any
		want   string // user and groups; empty: refused
	}{
		{"by default", base, claims, p.URL + "#ann [system:authenticated]"},
		{"no prefix", with(func(o *OIDC) { o.UsernamePrefix = "-" }), claims, "ann [system:authenticated]"},
		{"a prefix", with(func(o *OIDC) { o.UsernamePrefix = "x:"; o.GroupsClaim = "groups"; o.GroupsPrefix = "g:" }), claims, "x:ann [g:dev system:authenticated]"},
		{"email", with(func(o *OIDC) { o.UsernameClaim = "email" }), claims, "ann@example.com [system:authenticated]"},
		{"required", with(func(o *OIDC) { o.RequiredClaims = map[string]string{"email": "ann@example.com"} }), claims, p.URL + "#ann [system:authenticated]"},
		{"required and absent", with(func(o *OIDC) { o.RequiredClaims = map[string]string{"team": "x"} }), claims, ""},
		{"another algorithm", with(func(o *OIDC) { o.SigningAlgs = []string{"ES256"} }), claims, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := c.oidc.Check(); err != nil {
				t.Fatal(err)
			}
			configuration, err := c.oidc.Configuration(nil)
			if err != nil {
				t.Fatal(err)
			}
			got, err := who(running(t, configuration), p.Token(c.claims))
			if err != nil {
				if c.want != "" {
					t.Error(err)
				}
				return
			}
			if is := fmt.Sprint(got.GetName(), " ", got.GetGroups()); is != c.want {
				t.Errorf("is %s, want %s", is, c.want)
			}
		})
	}
}

func TestConfigurationRefused(t *testing.T) {
	file := func(text string) func() (*Configuration, error) {
		return func() (*Configuration, error) { return ReadConfiguration(config(t, text), []string{"https://ours"}) }
	}
	flags := func(o OIDC) func() (*Configuration, error) {
		return func() (*Configuration, error) {
			if err := o.Check(); err != nil {
				return nil, err
			}
			return o.Configuration([]string{"https://ours"})
		}
	}
	issuer := func(url, more string) string {
		return fmt.Sprintf("jwt: [{issuer: {url: %q, audiences: [me]}, claimMappings: {username: {claim: sub, prefix: ''}}%s}]", url, more)
	}
	for _, c := range []struct {
		name string
		read func() (*Configuration, error)
		want string
	}{
		{"no file", func() (*Configuration, error) { return ReadConfiguration("/absent", nil) }, `from file "/absent"`},
		{"another member", file("nothing: 1"), `unknown field "nothing"`},
		{"http", file(issuer("http://a", "")), "URL scheme must be https"},
		{"ours", file(issuer("https://ours", "")), "URL must not overlap with disallowed issuers"},
		{"twice", file("jwt:\n- {issuer: {url: 'https://a', audiences: [me]}, claimMappings: {username: {claim: sub, prefix: ''}}}\n- {issuer: {url: 'https://a', audiences: [me]}, claimMappings: {username: {claim: sub, prefix: ''}}}"), "Duplicate value"},
		{"no mapping", file("jwt: [{issuer: {url: 'https://a', audiences: [me]}}]"), "claimMappings.username: Required value"},
		{"an expression", file(issuer("https://a", ", claimValidationRules: [{expression: 'claims.'}]")), "compilation failed"},
		{"an authority", file("jwt: [{issuer: {url: 'https://a', audiences: [me], certificateAuthority: x}, claimMappings: {username: {claim: sub, prefix: ''}}}]"), "certificateAuthority"},
		{"conditions", file("anonymous: {enabled: false, conditions: [{path: /livez}]}"), "conditions"},
		{"half of the flags", flags(OIDC{IssuerURL: "https://a"}), "must be specified together"},
		{"the other half", flags(OIDC{GroupsClaim: "x"}), "must be specified together"},
		{"no authority", flags(OIDC{IssuerURL: "https://a", ClientID: "me", CAFile: "/absent"}), "/absent"},
		{"http by flag", flags(OIDC{IssuerURL: "http://a", ClientID: "me"}), "URL scheme must be https"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := c.read(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v; want %q", err, c.want)
			}
		})
	}
}

func TestAnonymousByPath(t *testing.T) {
	a := configured(t, config(t, "anonymous: {enabled: true, conditions: [{path: /livez}]}"))
	for path, want := range map[string]bool{"/livez": true, "/livez/ping": false, "/api": false, "/": false} {
		req := request(nil)
		req.URL.Path = path
		answer, ok, err := a.AuthenticateRequest(req)
		if ok != want || err != nil {
			t.Errorf("%s: %v, %v", path, ok, err)
		}
		if ok && answer.User.GetName() != user.Anonymous {
			t.Errorf("%s: %s", path, answer.User.GetName())
		}
	}
	off := false
	c, err := ReadConfiguration(config(t, "anonymous: {enabled: true}"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := WhoMayBeAnonymous(&off, c); err == nil || !strings.Contains(err.Error(), "--anonymous-auth flag cannot be set") {
		t.Error(err)
	}
	if got, err := WhoMayBeAnonymous(&off, nil); got.Enabled || err != nil {
		t.Error(got, err)
	}
}
