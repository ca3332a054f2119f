package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
)

// group is requests about one thing. They are made for each side, with what is its own.
type group struct {
	name     string
	requests func(context.Context, *side) ([]request, error)
}

// fixed are requests that are the same for both.
func fixed(name string, all ...request) group {
	return group{name, func(context.Context, *side) ([]request, error) { return all, nil }}
}

func cases() []group {
	return []group{
		certificates(), frontProxies(), realFrontProxy(), headers(), smuggling(), paths(), serviceAccounts(), lifecycle(), legacyTokens(),
		bootstrapTokens(), oidcTokens(), webhookTokens(), webSockets(), impersonation(), reviews(),
	}
}

func certificates() group {
	var all []request
	for _, who := range []string{
		"", "jane", "no-groups", "no-name", "admin", "uid", "two-uids", "empty-uid", "anonymous", "stranger", "expired", "future", "server", "no-usage", "unicode",
		"proxy", "proxy-fake",
	} {
		all = append(all,
			request{name: who, who: who},
			request{name: who + ", version", who: who, method: http.MethodGet, path: "/version"},
			request{name: who + ", and a good token", who: who, headers: bearer("static-token")},
			request{name: who + ", and a bad token", who: who, headers: bearer("nobody")},
			request{name: who + ", a list", who: who, method: http.MethodGet, path: "/api/v1/namespaces/default/secrets"})
	}
	return fixed("certificate", all...)
}

func frontProxies() group {
	told := []string{"X-Remote-User: ann", "X-Remote-Group: dev", "X-Remote-Group: ops", "X-Remote-Uid: 7", "X-Remote-Extra-Acme.com%2Fproject: p", "X-Remote-Extra-Acme.com%2Fproject: q"}
	var all []request
	for _, who := range []string{"proxy", "proxy-else", "proxy-fake", "proxy-old", "stranger", "jane", "admin", ""} {
		for name, headers := range inOrder(
			"all", told,
			"only a user", told[:1],
			"no user", told[1:],
			"an empty user", []string{"X-Remote-User:", "X-Remote-Group: dev"},
			"blank", []string{"X-Remote-User:  ", "X-Remote-Group: dev"},
			"two users", []string{"X-Remote-User: ann", "X-Remote-User: bob"},
			"an empty and a user", []string{"X-Remote-User:", "X-Remote-User: bob"},
			"masters", []string{"X-Remote-User: root", "X-Remote-Group: system:masters"},
			"in small letters", []string{"x-remote-user: ann", "x-remote-group: dev", "x-remote-extra-k: v"},
			"an underscore", []string{"X_Remote_User: ann", "X-Remote_User: bob"},
			"an extra of no name", []string{"X-Remote-User: ann", "X-Remote-Extra-: v"},
			"an extra that is not escaped well", []string{"X-Remote-User: ann", "X-Remote-Extra-a%zz: v"},
			"a token too", []string{"X-Remote-User: ann", "Authorization: Bearer static-plain"},
			"a bad token too", []string{"X-Remote-User: ann", "Authorization: Bearer nobody"},
			"somebody", []string{"X-Remote-User: system:anonymous", "X-Remote-Group: system:unauthenticated"},
			"as another", []string{"X-Remote-User: root", "X-Remote-Group: system:masters", "Impersonate-User: jane"},
		) {
			all = append(all, request{name: who + ", " + name, who: who, headers: headers})
		}
	}
	return fixed("front proxy", all...)
}

// inOrder yields pairs of a name and headers.
func inOrder(pairs ...any) func(yield func(string, []string) bool) {
	return func(yield func(string, []string) bool) {
		for i := 0; i < len(pairs); i += 2 {
			if !yield(pairs[i].(string), pairs[i+1].([]string)) {
				return
			}
		}
	}
}

// realFrontProxy goes through a process that knows users by their passwords.
func realFrontProxy() group {
	basic := func(user, group string) string {
		return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+group))
	}
	return fixed("real front proxy",
		request{name: "a user", plain: true, headers: []string{basic("ann", "dev")}},
		request{name: "a master", plain: true, method: http.MethodGet, path: "/api/v1/namespaces/default/secrets", headers: []string{basic("root", "system:masters")}},
		request{name: "not logged in", plain: true},
		request{name: "forged", plain: true, headers: []string{"X-Remote-User: root", "X-Remote-Group: system:masters"}},
		request{name: "forged beside", plain: true, headers: []string{basic("ann", "dev"), "X-Remote-Group: system:masters", "X-Remote-Extra-A: b"}},
		request{name: "a connection that is kept is to be dropped", plain: true, headers: []string{basic("ann", "dev"), "Connection: X-Remote-User"}},
	)
}

