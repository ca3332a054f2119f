package custom_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/kind/custom"
	"github.com/knarr-io/knarr/internal/kind/custom/customtest"
	"github.com/knarr-io/knarr/internal/object"
)

const convertedVersions = `  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {a: {type: string}}}}}}}
  - {name: v2, served: true, storage: false, schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {a: {type: string}, b: {type: integer, default: 7}}}}}}}
`

// convertedKind is widgets in v2, stored in v1, as the definition says that they
// are converted.
func convertedKind(t *testing.T, c custom.Converter, conversion *apiextensionsv1.CustomResourceConversion) custom.Kind {
	t.Helper()
	crd := definition(t, convertedVersions)
	crd.Spec.Conversion = conversion
	maker, err := custom.NewMaker(c)
	if err != nil {
		t.Fatal(err)
	}
	kinds, err := maker.Kinds(crd)
	if err != nil {
		t.Fatal(err)
	}
	return kinds[0] // the newer version
}

func storedWidget(version, name string) []byte {
	return fmt.Appendf(nil, `{"apiVersion":"example.com/%s","kind":"Widget","metadata":{"generation":1,"name":%q,"uid":"u-%s"},"spec":{"a":"x"}}`, version, name, name)
}

// What is converted together is what each is alone: pruned, without defaults of
// the version, and in the order of the objects.
func TestDecodeAllIsDecode(t *testing.T) {
	w := customtest.NewWebhook(t)
	w.Convert = func(u *unstructured.Unstructured) error {
		u.SetLabels(map[string]string{"from": u.GetAPIVersion()[len("example.com/"):]})
		return unstructured.SetNestedField(u.Object, "y", "spec", "unknown")
	}
	k := convertedKind(t, nil, w.Conversion())
	if !k.Storage.Remote.Foreign(storedWidget("v1", "a")) || k.Storage.Remote.Foreign(storedWidget("v2", "a")) {
		t.Error("which objects are to be converted is told wrongly")
	}
	values := [][]byte{storedWidget("v1", "a"), storedWidget("v2", "b"), storedWidget("v1", "c")}
	all, err := k.Storage.Remote.DecodeAll(values)
	if err != nil {
		t.Fatal(err)
	}
	if calls := w.Calls(); len(calls) != 1 || calls[0] != 2 {
		t.Errorf("the webhook was asked to convert %v", calls)
	}
	for i, value := range values {
		alone, err := k.Storage.Codec.Decode(value)
		if err != nil {
			t.Fatal(err)
		}
		want, _ := json.Marshal(alone)
		got, _ := json.Marshal(all[i])
		if string(got) != string(want) {
			t.Errorf("together %s\nalone    %s", got, want)
		}
	}
	if got, _ := json.Marshal(all[0]); string(got) != `{"apiVersion":"example.com/v2","kind":"Widget","metadata":{"generation":1,"labels":{"from":"v1"},"name":"a","uid":"u-a"},"spec":{"a":"x"}}` {
		t.Errorf("converted to %s", got)
	}
}

// Few calls are made for many objects, none for those that are known, and none
// any more once one has failed.
func TestConvert(t *testing.T) {
	w := customtest.NewWebhook(t)
	k := convertedKind(t, nil, w.Conversion())
	cache := object.NewCache(1 << 30)
	var objects []*object.Object
	for i := range 1201 {
		objects = append(objects, object.New("/x", fmt.Sprintf("/x/ns/w%d", i), storedWidget("v1", fmt.Sprint("w", i)), uint64(i+1), nil))
	}
	convert := func(want ...int) {
		t.Helper()
		k.Convert(t.Context(), cache, objects)
		if calls := w.Calls(); fmt.Sprint(calls) != fmt.Sprint(want) {
			t.Errorf("the webhook was asked to convert %v, and should have been %v", calls, want)
		}
	}
	convert(500, 500, 201)
	convert([]int{}...)
	b, err := cache.Peek(objects[7], k.Versions[0].JSON)
	if err != nil || !strings.Contains(string(b), `"apiVersion":"example.com/v2"`) || !strings.Contains(string(b), `"resourceVersion":"8"`) {
		t.Errorf("%s, %v", b, err)
	}
	w.Convert = func(*unstructured.Unstructured) error { return errors.New("no") }
	for i, o := range objects {
		objects[i] = o.At(o.Rev)
	}
	convert(500)
	if _, err := k.Decode(objects[0]); err == nil || !errors.As(err, new(*kind.Unreadable)) {
		t.Errorf("it is read: %v", err)
	}
}

// serviceAt resolves one service, and says what it was asked.
type serviceAt struct {
	address string
	asked   []string
}

func (s *serviceAt) ResolveEndpoint(namespace, name string, port int32) (*url.URL, error) {
	s.asked = append(s.asked, fmt.Sprintf("%s/%s:%d", namespace, name, port))
	if s.address == "" {
		return nil, errors.New("no such service")
	}
	return &url.URL{Scheme: "https", Host: s.address}, nil
}

