package disk

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/knarr-io/knarr/internal/store"
	"github.com/knarr-io/knarr/internal/store/embedded"
)

// A full disk must not be the end: what is read is in memory, and what is deleted
// makes room. But to delete takes some room first. So a file of random bytes is kept
// beside the store's, and removed when there is no room for anything else. While it
// cannot be made again, and the store's own file has not as much room inside, the store
// takes only what deletes, and compacts.
const (
	reserveName = "reserve"
	reserveSize = 2 << 20
	// tryAgain is how long it is not tried to make the reserve, after that failed.
	tryAgain = time.Second
)

// reserve is the room that is kept free. It is safe for concurrent use.
type reserve struct {
	path string

	mu    sync.Mutex
	full  bool      // the file is not there
	tried time.Time // to make it
	short time.Time // when there was no room last
}

// make makes sure that the file is there, and returns whether it is.
func (r *reserve) make() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if info, err := os.Stat(r.path); err == nil && info.Size() == reserveSize {
		r.full = false
		return true
	}
	if r.full && time.Since(r.tried) < tryAgain {
		return false
	}
	r.tried = time.Now()
	bytes := make([]byte, reserveSize)
	source := rand.NewChaCha8([32]byte{})
	_, _ = source.Read(bytes) // it cannot fail; zeros would take no room on some file systems
	err := os.WriteFile(r.path, bytes, 0o600)
	if r.full = err != nil; r.full {
		_ = os.Remove(r.path)
	}
	return !r.full
}

// use gives the room back to the disk.
func (r *reserve) use() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.full, r.tried, r.short = true, time.Now(), time.Now()
	_ = os.Remove(r.path)
}

// used reports whether the disk is full, as far as is known.
func (r *reserve) used() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.full
}

// roomInside reports whether the file itself has as much room, and more: pages that
// have become free, which is all the room there is where others use the disk, too.
func (e *engine) roomInside() bool {
	e.reserve.mu.Lock()
	short := e.reserve.short
	e.reserve.mu.Unlock()
	_, free, err := e.usage()
	return err == nil && free >= 2*reserveSize && time.Since(short) >= tryAgain
}

// noRoom tells a full disk from other errors of a transaction. It is a
// store.ErrFull only if unchanged finds, in what is mapped, the store as it was before.
// A page that counts may be written but not synced; then it is not known what is kept.
func (e *engine) noRoom(err error, unchanged func() bool) error {
	if !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) || !unchanged() {
		return err
	}
	e.reserve.use()
	return fmt.Errorf("the disk with %s is full: %w (%w)", filepath.Dir(e.path), store.ErrFull, err)
}

// admit refuses entries that are more than deletions while the disk is full.
func (e *engine) admit(entries []embedded.Entry) error {
	if !e.reserve.used() || e.reserve.make() || e.roomInside() {
		return nil
	}
	for i := range entries {
		if !entries[i].Deleted() {
			return fmt.Errorf("the disk with %s is full: %w", filepath.Dir(e.path), store.ErrFull)
		}
	}
	return nil
}
