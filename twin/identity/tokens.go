package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// builder collects requests with tokens of one side; the first error stays.
type builder struct {
	*side
	all []request
	err error
}

func (b *builder) add(name, token string) { b.addTo("", name, token) }

func (b *builder) addTo(path, name, token string) {
	r := request{name: name, headers: bearer(token), path: path}
	b.all = append(b.all, r)
}

func (b *builder) signed(name string, known string, header, claims map[string]any) {
	token, err := jwt(b.keys[known], header, claims)
	if err != nil && b.err == nil {
		b.err = err
	}
	b.add(name, token)
}

func building(name string, build func(context.Context, *builder) error) group {
	return group{name, func(ctx context.Context, s *side) ([]request, error) {
		b := &builder{side: s}
		if err := build(ctx, b); err != nil {
			return nil, err
		}
		return b.all, b.err
	}}
}

type claims = map[string]any

func serviceAccounts() group {
	return building("service account", func(ctx context.Context, b *builder) error {
		good, err := b.token(ctx, "holder", authenticationv1.TokenRequestSpec{})
		if err != nil {
			return err
		}
		b.add("good", good)
		parts := strings.Split(good, ".")
		for _, spec := range []struct {
			name      string
			audiences []string
		}{{"another audience", []string{"elsewhere"}}, {"two audiences", []string{"elsewhere", issuer}}} {
			token, err := b.token(ctx, "holder", authenticationv1.TokenRequestSpec{Audiences: spec.audiences})
			if err != nil {
				return err
			}
			b.add(spec.name, token)
		}
		encode := func(v claims) string { j, _ := json.Marshal(v); return base64.RawURLEncoding.EncodeToString(j) }
		b.add("without a signature", parts[0]+"."+parts[1]+".")
		b.add("two parts", parts[0]+"."+parts[1])
		b.add("four parts", good+".x")
		b.add("cut short", good[:len(good)-4])
		b.add("a space", good+" ")
		b.add("padded", good+"==")
		b.add("none", encode(claims{"alg": "none"})+"."+parts[1]+".")
		b.add("None", encode(claims{"alg": "None"})+"."+parts[1]+"."+parts[2])
		b.add("HS256", encode(claims{"alg": "HS256"})+"."+parts[1]+"."+parts[2])
		b.add("RS256", encode(claims{"alg": "RS256"})+"."+parts[1]+"."+parts[2])
		b.add("no algorithm", encode(claims{})+"."+parts[1]+"."+parts[2])
		b.add("other claims", parts[0]+"."+encode(b.claims(claims{"sub": "system:serviceaccount:kube-system:default"}))+"."+parts[2])

		now := time.Now().Unix()
		other := func(namespace, name, uid string) claims {
			return claims{"namespace": namespace, "serviceaccount": claims{"name": name, "uid": uid}}
		}
		uid := string(b.account.UID)
		for _, c := range []struct {
			name string
			more claims
		}{
			{"signed", nil}, {"expired", claims{"exp": now - 120}}, {"just expired", claims{"exp": now - 5}}, {"no end", claims{"exp": nil}}, {"the end is text", claims{"exp": "tomorrow"}},
			{"not yet", claims{"nbf": now + 600}}, {"issued in the future", claims{"iat": now + 600}}, {"no issuer", claims{"iss": nil}}, {"another issuer", claims{"iss": "https://elsewhere"}},
			{"issuer with a slash", claims{"iss": issuer + "/"}}, {"issuers", claims{"iss": []string{issuer}}}, {"another audience signed", claims{"aud": []string{"elsewhere"}}}, {"no audience", claims{"aud": nil}},
			{"audience as text", claims{"aud": issuer}}, {"empty audience", claims{"aud": []string{}}}, {"another subject", claims{"sub": "system:serviceaccount:default:another"}}, {"no subject", claims{"sub": nil}},
			{"no claims of Kubernetes", claims{"kubernetes.io": nil}}, {"another uid", claims{"kubernetes.io": other("default", "holder", "x")}}, {"no uid", claims{"kubernetes.io": other("default", "holder", "")}},
			{"another namespace", claims{"kubernetes.io": other("kube-system", "holder", uid)}}, {"another account", claims{"kubernetes.io": other("default", "nobody", uid)}},
			{"a path in a name", claims{"kubernetes.io": other("default", "../secrets/x", uid)}},
			{"a pod that is not there", claims{"kubernetes.io": claims{"namespace": "default", "serviceaccount": claims{"name": "holder", "uid": uid}, "pod": claims{"name": "p", "uid": "u"}}}},
			{"a node that is not there", claims{"kubernetes.io": claims{"namespace": "default", "serviceaccount": claims{"name": "holder", "uid": uid}, "node": claims{"name": "n", "uid": "u"}}}},
			{"a webhook that is not there", claims{"kubernetes.io": claims{"namespace": "default", "serviceaccount": claims{"name": "holder", "uid": uid}, "validatingWebhookConfiguration": claims{"name": "n", "uid": "u"}}}},
			{"groups", claims{"groups": []string{"system:masters"}}},
		} {
			b.signed(c.name, "known", nil, b.claims(c.more))
		}
		b.signed("a key that is not known", "unknown", nil, b.claims(nil))
		b.signed("another key's name", "unknown", claims{"alg": "ES256", "kid": keyID(b.keys["known"])}, b.claims(nil))
		b.signed("no key's name", "known", claims{"alg": "ES256"}, b.claims(nil))
		b.signed("no key's name and not known", "unknown", claims{"alg": "ES256"}, b.claims(nil))
		b.signed("a key in the header", "unknown", claims{"alg": "ES256", "jwk": claims{"kty": "EC"}, "jku": "https://127.0.0.1:1/"}, b.claims(nil))
		b.signed("ES384 by name", "known", claims{"alg": "ES384", "kid": keyID(b.keys["known"])}, b.claims(nil))
		b.signed("critical", "known", claims{"alg": "ES256", "kid": keyID(b.keys["known"]), "crit": []string{"x"}, "x": 1}, b.claims(nil))
		b.signed("zip", "known", claims{"alg": "ES256", "kid": keyID(b.keys["known"]), "zip": "DEF"}, b.claims(nil))
		deep := any("x")
		for range 5000 {
			deep = []any{deep}
		}
		b.signed("deep", "known", nil, b.claims(claims{"deep": deep}))
		b.signed("large", "known", nil, b.claims(claims{"large": strings.Repeat("x", 200_000)}))
		return nil
	})
}