// A webhook may be a Service, whose certificate is in its name.
func TestWebhookOfAService(t *testing.T) {
	certificate, bundle := certificateOf(t, "converter.ns.svc")
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review apiextensionsv1.ConversionReview
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil || r.URL.Path != "/to" {
			t.Errorf("%s: %v", r.URL, err)
		}
		response := &apiextensionsv1.ConversionResponse{UID: review.Request.UID, ConvertedObjects: review.Request.Objects}
		response.Result.Status = "Success"
		for i := range response.ConvertedObjects {
			raw := strings.Replace(string(response.ConvertedObjects[i].Raw), "example.com/v1", "example.com/v2", 1)
			response.ConvertedObjects[i].Raw = []byte(raw)
		}
		review.Request, review.Response = nil, response
		if err := json.NewEncoder(w).Encode(review); err != nil {
			t.Error(err)
		}
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	server.StartTLS()
	defer server.Close()
	defer server.CloseClientConnections()

	path, port := "/to", int32(8443)
	conversion := &apiextensionsv1.CustomResourceConversion{
		Strategy: apiextensionsv1.WebhookConverter,
		Webhook: &apiextensionsv1.WebhookConversion{ConversionReviewVersions: []string{"v1"}, ClientConfig: &apiextensionsv1.WebhookClientConfig{
			Service: &apiextensionsv1.ServiceReference{Namespace: "ns", Name: "converter", Path: &path, Port: &port}, CABundle: bundle,
		}},
	}
	services := &serviceAt{}
	converter, err := custom.NewConverter(services, nil)
	if err != nil {
		t.Fatal(err)
	}
	k := convertedKind(t, converter, conversion)
	if _, err := k.Storage.Codec.Decode(storedWidget("v1", "a")); err == nil || !strings.Contains(err.Error(), "no such service") {
		t.Errorf("without a service: %v", err)
	}
	services.address = server.Listener.Addr().String()
	if _, err := k.Storage.Codec.Decode(storedWidget("v1", "a")); err != nil {
		t.Error(err)
	}
	for _, asked := range services.asked {
		if asked != "ns/converter:8443" {
			t.Errorf("asked for %s", asked)
		}
	}
	if len(services.asked) < 2 {
		t.Errorf("asked %d times", len(services.asked))
	}
}

// certificateOf is one for a host, and what it is verified with.
func certificateOf(t *testing.T, host string) (tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{host}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// A write of an object that is stored in another version counts the defaults of
// its own, whatever the kind of the write: upstream has its generation go up.
func TestDefaultsOfAnotherVersionCount(t *testing.T) {
	c := newCluster(t, definition(t, convertedVersions))
	generation := func(o map[string]any) string { return fmt.Sprint(o["metadata"].(map[string]any)["generation"]) }
	for name, write := range map[string]func(name string) map[string]any{
		"apply": func(name string) map[string]any {
			return c.must(apply, "v2/"+name, `{"apiVersion":"example.com/v2","kind":"Widget","metadata":{"name":"`+name+`","labels":{"x":"y"}}}`, by("two"))
		},
		"merge": func(name string) map[string]any {
			return c.must(merge, "v2/"+name, `{"metadata":{"labels":{"x":"y"}}}`)
		},
		"json": func(name string) map[string]any {
			return c.must(jsonPatch, "v2/"+name, `[{"op":"add","path":"/metadata/labels","value":{"x":"y"}}]`)
		},
	} {
		c.must("create", "v1/"+name, `{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"`+name+`"},"spec":{"a":"b"}}`)
		if got := generation(write(name)); got != "2" {
			t.Errorf("%s: the generation is %s", name, got)
		}
	}
}

// An unknown field is named as it is.
func TestUnknownFieldsAreNotQuoted(t *testing.T) {
	c := newCluster(t, simple(t, "{type: object, properties: {a: {type: string}}}"))
	c.must("create", "v1/a", `{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"a"},"spec":{"b\\c":1}}`, validation("Warn"))
	if got := fmt.Sprint(c.warnings); got != `[unknown field "spec.b\c"]` {
		t.Errorf("warned of %s", got)
	}
}

// A zero below zero is another item of a set than zero, as upstream tells owners.
func TestNegativeZeroIsOwned(t *testing.T) {
	c := newCluster(t, simple(t, "{type: object, properties: {a: {type: array, x-kubernetes-list-type: set, items: {type: number}}}}"))
	made := c.must("create", "v1/a", `{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"a"},"spec":{"a":[-0.0,1]}}`)
	owners, err := json.Marshal(made["metadata"].(map[string]any)["managedFields"])
	if err != nil || !strings.Contains(string(owners), `"v:-0":{}`) || !strings.Contains(string(owners), `"v:1":{}`) {
		t.Errorf("owned is %s, %v", owners, err)
	}
}

// A status that comes as another kind is written, and nobody owns it.
func TestStatusOfAnotherKindIsNotOwned(t *testing.T) {
	c := newCluster(t, definition(t, `  - {name: v1, served: true, storage: true, subresources: {status: {}}, schema: {openAPIV3Schema: {type: object, properties: {status: {type: object, properties: {a: {type: string}}}}}}}
`))
	c.must("create", "v1/a", `{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"a","labels":{"x":"y"}}}`)
	for i, kind := range []string{"Other", "Widget"} {
		revision := c.must("get", "v1/a", "")["metadata"].(map[string]any)["resourceVersion"]
		body := fmt.Sprintf(`{"apiVersion":"example.com/v1","kind":%q,"metadata":{"name":"a","resourceVersion":%q},"status":{"a":%q}}`, kind, revision, kind)
		written := c.must("update", "v1/a/status", body)
		if got := len(written["metadata"].(map[string]any)["managedFields"].([]any)); got != i+1 {
			t.Errorf("%s: there are %d owners", kind, got)
		}
	}
}

// What a strict body lacks is told in the words of custom resources.
func TestStrictBodiesWithoutAnAPIVersion(t *testing.T) {
	c := newCluster(t, simple(t, "{type: object}"))
	c.refuse("Object 'apiVersion' is missing in 'object has no apiVersion field'", "create", "v1/a", `{"kind":"x","kind":"Widget","metadata":{"name":"a"}}`, validation("Strict"))
}
