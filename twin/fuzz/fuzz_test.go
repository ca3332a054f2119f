package fuzz

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/knarr-io/knarr/twin/sample"
	"github.com/knarr-io/knarr/twin/story"
)

func newDraw(seed uint64) *draw {
	return &draw{Rand: rand.New(rand.NewPCG(seed, 0)), words: []string{"Always", "TCP"}}
}

func resources() []sample.Resource {
	verbs := []string{"create", "get"}
	return []sample.Resource{
		{Version: "v1", Name: "pods", Kind: "Pod", Namespaced: true, Verbs: verbs, Subresources: map[string][]string{"status": {"update"}}},
		{Group: "apps", Version: "v1", Name: "deployments", Kind: "Deployment", Namespaced: true, Verbs: verbs,
			Subresources: map[string][]string{"status": {"update"}, "scale": {"update"}}},
		{Group: "apiextensions.k8s.io", Version: "v1", Name: "customresourcedefinitions", Kind: "CustomResourceDefinition", Verbs: verbs},
	}
}

func newFuzzer(t *testing.T, seed uint64) *Fuzzer {
	t.Helper()
	full, err := sample.FindFull(t.Context(), "..")
	if err != nil {
		t.Fatal(err)
	}
	f, err := New(seed, resources(), full)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// opening is how many requests a story begins with: its namespace, and the service
// account of its pods.
const opening = 2

// told is what a story sends to a server that has one answer to everything.
func told(t *testing.T, s story.Story) []string {
	t.Helper()
	var requests []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if r.URL.Path == "/api/v1/namespaces" && len(requests) == 0 {
			w.WriteHeader(http.StatusCreated)
		}
		requests = append(requests, r.Method+" "+r.URL.String()+" "+string(body))
		fmt.Fprint(w, `{"metadata":{"name":"x","uid":"u","resourceVersion":"7","managedFields":[{}]},"spec":{"replicas":1}}`)
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

func TestASeedAndANumberAreAStory(t *testing.T) {
	for number := range uint64(8) {
		s := newFuzzer(t, 5).Story(number)
		first, again := told(t, s), told(t, newFuzzer(t, 5).Story(number))
		if strings.Join(first, "\n") != strings.Join(again, "\n") {
			t.Errorf("story %d is told in two ways:\n%s\n---\n%s", number, strings.Join(first, "\n"), strings.Join(again, "\n"))
		}
		if len(first) < 10 {
			t.Errorf("story %d has only %d requests", number, len(first))
		}
		if other := told(t, newFuzzer(t, 6).Story(number)); strings.Join(first, "\n") == strings.Join(other, "\n") {
			t.Errorf("story %d is the same for another seed", number)
		}
	}
}

func TestNothingIsStoredThatWouldChangeTheServer(t *testing.T) {
	f := newFuzzer(t, 1)
	seen := false
	for number := range uint64(60) {
		s := f.Story(number)
		if !strings.Contains(s.Name, "customresourcedefinitions") {
			continue
		}
		seen = true
		for _, request := range told(t, s)[opening:] {
			line, _, _ := strings.Cut(request, " {")
			if !strings.HasPrefix(line, "GET ") && !strings.Contains(line, "dryRun=All") {
				t.Errorf("%s stores something: %s", s.Name, line)
			}
		}
	}
	if !seen {
		t.Error("no story is about definitions")
	}
}

func TestMutatedLeavesTheOriginal(t *testing.T) {
	body := map[string]any{
		"metadata": map[string]any{"name": "a"},
		"spec":     map[string]any{"replicas": 1.0, "list": []any{map[string]any{"name": "x"}, "y"}, "on": true, "none": nil},
	}
	full := map[string]any{"spec": map[string]any{"extra": []any{"e"}, "list": []any{map[string]any{"image": "i"}}}}
	before := sample.Text(body) + sample.Text(full)
	changed := map[string]bool{}
	for seed := range uint64(500) {
		result := newDraw(seed).mutated(body, full, 1+int(seed%4))
		content, err := json.Marshal(result)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		changed[string(content)] = true
	}
	if after := sample.Text(body) + sample.Text(full); after != before {
		t.Errorf("the original became %s", after)
	}
	if len(changed) < 200 {
		t.Errorf("500 seeds made only %d different bodies", len(changed))
	}
}
