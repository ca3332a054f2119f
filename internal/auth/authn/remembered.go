package authn

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"maps"
	"strings"
	"sync"
	"time"

	"k8s.io/apiserver/pkg/audit"
	"k8s.io/apiserver/pkg/authentication/authenticator"
)

const (
	// successTTL is how long a token that was verified counts as such, as
	// upstream has it.
	successTTL = 10 * time.Second
	// maxTokens bounds the tokens that are remembered. Each takes about 1 KB.
	maxTokens = 8192
)

// remembered remembers what was found out about tokens.
//
// For those of service accounts it remembers what was read for that, too: while
// all of it is as it was, and nothing has expired, the verdict is the same. So a
// token is refused as soon as what it is bound to has gone, where upstream goes on
// for ten seconds.
type remembered struct {
	authenticator.Token
	// accepted and refused are how long verdicts hold. That there was an error
	// is none.
	accepted, refused time.Duration
	// noting returns a context in which it is noted what is read, and what reports
	// whether it is still the same.
	noting func(context.Context) (context.Context, func() bool)
	now    func() time.Time

	mu    sync.RWMutex
	swept time.Time
	keys  int // how often the keys have changed; guarded by mu
	known map[[sha256.Size]byte]*verdict
}

type verdict struct {
	response    *authenticator.Response // nil: refused
	annotations map[string]string       // for the audit log
	unchanged   func() bool
	until       time.Time
}

// nothing is for tokens that are verified without reading anything that may
// change.
func nothing(ctx context.Context) (context.Context, func() bool) {
	return ctx, func() bool { return true }
}

// Enqueue is told when keys change: signatures have to be verified again.
func (r *remembered) Enqueue() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keys++
	clear(r.known)
}

func (r *remembered) AuthenticateToken(ctx context.Context, token string) (*authenticator.Response, bool, error) {
	key := r.key(ctx, token)
	r.mu.RLock()
	v, keys := r.known[key], r.keys
	r.mu.RUnlock()
	if v == nil || !r.now().Before(v.until) || !v.unchanged() {
		var err error
		if v, err = r.verify(ctx, token); err != nil {
			return nil, false, err
		}
		r.remember(key, v, keys)
	}
	if v.response == nil {
		return nil, false, nil
	}
	for name, value := range v.annotations {
		audit.AddAuditAnnotation(ctx, name, value)
	}
	return v.response, true, nil
}

func (r *remembered) verify(ctx context.Context, token string) (*verdict, error) {
	v := &verdict{}
	ctx = audit.WithAuditContext(ctx)
	ctx, v.unchanged = r.noting(ctx)
	now := r.now()
	response, ok, err := r.Token.AuthenticateToken(ctx, token)
	switch {
	case err != nil:
		return nil, err
	case !ok:
		v.until = now.Add(r.refused)
		return v, nil
	}
	v.response, v.annotations = response, audit.AuditContextFrom(ctx).GetEventAnnotations()
	v.until = now.Add(r.accepted)
	if end, ok := expiry(token); ok && end.Before(v.until) {
		v.until = end
	}
	return v, nil
}

// remember keeps v unless keys have changed since there were so many changes of
// them.
func (r *remembered) remember(key [sha256.Size]byte, v *verdict, keys int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if keys != r.keys || !r.now().Before(v.until) {
		return
	}
	if r.known == nil {
		r.known = map[[sha256.Size]byte]*verdict{}
	}
	if now := r.now(); now.Sub(r.swept) >= successTTL {
		r.swept = now // what verdicts hold on to is not held for much longer than they
		maps.DeleteFunc(r.known, func(_ [sha256.Size]byte, v *verdict) bool { return !now.Before(v.until) })
	}
	if len(r.known) >= maxTokens {
		clear(r.known) // each pays for one more verification
	}
	r.known[key] = v
}

// key stands for a token and what it is asked to be for, so that tokens are not
// kept themselves.
func (r *remembered) key(ctx context.Context, token string) (sum [sha256.Size]byte) {
	h := sha256.New()
	write := func(s string) { // so that no two lists are written alike
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(s)))
		h.Write(length[:])
		h.Write([]byte(s))
	}
	write(token)
	audiences, asked := authenticator.AudiencesFrom(ctx)
	if asked {
		for _, a := range audiences {
			write(a)
		}
	} else {
		h.Write([]byte{0})
	}
	h.Sum(sum[:0])
	return sum
}

// expiry is when a token that was verified expires, if it does.
func expiry(token string) (time.Time, bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}, false
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return time.Time{}, false
	}
	var claims struct {
		Expires *float64 `json:"exp"`
	}
	if json.Unmarshal(payload, &claims) != nil || claims.Expires == nil {
		return time.Time{}, false
	}
	return time.Unix(int64(*claims.Expires), 0), true
}
