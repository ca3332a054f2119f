package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// watchersPerConnection keeps below every server's limit of streams.
	watchersPerConnection = 50
	fanOutTimeout         = 5 * time.Minute
)

// A fanOut is one object's updates on their way to many watchers. An update is sent
// when all watchers have had the one before, so none can fall behind and be cut off.
type fanOut struct {
	watchers  int
	updates   int
	sent      atomic.Int64  // when the update under way was sent, in nanoseconds since began
	delivered atomic.Int64  // events of all watchers together
	complete  chan struct{} // told when all watchers have had the update under way
	began     time.Time
}

// A watcher counts the events of one watch without decoding them.
type watcher struct {
	events int
	sum    uint32 // over everything received
	took   []time.Duration
	kept   *bytes.Buffer // everything received, for one watcher only
}

// fanOut returns the cost of one delivered event. That of the update is in it. What
// is watched is an object called "watched" of a collection, which is made, and whose
// data.n is updated.
func (w *work) fanOut(collection, object string) (cost, error) {
	ctx, cancel := context.WithTimeout(w.ctx, fanOutTimeout)
	defer cancel()
	watched := collection + "/watched"
	if err := w.client.write(ctx, http.MethodPost, collection, applicationJSON, []byte(object), http.StatusCreated); err != nil {
		return cost{}, err
	}
	body, err := w.client.content(ctx, watched, nil)
	if err != nil {
		return cost{}, err
	}
	var created struct {
		Metadata struct{ ResourceVersion string }
	}
	if err := json.Unmarshal(body, &created); err != nil {
		return cost{}, err
	}

	f := &fanOut{watchers: w.sizes.watchers, updates: w.sizes.updates, complete: make(chan struct{}, 1), began: time.Now()}
	streams, closeAll, err := w.openWatches(ctx, collection, f.watchers, created.Metadata.ResourceVersion)
	defer closeAll()
	if err != nil {
		return cost{}, err
	}
	watchers := make([]*watcher, f.watchers)
	failed := make(chan error, f.watchers)
	var reading sync.WaitGroup
	for i, stream := range streams {
		watchers[i] = &watcher{took: make([]time.Duration, 0, f.updates)}
		if i == 0 {
			watchers[i].kept = &bytes.Buffer{}
		}
		reading.Go(func() {
			if err := watchers[i].read(stream, f); err != nil {
				failed <- fmt.Errorf("watcher %d after %d events: %w", i, watchers[i].events, err)
			}
		})
	}

	before, err := w.server.CPU()
	if err != nil {
		return cost{}, err
	}
	for n := range f.updates {
		f.sent.Store(int64(time.Since(f.began)))
		patch := fmt.Appendf(nil, `{"data":{"n":"%d"}}`, n)
		if err := w.client.write(ctx, http.MethodPatch, watched, mergePatch, patch, http.StatusOK); err != nil {
			return cost{}, err
		}
		select {
		case <-f.complete:
		case err := <-failed:
			return cost{}, err
		case <-ctx.Done():
			return cost{}, fmt.Errorf("update %d reached not every watcher: %d of %d events in all", n, f.delivered.Load(), f.watchers*f.updates)
		}
	}
	after, err := w.server.CPU()
	if err != nil {
		return cost{}, err
	}
	reading.Wait() // each watcher ends with its last event
	if err := verify(watchers, f.updates); err != nil {
		return cost{}, err
	}
	var took []time.Duration
	for _, one := range watchers {
		took = append(took, one.took...)
	}
	c := cost{count: len(took), cpu: (after - before) / time.Duration(len(took))}
	c.p50, c.p99 = percentiles(took)
	return c, nil
}

// openWatches opens all watches, each from the given revision.
func (w *work) openWatches(ctx context.Context, collection string, n int, revision string) (streams []io.ReadCloser, closeAll func(), err error) {
	var clients []*client
	closeAll = func() {
		for _, s := range streams {
			s.Close()
		}
		for _, c := range clients {
			c.close()
		}
	}
	for i := range n {
		if i%watchersPerConnection == 0 {
			c, err := newClient(w.server)
			if err != nil {
				return streams, closeAll, err
			}
			clients = append(clients, c)
		}
		uri := collection + "?watch=true&fieldSelector=metadata.name=watched&resourceVersion=" + revision
		response, err := clients[len(clients)-1].send(ctx, http.MethodGet, uri, "", nil, nil, http.StatusOK)
		if err != nil {
			return streams, closeAll, err
		}
		streams = append(streams, response.Body)
	}
	return streams, closeAll, nil
}

// read counts events, which end with a newline each, until it has had them all.
func (w *watcher) read(stream io.Reader, f *fanOut) error {
	buffer := make([]byte, 16<<10)
	for w.events < f.updates {
		n, err := stream.Read(buffer)
		w.sum = crc32.Update(w.sum, crc32.IEEETable, buffer[:n])
		if w.kept != nil {
			w.kept.Write(buffer[:n])
		}
		for range bytes.Count(buffer[:n], []byte("\n")) {
			w.events++
			w.took = append(w.took, time.Since(f.began)-time.Duration(f.sent.Load()))
			if f.delivered.Add(1)%int64(f.watchers) == 0 {
				f.complete <- struct{}{}
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// verify makes sure that every watcher was told every update once, in order: that one
// was, by decoding what it had, and that all others had the same bytes.
func verify(watchers []*watcher, updates int) error {
	decoder := json.NewDecoder(watchers[0].kept)
	for n := range updates {
		var event struct {
			Type   string
			Object struct{ Data struct{ N string } }
		}
		if err := decoder.Decode(&event); err != nil {
			return err
		}
		if event.Type != "MODIFIED" || event.Object.Data.N != fmt.Sprint(n) {
			return fmt.Errorf("event %d is %s with n=%s", n, event.Type, event.Object.Data.N)
		}
	}
	if decoder.More() {
		return errors.New("more events than updates")
	}
	for i, w := range watchers {
		if w.events != updates || w.sum != watchers[0].sum {
			return fmt.Errorf("watcher %d was told something else than watcher 0", i)
		}
	}
	return nil
}
