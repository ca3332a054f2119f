// Package story tells stories to API servers: sequences of requests in which later
// ones may use what earlier ones answered. What a server said is kept as a list of
// exchanges, exactly as it came over the wire.
//
// A story is a function of a Session. It must not judge an answer: the same story is
// told to two servers and the exchanges are compared.
package story

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"k8s.io/client-go/rest"
)

// Story is a named sequence of requests. Tell must do the same on every server
// whose answers are the same, and must end on one whose answers are not.
type Story struct {
	Name string
	Tell func(*Session)
	// AnyOrder says that refusals may tell their causes in any order: upstream finds
	// those of a map's entries in one that depends on chance.
	AnyOrder bool
}

// Session is one story being told to one server. It is not safe for concurrent use.
type Session struct {
	// Namespace exists, and holds nothing but its ServiceAccount and what the story
	// puts there.
	Namespace string
	// Exchanges are the requests so far with what was answered.
	Exchanges []*Exchange
	// Prefixes are the generateNames of what the story created.
	Prefixes []string
	// Addresses are those of servers that the story has started.
	Addresses []string
	// AfterWrite, if set, is called after each request that is not a GET.
	AfterWrite func()

	server  *Server
	ctx     context.Context
	watches []*Watch
	// auditing has requests say which they are, by the number of those before.
	auditing bool
	audited  int
	dir      string // of client programs, once there is one
}

// Exchange is one request and what came back.
type Exchange struct {
	Request string // method and URI, and headers that matter
	Sent    []byte // the request's body
	Status  int
	Header  http.Header
	// Bodies is the one body of an answer, or the frames of a watch.
	Bodies [][]byte
	// Streamed says that Bodies are frames.
	Streamed bool
	// Program says that a client program was run: Status is its exit code.
	Program bool
	// End says how the answer ended, if not as it should.
	End string
}

// Server is where stories are told to, with one connection for the administrator
// and one for everybody else.
type Server struct {
	host       string
	kubeconfig string
	admin      http.RoundTripper
	anonymous  http.RoundTripper
	aggregated Aggregated
	direct     *Server // the aggregated one, past this
	auditLog   string
}

// UserAgent names the client; servers record its first word as the field manager.
const UserAgent = "twin/1.0"

// NewServer prepares to reach the server that config names. The kubeconfig is the path
// of a file for client programs, empty if no story runs one.
func NewServer(config *rest.Config, kubeconfig string) (*Server, error) {
	admin, err := rest.TransportFor(config)
	if err != nil {
		return nil, err
	}
	stranger, err := rest.TransportFor(rest.AnonymousClientConfig(config))
	if err != nil {
		return nil, err
	}
	return &Server{host: config.Host, kubeconfig: kubeconfig, admin: admin, anonymous: stranger}, nil
}

// Begin opens a session in the given namespace, which it creates. The request that
// creates it is not part of the session; its revision is returned, as the one that
// everything in the story is later than.
func (s *Server) Begin(ctx context.Context, namespace string) (*Session, string, error) {
	session := &Session{Namespace: namespace, server: s, ctx: ctx, Prefixes: []string{"kube-api-access-"}}
	answer := session.Post("/api/v1/namespaces", map[string]any{
		"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": namespace},
	})
	// Nobody does the work of kube-controller-manager, and no pod is without one.
	session.Post("/api/v1/namespaces/"+namespace+"/serviceaccounts", map[string]any{"metadata": map[string]any{"name": "default"}})
	session.Exchanges = nil
	if answer.Status != http.StatusCreated {
		return nil, "", fmt.Errorf("cannot create namespace %s: %d %s", namespace, answer.Status, answer.Body)
	}
	return session, answer.Text("metadata", "resourceVersion"), nil
}

// End closes the watches that the story left open and removes what client programs
// left behind.
func (s *Session) End() {
	if s.dir != "" {
		os.RemoveAll(s.dir)
	}
	for _, w := range s.watches {
		w.Close()
	}
}

// Option changes a request before it is sent.
type Option func(*http.Request)

// Header sets a header, or removes it if the value is empty.
func Header(name, value string) Option {
	return func(r *http.Request) {
		if value == "" {
			r.Header.Del(name)
			return
		}
		r.Header.Set(name, value)
	}
}

// Accept asks for a media type.
func Accept(mediaType string) Option { return Header("Accept", mediaType) }

// ContentType says what the request's body is.
func ContentType(mediaType string) Option { return Header("Content-Type", mediaType) }

// Anonymous sends the request without credentials.
func Anonymous(r *http.Request) { r.Header.Set("Authorization", "none") }

// Token sends the request with a bearer token in place of the administrator's certificate.
func Token(token string) Option { return Header("Authorization", "Bearer "+token) }

