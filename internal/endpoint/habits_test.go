package endpoint_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"k8s.io/apiserver/pkg/registry/rest"

	corev1 "k8s.io/api/core/v1"
)

const secrets = "/api/v1/namespaces/default/secrets"

// stringData is how a secret is written, never how it is read.
func TestSecrets(t *testing.T) {
	s := newServer(t)
	s.do("POST "+secrets, `{"metadata":{"name":"s"},"data":{"a":"b2xk"},"stringData":{"a":"new","b":"c"}}`).is(201,
		"type", "Opaque", "stringData", nil, "data", map[string]any{"a": "bmV3", "b": "Yw=="})
	s.do("PATCH "+secrets+"/s", `{"stringData":{"b":"d"}}`).is(200, "data", map[string]any{"a": "bmV3", "b": "ZA=="})
	s.do("PATCH "+secrets+"/s", `{"type":"other"}`).is(422, "message", `Secret "s" is invalid: type: Invalid value: "other": field is immutable`)
	s.do("POST "+secrets, `{"metadata":{"name":"t"},"type":"kubernetes.io/tls"}`).is(422)
}

func TestImmutable(t *testing.T) {
	s := newServer(t)
	for _, path := range []string{secrets, configMaps} {
		s.do("POST "+path, `{"metadata":{"name":"s"},"data":{"a":"b2xk"}}`).is(201)
		s.do("PATCH "+path+"/s", `{"data":{"a":"bmV3"},"immutable":true}`).is(200, "immutable", true)
		got := s.do("PATCH "+path+"/s", `{"data":{"a":"b2xk"}}`).is(422, "reason", "Invalid").str("message")
		if !strings.HasSuffix(got, "is invalid: data: Forbidden: field is immutable when `immutable` is set") {
			t.Error(got)
		}
		got = s.do("PATCH "+path+"/s", `{"immutable":false}`).is(422).str("message")
		if !strings.HasSuffix(got, "is invalid: immutable: Forbidden: field is immutable when `immutable` is set") {
			t.Error(got)
		}
		s.do("PATCH "+path+"/s", `{"metadata":{"labels":{"a":"b"}}}`).is(200)
		s.do("DELETE "+path+"/s", "").is(200)
	}
}

// What a DELETE answers with is told by the kind and, for one, by the version.
func TestAnswerOfDelete(t *testing.T) {
	s := newServer(t)
	for _, test := range []struct{ collection, body, kind string }{
		{configMaps, `{}`, "Status"},
		{"/api/v1/namespaces/default/serviceaccounts", `{}`, "ServiceAccount"},
		{"/apis/resource.k8s.io/v1/devicetaintrules", `{"spec":{"deviceSelector":{"driver":"d.example"},"taint":{"key":"a","effect":"NoSchedule"}}}`, "Status"},
		{"/apis/resource.k8s.io/v1alpha3/devicetaintrules", `{"spec":{"deviceSelector":{"driver":"d.example"},"taint":{"key":"a","effect":"NoSchedule"}}}`, "DeviceTaintRule"},
	} {
		s.do("POST "+test.collection, strings.Replace(strings.Replace(test.body, "{", `{"metadata":{"name":"x"},`, 1), ",}", "}", 1)).is(201)
		s.do("DELETE "+test.collection+"/x", "").is(200, "kind", test.kind)
	}
}

// Every kind that there is in any version can be listed when it is switched on.
func TestEveryCollection(t *testing.T) {
	s := newServer(t)
	n := 0
	for _, g := range s.catalogue.Groups {
		for _, r := range g.Resources {
			for _, v := range r.Versions {
				if r.Storage == nil {
					continue
				}
				path := "/apis/" + v.GroupVersion().String() + "/" + r.Name
				if g.Name == "" {
					path = "/api/v1/" + r.Name
				}
				s.do("GET "+path, "").is(200, "kind", r.Kind+"List", "apiVersion", v.GroupVersion().String())
				s.do("GET "+path, "", "Accept: application/json;as=Table;v=v1;g=meta.k8s.io").is(200, "kind", "Table")
				n++
			}
		}
	}
	if n < 80 {
		t.Errorf("only %d collections", n)
	}
}

// oneName generates the same name again and again.
type oneName struct {
	rest.RESTCreateStrategy
	asked int
}

func (o *oneName) GenerateName(prefix string) string {
	o.asked++
	return prefix + "taken"
}

// A generated name that is taken is tried again, eight times in all.
func TestGenerateNameGivesUp(t *testing.T) {
	s := newServer(t)
	r := s.catalogue.Lookup(corev1.SchemeGroupVersion.WithResource("configmaps")).Resource
	names := &oneName{RESTCreateStrategy: r.Create}
	r.Create = names
	s.do("POST "+configMaps, configMap(`"generateName":"c-"`)).is(201, "metadata.name", "c-taken")
	names.asked = 0
	s.do("POST "+configMaps, configMap(`"generateName":"c-"`)).is(409, "reason", "AlreadyExists", "details.retryAfterSeconds", 1.0,
		"message", `configmaps "c-taken" already exists, the server was not able to generate a unique name for the object`)
	if names.asked != 8 {
		t.Errorf("%d names were tried", names.asked)
	}
}

// send is do for goroutines: it does not end the test.
func (s *server) send(method, path, body, contentType string) (int, string) {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

// Many write one object at once: patches are tried again on what is there then,
// updates of an older version are refused, and nothing is lost.
func TestNoLostUpdates(t *testing.T) {
	s := newServer(t)
	s.do("POST "+configMaps, `{"metadata":{"name":"c"},"data":{"sum":"0"}}`).is(201)
	const writers, times = 6, 25
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range times {
				if code, text := s.send(http.MethodPatch, configMaps+"/c", fmt.Sprintf(`{"data":{"w%d-%d":"x"}}`, w, i), "application/merge-patch+json"); code != 200 {
					t.Errorf("a patch: %d: %s", code, text)
				}
				s.add(t)
			}
		})
	}
	all.Wait()
	data := s.do("GET "+configMaps+"/c", "").is(200, "data.sum", fmt.Sprint(writers*times)).at("data").(map[string]any)
	if len(data) != writers*times+1 {
		t.Errorf("there are %d keys of %d", len(data)-1, writers*times)
	}
}

// add adds one to the sum, by an update of what was read.
func (s *server) add(t *testing.T) {
	for {
		_, text := s.send(http.MethodGet, configMaps+"/c", "", "")
		cm := &corev1.ConfigMap{}
		var sum int
		if err := json.Unmarshal([]byte(text), cm); err != nil {
			t.Error(err)
			return
		}
		if _, err := fmt.Sscan(cm.Data["sum"], &sum); err != nil {
			t.Error(err)
			return
		}
		cm.Data["sum"] = fmt.Sprint(sum + 1)
		cm.ManagedFields = nil
		body, err := json.Marshal(cm)
		if err != nil {
			t.Error(err)
			return
		}
		switch code, text := s.send(http.MethodPut, configMaps+"/c", string(body), "application/json"); code {
		case 200:
			return
		case 409:
		default:
			t.Errorf("an update: %d: %s", code, text)
			return
		}
	}
}
