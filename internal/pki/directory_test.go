package pki

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

var start = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

// at loads dir at a time after start, for the hosts.
func at(dir string, after time.Duration, hosts ...string) (*Bundle, error) {
	return Load(dir, Options{Hosts: hosts, Now: func() time.Time { return start.Add(after) }})
}

func mustLoad(t *testing.T, dir string, after time.Duration, hosts ...string) *Bundle {
	t.Helper()
	b, err := at(dir, after, hosts...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestLoadMakesFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data", "pki")
	b := mustLoad(t, dir, 0, "localhost", "127.0.0.1")

	for path, want := range map[string]fs.FileMode{
		"":              fs.ModeDir | 0o700,
		"ca.crt":        0o644,
		"ca.key":        0o600,
		"apiserver.crt": 0o644,
		"apiserver.key": 0o600,
		"admin.crt":     0o644,
		"admin.key":     0o600,
	} {
		info, err := os.Stat(filepath.Join(dir, path))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", path, info.Mode(), want)
		}
	}
	for file, want := range map[string][]byte{
		"ca.crt":    b.CA.CertPEM(),
		"admin.crt": b.Admin.CertPEM,
		"admin.key": b.Admin.KeyPEM,
	} {
		if got := read(t, dir, file); !bytes.Equal(got, want) {
			t.Errorf("%s is not what Load returned", file)
		}
	}
	if subject := b.Admin.Leaf().Subject.String(); subject != "CN=kubernetes-admin,O=system:masters" {
		t.Errorf("admin is %s", subject)
	}
}

func TestLoadRenews(t *testing.T) {
	hosts := []string{"localhost", "127.0.0.1"}
	for _, c := range []struct {
		name    string
		prepare func(t *testing.T, dir string)
		after   time.Duration
		hosts   []string
		renewed []string
	}{
		{name: "nothing changed", hosts: hosts},
		{name: "31 days before the end", after: 334 * day, hosts: hosts},
		{name: "29 days before the end", after: 336 * day, hosts: hosts, renewed: []string{"apiserver.crt", "admin.crt"}},
		{name: "after the end", after: 400 * day, hosts: hosts, renewed: []string{"apiserver.crt", "admin.crt"}},
		{name: "fewer hosts", hosts: hosts[:1]},
		{name: "another name", hosts: append(hosts, "example.org"), renewed: []string{"apiserver.crt"}},
		{name: "another address", hosts: append(hosts, "192.0.2.1"), renewed: []string{"apiserver.crt"}},
		{
			name:    "another authority",
			prepare: func(t *testing.T, dir string) { replaceAuthority(t, dir) },
			hosts:   hosts,
			renewed: []string{"apiserver.crt", "admin.crt"},
		},
		{
			name: "the admin's certificate where the server's should be",
			prepare: func(t *testing.T, dir string) {
				write(t, dir, "apiserver.crt", read(t, dir, "admin.crt"))
				write(t, dir, "apiserver.key", read(t, dir, "admin.key"))
			},
			hosts:   hosts,
			renewed: []string{"apiserver.crt"},
		},
		{
			name: "stopped between key and certificate",
			prepare: func(t *testing.T, dir string) {
				remove(t, dir, "apiserver.crt")
				remove(t, dir, "admin.crt")
			},
			hosts:   hosts,
			renewed: []string{"apiserver.crt", "admin.crt"},
		},
		{
			name:    "a lost key",
			prepare: func(t *testing.T, dir string) { remove(t, dir, "admin.key") },
			hosts:   hosts,
			renewed: []string{"admin.key", "admin.crt"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			mustLoad(t, dir, 0, hosts...)
			if c.prepare != nil {
				c.prepare(t, dir)
			}
			before := contents(t, dir)
			b := mustLoad(t, dir, c.after, c.hosts...)
			after := contents(t, dir)

			var renewed []string
			for _, name := range []string{"ca.key", "ca.crt", "apiserver.key", "apiserver.crt", "admin.key", "admin.crt"} {
				if before[name] != after[name] {
					renewed = append(renewed, name)
				}
			}
			if fmt.Sprint(renewed) != fmt.Sprint(c.renewed) {
				t.Errorf("renewed %v, want %v", renewed, c.renewed)
			}
			for _, pair := range []struct {
				*Pair
				identity
			}{{b.Serving, serving(c.hosts)}, {b.Admin, client(AdminUser)}} {
				if !b.CA.vouches(pair.Leaf(), pair.identity) || !pair.matches() {
					t.Errorf("%s is not usable", pair.subject.CommonName)
				}
			}
			// A renewed bundle is at rest: the next start keeps it.
			mustLoad(t, dir, c.after, c.hosts...)
			for name, content := range contents(t, dir) {
				if content != after[name] {
					t.Errorf("%s was renewed again", name)
				}
			}
		})
	}
}

