package endpoint_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"

	"github.com/knarr-io/knarr/internal/endpoint"
	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/kind/native"
	"github.com/knarr-io/knarr/internal/ownership"
	"github.com/knarr-io/knarr/internal/state"
	"github.com/knarr-io/knarr/internal/store"
	"github.com/knarr-io/knarr/internal/store/memory"
	"github.com/knarr-io/knarr/internal/verb"
)

// server is the HTTP side on a state of its own. Everyone is an administrator,
// but for those who say who they are by the header User.
type server struct {
	t testing.TB
	http.Handler
	verbs     *verb.Verbs
	catalogue *kind.Catalogue
	options   endpoint.Options
}

func newServer(t testing.TB) *server { return newServerOn(t, memory.New(memory.Options{})) }

func newServerOn(t testing.TB, kept store.Store) *server {
	t.Helper()
	return newServerWith(t, kept, state.Options{})
}

func newServerWith(t testing.TB, kept store.Store, o state.Options) *server {
	t.Helper()
	st, err := state.Start(t.Context(), kept, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Stop(); err != nil {
			t.Error(err)
		}
	})
	catalogue, err := native.Catalogue(native.Options{RuntimeConfig: map[string]string{"api/all": "true", "extensions/v1beta1": "true"}})
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, catalogue: catalogue}
	s.verbs = &verb.Verbs{State: st, Authorizer: authorizer.AuthorizerFunc(authorizerfactory.NewPrivilegedGroups(user.SystemPrivilegedGroup).Authorize), Ownership: new(ownership.Managers).For}
	s.options = endpoint.Options{
		Verbs:     s.verbs,
		Catalogue: func() *kind.Catalogue { return catalogue },
		Authenticator: authenticator.RequestFunc(func(r *http.Request) (*authenticator.Response, bool, error) {
			who := &user.DefaultInfo{Name: "admin", Groups: []string{user.SystemPrivilegedGroup}}
			if name := r.Header.Get("User"); name != "" {
				who = &user.DefaultInfo{Name: name}
			}
			return &authenticator.Response{User: who}, true, nil
		}),
		Authorizer: s.verbs.Authorizer,
	}
	s.Handler = endpoint.New(s.options)
	return s
}

// answer is what a request got.
type answer struct {
	t       testing.TB
	request string
	code    int
	header  http.Header
	text    string
	body    map[string]any
}

// do sends a request such as "POST /api/v1/namespaces/default/pods". Headers are
// given as "Name: value"; without one the body is JSON, that of a PATCH a merge
// patch.
func (s *server) do(request, body string, headers ...string) *answer {
	s.t.Helper()
	method, target, _ := strings.Cut(request, " ")
	r := httptest.NewRequestWithContext(s.t.Context(), method, target, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	if method == http.MethodPatch {
		r.Header.Set("Content-Type", "application/merge-patch+json")
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	a := &answer{t: s.t, request: request, code: w.Code, header: w.Header(), text: w.Body.String(), body: map[string]any{}}
	_ = json.Unmarshal(w.Body.Bytes(), &a.body) // what is no JSON has no fields
	return a
}

// is checks the status code, and then fields: pairs of a path and its value,
// where nil means that there is none.
func (a *answer) is(code int, fields ...any) *answer {
	a.t.Helper()
	if a.code != code {
		a.t.Fatalf("%s: code %d, want %d: %s", a.request, a.code, code, a.text)
	}
	for i := 0; i < len(fields); i += 2 {
		if got := a.at(fields[i].(string)); !reflect.DeepEqual(got, fields[i+1]) {
			a.t.Errorf("%s: %s is %#v, want %#v", a.request, fields[i], got, fields[i+1])
		}
	}
	return a
}

// at returns the value at a path such as metadata.name, or nil.
func (a *answer) at(path string) any {
	var at any = a.body
	for part := range strings.SplitSeq(path, ".") {
		m, ok := at.(map[string]any)
		if !ok {
			return nil
		}
		at = m[part]
	}
	return at
}

// str returns the string at a path.
func (a *answer) str(path string) string {
	s, _ := a.at(path).(string)
	return s
}

// warns checks all warnings of the answer.
func (a *answer) warns(want ...string) *answer {
	a.t.Helper()
	var got []string
	for _, h := range a.header.Values("Warning") {
		text, ok := strings.CutPrefix(h, `299 - "`)
		if !ok {
			a.t.Errorf("%s: %q is no warning of RFC 7234", a.request, h)
		}
		got = append(got, strings.TrimSuffix(text, `"`))
	}
	if !reflect.DeepEqual(got, want) {
		a.t.Errorf("%s: warnings %q, want %q", a.request, got, want)
	}
	return a
}

// names returns the names of a list's items.
func (a *answer) names() []string {
	items, _ := a.body["items"].([]any)
	names := []string{}
	for _, item := range items {
		names = append(names, (&answer{body: item.(map[string]any)}).str("metadata.name"))
	}
	return names
}

const configMaps = "/api/v1/namespaces/default/configmaps"

// configMap is the JSON of one with more in its metadata.
func configMap(metadata string) string {
	return `{"apiVersion":"v1","kind":"ConfigMap","metadata":{` + metadata + `},"data":{"k":"v"}}`
}
