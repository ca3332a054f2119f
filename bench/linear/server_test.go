package linear

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

const path = "/api/v1/namespaces/kube-public/configmaps"

// server is one process after another on the same data directory.
type server struct {
	t      *testing.T
	store  string
	dir    string
	port   int
	cmd    *exec.Cmd
	killed int
	client *http.Client
	host   string

	mu       sync.Mutex
	versions map[string]string // the resourceVersions of tokens
}

func newServer(t *testing.T, store string) *server {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, store: store, dir: t.TempDir(), port: l.Addr().(*net.TCPAddr).Port, versions: map[string]string{}}
	_ = l.Close()
	s.start()
	return s
}

// start starts the program and waits until it is ready.
func (s *server) start() {
	s.t.Helper()
	config := filepath.Join(s.dir, "admin.kubeconfig")
	s.cmd = exec.Command(*binary, "serve", "--store", s.store, "--data-dir", s.dir, "--secure-port", strconv.Itoa(s.port))
	var said bytes.Buffer
	s.cmd.Stderr = &said
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || !strings.Contains(line, "ready in") {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait() // it was killed
		s.t.Fatalf("the server does not start: %q %v %s", line, err, said.String())
	}
	if s.client != nil {
		return
	}
	loaded, err := clientcmd.BuildConfigFromFlags("", config)
	if err != nil {
		s.t.Fatal(err)
	}
	if s.client, err = rest.HTTPClientFor(loaded); err != nil {
		s.t.Fatal(err)
	}
	s.host = loaded.Host
}

func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait() // it was killed
	s.killed++
}

func (s *server) stop() {
	_ = s.cmd.Process.Signal(os.Interrupt)
	if err := s.cmd.Wait(); err != nil {
		s.t.Errorf("the server ends with %v", err)
	}
}

type configMap struct {
	Kind       string   `json:"kind,omitempty"`
	APIVersion string   `json:"apiVersion,omitempty"`
	Metadata   metadata `json:"metadata"`
	Data       struct {
		T string `json:"t"`
	} `json:"data"`
}

type metadata struct {
	Name            string `json:"name,omitempty"`
	ResourceVersion string `json:"resourceVersion,omitempty"`
}

// saw remembers the revision of a token.
func (s *server) saw(c *configMap) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.versions[c.Data.T] = c.Metadata.ResourceVersion
	return c.Data.T
}

func (s *server) version(token string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.versions[token]
}

func name(key int) string { return fmt.Sprint("key-", key) }

// do makes a request and records it, unless there is no server to send it to.
func (s *server) do(ctx context.Context, h *history, client int, in input) output {
	method, target, body := http.MethodGet, path+"/"+name(in.key), any(nil)
	c := &configMap{Kind: "ConfigMap", APIVersion: "v1", Metadata: metadata{Name: name(in.key)}}
	c.Data.T = in.token
	switch in.op {
	case "create":
		method, target, body = http.MethodPost, path, c
	case "update":
		c.Metadata.ResourceVersion = s.version(in.if_)
		method, body = http.MethodPut, c
	case "delete":
		method, body = http.MethodDelete, map[string]any{"preconditions": map[string]string{"resourceVersion": s.version(in.if_)}}
	case "list":
		target = path
	}
	h.mu.Lock()
	call := h.now()
	if in.token != "" {
		h.written[in.token] = call
	}
	h.mu.Unlock()
	code, answer, err := s.ask(ctx, method, target, body)
	out := output{result: "ok"}
	if errors.Is(err, syscall.ECONNREFUSED) { // it was never sent
		time.Sleep(20 * time.Millisecond) // for the server to come back
		return output{result: "unknown"}
	}
	switch {
	case err != nil:
		out.result = "unknown"
	case in.op == "list" && code == 200:
		var list struct{ Items []configMap }
		err = json.Unmarshal(answer, &list)
		for i := range list.Items {
			for key := range keys {
				if list.Items[i].Metadata.Name == name(key) {
					out.seen[key] = s.saw(&list.Items[i])
				}
			}
		}
	case in.op == "get" && code == 404:
	case in.op == "delete" && code == 200:
	case code == 200 || code == 201:
		err = json.Unmarshal(answer, c)
		token := s.saw(c)
		if in.op == "get" {
			out.seen[in.key] = token
		}
	case in.op != "list" && in.op != "get" && (code == 404 || code == 409):
		out.result = "refused"
	default:
		s.t.Errorf("%+v is answered with %d: %s", in, code, answer)
		out.result = "unknown"
	}
	if err != nil && out.result == "ok" {
		s.t.Errorf("%+v: %v", in, err)
	}
	h.add(client, in, call, out)
	return out
}

func (s *server) ask(ctx context.Context, method, target string, body any) (code int, answer []byte, err error) {
	var sent io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return 0, nil, err
		}
		sent = bytes.NewReader(b)
	}
	request, err := http.NewRequestWithContext(ctx, method, s.host+target, sent)
	if err != nil {
		return 0, nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := s.client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	answer, err = io.ReadAll(response.Body)
	return response.StatusCode, answer, err
}
