package aggregate

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const apples = "/apis/fruit.example.com/v1/namespaces/shop/apples"

var ann = &user.DefaultInfo{
	Name: "ann", UID: "u1", Groups: []string{"dev", "ops"},
	Extra: map[string][]string{"acme.com/project": {"p", "q"}},
}

// send sends a request by a connection of its own and returns the answer with
// its body read.
func send(t *testing.T, front *httptest.Server, method, path, body string, headers ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, front.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	transport := &http.Transport{DisableKeepAlives: true}
	answer, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, string(text)
}

// All that a client says gets there, but for what says who it is; and all that
// the server answers comes back.
func TestProxy(t *testing.T) {
	c := newCluster(t)
	c.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		for _, name := range []string{"User", "Uid", "Group", "Extra-Acme.com%2fproject"} {
			fmt.Fprintf(w, "%s=%q ", name, r.Header.Values("X-Remote-"+name))
		}
		for name := range r.Header {
			if strings.HasPrefix(name, "Impersonate-") || name == "Authorization" || strings.HasPrefix(name, "X-Remote-Extra-") && name != "X-Remote-Extra-Acme.com%2fproject" {
				t.Errorf("%s is passed on: %q", name, r.Header[name])
			}
		}
		fmt.Fprintf(w, "%s %s %s by %s %q; %q %q %q", r.Method, r.URL, r.Proto, r.TLS.PeerCertificates[0].Subject, body,
			r.Header.Get("X-Forwarded-Uri"), r.Header.Get("Accept"), r.Header.Get("X-Forwarded-For"))
		w.Header().Add("Warning", `299 - "it is sour"`)
		w.WriteHeader(http.StatusAccepted)
	}))
	front := c.front(ProxyOptions{}, ann, time.Minute)
	const who = `User=["ann"] Uid=["u1"] Group=["dev" "ops"] Extra-Acme.com%2fproject=["p" "q"] `
	for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
		answer, text := send(t, front, method, apples+"/a%2Fb?z=1&a=2", "body", "Accept", "text/x",
			"X-Remote-User", "root", "X-Remote-Group", "system:masters", "X-Remote-Extra-More", "x", "Impersonate-User", "root", "Impersonate-Extra-X", "y")
		want := who + method + " " + apples + `/a/b?a=2&z=1 HTTP/2.0 by CN=front-proxy-client "body"; "` + apples + `/a/b" "text/x" "127.0.0.1"`
		if answer.StatusCode != http.StatusOK || text != want { // the backend writes before it says that it has accepted
			t.Errorf("%s: %d %s\nwant %s", method, answer.StatusCode, text, want)
		}
	}
}

func TestProxyAnswers(t *testing.T) {
	c := newCluster(t)
	b := c.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Warning", `299 - "it is sour"`)
		w.Header().Set("Content-Type", "application/x")
		switch r.URL.Query().Get("a") {
		case "redirect":
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		default:
			w.WriteHeader(http.StatusConflict)
			fmt.Fprint(w, "no")
		}
	}))
	front := c.front(ProxyOptions{}, ann, time.Minute)
	answer, text := send(t, front, "GET", apples, "")
	if answer.StatusCode != http.StatusConflict || text != "no" || answer.Header.Get("Warning") == "" || answer.Header.Get("Content-Type") != "application/x" {
		t.Errorf("%d %v %s", answer.StatusCode, answer.Header, text)
	}
	answer, text = send(t, front, "GET", apples+"?a=redirect", "")
	if answer.StatusCode != http.StatusBadGateway || text != "the backend attempted to redirect this request, which is not permitted" {
		t.Errorf("a redirect: %d %s", answer.StatusCode, text)
	}
	answer, _ = send(t, c.front(ProxyOptions{ForwardRedirects: true}, ann, time.Minute), "GET", apples+"?a=redirect", "")
	if answer.StatusCode != http.StatusFound || answer.Header.Get("Location") != fmt.Sprintf("https://localhost:%d/elsewhere", b.port) {
		t.Errorf("a redirect that is let through: %d %v", answer.StatusCode, answer.Header)
	}
}

