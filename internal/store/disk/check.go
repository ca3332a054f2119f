package disk

import (
	"context"
	"fmt"
	"path/filepath"

	"go.etcd.io/bbolt"

	"github.com/knarr-io/knarr/internal/store"
	"github.com/knarr-io/knarr/internal/store/embedded"
)

// Check reads everything in the store in dir, which must not be open, and
// reports each thing that is not as it should be. It changes nothing. It
// returns an error if it could not read on.
func Check(dir string, report func(problem error)) error {
	lock, err := lockDir(dir)
	if err != nil {
		return plain(err)
	}
	defer lock.Close()
	path := filepath.Join(dir, FileName)
	if err := examine(path); err != nil {
		return plain(err)
	}
	db, file, err := openFile(path, true)
	if err != nil {
		return plain(err)
	}
	e := &engine{path: path, db: db, file: file, lock: lock}
	defer e.closeFile()
	err = e.view(func(tx *bbolt.Tx) error {
		for err := range tx.Check() {
			report(err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return embedded.Read(context.Background(), e, checker{report})
}

// checker is a follower that reports values it cannot read.
type checker struct{ report func(error) }

func (c checker) Load(l store.Load) error {
	visit := func(e store.Event) error {
		if e.Err != nil {
			c.report(fmt.Errorf("%s at revision %d: %w", e.Key, e.Rev, e.Err))
		}
		return nil
	}
	if err := l.Base(visit); err != nil {
		return err
	}
	return l.Events(visit)
}

func (checker) Apply([]store.Event) {}
func (checker) Progress(uint64)     {}
