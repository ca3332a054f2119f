package disk

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"go.etcd.io/bbolt"

	"github.com/knarr-io/knarr/internal/store/embedded"
)

// pageSize suits values of a few kilobytes: with smaller pages much of each is
// left empty, with larger ones a lone commit writes more than it needs.
const pageSize = 16 << 10

// format is the version of the form of the file, and formatSince the first
// release that reads it. Raise both when an older knarr would misread the file.
const (
	format      = 1
	formatSince = "v0.1.0"
)

// compactStep is how many revisions one transaction of Compact looks at, which
// bounds how long it keeps commits waiting.
const compactStep = 1000

// The file has two buckets: the log of entries, and what is known about it.
var (
	logBucket  = []byte("log")  // entries by revision
	metaBucket = []byte("meta") // the keys below

	formatKey = []byte("format") // uvarint
	sinceKey  = []byte("since")  // the release that a reader must be of, as text
	floorKey  = []byte("floor")  // a revision, in the form of a key of the log
	lastKey   = []byte("last")   // the last revision when it was last compacted
)

// engine is an embedded.Engine on one bbolt file.
type engine struct {
	path string
	lock *os.File // on the directory

	mu   sync.RWMutex // held for writing only while the file is replaced
	db   *bbolt.DB    // nil if the file could not be replaced
	file *os.File     // that of db

	// broken is set when bbolt has panicked, and may hold its locks for ever.
	broken atomic.Bool

	reserve  reserve
	buf      []byte // of Append
	offsets  []int
	appended int // bytes since release
}

// initialize makes an empty file an empty store.
func initialize(tx *bbolt.Tx) error {
	_, err := tx.CreateBucket(logBucket)
	if err != nil {
		return err
	}
	meta, err := tx.CreateBucket(metaBucket)
	if err != nil {
		return err
	}
	return errors.Join(
		meta.Put(formatKey, binary.AppendUvarint(nil, format)),
		meta.Put(sinceKey, []byte(formatSince)),
		meta.Put(floorKey, revKey(1)),
		meta.Put(lastKey, revKey(1)),
	)
}

// checkFormat refuses a file that this version would misread.
func checkFormat(meta *bbolt.Bucket) error {
	v, n := binary.Uvarint(meta.Get(formatKey))
	if n <= 0 {
		return fmt.Errorf("%w (its format is not recorded)", errDamaged)
	}
	if v > format {
		return fmt.Errorf("%s has format %d, and this version of knarr reads formats up to %d: use knarr %s or newer",
			FileName, v, format, meta.Get(sinceKey))
	}
	return nil
}

// view and update run f in a transaction. A fault in the mapped file becomes
// an error.
func (e *engine) view(f func(*bbolt.Tx) error) error {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.guard(func() error { return e.db.View(f) })
}

func (e *engine) update(f func(*bbolt.Tx) error) error {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.guard(func() error { return e.db.Update(f) })
}

func (e *engine) guard(f func() error) error {
	if e.db == nil || e.broken.Load() {
		return errors.New("the file was given up after an error")
	}
	err := guard(f)
	if errors.Is(err, errPanic) {
		e.broken.Store(true)
	}
	return err
}

func (e *engine) Bounds() (floor, rev uint64, err error) {
	err = e.view(func(tx *bbolt.Tx) error {
		floor, rev, err = bounds(tx)
		return err
	})
	return floor, rev, err
}

// bounds reads the floor and the last revision: that of the last entry, unless
// it was a deletion and has been compacted.
func bounds(tx *bbolt.Tx) (floor, rev uint64, err error) {
	meta := tx.Bucket(metaBucket)
	if floor, err = keyRev(meta.Get(floorKey)); err != nil {
		return 0, 0, err
	}
	if rev, err = keyRev(meta.Get(lastKey)); err != nil {
		return 0, 0, err
	}
	if last, _ := tx.Bucket(logBucket).Cursor().Last(); last != nil {
		r, err := keyRev(last)
		if err != nil {
			return 0, 0, err
		}
		rev = max(rev, r)
	}
	return floor, rev, nil
}

// Scan reads a few entries at a time, so that the visitor does not run inside
// a transaction.
func (e *engine) Scan(after, upTo uint64, visit func(embedded.Entry) error) error {
	for {
		var entries []embedded.Entry
		err := e.view(func(tx *bbolt.Tx) error {
			size := 0
			return walk(tx, after, upTo, func(rev uint64, v []byte) error {
				if size > stepBytes {
					return errStep
				}
				size += len(v)
				entry, err := decodeEntry(rev, v)
				if err != nil {
					return unreadable(rev, err)
				}
				entries = append(entries, entry)
				return nil
			})
		})
		if err != nil && err != errStep {
			return err
		}
		for _, entry := range entries {
			if err := visit(entry); err != nil {
				return err
			}
			after = entry.Rev
		}
		if err == nil {
			return e.view(release)
		}
	}
}