// Near its end the authority issues what ends with it, once and not at every start.
func TestLoadNearTheAuthoritysEnd(t *testing.T) {
	dir := t.TempDir()
	mustLoad(t, dir, 0, "localhost")
	end := 3650 * day
	b := mustLoad(t, dir, end-10*day, "localhost")
	if got := b.Serving.Leaf().NotAfter; !got.Equal(start.Add(end)) {
		t.Errorf("the serving certificate ends at %v, the authority at %v", got, start.Add(end))
	}
	before := contents(t, dir)
	mustLoad(t, dir, end-5*day, "localhost")
	if after := contents(t, dir); fmt.Sprint(before) != fmt.Sprint(after) {
		t.Error("certificates that cannot last longer were issued again")
	}
}

func TestLoadRefuses(t *testing.T) {
	garbage := []byte("-----BEGIN NOTHING-----\nQUJD\n-----END NOTHING-----\n")
	const removeAll = `remove the pki directory to make new ones, clients then need the new kubeconfig`
	for _, c := range []struct {
		name  string
		spoil func(t *testing.T, dir string)
		after time.Duration
		want  string // after the directory's path
	}{
		{"ca.crt", spoil("ca.crt", garbage), 0, `/ca.crt: not a PEM certificate; ` + removeAll},
		{"ca.crt empty", spoil("ca.crt", nil), 0, `/ca.crt: not a PEM certificate; ` + removeAll},
		{"ca.crt cut", cut("ca.crt"), 0, `/ca.crt: not a PEM certificate; ` + removeAll},
		{"ca.key", spoil("ca.key", garbage), 0, `/ca.key: not a PEM private key; ` + removeAll},
		{"ca.key cut", cut("ca.key"), 0, `/ca.key: not a PEM private key; ` + removeAll},
		{"ca.key another's", copyOf("ca.key", "admin.key"), 0, `/ca.key: not the key of ca.crt; ` + removeAll},
		{"ca.key missing", func(t *testing.T, dir string) { remove(t, dir, "ca.key") }, 0,
			`/ca.key: missing, and ca.crt is of no use without it; put it back or ` + removeAll},
		{"ca expired", nil, 3651 * day, `/ca.crt: expired on 2036-06-28; ` + removeAll},
		{"ca from the future", nil, -day, `/ca.crt: not valid before 2026-07-01 11:00:00 \(is this machine's clock right\?\); ` + removeAll},
		{"ca not one", func(t *testing.T, dir string) {
			copyOf("ca.crt", "admin.crt")(t, dir)
			copyOf("ca.key", "admin.key")(t, dir)
		}, 0, `/ca.crt: not the certificate of an authority; ` + removeAll},
		{"apiserver.crt", spoil("apiserver.crt", garbage), 0, `/apiserver.crt: not a PEM certificate; remove apiserver.crt and apiserver.key to make new ones`},
		{"apiserver.key", spoil("apiserver.key", garbage), 0, `/apiserver.key: not a PEM private key; remove apiserver.crt and apiserver.key to make new ones`},
		{"apiserver.key another's", copyOf("apiserver.key", "ca.key"), 0, `/apiserver.key: not the key of apiserver.crt; remove apiserver.crt and apiserver.key to make new ones`},
		{"admin.crt", cut("admin.crt"), 0, `/admin.crt: not a PEM certificate; remove admin.crt and admin.key to make new ones`},
		{"admin.key", spoil("admin.key", garbage), 0, `/admin.key: not a PEM private key; remove admin.crt and admin.key to make new ones`},
		{"admin.key a directory", func(t *testing.T, dir string) {
			remove(t, dir, "admin.key")
			if err := os.Mkdir(filepath.Join(dir, "admin.key"), 0o700); err != nil {
				t.Fatal(err)
			}
		}, 0, `/admin.key: is a directory; let this user read it`},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "pki")
			mustLoad(t, dir, 0, "localhost")
			if c.spoil != nil {
				c.spoil(t, dir)
			}
			before := contents(t, dir)
			_, err := at(dir, c.after, "localhost")
			if err == nil {
				t.Fatal("no error")
			}
			if !regexp.MustCompile(`^(read )?` + regexp.QuoteMeta(dir) + c.want + `$`).MatchString(err.Error()) {
				t.Errorf("error: %v\nwant:  %s%s", err, dir, c.want)
			}
			if after := contents(t, dir); fmt.Sprint(before) != fmt.Sprint(after) {
				t.Error("a refused directory was changed")
			}
		})
	}
}

