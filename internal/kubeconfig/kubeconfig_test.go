package kubeconfig

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/knarr-io/knarr/internal/pki"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var access = Access{Server: "https://127.0.0.1:6443", CA: []byte("ca"), Cert: []byte("cert"), Key: []byte("key")}

func TestRender(t *testing.T) {
	got, err := access.Render()
	if err != nil {
		t.Fatal(err)
	}
	const want = `apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: Y2E=
    server: https://127.0.0.1:6443
  name: knarr
contexts:
- context:
    cluster: knarr
    user: knarr
  name: knarr
current-context: knarr
kind: Config
users:
- name: knarr
  user:
    client-certificate-data: Y2VydA==
    client-key-data: a2V5
`
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// What client-go makes of the file is what REST returns.
func TestFileEqualsREST(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin.kubeconfig")
	if err := access.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	got, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		t.Fatal(err)
	}
	if want := access.REST(); !reflect.DeepEqual(got, want) {
		t.Errorf("the file gives %#v\nREST gives %#v", got, want)
	}
}

func TestWriteFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin.kubeconfig")
	write := func(a Access) os.FileInfo {
		t.Helper()
		if err := a.WriteFile(path); err != nil {
			t.Fatal(err)
		}
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != 0o600 {
			t.Errorf("mode %v, want 0600", info.Mode())
		}
		return info
	}
	first := write(access)
	if again := write(access); !os.SameFile(first, again) {
		t.Error("an unchanged file was written again")
	}
	moved := access
	moved.Server = "https://127.0.0.1:7443"
	changed := write(moved)
	if data, err := os.ReadFile(path); err != nil || !strings.Contains(string(data), moved.Server) {
		t.Errorf("the file does not name %s: %v", moved.Server, err)
	}
	if os.SameFile(first, changed) {
		t.Error("the file was changed in place")
	}
	// Someone opened it to others, or put a link there: it is put right.
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	write(moved)
	target := filepath.Join(filepath.Dir(path), "elsewhere")
	if err := os.Rename(path, target); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
	write(access)
}

func TestWriteFileFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "absent", "admin.kubeconfig")
	err := access.WriteFile(path)
	if err == nil || !strings.Contains(err.Error(), filepath.Dir(path)) || strings.Contains(err.Error(), "\n") {
		t.Errorf("error %v, want one line that names %s", err, filepath.Dir(path))
	}
}

func TestWriteFileConcurrently(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin.kubeconfig")
	var writers sync.WaitGroup
	for range 8 {
		writers.Go(func() {
			if err := access.WriteFile(path); err != nil {
				t.Error(err)
			}
		})
	}
	writers.Wait()
	if _, err := clientcmd.LoadFromFile(path); err != nil {
		t.Error(err)
	}
}

// A client made from REST reaches a server over TLS as the user.
func TestRESTReachesServer(t *testing.T) {
	b, err := pki.New(pki.Options{Hosts: []string{"127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if got := r.TLS.VerifiedChains[0][0].Subject.CommonName; got != pki.AdminUser {
			t.Errorf("the server saw %q", got)
		}
	}))
	server.TLS = &tls.Config{
		Certificates: []tls.Certificate{b.Serving.TLS()},
		ClientCAs:    b.CA.Pool(),
		ClientAuth:   tls.RequireAndVerifyClientCert,
	}
	server.StartTLS()
	defer server.Close()

	config := Access{Server: server.URL, CA: b.CA.CertPEM(), Cert: b.Admin.CertPEM, Key: b.Admin.KeyPEM}.REST()
	// A transport of this test's own, so that its connections end with it.
	tlsConfig, err := rest.TLSConfigFor(config)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: tlsConfig}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("status %d", resp.StatusCode)
	}
}
