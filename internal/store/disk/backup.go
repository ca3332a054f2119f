package disk

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	"go.etcd.io/bbolt"

	"github.com/knarr-io/knarr/internal/store"
)

// A backup is all that a store holds at one revision:
//
//	"knarr backup\n"
//	format        uvarint
//	since length  uvarint
//	since         the release that a reader must be of, as text
//	floor, rev    8 bytes each, big endian
//	entries, in the order of their revisions, each
//	  length      uvarint, of what follows
//	  revision    8 bytes, big endian
//	  entry       as in the store, see entry.go: a damaged value stays one
//	0             uvarint
//	count         uvarint, of entries
//	SHA-256       32 bytes, of everything before
//
// It is written and read from one end to the other, in constant memory.
const (
	backupMagic  = "knarr backup\n"
	backupFormat = 1
	backupSince  = "v0.1.0"
)

// ErrNoBackup is wrapped by errors that say what is wrong with a backup.
var ErrNoBackup = errors.New("the backup cannot be used")

var _ store.Dumper = (*diskStore)(nil)

// Dump implements store.Dumper: it writes a backup.
func (s *diskStore) Dump(ctx context.Context, w io.Writer) error {
	return s.Hold(ctx, func(ctx context.Context, floor, rev uint64) error {
		return dump(ctx, s.engine, floor, rev, w)
	})
}

// Backup writes a backup of the store in dir, which must not be open.
func Backup(ctx context.Context, dir string, w io.Writer) error {
	e, err := openExisting(dir, true)
	if err != nil {
		return inDir(dir, err)
	}
	defer e.Close()
	floor, rev, err := e.Bounds()
	if err != nil {
		return err
	}
	return dump(ctx, e, floor, rev, w)
}

// dump writes what e holds up to rev. Nothing of that may be dropped meanwhile.
func dump(ctx context.Context, e *engine, floor, rev uint64, w io.Writer) error {
	sum := sha256.New()
	to := io.MultiWriter(w, sum)
	head := binary.AppendUvarint([]byte(backupMagic), backupFormat)
	head = binary.AppendUvarint(head, uint64(len(backupSince)))
	head = append(append(append(head, backupSince...), revKey(floor)...), revKey(rev)...)
	if _, err := to.Write(head); err != nil {
		return err
	}
	var buf []byte
	count := uint64(0)
	for after, more := uint64(0), true; more; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		buf = buf[:0]
		err := e.view(func(tx *bbolt.Tx) error {
			return walk(tx, after, rev, func(rev uint64, v []byte) error {
				if len(buf) > stepBytes {
					return errStep
				}
				if _, _, err := decodeHead(rev, v); err != nil {
					return unreadable(rev, err)
				}
				buf = binary.AppendUvarint(buf, uint64(8+len(v)))
				buf = append(append(buf, revKey(rev)...), v...)
				after = rev
				count++
				return nil
			})
		})
		if more = err == errStep; err != nil && !more {
			return err
		}
		if _, err := to.Write(buf); err != nil {
			return err
		}
	}
	if _, err := to.Write(binary.AppendUvarint([]byte{0}, count)); err != nil {
		return err
	}
	_, err := w.Write(sum.Sum(nil))
	return err
}

// backup is one being read.
type backup struct {
	floor, rev uint64
	count      uint64
	r          *bufio.Reader
	sum        hash.Hash
	last       uint64
	buf        bytes.Buffer
}