// lifecycle is tokens whose objects go: each is used while they are there, too.
func lifecycle() group {
	return building("lifecycle", func(ctx context.Context, b *builder) error {
		core := b.client.CoreV1()
		use := func(token string) error { // it is good, and remembered
			for range 2 {
				if answer := b.once(request{headers: bearer(token)}); !strings.HasPrefix(answer, "201") {
					return fmt.Errorf("a good token is refused: %s", answer)
				}
			}
			return nil
		}
		secret, err := core.Secrets("default").Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "bound"}}, metav1.CreateOptions{})
		if err != nil {
			return err
		}
		bound, err := b.token(ctx, "holder", authenticationv1.TokenRequestSpec{BoundObjectRef: &authenticationv1.BoundObjectReference{Kind: "Secret", APIVersion: "v1", Name: secret.Name, UID: secret.UID}})
		if err != nil {
			return err
		}
		leaving, err := core.ServiceAccounts("default").Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "leaving"}}, metav1.CreateOptions{})
		if err != nil {
			return err
		}
		ofLeaving, err := b.token(ctx, leaving.Name, authenticationv1.TokenRequestSpec{})
		if err != nil {
			return err
		}
		for _, token := range []string{bound, ofLeaving} {
			if err := use(token); err != nil {
				return err
			}
		}
		if err := core.Secrets("default").Delete(ctx, secret.Name, metav1.DeleteOptions{}); err != nil {
			return err
		}
		if err := core.ServiceAccounts("default").Delete(ctx, leaving.Name, metav1.DeleteOptions{}); err != nil {
			return err
		}
		if _, err := core.ServiceAccounts("default").Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "leaving"}}, metav1.CreateOptions{}); err != nil {
			return err
		}
		time.Sleep(11 * time.Second) // upstream remembers for ten
		b.add("its secret has gone", bound)
		b.add("its account is another's", ofLeaving)
		return nil
	})
}

