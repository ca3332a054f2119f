package endpoint_test

import (
	"net/http"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	"sigs.k8s.io/yaml"

	"github.com/knarr-io/knarr/internal/endpoint"
	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/kind/custom"
	"github.com/knarr-io/knarr/internal/ownership"
)

// newCustomServer serves widgets.example.com alone.
func newCustomServer(t *testing.T) *server {
	t.Helper()
	crd := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.UnmarshalStrict([]byte(`
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  conversion: {strategy: None}
  names: {plural: widgets, singular: widget, kind: Widget, listKind: Widgets}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas}}
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {replicas: {type: integer}}}}}}
`), crd); err != nil {
		t.Fatal(err)
	}
	crd.Status.AcceptedNames = crd.Spec.Names
	maker, err := custom.NewMaker(nil)
	if err != nil {
		t.Fatal(err)
	}
	kinds, err := maker.Kinds(crd)
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(t)
	s.catalogue = kind.NewCatalogue([]*kind.Group{{Name: "example.com", Versions: []string{"v1"}, Resources: []*kind.Resource{kinds[0].Resource}}})
	s.verbs.Ownership = func(_ *kind.Version, sub *kind.Subresource) ownership.Manager {
		return new(ownership.Managers).NewCustom(ownership.Custom(kinds[0].Owned(sub)))
	}
	s.Handler = endpoint.New(endpoint.Options{
		Verbs: s.verbs, Catalogue: func() *kind.Catalogue { return s.catalogue }, Authorizer: s.verbs.Authorizer,
		Authenticator: authenticator.RequestFunc(func(*http.Request) (*authenticator.Response, bool, error) {
			return &authenticator.Response{User: &user.DefaultInfo{Name: "admin", Groups: []string{user.SystemPrivilegedGroup}}}, true, nil
		}),
	})
	return s
}

// Custom resources are served as unstructured objects: in order of their keys,
// and without a protobuf form but for what is typed.
func TestCustomResources(t *testing.T) {
	s := newCustomServer(t)
	const all, one = "/apis/example.com/v1/namespaces/ns/widgets", "/apis/example.com/v1/namespaces/ns/widgets/w"
	empty := s.do("GET "+all, "").is(200).text
	if want := `{"apiVersion":"example.com/v1","items":[],"kind":"Widgets","metadata":{"continue":"","resourceVersion":"`; !strings.HasPrefix(empty, want) || !strings.HasSuffix(empty, "}}\n") {
		t.Errorf("an empty list: %s", empty)
	}
	const body = `{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"w"},"spec":{"replicas":1,"odd":1}}`
	s.do("POST "+all, body).is(201, "kind", "Widget", "spec.replicas", 1.0, "spec.odd", nil).warns(`unknown field \"spec.odd\"`)
	list := s.do("GET "+all, "").is(200, "kind", "Widgets")
	if !strings.HasPrefix(list.text, `{"apiVersion":"example.com/v1","items":[{"apiVersion":"example.com/v1","kind":"Widget","metadata":{`) {
		t.Errorf("a list: %s", list.text)
	}
	s.do("GET "+all+"?limit=1", "").is(200, "metadata.continue", "", "metadata.remainingItemCount", nil)
	s.do("PATCH "+one, `{"spec":{"replicas":2}}`, "Content-Type: application/strategic-merge-patch+json").is(415, "message",
		"the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml")
	s.do("PATCH "+one, `{"spec":{"replicas":2}}`).is(200, "spec.replicas", 2.0)
	refused := s.do("GET "+one, "", "Accept: application/vnd.kubernetes.protobuf").is(406).text // in protobuf, which a Status has
	if !strings.HasPrefix(refused, "k8s\x00") || !strings.Contains(refused, "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf") {
		t.Errorf("an object as protobuf: %q", refused)
	}
	protobuf := func(path, accept string) {
		t.Helper()
		a := s.do("GET "+path, "", "Accept: application/vnd.kubernetes.protobuf"+accept).is(200)
		if !strings.HasPrefix(a.text, "k8s\x00") {
			t.Errorf("%s: %q", path, a.text)
		}
	}
	protobuf(one, ";as=PartialObjectMetadata;g=meta.k8s.io;v=v1")
	protobuf(all, ";as=PartialObjectMetadataList;g=meta.k8s.io;v=v1")
	protobuf(one+"/scale", "")
	s.do("GET "+one+"/scale", "").is(200, "kind", "Scale", "apiVersion", "autoscaling/v1", "spec.replicas", 2.0)
	s.do("GET "+all, "", "Accept: application/json;as=Table;g=meta.k8s.io;v=v1").is(200, "kind", "Table")
	s.do("GET "+one+"/scale", "", "Accept: application/json;as=Table;g=meta.k8s.io;v=v1").is(200, "kind", "Table")
	s.do("DELETE "+one, "").is(200, "kind", "Status", "details.name", "w")
}
