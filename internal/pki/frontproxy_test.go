package pki

import (
	"bytes"
	"crypto/x509"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func frontProxiesAt(dir string, after time.Duration) (*FrontProxies, error) {
	return LoadFrontProxies(dir, Options{Now: func() time.Time { return start.Add(after) }})
}

func TestFrontProxies(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	bundle := mustLoad(t, dir, 0)
	made, err := frontProxiesAt(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]fs.FileMode{
		"front-proxy-ca.crt": 0o644, "front-proxy-ca.key": 0o600,
		"front-proxy-client.crt": 0o644, "front-proxy-client.key": 0o600,
	} {
		info, err := os.Stat(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", file, info.Mode(), want)
		}
	}
	leaf := made.Client.Leaf()
	if subject := leaf.Subject.String(); subject != "CN=front-proxy-client" {
		t.Errorf("the client is %s", subject)
	}
	verify := func(ca *Authority, usage x509.ExtKeyUsage) error {
		_, err := leaf.Verify(x509.VerifyOptions{Roots: ca.Pool(), CurrentTime: start, KeyUsages: []x509.ExtKeyUsage{usage}})
		return err
	}
	if err := verify(made.CA, x509.ExtKeyUsageClientAuth); err != nil {
		t.Error(err)
	}
	if verify(made.CA, x509.ExtKeyUsageServerAuth) == nil {
		t.Error("a front proxy may serve")
	}
	if verify(bundle.CA, x509.ExtKeyUsageClientAuth) == nil {
		t.Error("a front proxy is a user like others")
	}

	again, err := frontProxiesAt(dir, 0)
	if err != nil || !bytes.Equal(again.CA.CertPEM(), made.CA.CertPEM()) || !bytes.Equal(again.Client.CertPEM, made.Client.CertPEM) {
		t.Errorf("what was kept is another, %v", err)
	}
	later, err := frontProxiesAt(dir, 360*day)
	if err != nil || !bytes.Equal(later.CA.CertPEM(), made.CA.CertPEM()) || bytes.Equal(later.Client.CertPEM, made.Client.CertPEM) {
		t.Errorf("the client's certificate alone is to be another, %v", err)
	}
	remove(t, dir, "front-proxy-ca.key")
	_, err = frontProxiesAt(dir, 0)
	if err == nil || !strings.Contains(err.Error(), "front-proxy-ca.key: missing") || !strings.Contains(err.Error(), "remove front-proxy-ca.crt") || strings.Contains(err.Error(), "\n") {
		t.Errorf("without the authority's key: %v", err)
	}
	if _, err := at(dir, 0); err != nil {
		t.Errorf("the rest is of no use, too: %v", err)
	}
}

func TestNewFrontProxies(t *testing.T) {
	made, err := NewFrontProxies(Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = made.Client.Leaf().Verify(x509.VerifyOptions{Roots: made.CA.Pool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err != nil {
		t.Error(err)
	}
}
