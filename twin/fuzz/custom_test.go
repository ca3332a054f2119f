package fuzz

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/knarr-io/knarr/twin/story"
)

// toldCustom is what a story of custom resources sends to a server that takes all.
func toldCustom(t *testing.T, s story.Story) []string {
	t.Helper()
	var requests []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		requests = append(requests, r.Method+" "+r.URL.String()+" "+string(body))
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusCreated)
		}
		fmt.Fprint(w, `{"metadata":{"name":"x","uid":"u","resourceVersion":"7"},"status":{"conditions":[{"type":"Established","status":"True"}]}}`)
	}))
	defer server.Close()
	to, err := story.NewServer(&rest.Config{Host: server.URL}, "")
	if err != nil {
		t.Fatal(err)
	}
	session, _, err := to.Begin(t.Context(), "story")
	if err != nil {
		t.Fatal(err)
	}
	defer session.End()
	s.Tell(session)
	return requests
}

func TestASeedAndANumberAreADefinition(t *testing.T) {
	published := []map[string]any{{"metadata": map[string]any{"name": "gadgets.example.com"}, "spec": map[string]any{
		"names": map[string]any{"plural": "gadgets", "kind": "Gadget"}, "scope": "Cluster", "conversion": map[string]any{"strategy": "Webhook"},
		"versions": []any{map[string]any{"name": "v1", "served": true, "schema": map[string]any{"openAPIV3Schema": map[string]any{
			"type": "object", "properties": map[string]any{"spec": map[string]any{"type": "integer", "minimum": float64(3)}},
		}}}},
	}}}
	kinds := map[string]bool{}
	for number := range uint64(30) {
		s := NewCustom(5, published).Story(number)
		first, again := toldCustom(t, s), toldCustom(t, NewCustom(5, published).Story(number))
		if strings.Join(first, "\n") != strings.Join(again, "\n") {
			t.Fatalf("story %d is told in two ways:\n%s\n---\n%s", number, strings.Join(first, "\n"), strings.Join(again, "\n"))
		}
		if len(first) < 40 || !strings.HasPrefix(first[opening], "POST "+definitions) || !strings.HasPrefix(first[len(first)-1], "DELETE "+definitions) {
			t.Errorf("story %d has %d requests, and begins with %s", number, len(first), first[opening])
		}
		if strings.Contains(first[opening], "Webhook") {
			t.Errorf("story %d has objects converted by others: %s", number, first[opening])
		}
		if other := toldCustom(t, NewCustom(6, published).Story(number)); strings.Join(first, "\n") == strings.Join(other, "\n") {
			t.Errorf("story %d is the same for another seed", number)
		}
		kinds[strings.Split(s.Name, "/")[2]] = true
	}
	if len(kinds) != 2 {
		t.Errorf("the stories are about %v", kinds)
	}
}

// Every word of schemas is there sooner or later, and values are of the types
// that they are to have.
func TestSchemasSayAllThatTheyMay(t *testing.T) {
	var all strings.Builder
	for seed := range uint64(300) {
		d := newDraw(seed)
		text, err := json.Marshal(d.definition())
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	words := []string{
		`"x-kubernetes-int-or-string":true`, `"x-kubernetes-preserve-unknown-fields":true`, `"x-kubernetes-embedded-resource":true`, `"x-kubernetes-validations"`,
		`"x-kubernetes-list-type":"map"`, `"x-kubernetes-list-type":"set"`, `"x-kubernetes-list-type":"atomic"`, `"x-kubernetes-map-type"`, `"additionalProperties"`,
		`"oneOf"`, `"anyOf"`, `"allOf"`, `"not"`, `"nullable"`, `"default"`, `"enum"`, `"minimum"`, `"maximum"`, `"pattern"`, `"format"`, `"multipleOf"`, `"required"`,
		"oldSelf", `"messageExpression"`, `"optionalOldSelf"`, `"fieldPath"`, `"reason"`,
	}
	words = slices.DeleteFunc(words, func(word string) bool { return strings.Contains(all.String(), word) })
	if len(words) > 0 {
		t.Errorf("no schema has %v", words)
	}
	d := &draw{Rand: rand.New(rand.NewPCG(1, 1)), words: []string{"a"}}
	for range 200 {
		if n, ok := d.value(schema{"type": "integer", "minimum": 3, "maximum": 5}, 0).(int); !ok || n < 3 || n > 5 {
			t.Fatalf("an integer from 3 to 5 is %v", n)
		}
		list, _ := d.value(schema{"type": "array", "minItems": 2, "maxItems": 3, "items": schema{"type": "boolean"}}, 0).([]any)
		if len(list) < 2 || len(list) > 3 {
			t.Fatalf("two or three items are %v", list)
		}
	}
}
