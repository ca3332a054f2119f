package story

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"
)

// begin opens a session with a server that creates any namespace and else does as told.
func begin(t *testing.T, serve http.HandlerFunc) *Session {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/v1/namespaces" {
			w.WriteHeader(http.StatusCreated)
			fmt.Fprint(w, `{"metadata":{"resourceVersion":"7"}}`)
			return
		}
		serve(w, r)
	}))
	t.Cleanup(server.Close)
	s, err := NewServer(&rest.Config{Host: server.URL}, "")
	if err != nil {
		t.Fatal(err)
	}
	session, revision, err := s.Begin(t.Context(), "story-1")
	if err != nil {
		t.Fatal(err)
	}
	if revision != "7" {
		t.Errorf("the story begins after revision %q", revision)
	}
	t.Cleanup(session.End)
	return session
}

func TestExchangesAreKept(t *testing.T) {
	s := begin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Seen", r.Header.Get("Authorization"))
		w.WriteHeader(http.StatusTeapot)
		fmt.Fprint(w, `{"metadata":{"name":"a"},"n":1}`)
	})
	answer := s.Get("/x?y=z", Accept("application/yaml"), Token("secret"))
	if answer.Status != http.StatusTeapot || answer.Text("metadata", "name") != "a" || answer.Text("none", "none") != "" {
		t.Errorf("unexpected answer %+v", answer)
	}
	s.Get("/x", Anonymous)
	if len(s.Exchanges) != 2 {
		t.Fatalf("%d exchanges", len(s.Exchanges))
	}
	first := s.Exchanges[0]
	if want := "GET /x?y=z [Accept: application/yaml] [Authorization: Bearer secret]"; first.Request != want {
		t.Errorf("request %q, want %q", first.Request, want)
	}
	if first.Status != http.StatusTeapot || len(first.Bodies) != 1 || first.Header.Get("X-Seen") != "Bearer secret" {
		t.Errorf("unexpected exchange %+v", first)
	}
	if seen := s.Exchanges[1].Header.Get("X-Seen"); seen != "" {
		t.Errorf("an anonymous request carried %q", seen)
	}
}

func TestAClosedConnectionIsAnAnswer(t *testing.T) {
	s := begin(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	if answer := s.Get("/x"); answer.Status != 0 || len(answer.Object()) != 0 {
		t.Errorf("unexpected answer %+v", answer)
	}
	if end := s.Exchanges[0].End; end != "connection closed" {
		t.Errorf("ended with %q", end)
	}
}

func TestWatchReadsToTheEventItWaitsFor(t *testing.T) {
	s := begin(t, func(w http.ResponseWriter, _ *http.Request) {
		for _, event := range []string{"ADDED", "MODIFIED", "DELETED"} {
			fmt.Fprintf(w, `{"type":%q,"object":{"metadata":{"name":"a"}}}`+"\n", event)
		}
	})
	w := s.Watch("/x?watch=true")
	if event := w.Until(func(e Event) bool { return e.Type == "MODIFIED" }); event.Name != "a" {
		t.Errorf("found %+v", event)
	}
	exchange := s.Exchanges[0]
	if len(exchange.Bodies) != 2 || exchange.End != "" {
		t.Errorf("%d frames, end %q", len(exchange.Bodies), exchange.End)
	}
	w.Rest(time.Minute)
	if len(exchange.Bodies) != 3 || exchange.End != "end of stream" {
		t.Errorf("%d frames, end %q", len(exchange.Bodies), exchange.End)
	}
}

func TestWatchReadsProtobufFrames(t *testing.T) {
	s := begin(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/vnd.kubernetes.protobuf;stream=watch")
		for _, frame := range []string{"one", "", "three"} {
			_ = binary.Write(w, binary.BigEndian, uint32(len(frame)))
			fmt.Fprint(w, frame)
		}
	})
	s.Watch("/x?watch=true").Rest(time.Minute)
	var frames []string
	for _, body := range s.Exchanges[0].Bodies {
		frames = append(frames, string(body))
	}
	if !slices.Equal(frames, []string{"one", "", "three"}) {
		t.Errorf("frames %q", frames)
	}
}

func TestRefusedWatchHasABody(t *testing.T) {
	s := begin(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusBadRequest) })
	w := s.Watch("/x?watch=true")
	w.Next(3)
	exchange := s.Exchanges[0]
	if exchange.Status != http.StatusBadRequest || exchange.Streamed || !strings.HasPrefix(string(exchange.Bodies[0]), "no") {
		t.Errorf("unexpected exchange %+v", exchange)
	}
}

func TestEndClosesWatches(t *testing.T) {
	gone := make(chan struct{})
	s := begin(t, func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		close(gone)
	})
	s.Watch("/x?watch=true")
	s.End()
	select {
	case <-gone:
	case <-time.After(10 * time.Second):
		t.Error("the watch is still open")
	}
}

func TestAwaitKeepsTheLastAnswerAlone(t *testing.T) {
	asked := 0
	s := begin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/x" {
			asked++
		}
		if asked < 3 {
			w.WriteHeader(http.StatusNotFound)
		}
		fmt.Fprint(w, asked)
	})
	s.Get("/first")
	s.Quietly(func() { s.Get("/unheard") })
	if answer := s.Await("/x", Found); string(answer.Body) != "3" {
		t.Errorf("the answer is %s", answer.Body)
	}
	if len(s.Exchanges) != 2 || s.Exchanges[0].Request != "GET /first" || s.Exchanges[1].Status != http.StatusOK {
		t.Errorf("%d exchanges are kept", len(s.Exchanges))
	}
}

func TestOnlyAPartIsKept(t *testing.T) {
	s := begin(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"groups":[{"name":"a"},{"metadata":{"name":"b"},"z":1,"a":2},7]}`)
	})
	for want, path := range map[string][]string{
		`{"metadata":{"name":"b"},"z":1,"a":2}`: {"groups", "b"}, `2`: {"groups", "b", "a"}, `null`: {"groups", "none", "more"},
	} {
		s.Get("/x")
		s.Only(path...)
		last := s.Exchanges[len(s.Exchanges)-1]
		if got := string(last.Bodies[0]); got != want || !strings.Contains(last.Request, path[0]) {
			t.Errorf("%s: kept %s, want %s", last.Request, got, want)
		}
	}
}

func TestFailuresDoNotNameTheConnection(t *testing.T) {
	for text, want := range map[string]string{
		"stream error: stream ID 23; INTERNAL_ERROR; received from peer": "stream error: INTERNAL_ERROR; received from peer",
		"context deadline exceeded":                                      "no answer in time",
		"unexpected EOF":                                                 "connection closed",
	} {
		if got := failure(errors.New(text)); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}
