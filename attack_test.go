package knarr_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/knarr-io/knarr"
	"github.com/knarr-io/knarr/knarrtest"
)

// siege is a server that is attacked while honest clients use it.
type siege struct {
	*testing.T
	server *knarr.Server
	client kubernetes.Interface
}

const outsider = "outsider-token"

func besiege(t *testing.T, o knarr.Options) *siege {
	t.Helper()
	tokens := filepath.Join(t.TempDir(), "tokens.csv")
	if err := os.WriteFile(tokens, []byte(outsider+",outsider,outsider-uid,readers\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o.TokenAuthFile = tokens
	if o.RequestTimeout == 0 {
		o.RequestTimeout = 2 * time.Second
	}
	server := knarrtest.StartWith(t, o)
	return &siege{t, server, clientOf(t, server.ClientConfig())}
}

// dial connects as nobody, or with the administrator's certificate.
func (s *siege) dial(admin bool, protocol string) *tls.Conn {
	s.Helper()
	config := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{protocol}}
	if admin {
		c := s.server.ClientConfig()
		pair, err := tls.X509KeyPair(c.CertData, c.KeyData)
		if err != nil {
			s.Fatal(err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	conn, err := tls.Dial("tcp", strings.TrimPrefix(s.server.URL(), "https://"), config)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { conn.Close() })
	return conn
}

// against attacks while honest clients create, read and delete. All they do has to
// succeed, and what the attack took has to come back afterwards. Figures are told.
func (s *siege) against(attack func()) {
	s.Helper()
	round := func(name string) error {
		maps := s.client.CoreV1().ConfigMaps("default")
		_, err := maps.Create(context.Background(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		if err == nil {
			_, err = maps.Get(context.Background(), name, metav1.GetOptions{})
		}
		if err == nil {
			err = maps.Delete(context.Background(), name, metav1.DeleteOptions{})
		}
		return err
	}
	if err := round("first"); err != nil {
		s.Fatal(err)
	}
	before := 0
	for is := -1; is != before; time.Sleep(200 * time.Millisecond) { // what a server begins by itself has begun
		before, is = runtime.NumGoroutine(), before
	}
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc >> 10
	}
	heapBefore := heap()
	over := make(chan struct{})
	var took []time.Duration
	var honest sync.WaitGroup
	honest.Go(func() {
		for i := 0; ; i++ {
			began := time.Now()
			if err := round(fmt.Sprint("honest-", i)); err != nil {
				s.Errorf("an honest client is not served: %v", err)
				return
			}
			took = append(took, time.Since(began))
			select {
			case <-over:
				return
			case <-time.After(time.Millisecond):
			}
		}
	})
	attack()
	close(over)
	honest.Wait()
	most := 0
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		is := runtime.NumGoroutine()
		most = max(most, is)
		if is <= before+5 { // of clients, also those of other tests, and timers
			break
		}
		if time.Now().After(deadline) {
			s.Errorf("%d goroutines, %d before", is, before)
			break
		}
	}
	slices.Sort(took)
	if len(took) > 0 {
		s.Logf("honest clients: %d rounds, median %v, worst %v; goroutines %d before, %d at the end of the attack; heap %d KB before, %d after",
			len(took), took[len(took)/2], took[len(took)-1], before, most, heapBefore, heap())
	}
}

// Requests that never end: their headers come byte by byte, or their bodies do not
// come. Bodies are given up when the request's time is over; headers after 32
// seconds, which this does not wait for.
func TestSlowRequests(t *testing.T) {
	s := besiege(t, knarr.Options{})
	s.against(func() {
		var conns []*tls.Conn
		for range 100 {
			conns = append(conns, s.dial(false, "http/1.1"))
		}
		for _, c := range "GET /version HTTP/1.1\r\nHost: a\r\nX-S" {
			for _, conn := range conns {
				_, _ = conn.Write([]byte{byte(c)})
			}
		}
		var bodies sync.WaitGroup
		for range 100 {
			conn := s.dial(true, "http/1.1")
			bodies.Go(func() {
				fmt.Fprint(conn, "POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 2000000\r\n\r\n{")
				answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil {
					t.Errorf("no answer: %v", err)
					return
				}
				text, _ := io.ReadAll(answer.Body)
				if answer.StatusCode != http.StatusGatewayTimeout {
					t.Errorf("%d %s", answer.StatusCode, text)
				}
			})
		}
		bodies.Wait()
		for _, conn := range conns {
			conn.Close()
		}
	})
}

// Clients that ask for much and take nothing are cut off when the request's time is
// over.
func TestSlowReaders(t *testing.T) {
	s := besiege(t, knarr.Options{})
	for i := range 200 {
		_, err := s.client.CoreV1().ConfigMaps("default").Create(t.Context(), &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("large-", i)}, Data: map[string]string{"a": strings.Repeat("x", 50_000)},
		}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
	}
	s.against(func() {
		var readers sync.WaitGroup
		for i := range 50 {
			protocol := []string{"http/1.1", "h2"}[i%2]
			conn := s.dial(true, protocol)
			readers.Go(func() {
				if protocol == "h2" {
					f := newFramer(t, conn)
					f.request(1, true, "GET", "/api/v1/namespaces/default/configmaps")
					f.until(func(frame http2.Frame) bool { // it reads, but allows for no more than the first 64 KB
						_, reset := frame.(*http2.RSTStreamFrame)
						return reset
					})
					conn.Close()
					return
				}
				fmt.Fprint(conn, "GET /api/v1/namespaces/default/configmaps HTTP/1.1\r\nHost: a\r\n\r\n")
				// What fits into the sockets' buffers comes; the connection ends before all has.
				time.Sleep(8 * time.Second)
				n, err := io.Copy(io.Discard, conn)
				if n >= 10_000_000 || err == nil {
					t.Errorf("read %d bytes, %v", n, err)
				}
				conn.Close()
			})
		}
		readers.Wait()
	})
}

// framer writes frames of HTTP/2 as no client does.
type framer struct {
	t    *testing.T
	conn net.Conn
	*http2.Framer
	headers bytes.Buffer
	encoder *hpack.Encoder
}

func newFramer(t *testing.T, conn *tls.Conn) *framer {
	f := &framer{t: t, conn: conn, Framer: http2.NewFramer(conn, conn)}
	f.encoder = hpack.NewEncoder(&f.headers)
	if conn.ConnectionState().NegotiatedProtocol != "h2" {
		t.Error("no HTTP/2")
	}
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Error(err)
	}
	if err := f.WriteSettings(); err != nil {
		t.Error(err)
	}
	return f
}

func (f *framer) block(method, path string, more ...string) []byte {
	f.headers.Reset()
	fields := append([]string{":method", method, ":scheme", "https", ":authority", "a", ":path", path}, more...)
	for i := 0; i < len(fields); i += 2 {
		_ = f.encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}) // into memory
	}
	return f.headers.Bytes()
}

