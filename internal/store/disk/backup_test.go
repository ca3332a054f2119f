package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/knarr-io/knarr/internal/store"
)

const testAhead = 1000

// backupOf is a backup of the store in dir.
func backupOf(t *testing.T, dir string) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Backup(t.Context(), dir, &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestRestore makes a store from a backup: what was current is, at its revision;
// what comes after has revisions that nobody has seen.
func TestRestore(t *testing.T) {
	dir, _, _ := fill(t)
	s, seen := start(t, dir)
	put(t, s, "/expires", []byte("soon"), 0)
	if _, err := s.Commit(t.Context(), []store.Change{{Key: "/expires", Value: []byte("late"), If: seen.Rev(), TTL: time.Hour}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(t.Context(), []store.Change{{Key: "/aaa", If: seen.Current()["/aaa"].Rev}}); err != nil {
		t.Fatal(err)
	}
	want, rev := seen.Current(), seen.Rev()
	var online bytes.Buffer
	if err := s.(store.Dumper).Dump(t.Context(), &online); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	b := backupOf(t, dir)
	if !bytes.Equal(b, online.Bytes()) {
		t.Error("a backup of the running store is another than one of its directory")
	}

	other := filepath.Join(t.TempDir(), "new")
	c, err := Restore(t.Context(), other, bytes.NewReader(b), testAhead)
	if err != nil {
		t.Fatal(err)
	}
	if c.Base != len(want) || c.History != 0 || c.Floor != rev+testAhead || c.Rev != rev+testAhead {
		t.Errorf("restored %+v, want %d values at %d", c, len(want), rev+testAhead)
	}
	mustCheck(t, other)
	s, seen = start(t, other)
	compareCurrent(t, seen.Current(), want)
	if got := put(t, s, "/next", []byte("x"), 0); got != rev+testAhead+1 {
		t.Errorf("the next change has revision %d, want %d", got, rev+testAhead+1)
	}
	mustClose(t, s)

	if _, err := Restore(t.Context(), other, bytes.NewReader(b), testAhead); err == nil || !strings.Contains(err.Error(), "there are objects in it already") {
		t.Errorf("restoring over objects: %v", err)
	}
	if _, err := Restore(t.Context(), t.TempDir(), bytes.NewReader(b), ^uint64(0)); err == nil {
		t.Error("revisions can be moved beyond the last there is")
	}
}

// TestBackupIsOfOneRevision makes backups while there are commits and the history
// is compacted: of two keys that are changed together, no backup has one alone.
func TestBackupIsOfOneRevision(t *testing.T) {
	dir := t.TempDir()
	s, seen := start(t, dir)
	first, err := s.Commit(t.Context(), []store.Change{{Key: "/a", Value: []byte("0")}, {Key: "/b", Value: []byte("0")}})
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var work sync.WaitGroup
	work.Go(func() {
		revs := first
		for i := 1; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			value := bytes.Repeat(fmt.Append(nil, i), 3000)
			var err error
			revs, err = s.Commit(t.Context(), []store.Change{{Key: "/a", Value: value, If: revs[0]}, {Key: "/b", Value: value, If: revs[1]}})
			if err != nil {
				t.Error(err)
				return
			}
			if i%20 == 0 {
				if err := s.Compact(t.Context(), revs[1]-4); err != nil {
					t.Error(err)
				}
			}
		}
	})
	reached := uint64(0)
	for range 20 {
		var b bytes.Buffer
		before := seen.Rev()
		if err := s.(store.Dumper).Dump(t.Context(), &b); err != nil {
			t.Fatal(err)
		}
		restored := t.TempDir()
		c, err := Restore(t.Context(), restored, &b, 0)
		if err != nil {
			t.Fatal(err)
		}
		if c.Rev < before || c.Rev < reached {
			t.Errorf("a backup is of revision %d, and there was %d", c.Rev, before)
		}
		reached = c.Rev
		values := map[string]string{}
		if _, err := Check(t.Context(), restored, func(err error) { t.Error(err) }, func(e store.Event) { values[e.Key] = string(e.Value) }); err != nil {
			t.Error(err)
		}
		if len(values) != 2 || values["/a"] != values["/b"] {
			t.Errorf("at revision %d the two are not the same", c.Rev)
		}
	}
	close(stop)
	work.Wait()
	mustClose(t, s)
}

// TestDamagedBackup cuts a backup anywhere, and changes any of its bytes: it is
// refused, and leaves nothing behind.
func TestDamagedBackup(t *testing.T) {
	dir, _, _ := fill(t)
	b := backupOf(t, dir)
	step := 97
	if testing.Short() {
		step = 997
	}
	try := func(what string, r io.Reader) {
		t.Helper()
		to := t.TempDir()
		if _, err := Restore(t.Context(), to, r, testAhead); !errors.Is(err, ErrNoBackup) {
			t.Errorf("%s: %v", what, err)
		}
		if left, err := os.ReadDir(to); err != nil || len(left) > 0 {
			t.Errorf("%s: it leaves %v, %v", what, left, err)
		}
	}
	for n := 0; n < len(b); n += step {
		try(fmt.Sprintf("cut to %d bytes", n), bytes.NewReader(b[:n]))
		damaged := bytes.Clone(b)
		damaged[n] ^= 1 << (n % 8)
		try(fmt.Sprintf("byte %d changed", n), bytes.NewReader(damaged))
	}
	try("more at the end", io.MultiReader(bytes.NewReader(b), strings.NewReader("x")))
	if _, err := Restore(t.Context(), t.TempDir(), io.MultiReader(bytes.NewReader(b[:len(b)/2]), iotest.ErrReader(os.ErrPermission)), 0); !errors.Is(err, os.ErrPermission) {
		t.Errorf("a backup that cannot be read: %v", err)
	}
	newer := append([]byte(backupMagic), 9, 4)
	newer = append(newer, "v9.9"...)
	if _, err := Restore(t.Context(), t.TempDir(), bytes.NewReader(binary.AppendUvarint(newer, 0)), 0); err == nil || !strings.Contains(err.Error(), "use knarr v9.9 or newer") {
		t.Errorf("a newer format: %v", err)
	}
}

// TestBackupKeepsDamage makes a backup of a store with a damaged value: it stays
// damaged, and all others are there.
func TestBackupKeepsDamage(t *testing.T) {
	dir, path, _ := fill(t)
	b := readFile(t, path)
	value := bytes.Repeat([]byte{'A' + 59}, 500+59)
	damaged := bytes.Clone(value)
	damaged[77] ^= 4
	writeFile(t, path, bytes.ReplaceAll(b, value, damaged))
	file := filepath.Join(t.TempDir(), "backup")
	writeFile(t, file, backupOf(t, dir))
	var problems []error
	c, err := CheckBackup(file, func(err error) { problems = append(problems, err) }, nil)
	if err != nil || len(problems) != 1 || !strings.Contains(problems[0].Error(), "/ttt") {
		t.Errorf("%v, %v", problems, err)
	}
	if c.Floor != 25 || c.Rev != 61 || c.Base != 20 || c.History != 36 {
		t.Errorf("it has %+v", c)
	}
	to := t.TempDir()
	if _, err := Restore(t.Context(), to, bytes.NewReader(readFile(t, file)), testAhead); err != nil {
		t.Fatal(err)
	}
	s, seen := start(t, to)
	for key, e := range seen.Current() {
		if (e.Err != nil) != (key == "/ttt") {
			t.Errorf("%s has error %v", key, e.Err)
		}
	}
	mustClose(t, s)
}

// TestCompactOffline forgets the history and makes the file small.
func TestCompactOffline(t *testing.T) {
	dir := t.TempDir()
	s, seen := start(t, dir)
	rev := uint64(0)
	for i := range 200 {
		rev = put(t, s, "/a", bytes.Repeat([]byte{byte(i)}, 20000), rev)
	}
	want := seen.Current()
	if _, _, err := Compact(t.Context(), dir); !errors.Is(err, ErrInUse) {
		t.Errorf("while it is used: %v", err)
	}
	mustClose(t, s)
	before, after, err := Compact(t.Context(), dir)
	if err != nil || after*10 > before {
		t.Errorf("%d bytes before, %d after, %v", before, after, err)
	}
	mustCheck(t, dir)
	s, seen = start(t, dir)
	compareCurrent(t, seen.Current(), want)
	mustClose(t, s)
	if _, _, err := Compact(t.Context(), filepath.Join(dir, "none")); err == nil {
		t.Error("a directory that is not there can be compacted")
	}
}
