package endpoint

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"
)

// lastWords is how long an answer may still be taken after its request's time is
// over: it may be the one that says so.
const lastWords = 5 * time.Second

// cutOff ends reading a request's body, and soon after writing its answer, when the
// request's time is over: clients that are slow on purpose hold nothing for longer.
// What net/http has for that are fixed times, for watches too.
type cutOff struct {
	mu       sync.Mutex
	w        http.ResponseWriter
	done     bool // nothing is read or written any more
	happened bool
}

// withCutOff cuts off requests that have a time to end.
func withCutOff(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ends := r.Context().Deadline(); ends {
			defer cutOffAt(r.Context(), w)()
		}
		next.ServeHTTP(w, r)
	})
}

// cutOffAt cuts the request off when ctx's time is over. release is to be called
// before the handler returns.
func cutOffAt(ctx context.Context, w http.ResponseWriter) (release func()) {
	c := &cutOff{w: w}
	stop := context.AfterFunc(ctx, func() {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) { // else it is net/http that ended it
			c.cut()
		}
	})
	return func() {
		if stop() {
			return
		}
		c.release()
	}
}

func (c *cutOff) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done {
		return
	}
	c.happened = true
	controller := http.NewResponseController(c.w)
	// Not all writers in tests can; then nothing is cut off.
	_ = controller.SetReadDeadline(time.Now())
	_ = controller.SetWriteDeadline(time.Now().Add(lastWords))
}

func (c *cutOff) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done = true
	if c.happened {
		// The connection may serve others.
		_ = http.NewResponseController(c.w).SetWriteDeadline(time.Time{})
	}
}
