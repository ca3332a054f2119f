package aggregate

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	clocktesting "k8s.io/utils/clock/testing"
)

// sampleServer answers as k8s.io/sample-apiserver does, or as older servers.
type sampleServer struct {
	t *testing.T

	mu       sync.Mutex // guards what follows
	requests []string   // path, user, groups, what is accepted, ETag
	answers  map[string]sampleAnswer
}

type sampleAnswer struct {
	code              int // 0 for 200
	body              string
	contentType, etag string
	hang              bool // it does not come
}

const aggregatedType = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

func file(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.FromSlash(path))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func newSampleServer(t *testing.T) *sampleServer {
	return &sampleServer{t: t, answers: map[string]sampleAnswer{
		"/apis":                             {body: file(t, "../discovery/testdata/elsewhere-sample.json"), contentType: aggregatedType, etag: `"A"`},
		"/apis/wardle.example.com/v1alpha1": {body: file(t, "testdata/sample-v1alpha1.json"), contentType: "application/json"},
		"/openapi/v3":                       {body: file(t, "../openapi/testdata/elsewhere-sample-index.json"), contentType: "text/plain"},
		"/openapi/v2":                       {body: file(t, "../openapi/testdata/elsewhere-sample-v2.json"), contentType: "application/json", etag: `"2"`},
	}}
}

func (s *sampleServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests = append(s.requests, strings.TrimRight(strings.Join([]string{
		r.URL.Path, r.Header.Get("X-Remote-User"), strings.Join(r.Header.Values("X-Remote-Group"), ","),
		r.Header.Get("Accept"), r.Header.Get("If-None-Match"),
	}, " "), " "))
	a, ok := s.answers[r.URL.Path]
	s.mu.Unlock()
	switch {
	case !ok:
		http.NotFound(w, r)
	case a.hang:
		<-r.Context().Done()
	case a.code == 0 && a.etag != "" && r.Header.Get("If-None-Match") == a.etag:
		w.WriteHeader(http.StatusNotModified)
	default:
		w.Header().Set("Content-Type", a.contentType)
		if a.etag != "" {
			w.Header().Set("ETag", a.etag)
		}
		if a.code != 0 {
			w.WriteHeader(a.code)
		}
		fmt.Fprint(w, a.body)
	}
}

// set changes the answer to requests for a path.
func (s *sampleServer) set(path string, change func(*sampleAnswer)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.answers[path]
	change(&a)
	s.answers[path] = a
}

// asked returns the requests for a path, or all.
func (s *sampleServer) asked(path string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.requests), func(r string) bool { return path != "" && r != path && !strings.HasPrefix(r, path+" ") })
}

// sampleCluster is a cluster with a sample server, which is the Service "fruit"
// in "shop".
type sampleCluster struct {
	*cluster
	*testBackend
	sample *sampleServer
	clock  *clocktesting.FakeClock
}

func newSampleCluster(t *testing.T) *sampleCluster {
	t.Helper()
	c := &sampleCluster{cluster: newCluster(t), sample: newSampleServer(t), clock: clocktesting.NewFakeClock(time.Now())}
	c.testBackend = c.newBackend(c.sample)
	c.create(coreServices, external())
	return c
}

// add has the sample server serve a version.
func (c *sampleCluster) add(group, version string, groupPriority int32) {
	c.t.Helper()
	s := apiService(group, version, c.port, c.authority)
	s.Spec.GroupPriorityMinimum = groupPriority
	c.create(apiServices, s)
	c.load()
}

func (c *sampleCluster) available(name string, is bool) {
	c.t.Helper()
	status := apiregistrationv1.ConditionFalse
	if is {
		status = apiregistrationv1.ConditionTrue
	}
	c.setAvailable(name, status)
	c.load()
}

// until waits until something is true.
func (c *sampleCluster) until(what string, is func() bool) {
	c.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			c.t.Fatalf("not in time: %s; requests: %q", what, c.sample.asked(""))
		}
	}
}

// passes has time pass until something is true, and returns how much, to the
// step. The time that real work takes is in it.
func (c *sampleCluster) passes(step time.Duration, what string, is func() bool) time.Duration {
	c.t.Helper()
	began := c.clock.Now()
	c.until(what, func() bool {
		if is() {
			return true
		}
		if c.clock.HasWaiters() {
			c.clock.Step(step)
			time.Sleep(5 * time.Millisecond)
		}
		return is()
	})
	return c.clock.Since(began)
}
