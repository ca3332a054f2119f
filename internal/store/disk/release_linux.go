package disk

import (
	"syscall"

	"go.etcd.io/bbolt"
)

// release takes the pages of the mapped file out of this process's memory.
// They stay in the page cache, from where those needed again come back; what
// was only read to be loaded, or has just been written, does not count as
// memory in use.
func release(tx *bbolt.Tx) error {
	info := tx.DB().Info()
	// Advice that is not taken does no harm.
	_, _, _ = syscall.Syscall(syscall.SYS_MADVISE, info.Data, uintptr(tx.Size()), syscall.MADV_DONTNEED)
	return nil
}
