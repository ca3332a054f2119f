package etcd_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/knarr-io/knarr/internal/store/storetest"
)

// files are a certificate for servers and clients, which is its own authority.
type files struct {
	ca, cert, key string
	client        *tls.Config
}

func newFiles(t *testing.T) *files {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "etcd"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, what string, der []byte) (path string) {
		path = filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: what, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	f := &files{ca: write("ca.crt", "CERTIFICATE", cert), cert: write("etcd.crt", "CERTIFICATE", cert), key: write("etcd.key", "PRIVATE KEY", keyDER)}
	pair, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil {
		t.Fatal(err)
	}
	f.client = &tls.Config{RootCAs: x509.NewCertPool(), Certificates: []tls.Certificate{pair}}
	f.client.RootCAs.AddCert(pair.Leaf)
	return f
}

// An etcd that demands certificates is shown one, and has to show one.
func TestTLS(t *testing.T) {
	f := newFiles(t)
	s := startServerWith(t, f)
	o := s.options()
	o.CAFile, o.CertFile, o.KeyFile = f.ca, f.cert, f.key
	st, seen := started(t, o)
	put(t, st, "/a", "1", 0)
	if e := seen.Current()["/a"]; string(e.Value) != "1" {
		t.Errorf("what was written is %q", e.Value)
	}

	o.CertFile, o.KeyFile, o.StartTimeout = "", "", 2*time.Second
	st = open(t, o)
	if err := st.Start(context.Background(), storetest.NewRecorder(false)); err == nil {
		t.Error("etcd lets somebody in who shows no certificate")
	}
	if err := st.Close(); err != nil {
		t.Error(err)
	}
	o.CAFile, o.CertFile, o.KeyFile = newFiles(t).ca, f.cert, f.key
	st = open(t, o)
	if err := st.Start(context.Background(), storetest.NewRecorder(false)); err == nil {
		t.Error("an etcd of an authority that is not trusted is believed")
	}
	if err := st.Close(); err != nil {
		t.Error(err)
	}
}