func unreadable(rev uint64, err error) error {
	return fmt.Errorf("%w (revision %d: %w)", errDamaged, rev, err)
}

// stepBytes is about how much one transaction reads or copies.
const stepBytes = 1 << 20

// errStep ends such a step.
var errStep = errors.New("enough for one transaction")

// walk visits the encoded entries with revisions in (after, upTo].
func walk(tx *bbolt.Tx, after, upTo uint64, visit func(rev uint64, v []byte) error) error {
	c := tx.Bucket(logBucket).Cursor()
	for k, v := c.Seek(revKey(after + 1)); k != nil; k, v = c.Next() {
		rev, err := keyRev(k)
		if err != nil {
			return fmt.Errorf("%w: %w", errDamaged, err)
		}
		if rev > upTo {
			return nil
		}
		if err := visit(rev, v); err != nil {
			return err
		}
	}
	return nil
}

func (e *engine) Append(entries []embedded.Entry) error {
	if err := e.admit(entries); err != nil {
		return err
	}
	e.buf, e.offsets = e.buf[:0], append(e.offsets[:0], 0)
	for _, entry := range entries {
		e.buf = appendEntry(e.buf, entry)
		e.offsets = append(e.offsets, len(e.buf))
	}
	err := e.update(func(tx *bbolt.Tx) error {
		log := tx.Bucket(logBucket)
		log.FillPercent = 1 // nothing is ever put between two entries
		for i, entry := range entries {
			if err := log.Put(revKey(entry.Rev), e.buf[e.offsets[i]:e.offsets[i+1]]); err != nil {
				return err
			}
		}
		return nil
	})
	if e.appended += len(e.buf); e.appended > releaseBytes && err == nil {
		e.appended = 0
		_ = e.view(release) // the entries are kept, whatever becomes of this
	}
	if cap(e.buf) > keptBuffer {
		e.buf = nil
	}
	if err != nil {
		return e.noRoom(err, func() bool {
			_, rev, err := e.Bounds()
			return err == nil && rev < entries[0].Rev
		})
	}
	return nil
}

const (
	keptBuffer   = 1 << 20 // a larger buffer is not kept for the next Append
	releaseBytes = 4 << 20 // how much is appended between calls of release
)

func (e *engine) Compact(ctx context.Context, rev uint64) error {
	floor, _, err := e.Bounds()
	if err != nil {
		return err
	}
	if err := e.drop(ctx, floor, rev); err != nil {
		return err
	}
	if err := e.shrink(ctx); err != nil {
		return err
	}
	return e.view(release)
}

// drop moves the floor from one revision to another, in steps.
func (e *engine) drop(ctx context.Context, floor, rev uint64) (err error) {
	for err == nil && floor < rev {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		to := min(rev, floor+compactStep)
		if err = e.update(func(tx *bbolt.Tx) error { return compact(tx, floor, to) }); err != nil {
			return e.noRoom(err, func() bool {
				now, _, err := e.Bounds()
				return err == nil && now == floor
			})
		}
		floor = to
	}
	return err
}

// compact moves the floor from one revision to another.
func compact(tx *bbolt.Tx, from, to uint64) error {
	_, last, err := bounds(tx)
	if err != nil {
		return err
	}
	var drop []uint64
	err = walk(tx, from, to, func(rev uint64, v []byte) error {
		entry, value, err := decodeHead(rev, v)
		if err != nil {
			return unreadable(rev, err)
		}
		if entry.Prev != 0 {
			drop = append(drop, entry.Prev)
		}
		if value == nil {
			drop = append(drop, rev)
		}
		return nil
	})
	if err != nil {
		return err
	}
	log, meta := tx.Bucket(logBucket), tx.Bucket(metaBucket)
	for _, rev := range drop {
		if err := log.Delete(revKey(rev)); err != nil {
			return err
		}
	}
	return errors.Join(meta.Put(floorKey, revKey(to)), meta.Put(lastKey, revKey(last)))
}

func (e *engine) Close() error {
	return errors.Join(e.closeFile(), e.lock.Close())
}

func (e *engine) closeFile() error {
	switch {
	case e.db == nil:
		return nil
	case e.broken.Load():
		return e.file.Close() // its mapping stays
	}
	return e.db.Close()
}