func (f *framer) request(stream uint32, end bool, method, path string, more ...string) {
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: f.block(method, path, more...), EndHeaders: true, EndStream: end})
}

// until reads frames until one is wanted or the connection ends, and returns how it
// ended.
func (f *framer) until(want func(http2.Frame) bool) error {
	_ = f.conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				f.t.Error("nothing ends it")
			}
			return err
		}
		if want(frame) {
			return nil
		}
	}
}

// CVE-2023-44487: requests that are taken back as soon as they are made.
func TestRapidReset(t *testing.T) {
	s := besiege(t, knarr.Options{})
	s.against(func() {
		var attackers sync.WaitGroup
		for range 8 {
			conn := s.dial(false, "h2")
			attackers.Go(func() {
				f := newFramer(t, conn)
				go io.Copy(io.Discard, conn) // ends with the connection
				for stream := uint32(1); stream < 20_000; stream += 2 {
					f.request(stream, true, "GET", "/api/v1/namespaces/default/secrets")
					if f.WriteRSTStream(stream, http2.ErrCodeCancel) != nil {
						break // the server has had enough
					}
				}
				conn.Close()
			})
		}
		attackers.Wait()
	})
}

// Headers that are too many or too large, also compressed and in pieces.
func TestHeaderFloods(t *testing.T) {
	s := besiege(t, knarr.Options{})
	s.against(func() {
		conn := s.dial(false, "http/1.1")
		fmt.Fprint(conn, "GET /version HTTP/1.1\r\nHost: a\r\n")
		for i := range 200_000 {
			if _, err := fmt.Fprintf(conn, "X-%d: y\r\n", i); err != nil {
				break
			}
		}
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err == nil && answer.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("many headers: %d", answer.StatusCode)
		}
		conn.Close()
		// A field in the table of 4 KB, that is told of by a byte each time.
		f := newFramer(t, s.dial(false, "h2"))
		f.request(1, true, "GET", "/version", "x", strings.Repeat("y", 3900)) // is in the table now
		block := f.block("GET", "/version", "x", strings.Repeat("y", 3900))
		reference := slices.Clone(block[len(block)-1:])
		_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: f.block("GET", "/version"), EndStream: true})
		for range 2000 {
			if f.WriteContinuation(3, false, bytes.Repeat(reference, 16_000)) != nil {
				break
			}
		}
		_ = f.until(func(http2.Frame) bool { return false }) // the server ends it
		f.conn.Close()
		// Pieces of headers that never end.
		f = newFramer(t, s.dial(false, "h2"))
		_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: f.block("GET", "/version"), EndStream: true})
		for i := range 100_000 {
			f.headers.Reset()
			_ = f.encoder.WriteField(hpack.HeaderField{Name: fmt.Sprint("x", i), Value: "y", Sensitive: true}) // into memory
			if f.WriteContinuation(1, false, f.headers.Bytes()) != nil {
				break
			}
		}
		_ = f.until(func(http2.Frame) bool { return false })
		f.conn.Close()
		// Settings and pings that have to be answered.
		f = newFramer(t, s.dial(false, "h2"))
		go io.Copy(io.Discard, f.conn) // ends with the connection
		for range 50_000 {
			if f.WritePing(false, [8]byte{}) != nil || f.WriteSettings() != nil {
				break
			}
		}
		f.conn.Close()
	})
}