func legacyTokens() group {
	return building("old token", func(ctx context.Context, b *builder) error {
		secrets := b.client.CoreV1().Secrets("default")
		for _, c := range []struct {
			name  string
			more  claims
			kept  func(*corev1.Secret)
			after func(name string) error
		}{
			{name: "good"},
			{name: "another-account", more: claims{"kubernetes.io/serviceaccount/service-account.name": "default", "sub": "system:serviceaccount:default:default"}},
			{name: "another-subject", more: claims{"sub": "system:serviceaccount:default:default"}},
			{name: "another-secret", more: claims{"kubernetes.io/serviceaccount/secret.name": "old-good"}},
			{name: "no-secret", more: claims{"kubernetes.io/serviceaccount/secret.name": nil}},
			{name: "no-namespace", more: claims{"kubernetes.io/serviceaccount/namespace": nil}},
			{name: "another-uid", more: claims{"kubernetes.io/serviceaccount/service-account.uid": "x"}},
			{name: "expired", more: claims{"exp": time.Now().Unix() - 600}},
			{name: "other-data", kept: func(s *corev1.Secret) { s.Data["token"] = []byte("another") }},
			{name: "deleted", after: func(name string) error { return secrets.Delete(ctx, name, metav1.DeleteOptions{}) }},
			{name: "invalid", after: func(name string) error {
				_, err := secrets.Patch(ctx, name, types.MergePatchType, []byte(`{"metadata":{"labels":{"kubernetes.io/legacy-token-invalid-since":"2024-01-01"}}}`), metav1.PatchOptions{})
				return err
			}},
		} {
			name := "old-" + c.name
			token, err := jwt(b.keys["known"], nil, b.legacy(name, c.more))
			if err != nil {
				return err
			}
			s := &corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{corev1.ServiceAccountNameKey: "holder", corev1.ServiceAccountUIDKey: string(b.account.UID)}},
				Type:       corev1.SecretTypeServiceAccountToken, Data: map[string][]byte{"token": []byte(token)},
			}
			if c.kept != nil {
				c.kept(s)
			}
			if _, err := secrets.Create(ctx, s, metav1.CreateOptions{}); err != nil {
				return err
			}
			if c.after != nil {
				if err := c.after(name); err != nil {
					return err
				}
			}
			b.add(c.name, token)
			b.all = append(b.all, request{name: c.name + ", its labels", who: "admin", method: http.MethodGet, path: "/api/v1/namespaces/default/secrets/" + name,
				headers: []string{"Accept: application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"}})
		}
		b.all = append(b.all, request{name: "since when uses are noted", who: "admin", method: http.MethodGet, path: "/api/v1/namespaces/kube-system/configmaps/kube-apiserver-legacy-service-account-token-tracking"})
		return nil
	})
}

func bootstrapTokens() group {
	return building("bootstrap token", func(ctx context.Context, b *builder) error {
		secrets := b.client.CoreV1().Secrets("kube-system")
		for i, c := range []struct {
			name   string
			change func(id string, s *corev1.Secret)
		}{
			{"good", nil},
			{"groups", func(_ string, s *corev1.Secret) {
				s.StringData["auth-extra-groups"] = "system:bootstrappers:kubeadm:default-node-token,system:bootstrappers:x"
			}},
			{"not for this", func(_ string, s *corev1.Secret) { s.StringData["usage-bootstrap-authentication"] = "false" }},
			{"expired", func(_ string, s *corev1.Secret) { s.StringData["expiration"] = "2020-01-01T00:00:00Z" }},
			{"no date", func(_ string, s *corev1.Secret) { s.StringData["expiration"] = "soon" }},
			{"masters", func(_ string, s *corev1.Secret) { s.StringData["auth-extra-groups"] = "system:masters" }},
			{"another id", func(_ string, s *corev1.Secret) { s.StringData["token-id"] = "zzzzzz" }},
			{"another type", func(_ string, s *corev1.Secret) { s.Type = corev1.SecretTypeOpaque }},
		} {
			id := fmt.Sprintf("aaaaa%d", i)
			s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "bootstrap-token-" + id}, Type: corev1.SecretTypeBootstrapToken, StringData: map[string]string{
				"token-id": id, "token-secret": "0123456789abcdef", "usage-bootstrap-authentication": "true",
			}}
			if c.change != nil {
				c.change(id, s)
			}
			if _, err := secrets.Create(ctx, s, metav1.CreateOptions{}); err != nil {
				return err
			}
			b.add(c.name, id+".0123456789abcdef")
		}
		time.Sleep(time.Second) // upstream's informer
		b.add("another secret", "aaaaa0.0123456789abcdeg")
		b.add("upper case", "AAAAA0.0123456789abcdef")
		b.add("no secret", "aaaaa0.")
		b.add("nobody's", "bbbbbb.0123456789abcdef")
		return nil
	})
}

