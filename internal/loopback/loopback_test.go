package loopback

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"k8s.io/apiserver/pkg/authentication/authenticator"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// nobody knows no one.
var nobody = authenticator.RequestFunc(func(*http.Request) (*authenticator.Response, bool, error) { return nil, false, nil })

func get(t *testing.T, ctx context.Context, transport http.RoundTripper, path string) (*http.Response, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://loopback"+path, strings.NewReader("question"))
	if err != nil {
		t.Fatal(err)
	}
	return (&http.Client{Transport: transport}).Do(r)
}

func TestRoundTrip(t *testing.T) {
	transport := &Transport{}
	defer transport.Close()
	if _, err := get(t, t.Context(), transport, "/"); err == nil {
		t.Error("nobody serves, and there is an answer")
	}
	transport.Serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		who, ok, err := Authenticator(nobody).AuthenticateRequest(r)
		if !ok || err != nil {
			t.Errorf("not known: %v", err)
			return
		}
		w.Header().Set("X-Asked", string(asked))
		w.WriteHeader(http.StatusTeapot)
		w.Header().Set("X-Late", "yes")
		fmt.Fprintf(w, "%s %s", r.RequestURI, who.User.GetName())
	}))
	answer, err := get(t, t.Context(), transport, "/a%2fb?c=d")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	got, err := io.ReadAll(answer.Body)
	if err != nil || string(got) != "/a%2fb?c=d system:apiserver" {
		t.Errorf("got %q, %v", got, err)
	}
	if answer.StatusCode != http.StatusTeapot || answer.Header.Get("X-Asked") != "question" || answer.Header.Get("X-Late") != "" {
		t.Errorf("got %d, %v", answer.StatusCode, answer.Header)
	}
}

// Nobody else is taken for the server's own client.
func TestOthersAreUnknown(t *testing.T) {
	if _, ok, _ := Authenticator(nobody).AuthenticateRequest(httptest.NewRequest(http.MethodGet, "/", nil)); ok {
		t.Error("known")
	}
}

// What lasts is read as it is written, and ends when its body is closed, or its
// context ends.
func TestLastingAnswers(t *testing.T) {
	transport := &Transport{}
	defer transport.Close()
	ended := make(chan error, 1)
	transport.Serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/silent" {
			<-r.Context().Done()
			ended <- context.Cause(r.Context())
			return
		}
		w.(http.Flusher).Flush()
		fmt.Fprint(w, "first")
		<-r.Context().Done()
		_, err := fmt.Fprint(w, "second")
		ended <- err
	}))
	answer, err := get(t, t.Context(), transport, "/")
	if err != nil {
		t.Fatal(err)
	}
	first := make([]byte, 5)
	if _, err := io.ReadFull(answer.Body, first); err != nil || string(first) != "first" {
		t.Errorf("read %q, %v", first, err)
	}
	answer.Body.Close()
	if err := <-ended; !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("writing on is %v", err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	go cancel()
	if _, err := get(t, ctx, transport, "/silent"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	<-ended
}

// A handler that panics breaks the answer, not the process.
func TestPanic(t *testing.T) {
	transport := &Transport{}
	transport.Serve(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "half")
		panic(http.ErrAbortHandler)
	}))
	answer, err := get(t, t.Context(), transport, "/")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(answer.Body); string(got) != "half" || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("read %q, %v", got, err)
	}
	answer.Body.Close()
	transport.Close()
	if _, err := get(t, t.Context(), transport, "/"); err == nil {
		t.Error("it answers after Close")
	}
}

// What a request asks in passing has its own context, but ends with it.
func TestRequestsAreApart(t *testing.T) {
	transport := &Transport{}
	defer transport.Close()
	type key struct{}
	asked := make(chan any, 1)
	transport.Serve(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- r.Context().Value(key{})
		<-r.Context().Done()
	}))
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "of another"))
	ended := make(chan error, 1)
	go func() {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://loopback/", nil)
		if err == nil {
			_, err = transport.RoundTrip(r) //nolint:bodyclose // there is none
		}
		ended <- err
	}()
	if got := <-asked; got != nil {
		t.Errorf("it knows %v", got)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
}
