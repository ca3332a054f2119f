package audit

import (
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// clock is a time that goes on by a second with each look.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time {
	c.now = c.now.Add(time.Second)
	return c.now
}

func startRolling(t *testing.T, r *rolling) *rolling {
	t.Helper()
	if err := r.start(); err != nil {
		t.Fatal(err)
	}
	return r
}

func write(t *testing.T, r *rolling, s string) {
	t.Helper()
	if n, err := io.WriteString(r, s); n != len(s) || err != nil {
		t.Fatalf("%q: %d bytes written, %v", s, n, err)
	}
}

// files is what the directory holds, by name.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	held := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		f, err := os.Open(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		var from io.Reader = f
		if strings.HasSuffix(e.Name(), compressed) {
			if from, err = gzip.NewReader(f); err != nil {
				t.Fatal(err)
			}
		}
		b, err := io.ReadAll(from)
		if err != nil {
			t.Fatal(err)
		}
		held[e.Name()] = string(b)
	}
	return held
}

func TestRolling(t *testing.T) {
	dir := t.TempDir()
	began := &clock{time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	r := startRolling(t, &rolling{path: filepath.Join(dir, "audit.log"), maxSize: 10, now: began.Now})
	write(t, r, "one\n")
	write(t, r, "two\n")
	write(t, r, "three\n")
	write(t, r, "four\n")
	if _, err := io.WriteString(r, "much too long\n"); err == nil {
		t.Error("what is larger than a file is written")
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(r, "late\n"); !errors.Is(err, os.ErrClosed) {
		t.Errorf("written after the end: %v", err)
	}
	var at []string
	for name := range files(t, dir) {
		if name != "audit.log" {
			at = append(at, name)
		}
	}
	if len(at) != 2 {
		t.Fatalf("put aside: %v", at)
	}
	for _, name := range at {
		if _, err := time.Parse("audit-2006-01-02T15-04-05.000.log", name); err != nil {
			t.Error(err)
		}
	}
	// It goes on where it ended.
	r = startRolling(t, &rolling{path: filepath.Join(dir, "audit.log"), maxSize: 10, now: began.Now})
	write(t, r, "five\n")
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if got := files(t, dir)["audit.log"]; got != "four\nfive\n" {
		t.Errorf("after another start: %q", got)
	}
	info, err := os.Stat(filepath.Join(dir, "audit.log"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the log may be read by others: %s", info.Mode())
	}
}

func TestRollingTidies(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"audit-2025-12-01T00-00-00.000.log":    "too old\n",
		"audit-2026-01-01T00-00-00.000.log":    "one too many\n",
		"audit-2026-01-01T12-00-00.000.log":    "third\n",
		"audit-2026-01-02T00-00-00.000.log":    "second\n",
		"audit-2026-01-02T03-00-00.000.log":    "first\n",
		"audit-2026-01-01T12-00-00.001.txt":    "another's\n",
		"audit-2026-01-01T12-00-00.000.log.xx": "another's\n",
		"audit-yesterday.log":                  "another's\n",
		"other-2025-12-01T00-00-00.000.log":    "another's\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	now := &clock{time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	options := rolling{path: filepath.Join(dir, "audit.log"), maxSize: 10, maxBackups: 3, maxAge: 7 * 24 * time.Hour, compress: true, now: now.Now}
	r := startRolling(t, &options)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"audit.log":                            "",
		"audit-2026-01-01T12-00-00.000.log.gz": "third\n",
		"audit-2026-01-02T00-00-00.000.log.gz": "second\n",
		"audit-2026-01-02T03-00-00.000.log.gz": "first\n",
		"audit-2026-01-01T12-00-00.001.txt":    "another's\n",
		"audit-2026-01-01T12-00-00.000.log.xx": "another's\n",
		"audit-yesterday.log":                  "another's\n",
		"other-2025-12-01T00-00-00.000.log":    "another's\n",
	}
	if diff := cmp.Diff(want, files(t, dir)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := r.tidyNow(); err != nil { // compressed files count too
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, files(t, dir)); diff != "" {
		t.Errorf("looked at again (-want +got):\n%s", diff)
	}
}
