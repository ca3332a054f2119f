package endpoint_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/knarr-io/knarr/internal/endpoint"
)

// late is a body that does not come until it is let go.
type late struct {
	come <-chan struct{}
	text io.Reader
}

func (l *late) Read(p []byte) (int, error) {
	<-l.come
	return l.text.Read(p)
}

// Large bodies that are being read take all that there is for them: further ones are
// refused after a while, small ones are not, and afterwards there is room again.
func TestBodiesWaitTheirTurn(t *testing.T) {
	s := newServer(t)
	s.options.RequestTimeout = 2 * time.Second // a quarter of which is waited
	s.Handler = endpoint.New(s.options)
	post := func(name string, size int, come <-chan struct{}) *httptest.ResponseRecorder {
		text := `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"` + name + `"}}`
		text += strings.Repeat(" ", size-len(text))
		var body io.Reader = strings.NewReader(text)
		if come != nil {
			body = &late{come, body}
		}
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, configMaps, body)
		r.ContentLength = int64(size)
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		return w
	}
	const large = 3 << 20 // what a body may have; there is room for 256 MB
	let := make(chan struct{})
	var others sync.WaitGroup
	for range 100 {
		others.Go(func() {
			if w := post("other", large, let); w.Code == http.StatusCreated {
				t.Error("a body that came when the request's time was over was taken")
			}
		})
	}
	try := func() int {
		defer s.do("DELETE "+configMaps+"/large", "")
		return post("large", large, nil).Code
	}
	for deadline := time.Now().Add(time.Minute); try() != http.StatusTooManyRequests; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("there is room for all")
		}
	}
	w := post("large", large, nil)
	if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != "1" || !strings.Contains(w.Body.String(), "Too many requests") {
		t.Errorf("a large body: %d %v %s", w.Code, w.Header(), w.Body)
	}
	if w := post("small", 1<<10, nil); w.Code != http.StatusCreated {
		t.Errorf("a small body: %d %s", w.Code, w.Body)
	}
	time.Sleep(s.options.RequestTimeout) // so that those that have room are too late
	close(let)
	others.Wait()
	if code := try(); code != http.StatusCreated {
		t.Errorf("a large body, afterwards: %d", code)
	}
}
