package endpoint_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"
	"sigs.k8s.io/yaml"

	"github.com/knarr-io/knarr/internal/kind/custom/customtest"
	"github.com/knarr-io/knarr/internal/verb"
)

const converted = `
metadata: {name: hosts.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: hosts, singular: host, kind: Host, listKind: HostList}
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {size: {type: integer}}}}}}}
  - {name: v2, served: true, storage: false, schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {size: {type: integer}}}}}}}
`

// newConvertedServer serves hosts, whose versions a webhook converts.
func newConvertedServer(t *testing.T) (*server, *customtest.Webhook) {
	t.Helper()
	w := customtest.NewWebhook(t)
	crd := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.UnmarshalStrict([]byte(converted), crd); err != nil {
		t.Fatal(err)
	}
	crd.Status.AcceptedNames, crd.Spec.Conversion = crd.Spec.Names, w.Conversion()
	return newServerOf(t, []*apiextensionsv1.CustomResourceDefinition{crd}), w
}

const hostsV1, hostsV2 = "/apis/example.com/v1/namespaces/default/hosts", "/apis/example.com/v2/namespaces/default/hosts"

// hosts makes n objects in the version that is stored.
func (s *server) hosts(n int) {
	s.t.Helper()
	for i := range n {
		s.do("POST "+hostsV1, fmt.Sprintf(`{"apiVersion":"example.com/v1","kind":"Host","metadata":{"name":"h%d","labels":{"n":"%d"}},"spec":{"size":%d}}`, i, i, i)).is(201)
	}
}

// asked tells that the webhook had just these reviews, of so many objects each.
func asked(t *testing.T, w *customtest.Webhook, what string, want ...int) {
	t.Helper()
	if got := w.Calls(); !slices.Equal(got, want) {
		t.Errorf("%s: the webhook was asked to convert %v, and should have been %v", what, got, want)
	}
}

// A list is converted by one call, once, whatever it is asked for as and by.
func TestListsAreConvertedByOneCall(t *testing.T) {
	const table = "application/json;as=Table;v=v1;g=meta.k8s.io"
	const partial = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
	for name, list := range map[string]func(s *server){
		"list":     func(s *server) { s.do("GET "+hostsV2, "").is(200) },
		"table":    func(s *server) { s.do("GET "+hostsV2, "", "Accept: "+table).is(200) },
		"metadata": func(s *server) { s.do("GET "+hostsV2, "", "Accept: "+partial).is(200) },
		"labels":   func(s *server) { s.do("GET "+hostsV2+"?labelSelector=n!=7", "").is(200) },
		"watch":    func(s *server) { s.do("GET "+hostsV2+"?watch=true&timeoutSeconds=1", "").is(200) },
		"deletion": func(s *server) { s.do("DELETE "+hostsV2+"?dryRun=All", "").is(200) },
	} {
		t.Run(name, func(t *testing.T) {
			s, w := newConvertedServer(t)
			s.hosts(5)
			asked(t, w, "writes of what is stored")
			list(s)
			asked(t, w, "the first", 5)
			list(s)
			s.do("GET "+hostsV2, "").is(200)
			s.do("GET "+hostsV2, "", "Accept: "+table).is(200)
			s.do("GET "+hostsV2+"?labelSelector=n=1", "").is(200)
			asked(t, w, "those after it")
			s.do("PATCH "+hostsV1+"/h1", `{"spec":{"size":70}}`).is(200)
			if got := s.do("GET "+hostsV2, "").is(200).text; !strings.Contains(got, `"size":70`) {
				t.Errorf("the list is %s", got)
			}
			asked(t, w, "one after a change", 1)
		})
	}
}

// A page has its own objects converted, and no others.
func TestPagesAreConvertedAlone(t *testing.T) {
	s, w := newConvertedServer(t)
	s.hosts(5)
	page := s.do("GET "+hostsV2+"?limit=2", "").is(200)
	asked(t, w, "the first page", 2)
	s.do("GET "+hostsV2+"?limit=2&continue="+page.str("metadata.continue"), "").is(200)
	asked(t, w, "the second", 2)
	s.do("GET "+hostsV1, "").is(200)
	asked(t, w, "a list of what is stored")
}

// Where one object is read, the webhook is asked each time; what a write has
// learnt is kept.
func TestOneObjectIsConvertedAnew(t *testing.T) {
	s, w := newConvertedServer(t)
	s.hosts(1)
	for range 2 {
		s.do("GET "+hostsV2+"/h0", "").is(200)
		asked(t, w, "a get", 1)
	}
	s.do("GET "+hostsV2+"/h0?resourceVersion=0", "").is(200)
	s.do("GET "+hostsV2+"?fieldSelector=metadata.name=h0", "").is(200)
	w.Calls()
	s.do("GET "+hostsV2+"/h0?resourceVersion=0", "").is(200)
	asked(t, w, "a get of what may be old")
	s.do("POST "+hostsV2, `{"apiVersion":"example.com/v2","kind":"Host","metadata":{"name":"second"},"spec":{"size":1}}`).is(201)
	asked(t, w, "a create: to what is stored, and back", 1, 1)
	s.do("PATCH "+hostsV2+"/second", `{"spec":{"size":9}}`).is(200)
	asked(t, w, "a patch: to what is stored, and back", 1, 1)
	s.do("GET "+hostsV2, "").is(200)
	asked(t, w, "a list after it")
	s.do("DELETE "+hostsV2+"/second", "").is(200)
	asked(t, w, "a deletion, which reads and shows what was last", 1, 1)
}