// What the remedies say helps.
func TestRemedies(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	first := mustLoad(t, dir, 0, "localhost")

	spoil("apiserver.crt", []byte("x"))(t, dir)
	remove(t, dir, "apiserver.crt")
	remove(t, dir, "apiserver.key")
	if b := mustLoad(t, dir, 0, "localhost"); !bytes.Equal(b.CA.CertPEM(), first.CA.CertPEM()) {
		t.Error("a new serving certificate changed the authority")
	}

	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if b := mustLoad(t, dir, 0, "localhost"); bytes.Equal(b.CA.CertPEM(), first.CA.CertPEM()) {
		t.Error("the authority is still the removed one")
	}
}

func TestLoadUnwritable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(file, "pki")
	_, err := at(dir, 0, "localhost")
	if err == nil || !strings.Contains(err.Error(), file) || strings.Contains(err.Error(), "\n") {
		t.Errorf("error %v, want one line that names %s", err, file)
	}

	t.Run("no permission", func(t *testing.T) {
		if os.Geteuid() == 0 {
			t.Skip("root may write everywhere")
		}
		parent := t.TempDir()
		if err := os.Chmod(parent, 0o500); err != nil {
			t.Fatal(err)
		}
		_, err := at(filepath.Join(parent, "pki"), 0, "localhost")
		if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), writableRemedy) {
			t.Errorf("error %v, want permission denied and %q", err, writableRemedy)
		}
	})
}

// A start that has nothing to make writes nothing, not even the lock: it works
// from a read-only directory.
func TestLoadOnlyReads(t *testing.T) {
	dir := t.TempDir()
	mustLoad(t, dir, 0, "localhost")
	remove(t, dir, ".lock")
	mustLoad(t, dir, day, "localhost")
	if exists(filepath.Join(dir, ".lock")) {
		t.Error("a start without need took the lock")
	}
	b, err := directory{path: dir, options: Options{Hosts: []string{"example.org"}}}.bundle()
	if !errors.Is(err, errOutdated) {
		t.Errorf("without the lock: %v, %v", b, err)
	}
}

// Many starts at once make one bundle.
func TestLoadConcurrently(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	bundles := make([]*Bundle, 16)
	var starts sync.WaitGroup
	for i := range bundles {
		starts.Go(func() {
			b, err := at(dir, 0, "localhost")
			if err != nil {
				t.Error(err)
				return
			}
			bundles[i] = b
		})
	}
	starts.Wait()
	for _, b := range bundles {
		if b == nil || !bytes.Equal(b.CA.CertPEM(), bundles[0].CA.CertPEM()) ||
			!bytes.Equal(b.Admin.CertPEM, bundles[0].Admin.CertPEM) || !bytes.Equal(b.Serving.KeyPEM, bundles[0].Serving.KeyPEM) {
			t.Fatal("the starts got different bundles")
		}
	}
}

// An authority and keys of the user's own, of other kinds and encodings, work too.
func TestLoadForeignKeys(t *testing.T) {
	dir := t.TempDir()
	caKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "example-ca"},
		NotBefore:             start,
		NotAfter:              start.Add(5 * 365 * day),
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, caKey.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "ca.crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	write(t, dir, "ca.key", pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(caKey)}))
	_, leafKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(leafKey)
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "apiserver.key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))

	for range 2 { // issued, then read
		b := mustLoad(t, dir, 0, "localhost")
		if _, err := b.Serving.Leaf().Verify(x509.VerifyOptions{Roots: b.CA.Pool(), CurrentTime: start, DNSName: "localhost"}); err != nil {
			t.Error(err)
		}
		if !leafKey.Public().(ed25519.PublicKey).Equal(b.Serving.Leaf().PublicKey) {
			t.Error("the user's key was not used")
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	b.Run("first", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			if _, err := at(filepath.Join(b.TempDir(), fmt.Sprint(i)), 0, "localhost"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("again", func(b *testing.B) {
		dir := b.TempDir()
		for b.Loop() {
			if _, err := at(dir, 0, "localhost"); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func replaceAuthority(t *testing.T, dir string) {
	other := t.TempDir()
	mustLoad(t, other, 0)
	write(t, dir, "ca.crt", read(t, other, "ca.crt"))
	write(t, dir, "ca.key", read(t, other, "ca.key"))
}

func spoil(name string, content []byte) func(*testing.T, string) {
	return func(t *testing.T, dir string) { write(t, dir, name, content) }
}

func cut(name string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		data := read(t, dir, name)
		write(t, dir, name, data[:len(data)/2])
	}
}

func copyOf(name, from string) func(*testing.T, string) {
	return func(t *testing.T, dir string) { write(t, dir, name, read(t, dir, from)) }
}

func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, entry := range entries {
		if entry.Type().IsRegular() && entry.Name() != ".lock" {
			all[entry.Name()] = string(read(t, dir, entry.Name()))
		}
	}
	return all
}

func read(t *testing.T, dir, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func write(t *testing.T, dir, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}