func TestProxyRefuses(t *testing.T) {
	c := newCluster(t)
	slow := func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-time.After(time.Minute):
		}
	}
	b := c.serve(http.HandlerFunc(slow))
	other := c.newBackend(http.HandlerFunc(slow))
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := int32(nobody.Addr().(*net.TCPAddr).Port)
	nobody.Close()
	add := func(version string, s *apiregistrationv1.APIService, status apiregistrationv1.ConditionStatus) {
		c.create(apiServices, s)
		c.setAvailable(version+".fruit.example.com", status)
	}
	add("v2", apiService("fruit.example.com", "v2", b.port, b.authority), apiregistrationv1.ConditionFalse)
	add("v3", apiService("fruit.example.com", "v3", b.port, []byte("damaged")), apiregistrationv1.ConditionTrue)
	add("v4", apiService("fruit.example.com", "v4", closed, b.authority), apiregistrationv1.ConditionTrue)
	add("v5", apiService("fruit.example.com", "v5", b.port, other.authority), apiregistrationv1.ConditionTrue)
	missing := apiService("fruit.example.com", "v6", b.port, b.authority)
	missing.Spec.Service.Name = "missing"
	add("v6", missing, apiregistrationv1.ConditionTrue)
	c.create(apiServices, apiService("fruit.example.com", "v7", b.port, b.authority))
	c.load()
	known, unknown := c.front(ProxyOptions{}, ann, 200*time.Millisecond), c.front(ProxyOptions{}, nil, time.Minute)
	for _, test := range []struct {
		front   *httptest.Server
		version string
		code    int
		want    string
	}{
		{known, "v1", http.StatusGatewayTimeout, `{"metadata":{},"status":"Failure","message":"Timeout: request did not complete within the allotted timeout","reason":"Timeout","details":{},"code":504}` + "\n"},
		{known, "v2", http.StatusServiceUnavailable, "service unavailable\n"},
		{known, "v3", http.StatusInternalServerError, "unable to load root certificates: unable to parse bytes as PEM block\n"},
		{known, "v4", http.StatusServiceUnavailable, "error trying to reach service: dial tcp "},
		{known, "v5", http.StatusServiceUnavailable, "error trying to reach service: tls: failed to verify certificate: x509: certificate signed by unknown authority"},
		{known, "v6", http.StatusServiceUnavailable, "service unavailable\n"},
		{known, "v7", http.StatusServiceUnavailable, "service unavailable\n"},
		{unknown, "v1", http.StatusInternalServerError, "missing user\n"},
	} {
		answer, text := send(t, test.front, "GET", "/apis/fruit.example.com/"+test.version+"/apples", "")
		if answer.StatusCode != test.code || !strings.HasPrefix(text, test.want) || answer.Header.Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Errorf("%s: %d %s %q, want %d %q", test.version, answer.StatusCode, answer.Header.Get("Content-Type"), text, test.code, test.want)
		}
	}
}

// The discovery document must be there soon, however long others may take.
func TestProxyDiscoveryIsQuick(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits for upstream's five seconds")
	}
	c := newCluster(t)
	c.serve(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	answer, text := send(t, c.front(ProxyOptions{}, ann, time.Minute), "GET", "/apis/fruit.example.com/v1", "")
	if answer.StatusCode != http.StatusServiceUnavailable || text != "error trying to reach service: context deadline exceeded\n" {
		t.Errorf("%d %s", answer.StatusCode, text)
	}
}

// What a watch tells arrives as it is told. When the server stops, the watch is
// over.
func TestProxyStreams(t *testing.T) {
	c := newCluster(t)
	tell := make(chan string)
	gone := make(chan struct{})
	c.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(gone)
		for {
			select {
			case event := <-tell:
				fmt.Fprintln(w, event)
				w.(http.Flusher).Flush()
			case <-r.Context().Done():
				return
			}
		}
	}))
	stopping := make(chan struct{})
	front := c.front(ProxyOptions{Stopping: stopping}, ann, time.Minute)
	transport := &http.Transport{DisableKeepAlives: true}
	r, err := http.NewRequestWithContext(t.Context(), "GET", front.URL+apples+"?watch=true", nil)
	if err != nil {
		t.Fatal(err)
	}
	go func() { tell <- "first" }()
	answer, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	lines := bufio.NewReader(answer.Body)
	for _, event := range []string{"first", "second"} {
		if event != "first" {
			tell <- event
		}
		if line, err := lines.ReadString('\n'); err != nil || line != event+"\n" {
			t.Fatalf("%q, %v; want %s", line, err, event)
		}
	}
	close(stopping)
	if line, err := lines.ReadString('\n'); err != io.EOF {
		t.Errorf("the watch has not ended well: %q, %v", line, err)
	}
	<-gone
}

// upgraded switches to a protocol that says everything twice.
func upgraded(t *testing.T) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Header.Get("Upgrade") {
		case "silence":
			c, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			_, _ = io.Copy(io.Discard, c) // until the other end is closed
			return
		case "echo":
		default:
			http.Error(w, "not to you, "+r.Header.Get("X-Remote-User"), http.StatusForbidden)
			return
		}
		c, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello %s of %q\n", r.Header.Get("X-Remote-User"), r.Header.Values("X-Remote-Group"))
		for err == nil {
			if err = rw.Flush(); err == nil {
				var line string
				line, err = rw.ReadString('\n')
				fmt.Fprint(rw, line+line)
			}
		}
	})
}