func oidcTokens() group {
	return building("oidc", func(_ context.Context, b *builder) error {
		token, err := b.provider.login("test-user2")
		if err != nil {
			return err
		}
		b.add("a user who has logged in", token)
		now := time.Now().Unix()
		for _, c := range []struct {
			name string
			more claims
		}{
			{"signed", nil}, {"all claims", claims{"groups": []string{"dev", "ops"}, "oid": "42", "tenant": "acme"}}, {"expired", claims{"exp": now - 60}}, {"no end", claims{"exp": nil}},
			{"not yet", claims{"nbf": now + 3600}}, {"another audience", claims{"aud": "another"}}, {"several audiences", claims{"aud": []string{"another", "twin"}}}, {"no audience", claims{"aud": nil}},
			{"another issuer", claims{"iss": "https://127.0.0.1:1"}}, {"a slash more", claims{"iss": b.provider.issuer + "/"}}, {"this server's issuer", claims{"iss": issuer}}, {"no subject", claims{"sub": nil}},
			{"an empty subject", claims{"sub": ""}}, {"a number as subject", claims{"sub": 7}}, {"another domain", claims{"hd": "evil.example"}}, {"a reserved name", claims{"sub": "system:admin"}},
			{"groups as text", claims{"groups": "dev"}}, {"groups of numbers", claims{"groups": []int{1}}}, {"masters", claims{"groups": []string{"system:masters"}}}, {"an empty tenant", claims{"tenant": ""}}, {"a number as uid", claims{"oid": 5}},
		} {
			token, err := b.provider.sign(c.more)
			if err != nil {
				return err
			}
			b.add(c.name, token)
		}
		all := claims{"iss": b.provider.issuer, "aud": "twin", "sub": "ann", "exp": now + 3600}
		b.signed("another key", "known", claims{"alg": "ES256", "kid": "x"}, all)
		b.signed("none", "known", claims{"alg": "none"}, all)
		b.signed("HS256", "known", claims{"alg": "HS256"}, all)
		b.signed("RS256 by name", "known", claims{"alg": "RS256"}, all)
		return nil
	})
}

func webhookTokens() group {
	return building("webhook", func(_ context.Context, b *builder) error {
		for _, token := range []string{"hook-known", "hook-here", "hook-elsewhere", "hook-refused", "hook-broken", "unknown", "hook-ünïcode"} {
			b.add(token, token)
			b.add(token+", again", token)
		}
		return nil
	})
}

func webSockets() group {
	const prefix = "Sec-WebSocket-Protocol: "
	encoded := "base64url.bearer.authorization.k8s.io." + base64.RawURLEncoding.EncodeToString([]byte("static-token"))
	var all []request
	for name, protocol := range inOrder(
		"a token", []string{prefix + encoded + ", v4.channel.k8s.io"}, "last", []string{prefix + "v4.channel.k8s.io, " + encoded}, "two headers", []string{prefix + encoded, prefix + "v4.channel.k8s.io"},
		"alone", []string{prefix + encoded}, "two tokens", []string{prefix + encoded + ", " + encoded + ", v4.channel.k8s.io"}, "a bad token", []string{prefix + "base64url.bearer.authorization.k8s.io.bm9ib2R5, v4.channel.k8s.io"},
		"not base64", []string{prefix + "base64url.bearer.authorization.k8s.io.!!!, v4.channel.k8s.io"}, "padded", []string{prefix + "base64url.bearer.authorization.k8s.io.YQ==, v4.channel.k8s.io"},
		"empty", []string{prefix + "base64url.bearer.authorization.k8s.io., v4.channel.k8s.io"}, "not a token's bytes", []string{prefix + "base64url.bearer.authorization.k8s.io.__79, v4.channel.k8s.io"}, "none", []string{prefix + "v4.channel.k8s.io"},
	) {
		upgrade := []string{"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="}
		all = append(all,
			request{name: name, method: http.MethodGet, path: "/api/v1/namespaces/default/configmaps?watch=1", headers: append(upgrade, protocol...)},
			request{name: name + ", a bearer token too", method: http.MethodGet, path: "/api/v1/namespaces/default/configmaps?watch=1", headers: append(append(bearer("static-plain"), upgrade...), protocol...)},
			request{name: name + ", no upgrade", headers: protocol})
	}
	return fixed("websocket", all...)
}

