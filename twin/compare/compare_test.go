package compare

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/knarr-io/knarr/twin/story"
)

// serve answers every creation as its own revisions and uids have it, and all else as told.
func serve(t *testing.T, name string, revision int, answer http.HandlerFunc) Side {
	t.Helper()
	var mu sync.Mutex
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			answer(w, r)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		var object map[string]any
		_ = json.NewDecoder(r.Body).Decode(&object)
		revision++
		metadata := object["metadata"].(map[string]any)
		metadata["resourceVersion"] = fmt.Sprint(revision)
		metadata["uid"] = fmt.Sprintf("00000000-0000-4000-8000-%012d", revision)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(object)
	}))
	t.Cleanup(server.Close)
	return Side{Name: name, Config: &rest.Config{Host: server.URL}}
}

func ok(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") }

var sample = story.Story{Name: "sample", Tell: func(s *story.Session) {
	made := s.Post("/things", map[string]any{"metadata": map[string]any{"name": "a"}})
	s.Get("/things/a?resourceVersion=" + made.Text("metadata", "resourceVersion"))
}}

func tell(t *testing.T, first, second Side, known ...*Known) Result {
	t.Helper()
	for _, k := range known {
		if err := k.compile(); err != nil {
			t.Fatal(err)
		}
	}
	pair, err := New(first, second, known)
	if err != nil {
		t.Fatal(err)
	}
	result, err := pair.Tell(t.Context(), sample)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func TestServersThatDoTheSameAreEqual(t *testing.T) {
	result := tell(t, serve(t, "one", 10, ok), serve(t, "two", 5000, ok))
	if !result.Equal() || result.Requests != 2 {
		t.Errorf("unexpected result %+v", result)
	}
}

func TestDifferencesAreFound(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"status": func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusAccepted); ok(w, r) },
		"header": func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Warning", "299 - x"); ok(w, r) },
		"body":   func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "OK") },
		"broken": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			result := tell(t, serve(t, "one", 10, ok), serve(t, "two", 10, answer))
			if len(result.Differences) != 1 || result.Explained() {
				t.Fatalf("unexpected result %+v", result)
			}
			if d := result.Differences[0]; !strings.HasPrefix(d.Request, "GET /things/a") || !strings.Contains(d.Diff, "+++ two") {
				t.Errorf("unexpected difference %+v", d)
			}
		})
	}
}

func TestKnownDifferencesExplain(t *testing.T) {
	warn := func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Warning", "299 - x"); ok(w, r) }
	known := &Known{Reason: "it warns", Lines: []string{`^\+Warning: `}}
	result := tell(t, serve(t, "one", 10, ok), serve(t, "two", 10, warn), known)
	if result.Equal() || !result.Explained() || known.Used() != 1 || known.Gone() {
		t.Errorf("unexpected result %+v, used %d times", result, known.Used())
	}

	gone, other := &Known{Reason: "it warned"}, &Known{Reason: "of another story", Story: "^other$"}
	tell(t, serve(t, "one", 10, ok), serve(t, "two", 10, ok), gone, other)
	if !gone.Gone() || other.Gone() {
		t.Errorf("gone: %t, of another story: %t", gone.Gone(), other.Gone())
	}
}

func TestADifferenceShowsWhatWasSent(t *testing.T) {
	fail := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }
	pair, err := New(serve(t, "one", 10, ok), serve(t, "two", 20, fail), nil)
	if err != nil {
		t.Fatal(err)
	}
	result, err := pair.Tell(t.Context(), story.Story{Name: "put", Tell: func(s *story.Session) { s.Put("/things/a", "the body") }})
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Differences) != 1 || string(result.Differences[0].Sent) != "the body" || result.Failures != 1 {
		t.Errorf("unexpected result %+v", result)
	}
}

func TestStoriesAreToldAtOnce(t *testing.T) {
	known := &Known{Reason: "two is late"}
	if err := known.compile(); err != nil {
		t.Fatal(err)
	}
	late := func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "late") }
	pair, err := New(serve(t, "one", 10, ok), serve(t, "two", 20, late), []*Known{known})
	if err != nil {
		t.Fatal(err)
	}
	const stories = 8
	var told sync.WaitGroup
	for range stories {
		told.Go(func() {
			result, err := pair.Tell(t.Context(), story.Story{Name: "get", Tell: func(s *story.Session) { s.Get("/things/a") }})
			if err != nil || !result.Explained() {
				t.Errorf("unexpected result %+v, %v", result, err)
			}
		})
	}
	told.Wait()
	if known.Used() != stories {
		t.Errorf("the known difference was used %d times", known.Used())
	}
}
