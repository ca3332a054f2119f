// Package filewatch tells when the content of files changes. It must not know what
// is in them.
package filewatch

import (
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
	"k8s.io/klog/v2"
)

const (
	// interval is how often files are read although nothing was heard of them:
	// not every file system tells.
	interval = time.Minute
	// pause is how long there has to be silence before files are read: who
	// writes two that belong together is not half done then.
	pause = 50 * time.Millisecond
)

// Seen is the content that was seen of files.
type Seen struct {
	files  []string
	digest [sha256.Size]byte
}

// See reads the files, of which empty names are none. It is called before they are
// read for use, so that no change is missed.
func See(files ...string) *Seen {
	s := &Seen{}
	for _, f := range files {
		if f != "" {
			s.files = append(s.files, f)
		}
	}
	s.digest = s.read()
	return s
}

// Empty reports whether there are no files.
func (s *Seen) Empty() bool { return len(s.files) == 0 }

// Follow calls changed when the content of files is another than was seen last. If it
// fails, that is told in the log, and it is called again within a minute or
// after the next change. Follow returns when ctx ends; changed has to return then,
// too.
func (s *Seen) Follow(ctx context.Context, changed func() error) {
	heard, stop := s.listen()
	defer stop()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	quiet := time.After(0) // what has happened since they were seen
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-heard.Events:
			if s.concerns(e.Name) {
				quiet = time.After(pause)
			}
			continue
		case <-heard.Errors: // the next tick will tell
			continue
		case <-quiet:
			quiet = nil
		case <-tick.C:
		}
		is := s.read()
		if is == s.digest {
			continue
		}
		if err := changed(); err != nil {
			if ctx.Err() == nil {
				klog.ErrorS(err, "Files have changed, but cannot be used; what was in them before still holds", "files", s.files)
			}
			continue
		}
		s.digest = is
		klog.InfoS("Files were read again", "files", s.files)
	}
}

// concerns reports whether an event in a directory may be about one of the files:
// there may be others that change all the time. Links that Secrets are mounted by
// begin with two dots.
func (s *Seen) concerns(name string) bool {
	name = filepath.Base(name)
	return strings.HasPrefix(name, "..") || slices.ContainsFunc(s.files, func(f string) bool { return filepath.Base(f) == name })
}

// listen returns what there is to hear of the files' directories: a file may be
// replaced, by itself or by a link to another directory that changes.
func (s *Seen) listen() (w *fsnotify.Watcher, stop func()) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		klog.ErrorS(err, "Changes of files are seen within a minute only", "files", s.files)
		return &fsnotify.Watcher{}, func() {} // nothing is heard of it
	}
	for _, f := range s.files {
		if err := w.Add(filepath.Dir(f)); err != nil {
			klog.ErrorS(err, "Changes of a file are seen within a minute only", "file", f)
		}
	}
	return w, func() { _ = w.Close() } // nothing is written by it
}

// read returns what stands for the files' content; that one cannot be read is
// content, too.
func (s *Seen) read() (sum [sha256.Size]byte) {
	h := sha256.New()
	for _, f := range s.files {
		data, err := os.ReadFile(f)
		if err != nil {
			data = []byte("cannot be read")
			if errors.Is(err, fs.ErrNotExist) {
				data = []byte("is not there")
			}
		}
		one := sha256.Sum256(data)
		h.Write(one[:])
	}
	h.Sum(sum[:0])
	return sum
}
