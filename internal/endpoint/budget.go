package endpoint

import (
	"context"
	"net/http"
	"time"

	"golang.org/x/sync/semaphore"
)

// Requests that take much memory share what there is of it: they wait for their
// part, and are refused when that takes long. What is small does not count: how
// many of them run at once is limited elsewhere.
const (
	small = 256 << 10
	// maxBodies is for bodies that are being read, maxDecoded for what is made of
	// them, maxWhole for answers that cannot be written as they are made, maxKept for
	// what would otherwise be made twice.
	maxBodies  = 256 << 20
	maxDecoded = 512 << 20
	maxWhole   = 512 << 20
	maxKept    = 128 << 20
)

// budget is memory, as far as it is shared out.
type budget struct {
	size int64
	free *semaphore.Weighted
}

func newBudget(size int64) *budget { return &budget{size, semaphore.NewWeighted(size)} }

// reserve waits for a part of the budget. What needs more than there is gets all of
// it. Whoever gets it must give it back by release, once or more often.
func (b *budget) reserve(ctx context.Context, wait time.Duration, bytes int64) (release func(), err error) {
	if bytes <= small {
		return func() {}, nil
	}
	bytes = min(bytes, b.size)
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	if b.free.Acquire(ctx, bytes) != nil {
		return nil, errBusy
	}
	return b.giveBack(bytes), nil
}

// try is reserve for those who can do without, and do not wait.
func (b *budget) try(bytes int64) (release func(), ok bool) {
	if bytes <= small {
		return func() {}, true
	}
	if bytes > b.size || !b.free.TryAcquire(bytes) {
		return nil, false
	}
	return b.giveBack(bytes), true
}

func (b *budget) giveBack(bytes int64) func() {
	return func() {
		b.free.Release(bytes)
		bytes = 0
	}
}

// tooMany refuses a request that may be served later.
type tooMany struct{}

var errBusy error = tooMany{}

func (tooMany) Error() string { return "Too many requests, please try again later." }

// refuse answers with 429.
func refuse(w http.ResponseWriter) {
	w.Header().Set("Retry-After", "1")
	http.Error(w, errBusy.Error(), http.StatusTooManyRequests)
}

// reserve takes part of a budget until the request has been served, or releases.
func (q *query) reserve(b *budget, bytes int64) (release func(), err error) {
	release, err = b.reserve(q.r.Context(), q.RequestTimeout/4, bytes)
	if err == nil {
		q.reserved = append(q.reserved, release)
	}
	return release, err
}

// release gives back what the request has reserved.
func (q *query) release() {
	for _, release := range q.reserved {
		release()
	}
	q.reserved = q.reserved[:0]
}
