package endpoint_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/knarr-io/knarr/internal/endpoint"
	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/kind/custom"
	"github.com/knarr-io/knarr/internal/kind/custom/customtest"
	"github.com/knarr-io/knarr/internal/ownership"
)

// newCustomServer serves the custom resources of customtest alone.
func newCustomServer(t *testing.T) *server { return newServerOf(t, customtest.Definitions(t)) }

// newServerOf serves what is defined alone.
func newServerOf(t *testing.T, crds []*apiextensionsv1.CustomResourceDefinition) *server {
	t.Helper()
	s := newServer(t)
	s.catalogue = kind.NewCatalogue(customtest.Groups(t, crds))
	managers := new(ownership.Managers)
	s.verbs.Ownership = func(v *kind.Version, sub *kind.Subresource) ownership.Manager {
		k, ok := custom.Of(v.Resource)
		if !ok {
			t.Fatalf("%s is not custom", v.Resource.Name)
		}
		return managers.NewCustom(ownership.Custom(k.Owned(sub)))
	}
	s.Handler = endpoint.New(endpoint.Options{
		Verbs: s.verbs, Catalogue: func() *kind.Catalogue { return s.catalogue }, Authorizer: s.verbs.Authorizer,
		Authenticator: authenticator.RequestFunc(func(*http.Request) (*authenticator.Response, bool, error) {
			return &authenticator.Response{User: &user.DefaultInfo{Name: "admin", Groups: []string{user.SystemPrivilegedGroup}}}, true, nil
		}),
	})
	return s
}

// exchange is a request that a kube-apiserver got, and its answer.
type exchange struct {
	Method, Path, Body, ContentType, Accept string
	Code                                    int
	Header                                  http.Header
	Answer                                  string
	Answer64                                []byte
}

// changing is what differs between servers in two answers that are the same.
var changing = []struct {
	what *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`), "U"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`), "T"},
	{regexp.MustCompile(`(resourceVersion\W+)\d+`), "${1}N"},
	{regexp.MustCompile(`"\d+s"`), `"Ns"`},
	{regexp.MustCompile(`(continue":")[^"]+`), "${1}C"},
}

func unchanging(text string) string {
	for _, c := range changing {
		text = c.what.ReplaceAllString(text, c.with)
	}
	return text
}

