package story

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Audited tells where the server records requests, before the first story.
func (s *Server) Audited(log string) { s.auditLog = log }

// Recorded keeps, after the requests that are made meanwhile, what the server has
// recorded of them: as one more exchange, an event a frame. The requests must not
// run at the same time.
func (s *Session) Recorded(do func()) {
	if s.server.auditLog == "" {
		panic("the server records nothing")
	}
	s.auditing = true
	do()
	s.Get("/version") // the last to be recorded, and recorded in full
	last := s.auditID(s.audited)
	s.auditing = false
	exchange := &Exchange{Request: "what is recorded", Streamed: true, Status: 200}
	s.Exchanges = append(s.Exchanges, exchange)
	var events []event
	for range 100 {
		var err error
		if events, err = s.recorded(); err != nil {
			exchange.End = err.Error()
			return
		}
		if slices.ContainsFunc(events, func(e event) bool { return e.id == last && e.stage == "ResponseComplete" }) {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	for _, e := range events {
		exchange.Bodies = append(exchange.Bodies, e.line)
	}
}

func (s *Session) auditID(n int) string { return s.Namespace + "-" + strconv.Itoa(n) }

// event is one line of an audit log.
type event struct {
	id, stage string
	number    int
	line      []byte
}

// recorded reads the session's events, request after request. What differs between
// two servers by their nature is made equal: how the administrator is called, the
// revisions in references, and how long what was slow took.
func (s *Session) recorded() ([]event, error) {
	log, err := os.ReadFile(s.server.auditLog)
	if err != nil {
		return nil, err
	}
	var events []event
	for line := range bytes.Lines(log) {
		if !bytes.Contains(line, []byte(`"`+s.Namespace+"-")) || !bytes.HasSuffix(line, []byte("\n")) {
			continue
		}
		var fields map[string]any
		if err := json.Unmarshal(line, &fields); err != nil {
			return nil, fmt.Errorf("%w: %s", err, line)
		}
		id, _ := fields["auditID"].(string)
		number, ok := strings.CutPrefix(id, s.Namespace+"-")
		n, err := strconv.Atoi(number)
		if !ok || err != nil {
			continue
		}
		if user, _ := fields["user"].(map[string]any); user != nil && slices.Contains(texts(user["groups"]), "system:masters") {
			fields["user"] = map[string]any{"groups": user["groups"]}
		}
		if reference, _ := fields["objectRef"].(map[string]any); reference != nil && reference["resourceVersion"] != nil {
			reference["resourceVersion"] = "resourceVersion " + fmt.Sprint(reference["resourceVersion"])
		}
		if annotations, _ := fields["annotations"].(map[string]any); annotations != nil {
			maps.DeleteFunc(annotations, func(key string, _ any) bool { return strings.HasPrefix(key, "apiserver.latency.k8s.io/") })
		}
		stage, _ := fields["stage"].(string)
		if line, err = json.Marshal(fields); err != nil {
			return nil, err
		}
		events = append(events, event{id, stage, n, line})
	}
	slices.SortStableFunc(events, func(a, b event) int { return a.number - b.number })
	return events, nil
}

func texts(list any) []string {
	items, _ := list.([]any)
	var all []string
	for _, item := range items {
		text, _ := item.(string)
		all = append(all, text)
	}
	return all
}
