package linear

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// watcher follows all keys, and goes on where it was when the server is back.
type watcher struct {
	mu     sync.Mutex
	events []event
	rev    string
	errs   []string
	cancel context.CancelFunc
	done   chan struct{}
}

// event is what a watch told, and when it came.
type event struct {
	change string
	key    int
	token  string
	rev    uint64
	at     int64
}

func (s *server) watch(ctx context.Context, h *history) *watcher {
	code, answer, err := s.ask(ctx, http.MethodGet, path, nil)
	var list struct{ Metadata metadata }
	if err != nil || code != 200 || json.Unmarshal(answer, &list) != nil {
		s.t.Fatalf("a list: %d, %v", code, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	w := &watcher{rev: list.Metadata.ResourceVersion, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(w.done)
		for ctx.Err() == nil {
			w.follow(ctx, s, h)
			time.Sleep(10 * time.Millisecond)
		}
	}()
	return w
}

// follow watches until that ends.
func (w *watcher) follow(ctx context.Context, s *server, h *history) {
	w.mu.Lock()
	rev := w.rev
	w.mu.Unlock()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.host+path+"?watch=true&resourceVersion="+rev, nil)
	if err != nil {
		return
	}
	response, err := s.client.Do(request)
	if err != nil {
		return // there is no server now
	}
	defer response.Body.Close()
	for d := json.NewDecoder(response.Body); ; {
		var e struct {
			Type   string
			Object configMap
		}
		if d.Decode(&e) != nil {
			return
		}
		w.take(e.Type, &e.Object, h.now())
	}
}

func (w *watcher) take(change string, c *configMap, at int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	rev, err := strconv.ParseUint(c.Metadata.ResourceVersion, 10, 64)
	if err != nil {
		w.errs = append(w.errs, fmt.Sprintf("an event %s without a revision", change))
		return
	}
	w.rev = c.Metadata.ResourceVersion
	for key := range keys {
		if c.Metadata.Name == name(key) {
			w.events = append(w.events, event{change, key, c.Data.T, rev, at})
		}
	}
}

// judge waits until the watch has told what was there at the end, and says what is
// wrong with it: it must be complete, in order, without repetitions, and tell nothing
// before it was begun.
func (w *watcher) judge(ctx context.Context, h *history, end output) (problems []string, events int) {
	state := [keys]string{}
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline) && ctx.Err() == nil; time.Sleep(10 * time.Millisecond) {
		w.mu.Lock()
		state = [keys]string{}
		for _, e := range w.events {
			if state[e.key] = e.token; e.change == "DELETED" {
				state[e.key] = ""
			}
		}
		w.mu.Unlock()
		if state == end.seen {
			break
		}
	}
	time.Sleep(50 * time.Millisecond) // for one too many
	w.cancel()
	<-w.done
	problems = w.errs
	if state != end.seen {
		problems = append(problems, fmt.Sprintf("the watch ends with %v, and there is %v", state, end.seen))
	}
	last, now, wrote, deleted := uint64(0), [keys]string{}, map[string]int{}, map[string]int{}
	for _, e := range w.events {
		if e.rev <= last {
			problems = append(problems, fmt.Sprintf("the event of revision %d comes after that of %d", e.rev, last))
		}
		last = e.rev
		begun, known := h.written[e.token]
		switch {
		case !known || e.at < begun:
			problems = append(problems, fmt.Sprintf("an event tells of %s before it was written", e.token))
		case (e.change == "ADDED") != (now[e.key] == "" && e.change != "DELETED"):
			problems = append(problems, fmt.Sprintf("%s of %s after %q", e.change, e.token, now[e.key]))
		case e.change == "DELETED" && now[e.key] != e.token:
			problems = append(problems, fmt.Sprintf("%s is told as deleted, and there was %q", e.token, now[e.key]))
		}
		if e.change == "DELETED" {
			deleted[e.token]++
			now[e.key] = ""
		} else {
			wrote[e.token]++
			now[e.key] = e.token
		}
	}
	for _, in := range h.acked {
		if in.op == "delete" && deleted[in.if_] != 1 || in.op != "delete" && wrote[in.token] != 1 {
			problems = append(problems, fmt.Sprintf("%+v was acknowledged, and is told %d times as written and %d as deleted", in, wrote[in.token], deleted[in.if_]))
		}
	}
	return problems, len(w.events)
}
