package disk

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"

	"go.etcd.io/bbolt"
)

var (
	// errDamaged is wrapped by errors that say the file is not as it was
	// written.
	errDamaged = errors.New(FileName + " is damaged, restore it from a copy")
	// errPanic is wrapped too if bbolt found out by panicking.
	errPanic = errors.New("its pages cannot be read")
)

// guard runs f and makes a panic an error. bbolt reads a mapped file and
// trusts its pages: damage to those that hold its tree, or a failing disk,
// shows as a panic or a fault.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			first, _, _ := strings.Cut(fmt.Sprint(r), "\n")
			err = fmt.Errorf("%w: %w (%s)", errDamaged, errPanic, first)
		}
	}()
	return f()
}

// examine looks through the file at path before it is opened for writing. It
// refuses a file of a newer format, one that has lost its end, and one whose
// tree is damaged.
func examine(path string) error {
	db, file, err := openFile(path, true)
	if err != nil {
		return err
	}
	err = guard(func() error {
		return db.View(func(tx *bbolt.Tx) error { return examineTx(tx, file) })
	})
	if errors.Is(err, errPanic) {
		_ = file.Close() // db may hold its locks for ever
		return err
	}
	return errors.Join(err, db.Close())
}

func examineTx(tx *bbolt.Tx, file *os.File) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if info.Size() < tx.Size() {
		return fmt.Errorf("%w (it ends at byte %d of %d)", errDamaged, info.Size(), tx.Size())
	}
	pageSize := uint64(tx.DB().Info().PageSize)
	tree := pageTree{
		file:     file,
		pageSize: pageSize,
		pages:    uint64(tx.Size()) / pageSize,
		reached:  map[uint64]bool{},
	}
	if err := tree.check(subtree{page: uint64(tx.Cursor().Bucket().RootPage())}); err != nil {
		return fmt.Errorf("%w (%w)", errDamaged, err)
	}
	log, meta := tx.Bucket(logBucket), tx.Bucket(metaBucket)
	if log == nil || meta == nil {
		return fmt.Errorf("%s does not belong to knarr", FileName)
	}
	if err := checkFormat(meta); err != nil {
		return err
	}
	if _, _, err := bounds(tx); err != nil {
		return fmt.Errorf("%w (%w)", errDamaged, err)
	}
	return nil
}