func impersonation() group {
	var all []request
	for _, who := range []string{"admin", "jane", ""} {
		for name, headers := range inOrder(
			"a user", []string{"Impersonate-User: bob"}, "a user and groups", []string{"Impersonate-User: bob", "Impersonate-Group: a", "Impersonate-Group: b"},
			"uid and extra", []string{"Impersonate-User: bob", "Impersonate-Uid: 7", "Impersonate-Extra-Acme.com%2Fproject: p", "Impersonate-Extra-Acme.com%2Fproject: q"},
			"two users", []string{"Impersonate-User: bob", "Impersonate-User: root"}, "an empty user", []string{"Impersonate-User:"}, "groups only", []string{"Impersonate-Group: system:masters"}, "uid only", []string{"Impersonate-Uid: 7"},
			"extra only", []string{"Impersonate-Extra-A: b"}, "an empty group", []string{"Impersonate-User: bob", "Impersonate-Group:"}, "an extra that is not escaped well", []string{"Impersonate-User: bob", "Impersonate-Extra-a%zz: v"},
			"an extra of no name", []string{"Impersonate-User: bob", "Impersonate-Extra-: v"}, "an account", []string{"Impersonate-User: system:serviceaccount:default:holder"}, "an account and a group", []string{"Impersonate-User: system:serviceaccount:default:holder", "Impersonate-Group: x"},
			"not an account", []string{"Impersonate-User: system:serviceaccount:default"}, "a node", []string{"Impersonate-User: system:node:n", "Impersonate-Group: system:nodes"}, "a node alone", []string{"Impersonate-User: system:node:n"},
			"nobody", []string{"Impersonate-User: system:anonymous"}, "nobody in a group", []string{"Impersonate-User: system:anonymous", "Impersonate-Group: a"}, "unauthenticated", []string{"Impersonate-User: bob", "Impersonate-Group: system:unauthenticated"},
			"authenticated", []string{"Impersonate-User: bob", "Impersonate-Group: system:authenticated"}, "oneself", []string{"Impersonate-User: root", "Impersonate-Group: system:masters"}, "unknown header", []string{"Impersonate-Role: x"},
			"small letters", []string{"impersonate-user: bob", "impersonate-group: a"}, "underscores", []string{"Impersonate_User: bob"}, "spaces", []string{"Impersonate-User:   bob   "}, "not ASCII", []string{"Impersonate-User: bøb"},
			"many groups", append([]string{"Impersonate-User: bob"}, groups(300)...), "scopes", []string{"Impersonate-User: bob", "Impersonate-Extra-Scopes: a,b"}, "upper case extra", []string{"Impersonate-User: bob", "Impersonate-Extra-FooBar: Baz"},
			"reserved extra", []string{"Impersonate-User: bob", "Impersonate-Extra-Authentication.kubernetes.io%2Fpod-name: p"},
		) {
			all = append(all, request{name: who + ", " + name, who: who, headers: headers}, request{name: who + ", " + name + ", a list", who: who, method: http.MethodGet, path: "/api/v1/namespaces/default/secrets", headers: headers})
		}
	}
	return fixed("impersonation", all...)
}

func groups(n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf("Impersonate-Group: group-%d", i))
	}
	return all
}

func reviews() group {
	return building("review", func(ctx context.Context, b *builder) error {
		good, err := b.token(ctx, "holder", authenticationv1.TokenRequestSpec{Audiences: []string{issuer, "elsewhere"}})
		if err != nil {
			return err
		}
		oidc, err := b.provider.sign(nil)
		if err != nil {
			return err
		}
		for _, c := range []struct{ name, token, audiences string }{
			{"account", good, ""}, {"account for here", good, `"` + issuer + `"`}, {"account for elsewhere", good, `"elsewhere","more"`}, {"account for another", good, `"another"`}, {"static", "static-token", ""}, {"static for another", "static-token", `"another"`},
			{"oidc", oidc, ""}, {"oidc for another", oidc, `"another"`}, {"webhook", "hook-known", ""}, {"webhook for another", "hook-known", `"another"`}, {"webhook for elsewhere", "hook-elsewhere", `"elsewhere"`}, {"unknown", "nobody", ""}, {"refused", "hook-refused", ""},
			{"empty", "", ""}, {"not a token", "a.b.c", ""},
		} {
			for _, version := range []string{"v1"} {
				body := fmt.Sprintf(`{"kind":"TokenReview","apiVersion":"authentication.k8s.io/%s","spec":{"token":%q,"audiences":[%s]}}`, version, c.token, c.audiences)
				path := "/apis/authentication.k8s.io/" + version + "/tokenreviews"
				b.all = append(b.all, request{name: c.name, who: "admin", path: path, body: body}, request{name: c.name + ", by jane", who: "jane", path: path, body: body})
			}
		}
		return nil
	})
}
