package knarr

import (
	"context"
	"net/http"
	"sync"
)

// gate knows which requests are running, and lets no more in once it is shut.
type gate struct {
	mu      sync.Mutex
	running int
	shut    bool
	empty   chan struct{} // closed when the gate is shut and nothing runs
}

func newGate() *gate { return &gate{empty: make(chan struct{})} }

// around counts the requests that next serves. Those that come after shut get
// 503, so that none is cut off half-way.
func (g *gate) around(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !g.enter() {
			w.Header().Set("Retry-After", "1")
			http.Error(w, "The server is shutting down, please try again later.", http.StatusServiceUnavailable)
			return
		}
		defer g.leave()
		next.ServeHTTP(w, r)
	})
}

func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut {
		return false
	}
	g.running++
	return true
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.running--
	g.check()
}

// close shuts the gate and returns when nothing runs any more, or the cause of
// ctx's end. It is called once.
func (g *gate) close(ctx context.Context) error {
	g.mu.Lock()
	g.shut = true
	g.check()
	g.mu.Unlock()
	select {
	case <-g.empty:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (g *gate) check() {
	if g.shut && g.running == 0 {
		close(g.empty)
	}
}