// dial asks a server to switch to a protocol, and returns the connection.
func dial(t *testing.T, front *httptest.Server, protocol string) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("tcp", front.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprintf(c, "POST %s/a/exec HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: %s\r\nX-Remote-User: root\r\nX-Remote-Group: system:masters\r\n\r\n", apples, protocol)
	return c, bufio.NewReader(c)
}

func TestProxyUpgrades(t *testing.T) {
	c := newCluster(t)
	c.serve(upgraded(t))
	stopping := make(chan struct{})
	proxy := NewProxy(c.table, ProxyOptions{Stopping: stopping})
	running := make(chan struct{}, 3)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		proxy.ServeHTTP(w, r.WithContext(request.WithUser(r.Context(), ann)))
		running <- struct{}{}
	}))
	defer front.Close()

	conn, lines := dial(t, front, "echo")
	answer, err := http.ReadResponse(lines, nil)
	if err != nil || answer.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v, %v", answer, err)
	}
	expect := func(want string) {
		t.Helper()
		if line, err := lines.ReadString('\n'); err != nil || line != want {
			t.Fatalf("%q, %v; want %q", line, err, want)
		}
	}
	expect("hello ann of [\"dev\" \"ops\"]\n")
	fmt.Fprintln(conn, "ho")
	expect("ho\n")
	expect("ho\n")

	_, refused := dial(t, front, "other")
	answer, err = http.ReadResponse(refused, nil)
	if err != nil || answer.StatusCode != http.StatusForbidden {
		t.Fatalf("%v, %v", answer, err)
	}
	if text, err := io.ReadAll(answer.Body); err != nil || string(text) != "not to you, ann\n" {
		t.Errorf("%q, %v", text, err)
	}
	<-running

	// Neither one that talks nor one whose server never answers outlasts the stop.
	_, silent := dial(t, front, "silence")
	for open := 0; open < 2; time.Sleep(time.Millisecond) {
		c.connector.openMu.Lock()
		open = len(c.connector.open)
		c.connector.openMu.Unlock()
	}
	close(stopping)
	<-running
	<-running
	if line, err := lines.ReadString('\n'); err == nil {
		t.Errorf("the server goes on: %q", line)
	}
	if answer, err := http.ReadResponse(silent, nil); err == nil && answer.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("an upgrade that never came: %v", answer)
	}
}

// A request for another protocol has until its deadline to get it, and what
// becomes of it has none.
func TestProxyUpgradesLast(t *testing.T) {
	c := newCluster(t)
	c.serve(upgraded(t))
	const timeout = 300 * time.Millisecond
	front := c.front(ProxyOptions{Stopping: make(chan struct{})}, ann, timeout)
	conn, lines := dial(t, front, "echo")
	if answer, err := http.ReadResponse(lines, nil); err != nil || answer.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v, %v", answer, err)
	}
	_, silent := dial(t, front, "silence")
	if answer, err := http.ReadResponse(silent, nil); err != nil || answer.StatusCode != http.StatusGatewayTimeout {
		t.Errorf("a server that says nothing: %v, %v", answer, err)
	}
	time.Sleep(2 * timeout)
	fmt.Fprintln(conn, "ho")
	for _, want := range []string{"hello ann of [\"dev\" \"ops\"]\n", "ho\n"} {
		if line, err := lines.ReadString('\n'); err != nil || line != want {
			t.Fatalf("%q, %v; want %q", line, err, want)
		}
	}
	conn.Close()
}

// RoundTrip is for requests of the server's own making.
func TestRoundTrip(t *testing.T) {
	c := newCluster(t)
	c.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %q %s", r.Header.Get("X-Remote-User"), r.Header.Values("X-Remote-Group"), r.URL)
	}))
	s := c.table.Current().All[0]
	r := &http.Request{Method: "GET", URL: &url.URL{Path: "/openapi/v2", RawQuery: "a=b"}, Header: http.Header{}}
	if _, err := s.RoundTrip(r.WithContext(t.Context())); err == nil {
		t.Error("nobody asks, and is answered")
	}
	for range 2 {
		answer, err := s.RoundTrip(r.WithContext(request.WithUser(t.Context(), ann)))
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if want := `ann ["dev" "ops"] /openapi/v2?a=b`; err != nil || string(text) != want {
			t.Errorf("%s, %v; want %s", text, err, want)
		}
	}
	c.connector.Close()
	if _, err := s.RoundTrip(r.WithContext(request.WithUser(context.Background(), ann))); err == nil {
		t.Error("a request is sent after the end")
	}
	if n := len(c.connector.open); n != 0 {
		t.Errorf("%d connections are open", n)
	}
	if slices.Contains(r.Header.Values("X-Remote-User"), "ann") {
		t.Error("the caller's request is changed")
	}
}
