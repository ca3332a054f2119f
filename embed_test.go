package knarr_test

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"
)

// Another module imports knarr with a plain require: this one is published to
// a module proxy in a directory, and testdata/embed gets it from there.
func TestEmbeddingModule(t *testing.T) {
	if testing.Short() {
		t.Skip("links another program")
	}
	version := publish(t)
	dir := t.TempDir()
	copyFile(t, "testdata/embed/main.go", filepath.Join(dir, "main.go"))
	mod, err := os.ReadFile("testdata/embed/go.mod.txt")
	if err != nil {
		t.Fatal(err)
	}
	required := strings.Replace(string(mod), "knarr v0.1.0", "knarr "+version.version, 1)
	if strings.Contains(required, "replace") {
		t.Fatal("the embedding module has a replace line")
	}
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte(required), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "run", "-mod=mod", ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOPROXY=file://"+filepath.ToSlash(version.proxy)+","+goEnv(t, "GOPROXY"), "GONOSUMDB=github.com/knarr-io/*", "GOWORK=off")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !strings.Contains(string(out), "kube-system\n") {
		t.Errorf("the embedded server lists the namespaces\n%s", out)
	}
}

type published struct{ proxy, version string }

// publish makes a proxy that serves this module under a version of its own,
// and removes it from the module cache at the end.
func publish(t *testing.T) published {
	t.Helper()
	const path = "github.com/knarr-io/knarr"
	p := published{proxy: t.TempDir(), version: fmt.Sprintf("v0.0.0-%s-%012x", time.Now().UTC().Format("20060102150405"), os.Getpid())}
	dir := filepath.Join(p.proxy, filepath.FromSlash(path), "@v")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	copyFile(t, "go.mod", filepath.Join(dir, p.version+".mod"))
	info := fmt.Sprintf(`{"Version":%q,"Time":%q}`, p.version, time.Now().UTC().Format(time.RFC3339))
	if err := os.WriteFile(filepath.Join(dir, p.version+".info"), []byte(info), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, p.version+".zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := zip.CreateFromDir(f, module.Version{Path: path, Version: p.version}, "."); err != nil {
		t.Fatal(err)
	}
	cache := goEnv(t, "GOMODCACHE")
	t.Cleanup(func() {
		unpacked := filepath.Join(cache, filepath.FromSlash(path)+"@"+p.version)
		_ = filepath.WalkDir(unpacked, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				return os.Chmod(path, 0o700) // the module cache is read-only
			}
			return err
		})
		leftovers, _ := filepath.Glob(filepath.Join(cache, "cache", "download", filepath.FromSlash(path), "@v", p.version+".*"))
		for _, file := range append(leftovers, unpacked) {
			if err := os.RemoveAll(file); err != nil {
				t.Error(err)
			}
		}
	})
	return p
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