func headers() group {
	var all []request
	for name, headers := range inOrder(
		"good", bearer("static-token"), "without groups", bearer("static-plain"), "unknown", bearer("static"), "upper case", bearer("STATIC-TOKEN"),
		"small scheme", []string{"Authorization: bearer static-token"}, "loud scheme", []string{"Authorization: BEARER static-token"},
		"small name", []string{"authorization: Bearer static-token"},
		"two spaces", []string{"Authorization: Bearer  static-token"}, "spaces around", []string{"Authorization:   Bearer static-token   "},
		"a tab", []string{"Authorization: Bearer\tstatic-token"}, "more words", []string{"Authorization: Bearer static-token more"},
		"a comma", []string{"Authorization: Bearer static-token, Bearer static-plain"},
		"no token", []string{"Authorization: Bearer"}, "an empty token", []string{"Authorization: Bearer "}, "empty", []string{"Authorization:"},
		"only a token", []string{"Authorization: static-token"}, "another scheme", []string{"Authorization: Token static-token"},
		"basic", []string{"Authorization: Basic YW5uOnNlY3JldA=="}, "negotiate", []string{"Authorization: Negotiate YII="},
		"good, bad", append(bearer("static-token"), bearer("nobody")...), "bad, good", append(bearer("nobody"), bearer("static-token")...),
		"two good", append(bearer("static-token"), bearer("static-plain")...),
		"basic, good", append([]string{"Authorization: Basic YTpi"}, bearer("static-token")...),
		"empty, good", append([]string{"Authorization:"}, bearer("static-token")...),
		"quoted", []string{`Authorization: Bearer "static-token"`}, "not ASCII", bearer("stätic-tökén"), "nine kilobytes", bearer(strings.Repeat("a", 9000)),
		"a hundred kilobytes", bearer(strings.Repeat("a.", 50000)), "two megabytes", bearer(strings.Repeat("b", 2<<20)),
		"dots", bearer("..."), "two dots", bearer("a.b.c"), "a token of JSON", bearer("e30.e30.e30"), "proxy-authorization", []string{"Proxy-Authorization: Bearer static-token"},
		"X-Forwarded-User", []string{"X-Forwarded-User: root", "X-Auth-Token: static-token", "Cookie: Authorization=Bearer static-token"},
		"a user in the address", []string{"Forwarded: for=127.0.0.1;host=kubernetes"},
	) {
		all = append(all, request{name: name, headers: headers}, request{name: name + ", version", method: http.MethodGet, path: "/version", headers: headers})
	}
	all = append(all,
		request{name: "in the query", method: http.MethodGet, path: "/api?access_token=static-token&token=static-token"},
		request{name: "many headers", headers: append(bearer("static-token"), many(900)...)},
		request{name: "too many headers", headers: append(bearer("static-token"), many(60000)...)},
	)
	return fixed("header", all...)
}

func many(n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf("X-Header-%d: some value that takes room", i))
	}
	return all
}

// smuggling is requests whose parts do not fit together.
func smuggling() group {
	const line, token = "GET /api HTTP/1.1\nHost: a\n", "Authorization: Bearer static-token\n"
	raw := func(name, text string) request { return request{name: name, raw: text} }
	return fixed("smuggling",
		raw("good", line+token+"\n"), raw("HTTP/1.0", "GET /api HTTP/1.0\n"+token+"\n"), raw("HTTP/0.9", "GET /api\n\n"), raw("HTTP/1.2", "GET /api HTTP/1.2\nHost: a\n"+token+"\n"),
		raw("HTTP/2.0", "GET /api HTTP/2.0\nHost: a\n"+token+"\n"), raw("HTTP/9.9", "GET /api HTTP/9.9\nHost: a\n\n"),
		raw("no host", "GET /api HTTP/1.1\n"+token+"\n"), raw("two hosts", line+"Host: b\n"+token+"\n"), raw("a bad host", "GET /api HTTP/1.1\nHost: a b\n"+token+"\n"),
		raw("length and chunked", "POST /api HTTP/1.1\nHost: a\n"+token+"Content-Length: 4\nTransfer-Encoding: chunked\n\n0\n\n"),
		raw("two lengths", "POST /api HTTP/1.1\nHost: a\n"+token+"Content-Length: 4\nContent-Length: 5\n\nabcd"),
		raw("the same length twice", "POST /api HTTP/1.1\nHost: a\n"+token+"Content-Length: 4\nContent-Length: 4\n\nabcd"),
		raw("a negative length", "POST /api HTTP/1.1\nHost: a\n"+token+"Content-Length: -1\n\n"), raw("a length with a sign", "POST /api HTTP/1.1\nHost: a\n"+token+"Content-Length: +4\n\nabcd"),
		raw("chunked twice", "POST /api HTTP/1.1\nHost: a\n"+token+"Transfer-Encoding: chunked, chunked\n\n0\n\n"), raw("chunked and more", "POST /api HTTP/1.1\nHost: a\n"+token+"Transfer-Encoding: gzip, chunked\n\n0\n\n"),
		raw("not quite chunked", "POST /api HTTP/1.1\nHost: a\n"+token+"Transfer-Encoding: xchunked\n\n0\n\n"), raw("a bad chunk", "POST /api HTTP/1.1\nHost: a\n"+token+"Transfer-Encoding: chunked\n\nzz\n\n"),
		raw("a space before the colon", line+"Authorization : Bearer static-token\n\n"), raw("a line that goes on", line+"Authorization: Bearer\n static-token\n\n"),
		raw("a header that goes on from nothing", "GET /api HTTP/1.1\n Host: a\n\n"), raw("no colon", line+"Authorization\n\n"), raw("no name", line+": x\n\n"),
		raw("a zero byte", line+"Authorization: Bearer static\x00token\n\n"), raw("a bare CR", line+"X: a\rAuthorization: Bearer static-token\n\n"), raw("control characters", line+"X: a\x01b\n"+token+"\n"),
		raw("a name with a bracket", line+"X(a): b\n"+token+"\n"), raw("a name that is not ASCII", line+"X-Rémote-User: b\n"+token+"\n"),
		raw("another method", "FOO /api HTTP/1.1\nHost: a\n"+token+"\n"), raw("no method", " /api HTTP/1.1\nHost: a\n\n"), raw("TRACE", "TRACE /api HTTP/1.1\nHost: a\n"+token+"\n"),
		raw("OPTIONS *", "OPTIONS * HTTP/1.1\nHost: a\n"+token+"\n"), raw("GET *", "GET * HTTP/1.1\nHost: a\n"+token+"\n"), raw("an absolute URI", "GET https://b/api HTTP/1.1\nHost: a\n"+token+"\n"),
		raw("another scheme", "GET ftp://b/api HTTP/1.1\nHost: a\n"+token+"\n"), raw("a fragment", "GET /api#x HTTP/1.1\nHost: a\n"+token+"\n"), raw("two spaces", "GET  /api HTTP/1.1\nHost: a\n"+token+"\n"),
		raw("a space in the path", "GET /api /x HTTP/1.1\nHost: a\n"+token+"\n"), raw("not ASCII in the path", "GET /ápi HTTP/1.1\nHost: a\n"+token+"\n"), raw("an upgrade to nothing", line+token+"Connection: Upgrade\nUpgrade: h2c\n\n"),
		raw("expect", "POST /api HTTP/1.1\nHost: a\n"+token+"Expect: something\nContent-Length: 0\n\n"), raw("hop by hop", line+token+"Connection: Authorization, X-Remote-User\n\n"),
		raw("another method in a header", line+token+"X-HTTP-Method-Override: DELETE\nX-Original-URL: /api/v1/secrets\nX-Rewrite-URL: /api/v1/secrets\n\n"),
	)
}

