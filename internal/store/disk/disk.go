// Package disk is the store that keeps objects on the local disk: the default.
//
// It is an embedded store on bbolt, one file in a directory of the caller's.
// The file holds the changes in the order of their revisions, each value once;
// see entry.go for their form. It must not know what a value means.
//
// A commit is acknowledged after the file has been synced. A crash loses
// nothing acknowledged: bbolt goes back to the last transaction that is whole.
package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/knarr-io/knarr/internal/store"
	"github.com/knarr-io/knarr/internal/store/embedded"
)

// FileName is the name of the store's file in its directory. While the file is
// made or made anew, FileName with ".new" is beside it; "reserve" is, too, unless the
// disk is full.
const FileName = "objects.db"

// ErrInUse is wrapped by the error of Open if another store, of this process
// or another, has the directory open.
var ErrInUse = errors.New("another server is using it; stop that one or choose another directory")

// Options are the zero value for everyday use.
type Options = embedded.Options

// Open opens the store in dir, creating both if need be. Its errors are one
// line that names dir.
func Open(dir string, opts Options) (store.Store, error) {
	e, err := openEngine(dir)
	if err != nil {
		return nil, inDir(dir, err)
	}
	return &diskStore{embedded.New(e, opts), e}, nil
}

// diskStore is an embedded store that can be copied while it is used.
type diskStore struct {
	*embedded.Store
	engine *engine
}

func inDir(dir string, err error) error { return fmt.Errorf("data directory %s: %w", dir, err) }

// openExisting locks dir and opens the file that is there.
func openExisting(dir string, readOnly bool) (*engine, error) {
	lock, err := lockDir(dir)
	if err != nil {
		return nil, plain(err)
	}
	e := &engine{path: filepath.Join(dir, FileName), lock: lock, reserve: reserve{path: filepath.Join(dir, reserveName)}}
	if err = examine(e.path); err == nil {
		e.db, e.file, err = openFile(e.path, readOnly)
	}
	if err != nil {
		_ = lock.Close()
		return nil, plain(err)
	}
	return e, nil
}

// openEngine locks dir, then makes or examines the file and opens it.
func openEngine(dir string) (e *engine, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, plain(err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, plain(err)
	}
	e = &engine{path: filepath.Join(dir, FileName), lock: lock}
	defer func() {
		if err != nil {
			_ = lock.Close()
			err = plain(err)
		}
	}()

	if err := os.Remove(e.newPath()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err // left by a crash
	}
	_, err = os.Stat(e.path)
	if errors.Is(err, fs.ErrNotExist) {
		err = e.create()
	} else if err == nil {
		err = examine(e.path)
	}
	if err != nil {
		return nil, err
	}
	if e.db, e.file, err = openFile(e.path, false); err == nil {
		e.reserve.path = filepath.Join(dir, reserveName)
		e.reserve.make() // or the disk is full, and only what deletes is taken
	}
	return e, err
}

// create makes an empty store. It appears under its name when it is complete.
func (e *engine) create() error {
	db, _, err := openFile(e.newPath(), false)
	if err != nil {
		return err
	}
	if err := errors.Join(db.Update(initialize), db.Close()); err != nil {
		return err
	}
	if err := os.Rename(e.newPath(), e.path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(e.path))
}

// openFile opens and locks a file with bbolt.
func openFile(path string, readOnly bool) (db *bbolt.DB, file *os.File, err error) {
	err = guard(func() error {
		db, err = bbolt.Open(path, 0o600, &bbolt.Options{
			ReadOnly: readOnly,
			Timeout:  time.Nanosecond, // one try to lock it
			PageSize: pageSize,
			// The list of free pages is made, at open, from the pages that are
			// not. To write it with every commit costs more, and a damaged
			// list would have live pages overwritten.
			NoFreelistSync: true,
			FreelistType:   bbolt.FreelistMapType,
			OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
				f, err := os.OpenFile(name, flag, mode)
				file = f
				return f, err
			},
		})
		return err
	})
	if errors.Is(err, errPanic) {
		_ = file.Close() // bbolt has not come to it
	}
	if errors.Is(err, bolterrors.ErrTimeout) {
		err = ErrInUse
	}
	if err != nil {
		return nil, nil, err
	}
	return db, file, nil
}

// plain says in the user's words what bbolt and package os mean. The directory
// is named by Open.
func plain(err error) error {
	var pe *fs.PathError
	switch {
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrChecksum), errors.Is(err, bolterrors.ErrVersionMismatch):
		return fmt.Errorf("%s is not a store, or damaged (%w)", FileName, err)
	case errors.As(err, &pe):
		return fmt.Errorf("cannot %s %s: %w", pe.Op, filepath.Base(pe.Path), pe.Err)
	}
	return err
}
