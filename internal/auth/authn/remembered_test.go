package authn

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"k8s.io/apiserver/pkg/audit"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
)

// verifier counts how often it is asked. It knows all tokens but "unknown", and
// fails to verify "bad".
type verifier struct {
	asked     int
	unchanged bool
	now       time.Time
}

func (v *verifier) AuthenticateToken(ctx context.Context, token string) (*authenticator.Response, bool, error) {
	v.asked++
	if token == "bad" {
		return nil, false, errors.New("bad")
	}
	if token == "unknown" {
		return nil, false, nil
	}
	audit.AddAuditAnnotation(ctx, "authentication.k8s.io/stale-token", "since long")
	return &authenticator.Response{User: &user.DefaultInfo{Name: token}}, true, nil
}

func (v *verifier) memory() *remembered {
	return &remembered{Token: v, accepted: successTTL, refused: time.Minute, noting: func(ctx context.Context) (context.Context, func() bool) {
		return ctx, func() bool { return v.unchanged }
	}, now: func() time.Time { return v.now }}
}

func TestRemembered(t *testing.T) {
	v := &verifier{unchanged: true, now: time.Now()}
	r := v.memory()
	ask := func(what, token string, audiences []string, want int) {
		t.Helper()
		ctx := audit.WithAuditContext(context.Background())
		if audiences != nil {
			ctx = authenticator.WithAudiences(ctx, audiences)
		}
		before := v.asked
		response, ok, err := r.AuthenticateToken(ctx, token)
		if ok != (token != "bad" && token != "unknown") || (err == nil) != (token != "bad") {
			t.Fatalf("%s: %v, %v", what, ok, err)
		}
		if v.asked-before != want {
			t.Errorf("%s: verified %d times, want %d", what, v.asked-before, want)
		}
		if !ok {
			return
		}
		if response.User.GetName() != token {
			t.Errorf("%s: is %s", what, response.User.GetName())
		}
		if audit.AuditContextFrom(ctx).GetEventAnnotations()["authentication.k8s.io/stale-token"] != "since long" {
			t.Errorf("%s: the audit log is told %v", what, audit.AuditContextFrom(ctx).GetEventAnnotations())
		}
	}
	ask("first", "a", nil, 1)
	ask("again", "a", nil, 0)
	ask("another", "b", nil, 1)
	ask("for audiences", "a", []string{"x", "yz"}, 1)
	ask("for those again", "a", []string{"x", "yz"}, 0)
	ask("for others", "a", []string{"xy", "z"}, 1)
	ask("failed", "bad", nil, 1)
	ask("failed again", "bad", nil, 1)
	ask("refused", "unknown", nil, 1)
	ask("refused again", "unknown", nil, 0)

	v.unchanged = false
	ask("after a change", "a", nil, 1)
	v.unchanged = true
	ask("unchanged", "a", nil, 0)

	v.now = v.now.Add(successTTL)
	ask("after a while", "a", nil, 1)
	ask("and again", "a", nil, 0)

	r.Enqueue()
	ask("after keys changed", "a", nil, 1)
	ask("and once more", "a", nil, 0)

	for i := range maxTokens + 10 {
		ask("many", fmt.Sprint("token", i), nil, 1)
	}
	if len(r.known) > maxTokens {
		t.Errorf("%d are remembered", len(r.known))
	}
	v.now = v.now.Add(time.Minute)
	ask("later", "z", nil, 1)
	if len(r.known) != 1 {
		t.Errorf("%d are remembered after their time", len(r.known))
	}
}

// Keys that change while a token is verified leave it unverified.
func TestKeysChangeMeanwhile(t *testing.T) {
	v := &verifier{unchanged: true, now: time.Now()}
	r := v.memory()
	r.Token = authenticator.TokenFunc(func(ctx context.Context, token string) (*authenticator.Response, bool, error) {
		r.Enqueue()
		return v.AuthenticateToken(ctx, token)
	})
	for range 2 {
		if _, ok, err := r.AuthenticateToken(context.Background(), "a"); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	if v.asked != 2 {
		t.Errorf("verified %d times", v.asked)
	}
}

func TestTokenExpiresWhileRemembered(t *testing.T) {
	i := newIssued(t)
	token := i.token(i.key(true), "https://issuer", 3600, "api", nil, nil, nil)
	end, ok := expiry(token)
	if !ok || time.Until(end) < 59*time.Minute || time.Until(end) > time.Hour {
		t.Fatal(end, ok)
	}
	v := &verifier{unchanged: true, now: end.Add(-successTTL / 2)}
	r := v.memory()
	for _, at := range []time.Time{v.now, end.Add(-time.Second), end, end.Add(time.Second)} {
		v.now = at
		if _, ok, err := r.AuthenticateToken(context.Background(), token); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	if v.asked != 3 {
		t.Errorf("verified %d times, want once before its end and each time after", v.asked)
	}
	for _, none := range []string{"", "a.b", "a.!.c", "a.e30.c", "a.bm9uZQ.c"} {
		if at, ok := expiry(none); ok {
			t.Errorf("%q expires at %v", none, at)
		}
	}
}
