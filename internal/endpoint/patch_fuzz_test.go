package endpoint_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// patchable are objects that a fuzzed patch is for.
var patchable = map[string]string{
	"/api/v1/namespaces/default/configmaps/a": `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","finalizers":["x.io/a"]},"data":{"a":"b"}}`,
	"/api/v1/namespaces/default/pods/a": `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a","labels":{"a":"b"}},"spec":{"containers":[{"name":"a","image":"i","ports":[{"containerPort":80}],
		"env":[{"name":"A","value":"1"}],"resources":{"limits":{"cpu":"1"}}}],"tolerations":[{"key":"a","operator":"Exists"}]}}`,
	"/apis/apps/v1/namespaces/default/deployments/a": `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"a"},"spec":{"replicas":2,"selector":{"matchLabels":{"a":"b"}},
		"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"a","image":"i"}]}}}}`,
}

// Whatever a patch says, the answer is an object or a Status, never a panic or an
// error of ours, and what is stored can be read and is who it was.
func FuzzPatch(f *testing.F) {
	s := newServer(f)
	media := []string{"application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json", "application/apply-patch+yaml"}
	for _, patch := range []string{
		`{"metadata":{"labels":{"a":null,"c":"d"}}}`, `{"data":{"x":"y"},"binaryData":{"z":"AA=="}}`,
		`[{"op":"add","path":"/metadata/labels","value":{"a":"b"}},{"op":"test","path":"/data/a","value":"b"}]`,
		`[{"op":"copy","from":"/metadata","path":"/data"},{"op":"move","from":"/data/a","path":"/data/~1"},{"op":"remove","path":"/spec/containers/0"}]`,
		`{"spec":{"containers":[{"name":"a","image":"j","$patch":"replace"},{"$patch":"delete","name":"b"}],"$setElementOrder/containers":[{"name":"a"}],"$retainKeys":["containers"]}}`,
		`{"spec":{"template":{"spec":{"containers":[{"name":"a","ports":[{"containerPort":80,"protocol":"UDP"}],"env":[{"name":"A","$patch":"delete"}]}]}},"$deleteFromPrimitiveList/x":["a"]}}`,
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {k: v}\n", `{"metadata":{"managedFields":[{}],"resourceVersion":"1","uid":"x","name":"b"}}`, `null`, `[]`, `{"a":`,
	} {
		for i := range media {
			f.Add(patch, byte(i), byte(i))
		}
	}
	paths := slices.Sorted(maps.Keys(patchable))
	f.Fuzz(func(t *testing.T, patch string, how, which byte) {
		path := paths[int(which)%len(paths)]
		ask := func(method, query, contentType, body string) (int, map[string]any, string) {
			target := path
			if method == http.MethodPost {
				target = strings.TrimSuffix(path, "/a")
			}
			r := httptest.NewRequestWithContext(t.Context(), method, target+query, strings.NewReader(body))
			r.Header.Set("Content-Type", contentType)
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			var answer map[string]any
			if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || answer["kind"] == nil {
				t.Fatalf("%s %s: %d %.300s", method, path, w.Code, w.Body)
			}
			return w.Code, answer, w.Body.String()
		}
		if code, _, _ := ask("GET", "", "", ""); code == http.StatusNotFound {
			if code, _, text := ask("POST", "", "application/json", patchable[path]); code != http.StatusCreated {
				t.Fatal(code, text)
			}
		}
		uid := func() any {
			code, obj, text := ask("GET", "", "", "")
			if code != http.StatusOK {
				t.Fatal(code, text)
			}
			return obj["metadata"].(map[string]any)["uid"]
		}
		before := uid()
		code, answer, text := ask("PATCH", "?fieldManager=fuzz&force="+map[bool]string{true: "true", false: "false"}[how%8 > 3], media[int(how)%len(media)], patch)
		if code != http.StatusOK && (answer["kind"] != "Status" || answer["code"] != float64(code)) || strings.Contains(text, "runtime error") {
			t.Fatalf("%d %.300s", code, text)
		}
		if after := uid(); before != after {
			t.Fatalf("it was %v and is %v", before, after)
		}
	})
}