// One object that cannot be converted is the error of a list; the others are
// read, and nothing of a failure is kept.
func TestFailedConversionsAreNotKept(t *testing.T) {
	s, w := newConvertedServer(t)
	var mu sync.Mutex
	bad := "h1"
	w.Convert = func(u *unstructured.Unstructured) error {
		mu.Lock()
		defer mu.Unlock()
		if u.GetName() == bad {
			return errors.New("not this one")
		}
		return nil
	}
	s.hosts(3)
	const words = "object not decodable revision=3: conversion webhook for example.com/v1, Kind=Host failed: not this one"
	message := s.do("GET "+hostsV2, "").is(500, "reason", "StorageReadError", "details.kind", "hosts").str("message")
	if want := "failed to read one or more hosts.example.com from the storage: StorageError: corrupt object, Code: 7, " +
		"Key: /registry/example.com/hosts/default/h1, ResourceVersion: 0, AdditionalErrorMsg: " + words; message != want {
		t.Errorf("the list says %s", message)
	}
	s.do("GET "+hostsV2+"/h2", "").is(200)
	s.do("GET "+hostsV2+"/h1", "").is(500, "message", "Internal error occurred: StorageError: corrupt object, Code: 7, "+
		"Key: /example.com/hosts/default/h1, ResourceVersion: 0, AdditionalErrorMsg: "+words)
	frames := s.do("GET "+hostsV2+"?watch=true&timeoutSeconds=1", "").is(200).text
	if !strings.Contains(frames, `"ADDED"`) || !strings.Contains(frames, `{"type":"ERROR"`) || !strings.Contains(frames, words) {
		t.Errorf("a watch tells %s", frames)
	}
	mu.Lock()
	bad = ""
	mu.Unlock()
	if got := s.do("GET "+hostsV2, "").is(200).names(); len(got) != 3 {
		t.Errorf("there are %v", got)
	}
}

// Nothing of the state is locked while a webhook is asked: it may read and write.
func TestWebhooksMayUseTheServer(t *testing.T) {
	s, w := newConvertedServer(t)
	s.hosts(2)
	v1 := s.catalogue.Lookup(schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "hosts"})
	calls := 0
	w.Convert = func(*unstructured.Unstructured) error {
		target := verb.Target{Version: v1, Namespace: "default"}
		if _, err := s.verbs.List(t.Context(), target, &metainternalversion.ListOptions{}); err != nil {
			return err
		}
		calls++
		u := &unstructured.Unstructured{}
		u.SetAPIVersion("example.com/v1")
		u.SetKind("Host")
		u.SetName(fmt.Sprintf("made-%d", calls))
		_, err := s.verbs.Create(target.Context(t.Context(), "create", &user.DefaultInfo{Name: "webhook"}), target, u, &metav1.CreateOptions{})
		return err
	}
	s.do("GET "+hostsV2+"?labelSelector=n", "").is(200)
	s.do("GET "+hostsV2+"/h0", "").is(200)
	if calls < 3 {
		t.Errorf("it was asked of %d objects", calls)
	}
}

// An object with a list of items is taken for a list where it is answered with,
// by upstream, and so here; what was asked for is done.
func TestCustomObjectsWithItems(t *testing.T) {
	crd := &apiextensionsv1.CustomResourceDefinition{}
	text := strings.ReplaceAll(converted, "properties: {spec:", "properties: {items: {x-kubernetes-preserve-unknown-fields: true}, spec:")
	if err := yaml.UnmarshalStrict([]byte(text), crd); err != nil {
		t.Fatal(err)
	}
	crd.Status.AcceptedNames, crd.Spec.Conversion = crd.Spec.Names, &apiextensionsv1.CustomResourceConversion{Strategy: apiextensionsv1.NoneConverter}
	s := newServerOf(t, []*apiextensionsv1.CustomResourceDefinition{crd})
	const words = "*unstructured.Unstructured is not a list: no Items field in this object"
	host := func(name, items string) string {
		return `{"apiVersion":"example.com/v1","kind":"Host","metadata":{"name":"` + name + `"},"items":` + items + `,"spec":{"size":1}}`
	}
	s.do("POST "+hostsV1, host("list", `["a"]`)).is(500, "message", words)
	s.do("POST "+hostsV1, host("map", `{"items":["a"]}`)).is(201)
	s.do("GET "+hostsV1+"/list", "").is(500, "message", words)
	s.do("GET "+hostsV2+"/list", "", "Accept: application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io").is(500, "message", words)
	s.do("GET "+hostsV1+"/map", "").is(200)
	if got := s.do("GET "+hostsV1, "").is(200).names(); len(got) != 2 {
		t.Errorf("there are %v", got)
	}
}