// paths tries to be somewhere else than authorization sees.
func paths() group {
	var all []request
	for _, path := range []string{
		"//api", "/api//v1", "//api/v1/namespaces", "/api/v1//namespaces", "/api/", "/api/v1/", "/api/v1/namespaces/", "/api/v1/namespaces//default", "/%61pi/v1/namespaces", "/api%2fv1", "/api/v1%2fnamespaces",
		"/api/v1/namespaces/default/../kube-system/secrets", "/api/v1/namespaces/default/%2e%2e/kube-system/secrets", "/api/v1/namespaces/default%2f..%2fkube-system/secrets", "/api/v1/namespaces/%2e%2e/secrets",
		"/api/v1/namespaces/default/secrets/..", "/api/v1/namespaces/default/secrets/%2e%2e", "/api/v1/namespaces/default/secrets/.", "/api/v1/namespaces/default/secrets/a%2fb", "/api/v1/namespaces/default/secrets/a%00b",
		"/api/v1/namespaces/default/secrets/%25", "/api/v1/namespaces/default/secrets/%zz", "/api/v1/namespaces/default/secrets/a;b", "/api/v1/namespaces/default/secrets;a", "/api/v1/namespaces/default/secrets?x=;", "/api/v1/namespaces?%zz=1",
		"/livez/../api/v1/secrets", "/livez/%2e%2e/api/v1/secrets", "/livez/", "/livez//ping", "//livez", "/livez%2f", "/LIVEZ", "/livez/ping", "/version/", "/version/../api/v1/secrets", "/version;x", "/readyz/..", "/./version", "/version?x", "/%76ersion",
		"/..", "/../etc/passwd", "/.", "/%2e%2e%2f%2e%2e%2fetc%2fpasswd", "/%", "/api/v1/watch/namespaces/../secrets", "/apis/../api/v1/secrets", "/apis//v1", "/apis/apps/../../api/v1/secrets", "/\\api", "/api\\v1",
		"/" + strings.Repeat("a", 8000), "/api/v1/" + strings.Repeat("../", 2000) + "secrets", "/api/v1/namespaces/" + strings.Repeat("x", 70000), "/api/v1/namespaces?labelSelector=" + strings.Repeat("a,", 20000),
	} {
		name := path
		if len(name) > 60 {
			name = fmt.Sprintf("%s… (%d)", name[:20], len(path))
		}
		all = append(all, request{name: name + ", nobody", method: http.MethodGet, path: path},
			request{name: name + ", ann", method: http.MethodGet, path: path, headers: bearer("static-token")},
			request{name: name + ", a master", who: "admin", method: http.MethodGet, path: path})
	}
	return fixed("path", all...)
}