// What a kube-apiserver answered to requests for custom resources, one after
// the other, is answered to them here.
func TestCustomAnswers(t *testing.T) {
	content, err := os.ReadFile("testdata/custom.json")
	if err != nil {
		t.Fatal(err)
	}
	var exchanges []exchange
	if err := json.Unmarshal(content, &exchanges); err != nil {
		t.Fatal(err)
	}
	s := newCustomServer(t)
	for _, e := range exchanges {
		r := httptest.NewRequestWithContext(t.Context(), e.Method, e.Path, strings.NewReader(e.Body))
		r.Header.Set("User-Agent", "knarr-test/1")
		for name, value := range map[string]string{"Content-Type": e.ContentType, "Accept": e.Accept} {
			if value != "" {
				r.Header.Set(name, value)
			}
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		name := strings.Join([]string{e.Method, e.Path, e.ContentType, e.Accept, e.Body}, " ")
		got := w.Body.String()
		if e.Method == http.MethodHead {
			got = "" // net/http drops it
		}
		if e.Answer64 != nil { // protobuf, with lengths of what changes
			e.Answer = string(e.Answer64)
			if e.Code == http.StatusOK {
				e.Answer, got = e.Answer[:4], got[:4]
			}
		}
		if w.Code != e.Code || unchanging(got) != e.Answer {
			t.Errorf("%s:\nis    %d %s\nwants %d %s", name, w.Code, unchanging(got), e.Code, e.Answer)
		}
		header := http.Header{}
		for name := range w.Header() {
			if name == "Content-Type" || name == "Warning" || name == "X-Content-Type-Options" {
				header[name] = w.Header()[name]
			}
		}
		if diff := cmp.Diff(e.Header, header); diff != "" {
			t.Errorf("%s: headers (-want +got):\n%s", name, diff)
		}
	}
}

// Objects as protobuf are refused; what is said of them may be had so, and is
// what it is as JSON.
func TestCustomMetadataAsProtobuf(t *testing.T) {
	s := newCustomServer(t)
	const all, one = "/apis/example.com/v1/namespaces/ns/widgets", "/apis/example.com/v1/namespaces/ns/widgets/w"
	s.do("POST "+all, `{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"w","labels":{"a":"b"}},"spec":{"maybe":"m","replicas":1}}`).is(201)
	for path, kind := range map[string]string{one: "PartialObjectMetadata", one + "/scale": "PartialObjectMetadata", all: "PartialObjectMetadataList"} {
		as := ";as=" + kind + ";g=meta.k8s.io;v=v1"
		text := s.do("GET "+path, "", "Accept: application/json"+as).is(200, "kind", kind).text
		binary := s.do("GET "+path, "", "Accept: application/vnd.kubernetes.protobuf"+as).is(200).text
		scheme := runtime.NewScheme()
		if err := metav1.AddMetaToScheme(scheme); err != nil {
			t.Fatal(err)
		}
		obj, _, err := protobuf.NewSerializer(scheme, scheme).Decode([]byte(binary), nil, nil)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		again, err := json.Marshal(obj)
		if err != nil {
			t.Fatal(err)
		}
		var want, got any
		if err := errors.Join(json.Unmarshal([]byte(text), &want), json.Unmarshal(again, &got)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(withoutKinds(want), withoutKinds(got)); diff != "" {
			t.Errorf("%s (-JSON +protobuf):\n%s", path, diff)
		}
	}
}

// withoutKinds takes out what items in protobuf do not say.
func withoutKinds(content any) any {
	list, _ := content.(map[string]any)["items"].([]any)
	for _, item := range list {
		delete(item.(map[string]any), "kind")
		delete(item.(map[string]any), "apiVersion")
	}
	return content
}

// Bodies may not be protobuf, whatever is done with unknown fields.
func TestCustomProtobufBodies(t *testing.T) {
	s := newCustomServer(t)
	const all, one = "/apis/example.com/v1/namespaces/ns/widgets", "/apis/example.com/v1/namespaces/ns/widgets/w"
	s.do("POST "+all, `{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"w"},"spec":{"maybe":"m"}}`).is(201)
	for _, request := range []string{"POST " + all, "PUT " + one, "PUT " + one + "/status"} {
		for _, query := range []string{"", "?fieldValidation=Ignore", "?fieldValidation=Strict"} {
			s.do(request+query, `{"kind":"Widget"}`, "Content-Type: application/vnd.kubernetes.protobuf").is(400, "message",
				`the object provided is unrecognized (must be of type Widget): provided data does not appear to be a protobuf message, expected prefix [107 56 115 0] ({"kind":"Widget"})`)
		}
	}
}

// What is wrong with the body of a Scale is not told: upstream looks for its kind
// among those of the resource.
func TestCustomScaleBodies(t *testing.T) {
	s := newCustomServer(t)
	const all, scale = "/apis/example.com/v1/namespaces/ns/widgets", "/apis/example.com/v1/namespaces/ns/widgets/w/scale"
	s.do("POST "+all, `{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"w"},"spec":{"maybe":"m"}}`).is(201)
	odd := `{"apiVersion":"autoscaling/v1","kind":"Scale","metadata":{"name":"w"},"spec":{"replicas":2,"odd":1}}`
	s.do("PUT "+scale, odd).is(200, "spec.replicas", 2.0).warns(`unknown field \"spec.odd\"`)
	for _, body := range []string{odd, "{", `{"kind":"Widget"}`} {
		message := s.do("PUT "+scale+"?fieldValidation=Strict", body).is(400).str("message")
		if !strings.HasPrefix(message, "no kind is registered for the type v1.Scale in scheme ") {
			t.Errorf("%s: %s", body, message)
		}
	}
}

// A resource that is no longer in the catalogue is not there, and neither is
// its group.
func TestCustomGone(t *testing.T) {
	s := newCustomServer(t)
	const path = "GET /apis/net.example.com/v1beta1/addresses"
	s.do(path, "").is(200, "kind", "AddressList")
	s.catalogue = kind.NewCatalogue(s.catalogue.Groups[:1])
	if a := s.do(path, "").is(404); a.text != "404 page not found\n" {
		t.Error(a.text)
	}
}
