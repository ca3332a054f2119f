package story

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// What a server's own controllers bring about is there sooner on one server than on
// another. How often a story had to ask until it was must not show.

const (
	// settleTime is how long an object must stay as it is to count as settled.
	settleTime = 400 * time.Millisecond
	// patience is how long a story waits for what a server brings about by itself.
	patience = 30 * time.Second
)

// Quietly keeps none of the exchanges of what it does.
func (s *Session) Quietly(do func()) {
	kept := len(s.Exchanges)
	defer func() { s.Exchanges = s.Exchanges[:kept] }()
	do()
}

// Settle waits, for a few seconds at most, until nothing has changed the object for a
// while. It is for objects that a server's own controllers write to; the requests it
// makes are not kept.
func (s *Session) Settle(uri string) {
	s.Quietly(func() {
		const step = settleTime / 8
		seen, since := "", time.Now()
		for deadline := time.Now().Add(10 * settleTime); time.Now().Before(deadline); time.Sleep(step) {
			if now := s.Get(uri).Text("metadata", "resourceVersion"); now != seen {
				seen, since = now, time.Now()
			}
			if time.Since(since) >= settleTime {
				return
			}
		}
	})
}

// Await gets what is at the URI again and again until it is as wanted, and keeps the
// last exchange alone; it is also the last if it never is.
func (s *Session) Await(uri string, wanted func(Answer) bool, options ...Option) Answer {
	return s.Repeat(func() Answer { return s.Get(uri, options...) }, wanted)
}

// Repeat makes the one request that do makes until its answer is as wanted, and keeps
// the last exchange alone.
func (s *Session) Repeat(do func() Answer, wanted func(Answer) bool) Answer {
	kept := len(s.Exchanges)
	step := settleTime / 20
	for deadline := time.Now().Add(patience); ; time.Sleep(step) {
		answer := do()
		if wanted(answer) || time.Now().After(deadline) || s.ctx.Err() != nil {
			return answer
		}
		s.Exchanges = s.Exchanges[:kept]
		step = min(2*step, settleTime)
	}
}

// Found wants what is asked for to be there.
func Found(a Answer) bool { return a.Status == http.StatusOK }

// NotFound wants what is asked for to be gone.
func NotFound(a Answer) bool { return a.Status == http.StatusNotFound }

// Only keeps, of the last answer, nothing but the part at a path of member names; for
// documents that also tell of what other stories do. In a list, a name stands for the
// item that is called so. A part that is not there leaves null.
func (s *Session) Only(path ...string) {
	exchange := s.Exchanges[len(s.Exchanges)-1]
	if len(exchange.Bodies) != 1 || exchange.Status != http.StatusOK {
		return
	}
	exchange.Request += fmt.Sprintf(" (only %q)", path)
	exchange.Bodies[0] = part(exchange.Bodies[0], path)
}

// part is the part of a JSON document at a path, as it was written.
func part(document json.RawMessage, path []string) json.RawMessage {
	for _, name := range path {
		var members map[string]json.RawMessage
		var items []json.RawMessage
		switch {
		case json.Unmarshal(document, &members) == nil:
			document = members[name]
		case json.Unmarshal(document, &items) == nil:
			document = called(items, name)
		default:
			document = nil
		}
	}
	if document == nil {
		return json.RawMessage("null")
	}
	return document
}

// called is the item of a list that has the name in one of the members that lists of
// the API are told apart by.
func called(items []json.RawMessage, name string) json.RawMessage {
	for _, item := range items {
		var names struct {
			Metadata                      struct{ Name string }
			Name, Type, Version, Resource string
		}
		if json.Unmarshal(item, &names) != nil {
			continue
		}
		for _, own := range []string{names.Metadata.Name, names.Name, names.Type, names.Version, names.Resource} {
			if own == name {
				return item
			}
		}
	}
	return nil
}