// Tokens that are nobody's, each another, are forgotten.
func TestTokenFlood(t *testing.T) {
	s := besiege(t, knarr.Options{})
	s.against(func() {
		conn := s.dial(false, "http/1.1")
		reader := bufio.NewReader(conn)
		for i := range 20_000 {
			fmt.Fprintf(conn, "GET /api HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJodHRwczovL2t1YmVybmV0ZXMuZGVmYXVsdC5zdmMuY2x1c3Rlci5sb2NhbCJ9.%d\r\n\r\n", i)
			answer, err := http.ReadResponse(reader, nil)
			if err != nil || answer.StatusCode != http.StatusUnauthorized {
				t.Errorf("%v, %v", answer, err)
				break
			}
			_, _ = io.Copy(io.Discard, answer.Body)
			if answer.Close {
				conn.Close()
				conn = s.dial(false, "http/1.1")
				reader.Reset(conn)
			}
		}
		conn.Close()
	})
}

// Whoever says he is somebody else by headers is not, and whatever path leads to a
// secret does not lead there.
func TestForgedIdentitiesAndPaths(t *testing.T) {
	s := besiege(t, knarr.Options{})
	const treasure = "x-marks-the-spot"
	_, err := s.client.CoreV1().Secrets("kube-system").Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "treasure"}, StringData: map[string]string{"a": treasure}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	encoded := "eC1tYXJrcy10aGUtc3BvdA=="
	identities := [][]string{
		{}, {"Authorization: Bearer " + outsider},
		{"X-Remote-User: kubernetes-admin", "X-Remote-Group: system:masters"},
		{"Authorization: Bearer " + outsider, "X-Remote-User: kubernetes-admin", "X-Remote-Group: system:masters", "X-Remote-Extra-A: b"},
		{"Authorization: Bearer " + outsider, "Impersonate-User: kubernetes-admin", "Impersonate-Group: system:masters"},
		{"Authorization: Bearer " + outsider, "Impersonate-Group: system:masters"},
		{"Impersonate-User: kubernetes-admin", "Impersonate-Group: system:masters"},
		{"Authorization: Bearer nobody", "Authorization: Bearer " + outsider}, {"Authorization: Bearer " + outsider, "Connection: Authorization"},
		{"X-Forwarded-User: kubernetes-admin", "X-Forwarded-Client-Cert: Subject=\"O=system:masters\"", "X-Original-URL: /version", "X-HTTP-Method-Override: GET"},
		{"x_remote_user: kubernetes-admin", "X-Remote-User : kubernetes-admin"},
		{"Upgrade: websocket", "Connection: upgrade", "Sec-WebSocket-Protocol: base64url.bearer.authorization.k8s.io." + "b3V0c2lkZXItdG9rZW4, v1"},
	}
	const secret = "/api/v1/namespaces/kube-system/secrets/treasure"
	paths := []string{
		secret, "/" + secret, "/livez/.." + secret, "/livez/%2e%2e" + secret, "/livez%2f.." + secret, "/version/../" + secret, "/healthz;" + secret, "/openid/v1/jwks/../../.." + secret,
		"/api/v1/namespaces/kube-system/secrets/%74reasure", "/api/v1/namespaces/kube-system/./secrets/treasure", "/api/v1/namespaces/default/../kube-system/secrets/treasure",
		"/api/v1/namespaces/default%2f..%2fkube-system/secrets/treasure", "/api/v1/namespaces/kube-system/secrets%2ftreasure", "/%61pi/v1/namespaces/kube-system/secrets/treasure",
		"/api/v1/secrets", "/api/v1/watch/secrets", "/api/v1/secrets?watch=1&timeoutSeconds=1", "/apis/../api/v1/secrets", "/apis/authentication.k8s.io/../../api/v1/secrets", "/API/v1/secrets", "/api/v1/SECRETS", "/api//v1//secrets", "/api/v1/secrets/",
		"/api/v1/secrets?fieldSelector=metadata.name%3Dtreasure", "/api/v1/namespaces/kube-system/secrets?limit=1", "https://x" + secret, "/" + strings.Repeat("../", 1000) + secret, "/" + strings.Repeat("a/", 100_000), "/" + strings.Repeat("%2e%2e%2f", 3000), "*",
	}
	s.against(func() {
		for _, identity := range identities {
			for _, path := range paths {
				conn := s.dial(false, "http/1.1")
				fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: a\r\n%s\r\n", path, strings.Join(append(identity, ""), "\r\n"))
				_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
				answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil {
					t.Errorf("%v %.60s: %v", identity, path, err)
					continue
				}
				text, _ := io.ReadAll(answer.Body)
				if answer.StatusCode < 300 || answer.StatusCode >= 500 || strings.Contains(string(text), treasure) || strings.Contains(string(text), encoded) {
					t.Errorf("%v %.60s: %d %.200s", identity, path, answer.StatusCode, text)
				}
				conn.Close()
			}
		}
	})
}
