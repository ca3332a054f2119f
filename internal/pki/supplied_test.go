package pki

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadPair(t *testing.T) {
	dir := t.TempDir()
	b := mustLoad(t, dir, 0, "localhost")
	// A certificate with its intermediate, as authorities hand them out.
	write(t, dir, "chain.crt", append(read(t, dir, "apiserver.crt"), read(t, dir, "ca.crt")...))
	write(t, dir, "garbage", []byte("garbage"))
	for _, c := range []struct {
		name, cert, key string
		chain           int
		wantErr         string
	}{
		{name: "one certificate", cert: "apiserver.crt", key: "apiserver.key", chain: 1},
		{name: "chain", cert: "chain.crt", key: "apiserver.key", chain: 2},
		{name: "another's key", cert: "apiserver.crt", key: "ca.key", wantErr: "DIR/ca.key: not the key of the first certificate in DIR/apiserver.crt"},
		{name: "garbage certificate", cert: "garbage", key: "ca.key", wantErr: "DIR/garbage: not a PEM certificate"},
		{name: "garbage key", cert: "ca.crt", key: "garbage", wantErr: "DIR/garbage: not a PEM private key"},
		{name: "swapped", cert: "ca.key", key: "ca.crt", wantErr: "DIR/ca.key: not a PEM certificate"},
		{name: "no certificate file", cert: "absent", key: "ca.key", wantErr: "open DIR/absent: no such file or directory"},
		{name: "no key file", cert: "ca.crt", key: "absent", wantErr: "open DIR/absent: no such file or directory"},
		{name: "key not given", cert: "ca.crt", wantErr: "a certificate file and its private key file must be given together"},
		{name: "certificate not given", key: "ca.key", wantErr: "a certificate file and its private key file must be given together"},
	} {
		t.Run(c.name, func(t *testing.T) {
			pair, err := ReadPair(join(dir, c.cert), join(dir, c.key))
			if c.wantErr != "" {
				if want := strings.ReplaceAll(c.wantErr, "DIR", dir); err == nil || err.Error() != want {
					t.Fatalf("error %v, want %s", err, want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			tlsPair := pair.TLS()
			if len(tlsPair.Certificate) != c.chain || !bytes.Equal(tlsPair.Certificate[0], b.Serving.Leaf().Raw) {
				t.Errorf("%d certificates, want %d that start with the server's", len(tlsPair.Certificate), c.chain)
			}
		})
	}
}

func TestReadCertificates(t *testing.T) {
	dir := t.TempDir()
	mustLoad(t, dir, 0)
	write(t, dir, "two.crt", append(read(t, dir, "ca.crt"), read(t, dir, "admin.crt")...))
	certs, err := ReadCertificates(join(dir, "two.crt"))
	if err != nil || len(certs) != 2 {
		t.Errorf("%d certificates, %v; want 2", len(certs), err)
	}
	if _, err := ReadCertificates(join(dir, "ca.key")); err == nil || err.Error() != join(dir, "ca.key")+": not a PEM certificate" {
		t.Errorf("a key as certificates: %v", err)
	}
	if _, err := ReadCertificates(join(dir, "absent")); !os.IsNotExist(err) {
		t.Errorf("no file: %v", err)
	}
}

func join(dir, name string) string {
	if name == "" {
		return ""
	}
	return filepath.Join(dir, name)
}
