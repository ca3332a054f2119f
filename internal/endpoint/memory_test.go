package endpoint_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/knarr-io/knarr/internal/state"
	"github.com/knarr-io/knarr/internal/store/memory"
)

// The figures of ARCHITECTURE.md: go test -run Held ./internal/endpoint -v -readers 400 -pods 10000
var (
	readers = flag.Int("readers", 15, "how many slow clients there are")
	kept    = flag.Int("pods", 300, "of how many pods")
)

// stuck is the answer to a client that takes the first bytes and no more, until it
// is let go.
type stuck struct {
	header http.Header
	code   int
	taken  int64
	once   sync.Once
	stands chan<- struct{} // told when it is stuck
	free   <-chan struct{}
}

func (s *stuck) Header() http.Header { return s.header }

func (s *stuck) WriteHeader(code int) { s.code = code }

func (s *stuck) Flush() {}

func (s *stuck) Write(p []byte) (int, error) {
	if s.taken += int64(len(p)); len(p) > 0 {
		s.once.Do(func() { s.stands <- struct{}{}; <-s.free })
	}
	return len(p), nil
}

func heap() int64 {
	runtime.GC()
	runtime.GC() // what pools hold outlives one
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// hold has n clients send a request and take nothing of its answer, and tells what
// each of them holds then.
func (s *server) hold(n int, request string, headers ...string) (each int64) {
	s.t.Helper()
	stands, free := make(chan struct{}, n), make(chan struct{})
	before := heap()
	answers := make([]*stuck, n)
	var clients sync.WaitGroup
	for i := range answers {
		w := &stuck{header: http.Header{}, stands: stands, free: free}
		answers[i] = w
		clients.Go(func() {
			method, target, _ := strings.Cut(request, " ")
			r := httptest.NewRequestWithContext(s.t.Context(), method, target, nil)
			for _, h := range headers {
				name, value, _ := strings.Cut(h, ": ")
				r.Header.Set(name, value)
			}
			s.ServeHTTP(w, r)
			if w.code != http.StatusOK {
				s.t.Errorf("%s: %d", request, w.code)
			}
		})
	}
	began := time.Now()
	for range n {
		<-stands
	}
	each = (heap() - before) / int64(n)
	s.t.Logf("%-50.50s %v: %d clients hold %d MB, %d KB each (all stuck after %v)", request, headers, n, each*int64(n)>>20, each>>10, time.Since(began).Round(time.Millisecond))
	close(free)
	clients.Wait()
	if headers[len(headers)-1] == "Accept-Encoding: identity" && !strings.Contains(request, "watch") {
		whole, ages := int64(len(s.do(request, "", headers...).text)), int64(0)
		if strings.Contains(headers[0], "as=Table") { // of whose rows each tells an age, in some digits more or fewer
			ages = 8 * int64(*kept)
		}
		for _, w := range answers {
			if w.taken < whole-ages || w.taken > whole+ages {
				s.t.Errorf("%s %v: %d bytes of %d", request, headers, w.taken, whole)
			}
		}
	}
	return each
}

// newFull is a server with as many pods as the flag says, the encodings of which
// do not all fit into its cache.
func newFull(t *testing.T) *server {
	t.Helper()
	s := newServerWith(t, memory.New(memory.Options{}), state.Options{CacheBytes: 1 << 20})
	pod, err := os.ReadFile("../verb/testdata/pod.json")
	if err != nil {
		t.Fatal(err)
	}
	for i := range *kept {
		s.do("POST /api/v1/namespaces/default/pods", strings.Replace(string(pod), `"web-6f7d9c5b8d-00001"`, fmt.Sprintf(`"web-%d"`, i), 1)).is(201)
	}
	return s
}

// A client that takes nothing of a large answer holds what is on its way, not what
// is still to come, whatever it asked for.
func TestHeldBySlowReaders(t *testing.T) {
	s := newFull(t)
	for _, accept := range []string{
		"application/json", "application/vnd.kubernetes.protobuf", "application/json;as=Table;v=v1;g=meta.k8s.io",
		"application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
	} {
		for _, request := range []string{
			"GET /api/v1/pods",
			"GET /api/v1/pods?watch=1&timeoutSeconds=1&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan",
		} {
			for _, encoding := range []string{"identity", "gzip"} {
				if strings.Contains(request, "watch") {
					accept = strings.Replace(accept, "MetadataList", "Metadata", 1)
				}
				most := int64(1 << 20)
				if strings.Contains(accept, "protobuf") { // is kept, where there is room
					most += 128 << 20 / int64(*readers)
				}
				if each := s.hold(*readers, request, "Accept: "+accept, "Accept-Encoding: "+encoding); each > most {
					t.Errorf("%d KB", each>>10)
				}
			}
		}
	}
}

// What is written as it is made is what is made as a whole.
func TestLongLists(t *testing.T) {
	s := newFull(t)
	same := func(request, accept string) {
		t.Helper()
		long, whole := s.do("GET "+request, "", "Accept: "+accept).is(200), s.do("GET "+request+"?pretty=1", "", "Accept: "+accept).is(200)
		var compact bytes.Buffer
		if err := json.Compact(&compact, []byte(whole.text)); err != nil {
			t.Fatal(err)
		}
		ages := regexp.MustCompile(`"\d+m?\d*s?"`) // in the cells of tables
		if compact.WriteByte('\n'); ages.ReplaceAllString(long.text, "") != ages.ReplaceAllString(compact.String(), "") {
			t.Errorf("%s as %s: %d bytes are not the %d of the whole", request, accept, len(long.text), compact.Len())
		}
		if long.header.Get("Content-Length") != "" {
			t.Errorf("%s as %s is not long", request, accept)
		}
	}
	for _, as := range []string{"", ";as=Table;v=v1;g=meta.k8s.io", ";as=Table;v=v1beta1;g=meta.k8s.io", ";as=PartialObjectMetadataList;v=v1;g=meta.k8s.io", ";as=PartialObjectMetadataList;v=v1beta1;g=meta.k8s.io"} {
		same("/api/v1/pods", "application/json"+as)
	}
	large := strings.Repeat("x", 100_000)
	s.do("POST /api/v1/namespaces/default/configmaps", `{"metadata":{"name":"large"},"data":{"a":"`+large+`"}}`).is(201)
	for _, media := range []string{"application/json", "application/vnd.kubernetes.protobuf"} {
		frames := s.do("GET /api/v1/configmaps?watch=1&timeoutSeconds=1", "", "Accept: "+media).text
		if one := s.do("GET /api/v1/namespaces/default/configmaps/large", "", "Accept: "+media).text; !strings.Contains(frames, strings.TrimSuffix(one, "\n")) {
			t.Errorf("a watch in %s does not show %.100q: %.200q", media, one, frames)
		}
	}
}

// Watches whose clients take nothing, thousands of them, and watches that come and
// go. What they held is free again, and others are served meanwhile.
func TestManyWatches(t *testing.T) {
	s := newServer(t)
	for i := range 100 {
		s.do("POST /api/v1/namespaces/default/configmaps", fmt.Sprintf(`{"metadata":{"name":"a%d"},"data":{"a":"%s"}}`, i, strings.Repeat("x", 3000))).is(201)
	}
	before, goroutines := heap(), runtime.NumGoroutine()
	if each := s.hold(1000, "GET /api/v1/configmaps?watch=1&timeoutSeconds=1", "Accept-Encoding: identity"); each > 150<<10 {
		t.Errorf("%d KB", each>>10)
	}
	for range 2000 {
		ctx, cancel := context.WithCancel(t.Context())
		stands := make(chan struct{}, 1)
		free := make(chan struct{})
		close(free)
		go func() { <-stands; cancel() }()
		s.ServeHTTP(&stuck{header: http.Header{}, stands: stands, free: free}, httptest.NewRequestWithContext(ctx, "GET", "/api/v1/configmaps?watch=1", nil))
	}
	s.do("GET /api/v1/configmaps", "").is(200)
	for range 1000 { // what has been told to end does
		if runtime.NumGoroutine() <= goroutines {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if is := runtime.NumGoroutine(); is > goroutines {
		t.Errorf("%d goroutines, %d before", is, goroutines)
	}
	if is := heap(); is > before+16<<20 {
		t.Errorf("%d MB are held, %d before", is>>20, before>>20)
	}
}
