package endpoint_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// Selectors as large as the limit of headers lets them be, and larger, and tokens that nobody gave.
func TestQueries(t *testing.T) {
	s := newServer(t)
	for i := range 100 {
		s.do("POST /api/v1/namespaces/default/configmaps", fmt.Sprintf(`{"metadata":{"name":"a%d","labels":{"a":"b"}}}`, i)).is(201)
	}
	s.do("POST /api/v1/namespaces/kube-system/secrets", `{"metadata":{"name":"treasure"},"stringData":{"a":"b"}}`).is(201)
	token := func(text string) string {
		return "continue=" + url.QueryEscape(base64.RawURLEncoding.EncodeToString([]byte(text)))
	}
	next := s.do("GET /api/v1/namespaces/default/configmaps?limit=10", "").is(200).str("metadata.continue")
	text, err := base64.RawURLEncoding.DecodeString(next)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("a token is %s", text)
	for _, c := range []struct {
		name  string
		code  int
		query string
	}{
		{"many labels", 200, "labelSelector=" + strings.TrimSuffix(rep("a=b,", 250_000), ",")},
		{"labels that differ", 200, "labelSelector=" + listed(100_000, func(i int) string { return fmt.Sprintf("!x%d", i) })},
		{"a large set", 200, "labelSelector=" + url.QueryEscape("a in ("+listed(150_000, func(i int) string { return fmt.Sprint("b", i) })+")")},
		{"labels, unclosed", 400, "labelSelector=" + url.QueryEscape(rep("a in (", 500_000))},
		{"labels, not", 400, "labelSelector=" + rep("!", 3_000_000)},
		{"a long label", 400, "labelSelector=" + rep("a", 3_000_000)},
		{"many fields", 200, "fieldSelector=" + strings.TrimSuffix(rep("metadata.namespace=default,", 100_000), ",")},
		{"fields, escaped", 400, "fieldSelector=" + url.QueryEscape(rep(`\`, 3_000_001))},
		{"unknown fields", 400, "fieldSelector=" + listed(100_000, func(i int) string { return fmt.Sprintf("x%d=y", i) })},
		{"a huge limit", 200, "limit=9223372036854775807"},
		{"a limit too huge", 400, "limit=9223372036854775808"},
		{"a negative limit", 200, "limit=-1"},
		{"many parameters", 200, rep("x=y&", 500_000)},
		{"a huge version", 400, "resourceVersion=" + rep("9", 1_000_000)},
		{"the last version", 504, "resourceVersion=18446744073709551615"},
		{"no token", 400, "continue=!"},
		{"a token of nothing", 400, token("{}")},
		{"a token without a start", 400, token(`{"v":"meta.k8s.io/v1","rv":1,"start":""}`)},
		{"a token for secrets", 400, token(`{"v":"meta.k8s.io/v1","rv":-1,"start":"../../secrets/kube-system/treasure\u0000"}`)},
		{"a token of another namespace", 400, token(`{"v":"meta.k8s.io/v1","rv":-1,"start":"../kube-system/a\u0000"}`)},
		{"a token of a root", 200, token(`{"v":"meta.k8s.io/v1","rv":-1,"start":"/registry/secrets\u0000"}`)},
		{"a token of the future", 504, token(`{"v":"meta.k8s.io/v1","rv":9000000000000000000,"start":"a\u0000"}`)},
		{"a negative token", 200, token(`{"v":"meta.k8s.io/v1","rv":-9000000000000000000,"start":"a\u0000"}`)},
		{"a long token", 200, token(`{"v":"meta.k8s.io/v1","rv":-1,"start":"` + rep("a", 2_000_000) + `"}`)},
		{"a deep token", 400, token(rep("[", 1_000_000))},
	} {
		t.Run(c.name, func(t *testing.T) {
			var a *answer
			most, took := watched(func() { a = s.do("GET /api/v1/namespaces/default/configmaps?"+c.query, "") })
			t.Logf("%d, %d MB, %v: %.200s", a.code, most>>20, took, a.str("message"))
			if a.code != c.code {
				t.Errorf("code %d, want %d: %.300s", a.code, c.code, a.text)
			}
			if strings.Contains(a.text, "treasure\"") || most > 1<<30 {
				t.Errorf("%d MB: %.300s", most>>20, a.text)
			}
		})
	}
}

// Whatever a query says, the answer is one of a list, and nothing of others' is in it.
func FuzzQuery(f *testing.F) {
	s := newServer(f)
	s.do("POST /api/v1/namespaces/kube-system/secrets", `{"metadata":{"name":"treasure"},"stringData":{"a":"b"}}`).is(201)
	s.do("POST /api/v1/namespaces/default/secrets", `{"metadata":{"name":"a","labels":{"a":"b"}}}`).is(201)
	for _, query := range []string{
		"labelSelector=a%20in%20(b)", "fieldSelector=metadata.name!=a,type=Opaque", "limit=1&resourceVersion=0", "continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6LTEsInN0YXJ0IjoiYVx1MDAwMCJ9",
		"resourceVersion=1&resourceVersionMatch=Exact", "pretty=1&includeObject=Object", "shardSelector=a",
	} {
		for _, accept := range []string{"application/json", "application/json;as=Table;v=v1;g=meta.k8s.io", "application/yaml", "*/*;q=0.1,application/vnd.kubernetes.protobuf"} {
			f.Add(query, accept, "gzip")
		}
	}
	f.Fuzz(func(t *testing.T, query, accept, encoding string) {
		target, err := url.ParseRequestURI("/api/v1/namespaces/default/secrets?" + query)
		if err != nil || target.Query().Has("watch") || target.Query().Has("timeoutSeconds") || strings.Contains(query, "resourceVersion=") && len(query) > 100 {
			return
		}
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/api/v1/namespaces/default/secrets", nil)
		r.URL, r.RequestURI = target, target.String()
		r.Header.Set("Accept", accept)
		r.Header.Set("Accept-Encoding", encoding)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code == http.StatusInternalServerError && strings.Contains(w.Body.String(), "panic") || w.Code < 200 || strings.Contains(w.Body.String(), "treasure") {
			t.Errorf("%d %.300s", w.Code, w.Body)
		}
	})
}