// Answer is what a server said to one request.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Object is the answer's JSON object; an empty one if it is none, so that a story
// goes on after a refusal.
func (a Answer) Object() map[string]any {
	var object map[string]any
	if json.Unmarshal(a.Body, &object) != nil || object == nil {
		return map[string]any{}
	}
	return object
}

// Text is the string at a path of the answer's object, or "".
func (a Answer) Text(path ...string) string {
	var value any = a.Object()
	for _, key := range path {
		object, _ := value.(map[string]any)
		value = object[key]
	}
	text, _ := value.(string)
	return text
}

// Get, Post, Put, Patch and Delete send one request each. A body is sent as it is if
// it is a []byte or string, and as JSON otherwise.
func (s *Session) Get(uri string, options ...Option) Answer {
	return s.Do(http.MethodGet, uri, nil, options...)
}

func (s *Session) Post(uri string, body any, options ...Option) Answer {
	return s.Do(http.MethodPost, uri, body, options...)
}

func (s *Session) Put(uri string, body any, options ...Option) Answer {
	return s.Do(http.MethodPut, uri, body, options...)
}

// The media types of the patches.
const (
	JSONPatch      = "application/json-patch+json"
	MergePatch     = "application/merge-patch+json"
	StrategicPatch = "application/strategic-merge-patch+json"
)

func (s *Session) Patch(uri, mediaType string, patch any, options ...Option) Answer {
	return s.Do(http.MethodPatch, uri, patch, append([]Option{ContentType(mediaType)}, options...)...)
}

func (s *Session) Delete(uri string, body any, options ...Option) Answer {
	return s.Do(http.MethodDelete, uri, body, options...)
}

// Do sends a request and keeps the exchange.
func (s *Session) Do(method, uri string, body any, options ...Option) Answer {
	exchange := &Exchange{}
	s.Exchanges = append(s.Exchanges, exchange)
	ctx, cancel := context.WithTimeout(s.ctx, 60*time.Second)
	defer cancel()
	response, err := s.send(ctx, exchange, method, uri, body, options)
	if err != nil {
		exchange.End = failure(err)
		return Answer{}
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		exchange.End = failure(err)
	}
	exchange.Bodies = [][]byte{content}
	if s.AfterWrite != nil && method != http.MethodGet {
		s.AfterWrite()
	}
	return Answer{response.StatusCode, response.Header, content}
}

func (s *Session) send(ctx context.Context, e *Exchange, method, uri string, body any, options []Option) (*http.Response, error) {
	s.notePrefix(body)
	content, err := encode(body)
	if err != nil {
		panic(err) // the story itself is wrong
	}
	e.Sent = content
	request, err := http.NewRequestWithContext(ctx, method, s.server.host+uri, bytes.NewReader(content))
	if err != nil {
		panic(fmt.Sprintf("%s %s: %v", method, uri, err))
	}
	request.Header.Set("User-Agent", UserAgent)
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if s.auditing {
		s.audited++
		request.Header.Set("Audit-Id", s.auditID(s.audited))
	}
	for _, option := range options {
		option(request)
	}
	e.Request = describe(request, uri)

	transport := s.server.admin
	if authorization := request.Header.Get("Authorization"); authorization != "" {
		transport = s.server.anonymous
		if authorization == "none" {
			request.Header.Del("Authorization")
		}
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	e.Status, e.Header = response.StatusCode, response.Header
	return response, nil
}

// notePrefix remembers what a name is to be generated from.
func (s *Session) notePrefix(body any) {
	object, _ := body.(map[string]any)
	metadata, _ := object["metadata"].(map[string]any)
	if prefix, _ := metadata["generateName"].(string); prefix != "" && !slices.Contains(s.Prefixes, prefix) {
		s.Prefixes = append(s.Prefixes, prefix)
	}
}

func encode(body any) ([]byte, error) {
	switch b := body.(type) {
	case nil:
		return nil, nil
	case []byte:
		return b, nil
	case string:
		return []byte(b), nil
	}
	return json.Marshal(body)
}

// describe is the request as a report shows it.
func describe(r *http.Request, uri string) string {
	var out strings.Builder
	out.WriteString(r.Method + " " + uri)
	for _, name := range []string{"Accept", "Content-Type", "Authorization", "Accept-Encoding"} {
		value := r.Header.Get(name)
		if value != "" && value != "application/json" {
			out.WriteString(" [" + name + ": " + value + "]")
		}
	}
	return out.String()
}

// failure is an error of the connection in words that do not name the connection.
func failure(err error) string {
	switch {
	case strings.Contains(err.Error(), "deadline exceeded"):
		return "no answer in time"
	case strings.Contains(err.Error(), "EOF"), strings.Contains(err.Error(), "reset"):
		return "connection closed"
	}
	return streamID.ReplaceAllString(err.Error(), "")
}

// streamID tells streams of a connection apart.
var streamID = regexp.MustCompile(`stream ID \d+; `)
