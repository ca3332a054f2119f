package encrypted

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
	"k8s.io/kms/pkg/service"
)

// The test binary is a KMS v2 plugin, too, where the environment says so.
const (
	socketEnv = "ENCRYPTED_TEST_SOCKET"
	keyEnv    = "ENCRYPTED_TEST_KEY"
)

func TestMain(m *testing.M) {
	if socket := os.Getenv(socketEnv); socket != "" {
		p := &plugin{id: os.Getenv(keyEnv)}
		fmt.Fprintln(os.Stderr, service.NewGRPCService(socket, time.Second, p).ListenAndServe())
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// plugin encrypts with keys that it makes of their names.
type plugin struct{ id string }

func aead(id string) cipher.AEAD {
	key := sha256.Sum256([]byte(id))
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err)
	}
	gcm, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	return gcm
}

func (p *plugin) Encrypt(_ context.Context, _ string, data []byte) (*service.EncryptResponse, error) {
	return &service.EncryptResponse{
		Ciphertext: aead(p.id).Seal(nil, nil, data, nil), KeyID: p.id, Annotations: map[string][]byte{"plugin.example.com": []byte("1")},
	}, nil
}

func (p *plugin) Decrypt(_ context.Context, _ string, r *service.DecryptRequest) ([]byte, error) {
	if string(r.Annotations["plugin.example.com"]) != "1" {
		return nil, errors.New("the annotations are lost")
	}
	return aead(r.KeyID).Open(nil, nil, r.Ciphertext, nil)
}

func (p *plugin) Status(context.Context) (*service.StatusResponse, error) {
	return &service.StatusResponse{Version: "v2", Healthz: "ok", KeyID: p.id}, nil
}

// startPlugin starts a plugin, as a process of its own, that encrypts with the
// key of a name. It ends with the test, or before.
func startPlugin(t *testing.T, socket, key string) (stop func()) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), socketEnv+"="+socket, keyEnv+"="+key)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			_ = cmd.Process.Kill() // it has nothing to end in order
			_ = cmd.Wait()
			_ = os.Remove(socket)
		}
	}
	t.Cleanup(stop)
	for { // until it listens: who has failed to reach it waits before the next try
		if _, err := os.Stat(socket); err == nil {
			return stop
		}
		time.Sleep(time.Millisecond)
	}
}

// socketPath is short enough for one.
func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "kms")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}