func openBackup(r io.Reader) (*backup, error) {
	b := &backup{r: bufio.NewReaderSize(r, 64<<10), sum: sha256.New()}
	magic, err := b.next(uint64(len(backupMagic)))
	if err != nil || string(magic) != backupMagic {
		return nil, fmt.Errorf("%w: it is not a backup of knarr", ErrNoBackup)
	}
	version, err := binary.ReadUvarint(b)
	if err != nil {
		return nil, b.short(err)
	}
	size, err := binary.ReadUvarint(b)
	if err != nil {
		return nil, b.short(err)
	}
	since, err := b.next(min(size, 64))
	if err != nil {
		return nil, err
	}
	if version > backupFormat {
		return nil, fmt.Errorf("%w: it has format %d, and this version of knarr reads formats up to %d: use knarr %s or newer",
			ErrNoBackup, version, backupFormat, since)
	}
	revs, err := b.next(16)
	if err != nil {
		return nil, err
	}
	b.floor, b.rev = binary.BigEndian.Uint64(revs), binary.BigEndian.Uint64(revs[8:])
	if b.floor == 0 || b.floor > b.rev {
		return nil, fmt.Errorf("%w: it is damaged at its beginning", ErrNoBackup)
	}
	return b, nil
}

// ReadByte implements io.ByteReader.
func (b *backup) ReadByte() (byte, error) {
	c, err := b.r.ReadByte()
	if err == nil {
		_, _ = b.sum.Write([]byte{c})
	}
	return c, err
}

// next returns n bytes, until it is called again. However large n is, it takes no
// more memory than there are bytes.
func (b *backup) next(n uint64) ([]byte, error) {
	b.buf.Reset()
	got, err := io.Copy(&b.buf, io.LimitReader(b.r, int64(min(n, 1<<62))))
	if err == nil && uint64(got) < n {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, b.short(err)
	}
	_, _ = b.sum.Write(b.buf.Bytes())
	return b.buf.Bytes(), nil
}

// short says why there is no more to read.
func (b *backup) short(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it ends after revision %d, before its end; it is not complete", ErrNoBackup, b.last)
	}
	return fmt.Errorf("reading the backup: %w", err)
}

// each visits the encoded entries, which are valid until visit returns, and checks
// that all are there and the backup is what was written.
func (b *backup) each(visit func(rev uint64, entry []byte) error) error {
	for {
		size, err := binary.ReadUvarint(b)
		if err != nil {
			return b.short(err)
		}
		if size == 0 {
			return b.end()
		}
		entry, err := b.next(size)
		if err != nil {
			return err
		}
		if size < 8 {
			return b.damaged(errHead)
		}
		rev := binary.BigEndian.Uint64(entry)
		if _, _, err := decodeHead(rev, entry[8:]); err != nil {
			return b.damaged(err)
		}
		if rev <= b.last || rev > b.rev {
			return b.damaged(errors.New("revisions are not in order"))
		}
		b.last = rev
		b.count++
		if err := visit(rev, entry[8:]); err != nil {
			return err
		}
	}
}

func (b *backup) damaged(err error) error {
	return fmt.Errorf("%w: it is damaged after revision %d (%w)", ErrNoBackup, b.last, err)
}

// end reads what comes after the entries.
func (b *backup) end() error {
	count, err := binary.ReadUvarint(b)
	if err != nil {
		return b.short(err)
	}
	want := b.sum.Sum(nil)
	sum, err := b.next(sha256.Size)
	if err != nil {
		return err
	}
	if !bytes.Equal(sum, want) || count != b.count {
		return fmt.Errorf("%w: its checksum is wrong", ErrNoBackup)
	}
	if _, err := b.r.ReadByte(); err != io.EOF {
		return fmt.Errorf("%w: there is more after its end", ErrNoBackup)
	}
	return nil
}

// CheckBackup reads a backup as Check does a directory.
func CheckBackup(path string, report func(problem error), see func(store.Event)) (*Contents, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := openBackup(f)
	if err != nil {
		return nil, err
	}
	c := &checker{report: report, see: see, found: Contents{Floor: b.floor, Rev: b.rev}}
	return &c.found, b.each(func(rev uint64, entry []byte) error {
		e, err := decodeEntry(rev, entry)
		if err != nil {
			return b.damaged(err)
		}
		if rev <= b.floor {
			c.found.Base++
		} else {
			c.found.History++
		}
		c.tell(e.Event)
		return nil
	})
}
