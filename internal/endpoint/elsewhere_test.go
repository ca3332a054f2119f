package endpoint_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"

	"github.com/knarr-io/knarr/internal/endpoint"
	"github.com/knarr-io/knarr/internal/kind"
)

// elsewhere has what is below a path.
type elsewhere string

func (e elsewhere) Handles(path string) bool { return strings.HasPrefix(path, string(e)) }

func (e elsewhere) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	who, _ := request.UserFrom(r.Context())
	_, bounded := r.Context().Deadline()
	fmt.Fprintf(w, "elsewhere for %s, bounded %v", who.GetName(), bounded)
}

// What another server has is asked of it whatever it is and whatever there is
// here, by those who may.
func TestElsewhere(t *testing.T) {
	s := newServer(t)
	handler := endpoint.New(endpoint.Options{
		Verbs: s.verbs, Catalogue: func() *kind.Catalogue { return s.catalogue },
		Authenticator: authenticator.RequestFunc(func(r *http.Request) (*authenticator.Response, bool, error) {
			who := &user.DefaultInfo{Name: r.Header.Get("User")}
			if who.Name == "admin" {
				who.Groups = []string{user.SystemPrivilegedGroup}
			}
			return &authenticator.Response{User: who}, true, nil
		}),
		Authorizer: s.verbs.Authorizer,
		Elsewhere:  elsewhere("/apis/apps/v1"),
	})
	for _, test := range []struct {
		who, request string
		code         int
		want         string
	}{
		{"admin", "GET /apis/apps/v1", 200, "elsewhere for admin, bounded true"},
		{"admin", "GET /apis/apps/v1/namespaces/default/deployments", 200, "elsewhere for admin, bounded true"},
		{"admin", "GET /apis/apps/v1/namespaces/default/deployments?watch=true", 200, "elsewhere for admin, bounded false"},
		{"admin", "OPTIONS /apis/apps/v1/whatever", 200, "elsewhere for admin, bounded true"},
		{"ann", "GET /apis/apps/v1/namespaces/default/deployments", 403, `User \"ann\" cannot list resource \"deployments\"`},
		{"admin", "GET /apis/batch/v1/namespaces/default/jobs", 200, `"kind":"JobList"`},
	} {
		method, path, _ := strings.Cut(test.request, " ")
		r := httptest.NewRequestWithContext(t.Context(), method, path, nil)
		r.Header.Set("User", test.who)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code != test.code || !strings.Contains(w.Body.String(), test.want) {
			t.Errorf("%s by %s: %d %s, want %d %s", test.request, test.who, w.Code, w.Body, test.code, test.want)
		}
	}
}
