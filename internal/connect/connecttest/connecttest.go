// Package connecttest stands in, in tests, for what is behind objects: a kubelet
// with containers that run a few commands, and a web server. It must not know who
// connects.
package connecttest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/websocket"
	certutil "k8s.io/client-go/util/cert"
	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"
)

// Start serves h at a free port of address, with TLS or without, until the test
// ends. It returns the port.
func Start(t testing.TB, address string, h http.Handler, secure bool) int32 {
	t.Helper()
	listener, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(h)
	_ = s.Listener.Close() // it is replaced
	s.Listener = listener
	if secure {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return int32(listener.Addr().(*net.TCPAddr).Port)
}

// Kubelet is the handler of a kubelet. A container's log is the query that asks for
// it and two lines more; with follow, it goes on until the reader leaves. Ports of
// pods send back what they get.
func Kubelet() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/containerLogs/{namespace}/{pod}/{container}", serveLog)
	streams := func(serve func(http.ResponseWriter, *http.Request, *remotecommand.Options)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			o, err := remotecommand.NewOptions(r)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			serve(w, r, o)
		}
	}
	mux.HandleFunc("/exec/{namespace}/{pod}/{container}", streams(func(w http.ResponseWriter, r *http.Request, o *remotecommand.Options) {
		remotecommand.ServeExec(w, r, container{}, "", "", r.PathValue("container"), r.URL.Query()["command"], o, time.Hour, time.Minute, remotecommand.SupportedStreamingProtocols)
	}))
	mux.HandleFunc("/attach/{namespace}/{pod}/{container}", streams(func(w http.ResponseWriter, r *http.Request, o *remotecommand.Options) {
		remotecommand.ServeAttach(w, r, container{}, "", "", r.PathValue("container"), o, time.Hour, time.Minute, remotecommand.SupportedStreamingProtocols)
	}))
	mux.HandleFunc("/portForward/{namespace}/{pod}", func(w http.ResponseWriter, r *http.Request) {
		o, err := portforward.NewV4Options(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		portforward.ServePortForward(w, r, container{}, "", "", o, time.Hour, time.Minute, portforward.SupportedProtocols)
	})
	mux.Handle("/", Web())
	return mux
}

func serveLog(w http.ResponseWriter, r *http.Request) {
	switch r.PathValue("container") {
	case "broken":
		http.Error(w, "the disk is on fire", http.StatusInternalServerError)
		return
	case "gone":
		http.Error(w, "container gone is not there", http.StatusNotFound)
		return
	case "moved":
		http.Redirect(w, r, "/elsewhere", http.StatusFound)
		return
	}
	fmt.Fprintf(w, "%s\none\ntwo\n", r.URL.RawQuery)
	if r.URL.Query().Get("follow") == "true" {
		_ = http.NewResponseController(w).Flush() // the reader has it or is gone
		<-r.Context().Done()
	}
}

// container runs commands: echo, cat, size (of the terminal, once it is told one),
// and exit with a code.
type container struct{}

func (c container) AttachContainer(ctx context.Context, name, uid, of string, in io.Reader, out, err io.WriteCloser, tty bool, resize <-chan remotecommand.TerminalSize) error {
	return c.ExecInContainer(ctx, name, uid, of, []string{"cat"}, in, out, err, tty, resize, 0)
}

func (container) ExecInContainer(_ context.Context, _, _, _ string, command []string, in io.Reader, out, errs io.WriteCloser, _ bool, resize <-chan remotecommand.TerminalSize, _ time.Duration) error {
	switch command[0] {
	case "echo":
		_, err := fmt.Fprintln(out, strings.Join(command[1:], " "))
		return err
	case "cat":
		_, err := io.Copy(out, in)
		return err
	case "size":
		size := <-resize
		_, err := fmt.Fprintf(out, "%dx%d\n", size.Width, size.Height)
		return err
	case "exit":
		if in != nil {
			// Upstream's proxy drops what comes from a side that leaves while the other
			// still writes.
			if _, err := io.Copy(io.Discard, in); err != nil {
				return err
			}
		}
		if errs != nil {
			fmt.Fprintln(errs, "as told")
		}
		code, err := strconv.Atoi(command[1])
		if err != nil {
			return err
		}
		return utilexec.CodeExitError{Err: errors.New("told to"), Code: code}
	}
	return fmt.Errorf("%s: not found", command[0])
}

// PortForward sends back what it gets.
func (container) PortForward(_ context.Context, _, _ string, _ int32, stream io.ReadWriteCloser) error {
	_, err := io.Copy(stream, stream)
	return err
}

// Web is the handler of a web server. It tells what it was asked, unless it is
// for one of a few paths.
func Web() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // what has come
		fmt.Fprintf(w, "%s %s host=%t body=%s", r.Method, r.URL.RequestURI(), r.Host != "", body)
	})
	mux.HandleFunc("/page", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, `<html><head></head><body><a href="/other">link</a></body></html>`)
	})
	mux.HandleFunc("/redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/page", http.StatusFound) })
	mux.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, "data: first\n\n")
		_ = http.NewResponseController(w).Flush() // the reader has it or is gone
		<-r.Context().Done()
	})
	mux.HandleFunc("/cut", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, "not all")
		_ = http.NewResponseController(w).Flush() // the reader has it or is gone
		panic(http.ErrAbortHandler)
	})
	mux.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) {
		for range 1 << 10 {
			if _, err := w.Write(make([]byte, 16<<10)); err != nil {
				return
			}
		}
	})
	mux.Handle("/ws", websocket.Server{Handler: func(c *websocket.Conn) { _, _ = io.Copy(c, c) }}) // until one leaves
	return mux
}

// Authority is a file with an authority that is nobody's.
func Authority(t testing.TB) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := certutil.NewSelfSignedCACert(certutil.Config{CommonName: "nobody"}, key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
