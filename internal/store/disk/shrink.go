package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"
)

// bbolt reuses the pages of what has been deleted and never makes its file
// smaller. So a file of some size that is mostly free is replaced by a copy.
const (
	shrinkSize  = 32 << 20 // a smaller file is left alone,
	shrinkRatio = 4        // and so is one of which more than a fourth is used
)

// shrink replaces the file by a copy if that gives back most of it. Commits go
// on meanwhile: entries are only ever added, so the copy catches up with them,
// and just the last few are copied while commits wait.
//
// If the copy cannot be made, all that is lost is space, and the next Compact
// tries again. Only an error after which the directory is in doubt is
// returned.
func (e *engine) shrink(ctx context.Context) error {
	if !e.mostlyFree() {
		return nil
	}
	err := e.rewrite(ctx)
	if errors.Is(err, errNoCopy) {
		return context.Cause(ctx)
	}
	return err
}

// errNoCopy is wrapped by errors of rewrite after which the file is what it was.
var errNoCopy = errors.New("the file cannot be copied")

// rewrite replaces the file by a copy.
func (e *engine) rewrite(ctx context.Context) error {
	db, _, err := openFile(e.newPath(), false)
	if err != nil {
		return fmt.Errorf("%w: %w", errNoCopy, err)
	}
	db.NoSync = true // until all is there
	copied, err := e.copyLog(ctx, db)
	if err == nil {
		e.mu.Lock()
		defer e.mu.Unlock()
		err = e.finishCopy(db, copied)
	}
	if err = errors.Join(err, db.Close()); err != nil {
		_ = os.Remove(e.newPath())
		return fmt.Errorf("%w: %w", errNoCopy, err)
	}
	return e.swap()
}

// usage returns how large the file is, and how much of it is free.
func (e *engine) usage() (size, free int64, err error) {
	err = e.view(func(tx *bbolt.Tx) error {
		stats := e.db.Stats()
		size = tx.Size()
		free = int64(stats.FreePageN+stats.PendingPageN) * int64(e.db.Info().PageSize)
		return nil
	})
	return size, free, err
}

func (e *engine) mostlyFree() bool {
	size, free, err := e.usage()
	return err == nil && size >= shrinkSize && (size-free)*shrinkRatio <= size
}

// copyLog copies entries to db until there are no more, and returns the
// revision of the last.
func (e *engine) copyLog(ctx context.Context, db *bbolt.DB) (copied uint64, err error) {
	if err := db.Update(initialize); err != nil {
		return 0, err
	}
	for {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		before := copied
		err := e.view(func(tx *bbolt.Tx) (err error) {
			copied, err = copyStep(db, tx, before)
			return err
		})
		if err != nil || copied == before {
			return copied, err
		}
	}
}

// finishCopy copies what copyLog has left, and makes db durable. No commit may
// run meanwhile.
func (e *engine) finishCopy(db *bbolt.DB, copied uint64) error {
	err := e.guard(func() error {
		return e.db.View(func(tx *bbolt.Tx) error {
			for before := uint64(1); copied != before; {
				before = copied
				var err error
				if copied, err = copyStep(db, tx, before); err != nil {
					return err
				}
			}
			return db.Update(func(to *bbolt.Tx) error {
				from, meta := tx.Bucket(metaBucket), to.Bucket(metaBucket)
				return from.ForEach(meta.Put)
			})
		})
	})
	if err != nil {
		return err
	}
	db.NoSync = false
	return db.Sync()
}

// copyStep copies some entries after the given revision from one file to
// another, and returns the revision of the last.
func copyStep(db *bbolt.DB, from *bbolt.Tx, after uint64) (uint64, error) {
	_, last, err := bounds(from)
	if err != nil {
		return 0, err
	}
	err = db.Update(func(to *bbolt.Tx) error {
		log, size := to.Bucket(logBucket), 0
		log.FillPercent = 1
		err := walk(from, after, last, func(rev uint64, v []byte) error {
			if size > stepBytes {
				return errStep
			}
			size += len(v)
			after = rev
			return log.Put(revKey(rev), v)
		})
		if err == errStep {
			return nil
		}
		return err
	})
	return after, err
}

// swap closes the present file and goes on with the one at newPath, or with the
// present one if that cannot be replaced.
func (e *engine) swap() error {
	if err := e.closeFile(); err != nil {
		return err
	}
	e.db = nil
	err := os.Rename(e.newPath(), e.path)
	if err != nil {
		_ = os.Remove(e.newPath())
	} else if err = syncDir(filepath.Dir(e.path)); err != nil {
		// A power failure could bring the old file back, without the commits
		// made in the new one.
		return err
	}
	e.db, e.file, err = openFile(e.path, false)
	return err
}

func (e *engine) newPath() string { return e.path + ".new" }
