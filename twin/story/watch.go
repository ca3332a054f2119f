package story

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// eventTimeout is how long a story waits for an event that should be there.
const eventTimeout = 5 * time.Second

// Watch is a watch that a story reads at its own pace. Its frames become the bodies
// of its exchange as they are read.
type Watch struct {
	exchange *Exchange
	cancel   context.CancelFunc
	frames   chan []byte // closed at the stream's end
	ended    chan struct{}
	err      error // why the stream ended; set before frames is closed
}

// Watch opens a watch; the URI carries watch=true. If the server refuses, the
// refusal is the exchange's body and every read ends at once.
func (s *Session) Watch(uri string, options ...Option) *Watch {
	ctx, cancel := context.WithCancel(s.ctx)
	w := &Watch{
		exchange: &Exchange{Streamed: true},
		cancel:   cancel,
		frames:   make(chan []byte),
		ended:    make(chan struct{}),
	}
	s.Exchanges = append(s.Exchanges, w.exchange)
	s.watches = append(s.watches, w)
	response, err := s.send(ctx, w.exchange, http.MethodGet, uri, nil, options)
	if err != nil {
		w.exchange.End = failure(err)
		close(w.frames)
		close(w.ended)
		return w
	}
	if response.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(response.Body)
		response.Body.Close()
		w.exchange.Streamed = false
		w.exchange.Bodies = [][]byte{body}
		close(w.frames)
		close(w.ended)
		return w
	}
	go w.read(ctx, response)
	return w
}

// read passes frames on until the stream or the context ends.
func (w *Watch) read(ctx context.Context, response *http.Response) {
	defer close(w.ended)
	defer close(w.frames)
	defer response.Body.Close()
	next := jsonFrames(response.Body)
	if strings.Contains(response.Header.Get("Content-Type"), "protobuf") {
		next = delimitedFrames(response.Body)
	}
	for {
		frame, err := next()
		if err != nil {
			w.err = err
			return
		}
		select {
		case w.frames <- frame:
		case <-ctx.Done():
			return
		}
	}
}

func jsonFrames(r io.Reader) func() ([]byte, error) {
	decoder := json.NewDecoder(r)
	return func() ([]byte, error) {
		var frame json.RawMessage
		err := decoder.Decode(&frame)
		return frame, err
	}
}

// delimitedFrames reads the frames of a protobuf watch: each a big-endian 32 bit
// length and as many bytes.
func delimitedFrames(r io.Reader) func() ([]byte, error) {
	buffered := bufio.NewReader(r)
	return func() ([]byte, error) {
		var size uint32
		if err := binary.Read(buffered, binary.BigEndian, &size); err != nil {
			return nil, err
		}
		const limit = 16 << 20
		if size > limit {
			return nil, fmt.Errorf("a frame of %d bytes", size)
		}
		frame := make([]byte, size)
		_, err := io.ReadFull(buffered, frame)
		return frame, err
	}
}

// Event is what a story may look at in a frame.
type Event struct {
	Type     string
	Name     string
	Deleting bool // the object has a deletion timestamp
	Initial  bool // the bookmark at the end of the initial events
}

// Next reads n frames.
func (w *Watch) Next(n int) {
	for range n {
		if _, ok := w.next(eventTimeout); !ok {
			return
		}
	}
}

// Until reads frames up to the first that matches, and returns that one.
func (w *Watch) Until(match func(Event) bool) Event {
	for {
		frame, ok := w.next(eventTimeout)
		if !ok {
			return Event{}
		}
		if event := decodeEvent(frame); match(event) {
			return event
		}
	}
}

// Gone matches the event that tells of an object's deletion, or of its beginning
// where something keeps the object for a while.
func Gone(name string) func(Event) bool {
	return func(e Event) bool {
		return e.Name == name && (e.Type == "DELETED" || e.Deleting)
	}
}

// Rest reads all frames up to the end of the stream, which must come within the limit.
func (w *Watch) Rest(limit time.Duration) {
	deadline := time.Now().Add(limit)
	for {
		if _, ok := w.next(time.Until(deadline)); !ok {
			return
		}
	}
}

// Close ends the watch.
func (w *Watch) Close() {
	w.cancel()
	for range w.frames { // the reader may be about to pass one on
	}
	<-w.ended
}

func (w *Watch) next(timeout time.Duration) ([]byte, bool) {
	select {
	case frame, open := <-w.frames:
		if !open {
			if w.exchange.Streamed && w.exchange.End == "" {
				w.exchange.End = "end of stream"
				if w.err != nil && !errors.Is(w.err, io.EOF) {
					w.exchange.End = failure(w.err)
				}
			}
			return nil, false
		}
		w.exchange.Bodies = append(w.exchange.Bodies, frame)
		return frame, true
	case <-time.After(timeout):
		w.exchange.End = "no further event in time"
		return nil, false
	}
}

func decodeEvent(frame []byte) Event {
	var event struct {
		Type   string
		Object struct {
			Metadata metav1.ObjectMeta
		}
	}
	if bytes.HasPrefix(bytes.TrimSpace(frame), []byte("{")) && json.Unmarshal(frame, &event) == nil {
		metadata := event.Object.Metadata
		return Event{
			Type:     event.Type,
			Name:     metadata.Name,
			Deleting: metadata.DeletionTimestamp != nil,
			Initial:  metadata.Annotations[metav1.InitialEventsAnnotationKey] == "true",
		}
	}
	return Event{}
}
