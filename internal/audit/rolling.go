package audit

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/klog/v2"
)

// rolling is a file that is put aside when it is full. What is put aside is
// named, compressed and removed as kube-apiserver's library does
// (gopkg.in/natefinch/lumberjack.v2), whose goroutine never ends.
type rolling struct {
	path       string
	maxSize    int64 // 0 for any
	maxBackups int
	maxAge     time.Duration
	compress   bool
	now        func() time.Time

	mu   sync.Mutex // guards what follows
	file *os.File   // nil after a failure to put it aside, and when closed
	size int64
	shut bool

	tidying sync.Mutex     // held by who looks at what was put aside
	tidiers sync.WaitGroup // at most one for each time the file was full
}

// asideFormat is the time in the name of a file put aside.
const asideFormat = "2006-01-02T15-04-05.000"

// start opens the file, and looks at what an earlier server left.
func (r *rolling) start() error {
	if err := r.open(0o600); err != nil {
		return err
	}
	if r.maxSize > 0 {
		r.tidy()
	}
	return nil
}

// open opens the file to append to it. r.mu is held, or nobody else knows r.
func (r *rolling) open(mode os.FileMode) error {
	f, err := os.OpenFile(r.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	r.file, r.size = f, info.Size()
	return nil
}

func (r *rolling) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.shut:
		return 0, os.ErrClosed
	case r.maxSize > 0 && int64(len(p)) > r.maxSize:
		return 0, fmt.Errorf("an event of %d bytes is more than a file may have, which is %d", len(p), r.maxSize)
	case r.file == nil:
		if err := r.open(0o600); err != nil {
			return 0, err
		}
	}
	if r.maxSize > 0 && r.size > 0 && r.size+int64(len(p)) > r.maxSize {
		if err := r.roll(); err != nil {
			return 0, err
		}
	}
	n, err := r.file.Write(p)
	r.size += int64(n)
	return n, err
}

// roll puts the file aside and begins another. r.mu is held.
func (r *rolling) roll() error {
	info, err := r.file.Stat()
	if err != nil {
		return err
	}
	err = r.file.Close()
	r.file = nil
	if err != nil {
		return err
	}
	prefix, ext := r.nameParts()
	aside := filepath.Join(filepath.Dir(r.path), prefix+r.now().UTC().Format(asideFormat)+ext)
	if err := os.Rename(r.path, aside); err != nil {
		return err
	}
	if err := r.open(info.Mode()); err != nil {
		return err
	}
	r.tidy()
	return nil
}

// tidy looks in the background at what was put aside.
func (r *rolling) tidy() {
	r.tidiers.Go(func() {
		r.tidying.Lock()
		defer r.tidying.Unlock()
		if err := r.tidyNow(); err != nil {
			klog.ErrorS(err, "Cannot remove or compress old audit logs", "path", r.path)
		}
	})
}

// nameParts returns what the names of files put aside have before and after
// their time.
func (r *rolling) nameParts() (prefix, ext string) {
	name := filepath.Base(r.path)
	ext = filepath.Ext(name)
	return strings.TrimSuffix(name, ext) + "-", ext
}

const compressed = ".gz"

// aside is a file that was put aside.
type aside struct {
	name string // without what tells that it is compressed
	at   time.Time
	gz   bool
}

// tidyNow removes what is too old or too much, and compresses the rest.
func (r *rolling) tidyNow() error {
	dir := filepath.Dir(r.path)
	files, err := r.putAside(dir)
	if err != nil {
		return err
	}
	var errs []error
	moments := map[string]bool{}
	for _, f := range files { // the newest first
		moments[f.name] = true
		path := filepath.Join(dir, f.name)
		old := r.maxAge > 0 && f.at.Before(r.now().Add(-r.maxAge))
		switch {
		case r.maxBackups > 0 && len(moments) > r.maxBackups || old:
			if f.gz {
				path += compressed
			}
			errs = append(errs, os.Remove(path))
		case r.compress && !f.gz:
			errs = append(errs, compressFile(path))
		}
	}
	return errors.Join(errs...)
}

// putAside returns the files that were put aside, the newest first.
func (r *rolling) putAside(dir string) ([]aside, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	prefix, ext := r.nameParts()
	var files []aside
	for _, e := range entries {
		name, gz := strings.CutSuffix(e.Name(), compressed)
		middle, ok := strings.CutPrefix(name, prefix)
		if !ok || e.IsDir() {
			continue
		}
		if middle, ok = strings.CutSuffix(middle, ext); !ok {
			continue
		}
		if at, err := time.Parse(asideFormat, middle); err == nil {
			files = append(files, aside{name, at, gz})
		}
	}
	slices.SortFunc(files, func(a, b aside) int { return b.at.Compare(a.at) })
	return files, nil
}

// compressFile puts a compressed file in the place of one.
func compressFile(path string) (err error) {
	from, err := os.Open(path)
	if err != nil {
		return err
	}
	defer from.Close()
	info, err := from.Stat()
	if err != nil {
		return err
	}
	to, err := os.OpenFile(path+compressed, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, info.Mode())
	if err != nil {
		return err
	}
	z := gzip.NewWriter(to)
	_, err = io.Copy(z, from)
	if err = errors.Join(err, z.Close(), to.Close()); err != nil {
		return errors.Join(err, os.Remove(path+compressed))
	}
	return os.Remove(path)
}

// Close closes the file and waits for what is done in the background.
func (r *rolling) Close() error {
	r.mu.Lock()
	r.shut = true
	var err error
	if r.file != nil {
		err = r.file.Close()
		r.file = nil
	}
	r.mu.Unlock()
	r.tidiers.Wait()
	return err
}
