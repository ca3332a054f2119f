package pki

import (
	"crypto"
	"crypto/ecdsa"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"testing"

	"k8s.io/client-go/util/keyutil"
)

func mustLoadSigning(t *testing.T, dir string) *ecdsa.PrivateKey {
	t.Helper()
	key, err := LoadSigningKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	return key.(*ecdsa.PrivateKey)
}

// The key is made once, is kept, and others can read both halves.
func TestSigningKeyIsKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data", "pki")
	key := mustLoadSigning(t, dir)
	for path, want := range map[string]fs.FileMode{"sa.key": 0o600, "sa.pub": 0o644} {
		info, err := os.Stat(filepath.Join(dir, path))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", path, info.Mode(), want)
		}
	}
	private, err := keyutil.PrivateKeyFromFile(filepath.Join(dir, "sa.key"))
	if err != nil || !key.Equal(private.(crypto.PrivateKey)) {
		t.Errorf("sa.key is not the key that was returned (%v)", err)
	}
	public, err := keyutil.PublicKeysFromFile(filepath.Join(dir, "sa.pub"))
	if err != nil || len(public) != 1 || !key.PublicKey.Equal(public[0]) {
		t.Errorf("sa.pub is not the key's public half (%v)", err)
	}

	before := contents(t, dir)
	if again := mustLoadSigning(t, dir); !again.Equal(key) {
		t.Error("the next start has another key")
	}
	mustLoad(t, dir, 0, "localhost") // certificates beside it change nothing
	if again := mustLoadSigning(t, dir); !again.Equal(key) {
		t.Error("certificates in the directory change the key")
	}
	for _, name := range []string{"sa.key", "sa.pub"} {
		if got := contents(t, dir)[name]; got != before[name] {
			t.Errorf("%s was written again", name)
		}
	}
}

func TestSigningKeyIsMended(t *testing.T) {
	for _, c := range []struct {
		name    string
		prepare func(t *testing.T, dir string)
		same    bool // the key
	}{
		{"nothing to mend", nil, true},
		{"no public half", func(t *testing.T, dir string) { remove(t, dir, "sa.pub") }, true},
		{"another's public half", func(t *testing.T, dir string) { write(t, dir, "sa.pub", []byte("x")) }, true},
		{"no private half", func(t *testing.T, dir string) { remove(t, dir, "sa.key") }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			before := mustLoadSigning(t, dir)
			if c.prepare != nil {
				c.prepare(t, dir)
			}
			after := mustLoadSigning(t, dir)
			if after.Equal(before) != c.same {
				t.Errorf("the same key: %v, want %v", !c.same, c.same)
			}
			public, err := keyutil.PublicKeysFromFile(filepath.Join(dir, "sa.pub"))
			if err != nil || !after.PublicKey.Equal(public[0]) {
				t.Errorf("sa.pub does not follow sa.key (%v)", err)
			}
		})
	}
}

func TestSigningKeyIsRefused(t *testing.T) {
	dir := t.TempDir()
	mustLoadSigning(t, dir)
	cut("sa.key")(t, dir)
	before := contents(t, dir)
	_, err := LoadSigningKey(dir)
	want := `^` + regexp.QuoteMeta(dir) + `/sa.key: not a PEM private key; remove it to make a new one, tokens of service accounts are then void$`
	if err == nil || !regexp.MustCompile(want).MatchString(err.Error()) {
		t.Errorf("error %v, want %s", err, want)
	}
	if after := contents(t, dir); fmt.Sprint(before) != fmt.Sprint(after) {
		t.Error("a refused directory was changed")
	}
}

func TestSigningKeyConcurrently(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	keys := make([]crypto.Signer, 16)
	var starts sync.WaitGroup
	for i := range keys {
		starts.Go(func() {
			key, err := LoadSigningKey(dir)
			if err != nil {
				t.Error(err)
			}
			keys[i] = key
		})
	}
	starts.Wait()
	for _, key := range keys {
		if key == nil || !keys[0].(*ecdsa.PrivateKey).Equal(key) {
			t.Fatal("the starts got different keys")
		}
	}
}
