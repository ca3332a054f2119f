package etcd_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/knarr-io/knarr/internal/store"
	"github.com/knarr-io/knarr/internal/store/etcd"
	"github.com/knarr-io/knarr/internal/store/storetest"
)

// binaryVariable names an etcd to test with; without it, that of the comparison
// with kube-apiserver is taken (twin/.peers/etcd, which .ci/run builds).
const binaryVariable = "KNARR_ETCD"

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is an etcd with a directory of its own, which can be stopped and started.
type server struct {
	t       testing.TB
	binary  string
	dir     string
	port    int
	process *exec.Cmd
	used    atomic.Int64 // prefixes
	files   *files       // of TLS; nil without
}

func startServer(t testing.TB) *server {
	t.Helper()
	return startServerWith(t, nil)
}

func startServerWith(t testing.TB, f *files) *server {
	t.Helper()
	binary := os.Getenv(binaryVariable)
	if binary == "" {
		binary = filepath.Join("..", "..", "..", "twin", ".peers", "etcd")
		if _, err := os.Stat(binary); err != nil {
			t.Skipf("there is no etcd to test with: set %s, or have .ci/run build %s", binaryVariable, binary)
		}
	}
	s := &server{t: t, binary: binary, dir: t.TempDir(), port: freePort(t), files: f}
	s.start()
	t.Cleanup(func() { s.signal(syscall.SIGCONT); s.kill() })
	return s
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func (s *server) url() string {
	if s.files != nil {
		return "https://" + s.address()
	}
	return "http://" + s.address()
}

func (s *server) address() string { return fmt.Sprintf("127.0.0.1:%d", s.port) }

// start starts the process and waits until it answers.
func (s *server) start() {
	s.t.Helper()
	peer := fmt.Sprintf("http://127.0.0.1:%d", freePort(s.t))
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	flags := []string{"--data-dir=" + filepath.Join(s.dir, "data"), "--unsafe-no-fsync"}
	if s.files != nil {
		flags = append(flags, "--client-cert-auth", "--trusted-ca-file="+s.files.ca, "--cert-file="+s.files.cert, "--key-file="+s.files.key)
	}
	s.process = exec.Command(s.binary, append(flags,
		"--listen-client-urls="+s.url(), "--advertise-client-urls="+s.url(),
		"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer, "--initial-cluster=default="+peer)...)
	s.process.Stdout, s.process.Stderr = log, log
	if err := s.process.Start(); err != nil {
		s.t.Fatal(err)
	}
	c := s.client()
	defer c.Close()
	for start := time.Now(); ; {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		_, err := c.Get(ctx, "x")
		cancel()
		if err == nil {
			return
		}
		if time.Since(start) > time.Minute {
			s.t.Fatalf("etcd does not answer: %v", err)
		}
	}
}

func (s *server) signal(sig os.Signal) { _ = s.process.Process.Signal(sig) }

// pause stops the process where it is, and returns when it has.
func (s *server) pause() {
	s.t.Helper()
	s.signal(syscall.SIGSTOP)
	c := s.client()
	defer c.Close()
	eventually(s.t, "etcd stands still", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
		defer cancel()
		_, err := c.Get(ctx, "x")
		return err != nil
	})
}

func (s *server) kill() {
	s.signal(syscall.SIGKILL)
	_ = s.process.Wait()
}

// client is one past the store.
func (s *server) client() *clientv3.Client {
	s.t.Helper()
	config := clientv3.Config{Endpoints: []string{s.url()}, Logger: zap.NewNop()}
	if s.files != nil {
		config.TLS = s.files.client
	}
	c, err := clientv3.New(config)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// options are those of a store under a prefix that nobody uses yet.
func (s *server) options() etcd.Options {
	return etcd.Options{Servers: []string{s.url()}, Prefix: fmt.Sprint("/test-", s.used.Add(1))}
}

func open(t testing.TB, o etcd.Options) *etcd.Store {
	t.Helper()
	st, err := etcd.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// started is a store that runs, and what its follower is told. It is closed with
// the test.
func started(t testing.TB, o etcd.Options) (*etcd.Store, *storetest.Recorder) {
	t.Helper()
	st, seen := open(t, o), storetest.NewRecorder(false)
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		for _, problem := range seen.Problems() {
			t.Errorf("the follower saw: %s", problem)
		}
	})
	if err := st.Start(t.Context(), seen); err != nil {
		t.Fatal(err)
	}
	return st, seen
}

func put(t testing.TB, st store.Store, key, value string, at uint64) uint64 {
	t.Helper()
	revs, err := st.Commit(t.Context(), []store.Change{{Key: key, Value: []byte(value), If: at}})
	if err != nil {
		t.Fatalf("Commit: %v", err)
	}
	return revs[0]
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for start := time.Now(); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Since(start) > time.Minute {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

func TestStore(t *testing.T) {
	s := startServer(t)
	storetest.Run(t, func(t *testing.T) storetest.Backend {
		o := s.options()
		return storetest.Backend{
			Open:    func(tb testing.TB) store.Store { return open(tb, o) },
			Durable: true,
		}
	})
}
