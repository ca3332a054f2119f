package knarr_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/knarr-io/knarr"
)

// memory is what the process holds for its own use, in bytes.
func memory() uint64 {
	runtime.GC()
	runtime.GC() // pools keep what they have through the first
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// Ten thousand watches of clients that take nothing. They fall behind, and nobody
// waits for them.
func TestStuckWatches(t *testing.T) {
	const conns, streams = 100, 100
	s := besiege(t, knarr.Options{})
	held := memory()
	s.against(func() {
		goroutines := runtime.NumGoroutine()
		var stuck []io.Closer
		for range conns {
			conn := s.dial(true, "h2")
			stuck = append(stuck, conn)
			f := newFramer(t, conn)
			for i := range uint32(streams) {
				f.request(2*i+1, true, "GET", "/api/v1/namespaces/default/configmaps?watch=true")
			}
		}
		for deadline := time.Now().Add(time.Minute); runtime.NumGoroutine() < goroutines+conns*streams; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d goroutines, not all watches run", runtime.NumGoroutine())
			}
		}
		time.Sleep(3 * time.Second) // of honest clients' changes
		each := (memory() - held) / (conns * streams)
		t.Logf("%d KB for each of %d watches", each>>10, conns*streams)
		if each > 128<<10 {
			t.Errorf("a watch that takes nothing holds %d KB", each>>10)
		}
		for _, c := range stuck {
			_ = c.Close()
		}
	})
	if now := memory(); now > held+(64<<20) {
		t.Errorf("%d MB before, %d MB after", held>>20, now>>20)
	}
}

// Who asks for all that there is to tell, over and over again, is told, and others
// are served.
func TestDescriptionFlood(t *testing.T) {
	s := besiege(t, knarr.Options{})
	held := memory()
	s.against(func() {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		var asking sync.WaitGroup
		for i, path := range []string{"/openapi/v2", "/openapi/v3", "/openapi/v3/api/v1", "/openapi/v3/apis/apps/v1", "/apis", "/api", "/api/v1", "/healthz?verbose", "/metrics", "/version"} {
			c := s.server.ClientConfig()
			c.BearerToken, c.CertData, c.KeyData = outsider, nil, nil
			transport, err := rest.HTTPClientFor(c)
			if err != nil {
				t.Fatal(err)
			}
			for range 4 {
				asking.Go(func() {
					n := 0
					for ; ctx.Err() == nil; n++ {
						r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.server.URL()+path, nil)
						if err != nil {
							t.Error(err)
							return
						}
						// Each asks in another way, so that nothing is sent from what a client keeps.
						r.Header.Set("Accept", []string{"application/json", "application/com.github.proto-openapi.spec.v2@v1.0+protobuf, */*", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList, */*"}[n%3])
						r.Header.Set("If-None-Match", fmt.Sprint(i, n))
						answer, err := transport.Do(r)
						if err != nil {
							if ctx.Err() == nil {
								t.Errorf("%s: %v", path, err)
							}
							return
						}
						_, _ = io.Copy(io.Discard, answer.Body)
						_ = answer.Body.Close()
						if answer.StatusCode >= 500 {
							t.Errorf("%s: %s", path, answer.Status)
							return
						}
					}
				})
			}
		}
		asking.Wait()
	})
	if now := memory(); now > held+(256<<20) {
		t.Errorf("%d MB before, %d MB after", held>>20, now>>20)
	}
}
