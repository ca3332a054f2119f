package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"

	"github.com/knarr-io/knarr/internal/store"
	"github.com/knarr-io/knarr/internal/store/embedded"
)

// Restore makes the store in dir, where there is none yet, from a backup.
//
// Objects are what they were, at the revisions that they had. The store's own is
// moved on by ahead, and no history is kept below it, as etcdutl does with
// --bump-revision and --mark-compacted: what clients have seen after the backup was
// made is never used again for something else, and whoever resumes a watch, or reads
// at a revision, from before is told that it is too old and lists anew.
func Restore(ctx context.Context, dir string, r io.Reader, ahead uint64) (*Contents, error) {
	c, err := restore(ctx, dir, r, ahead)
	if err != nil && !errors.Is(err, ErrNoBackup) {
		err = inDir(dir, err)
	}
	return c, err
}

func restore(ctx context.Context, dir string, r io.Reader, ahead uint64) (c *Contents, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, plain(err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, plain(err)
	}
	defer lock.Close()
	path := filepath.Join(dir, FileName)
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there are objects in it already; restore into another directory, or move %s away", FileName)
	}
	b, err := openBackup(r)
	if err != nil {
		return nil, err
	}
	e := &engine{path: path + ".new", lock: lock, reserve: reserve{path: filepath.Join(dir, reserveName)}}
	if err := os.Remove(e.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, plain(err) // left by a crash
	}
	if e.db, e.file, err = openFile(e.path, false); err != nil {
		return nil, plain(err)
	}
	c, err = e.fill(ctx, b, ahead)
	if err = errors.Join(err, e.closeFile()); err != nil {
		_ = os.Remove(e.path)
		return nil, plain(err)
	}
	if err := os.Rename(e.path, path); err != nil {
		return nil, plain(err)
	}
	return c, syncDir(dir)
}

// fill puts what a backup has into an empty file, and makes it durable.
func (e *engine) fill(ctx context.Context, b *backup, ahead uint64) (*Contents, error) {
	if b.rev+ahead < b.rev {
		return nil, fmt.Errorf("revision %d cannot be moved on by %d", b.rev, ahead)
	}
	e.db.NoSync = true // until all is there
	if err := e.db.Update(initialize); err != nil {
		return nil, err
	}
	if err := e.fillLog(ctx, b); err != nil {
		return nil, err
	}
	if err := e.setBounds(b.floor, b.rev); err != nil {
		return nil, err
	}
	// That it hangs together is told by reading it as a start would.
	if err := embedded.Read(ctx, e, &checker{report: func(error) {}}); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoBackup, err)
	}
	if err := e.drop(ctx, b.floor, b.rev); err != nil {
		return nil, err
	}
	if err := e.setBounds(b.rev+ahead, b.rev+ahead); err != nil {
		return nil, err
	}
	c := &checker{report: func(error) {}, see: func(store.Event) {}}
	if err := embedded.Read(ctx, e, c); err != nil {
		return nil, err
	}
	e.db.NoSync = false
	return &c.found, e.db.Sync()
}

// fillLog adds the entries of b, some in each transaction.
func (e *engine) fillLog(ctx context.Context, b *backup) error {
	tx, size := (*bbolt.Tx)(nil), 0
	commit := func() (err error) {
		if tx != nil {
			err = tx.Commit()
		}
		tx, size = nil, 0
		return err
	}
	err := b.each(func(rev uint64, entry []byte) (err error) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if tx == nil {
			if tx, err = e.db.Begin(true); err != nil {
				return err
			}
			tx.Bucket(logBucket).FillPercent = 1
		}
		// bbolt keeps the value until the commit; the backup does not.
		if err := tx.Bucket(logBucket).Put(revKey(rev), append([]byte(nil), entry...)); err != nil {
			return err
		}
		if size += len(entry); size > stepBytes {
			return commit()
		}
		return nil
	})
	if err != nil && tx != nil {
		return errors.Join(err, tx.Rollback())
	}
	return errors.Join(err, commit())
}

func (e *engine) setBounds(floor, last uint64) error {
	return e.update(func(tx *bbolt.Tx) error {
		meta := tx.Bucket(metaBucket)
		return errors.Join(meta.Put(floorKey, revKey(floor)), meta.Put(lastKey, revKey(last)))
	})
}

// Compact forgets the history of the store in dir, which must not be open, and
// makes its file as small as it can be. It returns the size before and after.
func Compact(ctx context.Context, dir string) (before, after int64, err error) {
	e, err := openExisting(dir, false)
	if err != nil {
		return 0, 0, inDir(dir, err)
	}
	defer func() {
		if err = errors.Join(err, e.Close()); err != nil {
			err = inDir(dir, plain(err))
		}
	}()
	if before, err = e.size(); err != nil {
		return 0, 0, err
	}
	floor, rev, err := e.Bounds()
	if err != nil {
		return 0, 0, err
	}
	if err := e.drop(ctx, floor, rev); err != nil {
		return 0, 0, err
	}
	if err := e.rewrite(ctx); err != nil {
		return 0, 0, err
	}
	after, err = e.size()
	return before, after, err
}

func (e *engine) size() (int64, error) {
	info, err := os.Stat(e.path)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
