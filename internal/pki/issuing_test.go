package pki

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestIssuingFiles(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key")
	write := func(file string, content []byte) {
		t.Helper()
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	first, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	second, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ReadIssuing(cert, key); err == nil || !strings.Contains(err.Error(), cert) {
		t.Errorf("without files: %v", err)
	}
	chain := slices.Concat(first.CA.pair.CertPEM, second.CA.pair.CertPEM)
	const two = "expected 1 certificate, found 2"
	write(cert, chain)
	write(key, first.CA.pair.KeyPEM)
	if _, err := ReadIssuing(cert, key); err == nil || !strings.Contains(err.Error(), two) {
		t.Errorf("with a chain: %v", err)
	}
	write(cert, first.CA.pair.CertPEM)
	files, err := ReadIssuing(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	// is wants the authority of b.
	is := func(b *Bundle, when string) {
		t.Helper()
		leaf, signer, err := files.Issuing()
		wantLeaf, _, _ := b.CA.Issuing()
		if err != nil || !leaf.Equal(wantLeaf) {
			t.Fatalf("%s: %v, or another authority", when, err)
		}
		if !(&Pair{chain: b.CA.pair.chain, key: privateKey{Signer: signer}}).matches() {
			t.Errorf("%s: another key", when)
		}
	}
	is(first, "at first")
	write(cert, second.CA.pair.CertPEM)
	is(first, "half changed")
	write(key, second.CA.pair.KeyPEM)
	is(second, "changed")
	write(cert, []byte("none"))
	is(second, "damaged")
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	is(second, "gone")
	write(cert, chain)
	write(key, first.CA.pair.KeyPEM)
	if _, _, err := files.Issuing(); err == nil || !strings.Contains(err.Error(), two) {
		t.Errorf("changed to a chain: %v", err)
	}
}
