package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// pageTree checks the pages that make the tree of a bbolt file, reading the
// file and not its mapping.
//
// bbolt puts no checksum on them and follows what they say, at open in a
// goroutine of its own, where a fault ends the process and a loop never does.
// So they are checked here before bbolt may follow them: that each is within
// the file and reached once, that what it says is within it, and that all keys
// are in order. The form of a page is that of bbolt's version 2, see its
// internal/common; numbers are in the order of the machine.
type pageTree struct {
	file     io.ReaderAt
	pageSize uint64
	pages    uint64 // how many there are
	reached  map[uint64]bool
	buf      []byte // of the page being checked
}

const (
	pageHead   = 16 // id 8 bytes, flags 2, count 2, overflow 4
	branchElem = 16 // position 4, key length 4, child 8
	leafElem   = 16 // flags 4, position 4, key length 4, value length 4
	bucketHead = 16 // root 8, sequence 8

	branchPage = 0x01
	leafPage   = 0x02
	bucketFlag = 0x01 // of a leaf element
)

// subtree is a page with what is below it. Its keys are to be at least low and,
// if high is not nil, less than high.
type subtree struct {
	page      uint64
	low, high []byte
}

// element is one key on a page, sharing the page's memory.
type element struct {
	key, value []byte
	child      uint64 // of a branch
	isBucket   bool   // of a leaf
}

func (t *pageTree) check(s subtree) error {
	below, err := t.checkPage(s)
	if err != nil {
		return fmt.Errorf("page %d %w", s.page, err)
	}
	for _, s := range below {
		if err := t.check(s); err != nil {
			return err
		}
	}
	return nil
}

// checkPage checks one page and returns what is below it.
func (t *pageTree) checkPage(s subtree) (below []subtree, err error) {
	page, err := t.read(s.page)
	if err != nil {
		return nil, err
	}
	isBranch, elements, err := parsePage(page)
	if err != nil {
		return nil, err
	}
	for i, e := range elements {
		inOrder := i == 0 || bytes.Compare(elements[i-1].key, e.key) < 0
		if !inOrder || bytes.Compare(e.key, s.low) < 0 || s.high != nil && bytes.Compare(e.key, s.high) >= 0 {
			return nil, errors.New("has keys out of order")
		}
		if isBranch {
			if i > 0 {
				below[i-1].high = bytes.Clone(e.key)
			}
			below = append(below, subtree{e.child, bytes.Clone(e.key), s.high})
			continue
		}
		if !e.isBucket {
			continue
		}
		if len(e.value) < bucketHead {
			return nil, errors.New("has a bucket without a root")
		}
		if root := binary.NativeEndian.Uint64(e.value); root != 0 {
			below = append(below, subtree{page: root})
		} else if _, _, err := parsePage(e.value[bucketHead:]); err != nil {
			return nil, fmt.Errorf("has in it a page that %w", err)
		}
	}
	return below, nil
}

// read returns the page with those that continue it, until the next read.
func (t *pageTree) read(id uint64) ([]byte, error) {
	if id < 2 || id >= t.pages { // the first two are not part of the tree
		return nil, errors.New("is not in the file")
	}
	var head [pageHead]byte
	if _, err := t.file.ReadAt(head[:], int64(id*t.pageSize)); err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	n := uint64(binary.NativeEndian.Uint32(head[12:])) + 1
	if binary.NativeEndian.Uint64(head[:]) != id || n > t.pages-id {
		return nil, errors.New("is not what it should be")
	}
	for i := id; i < id+n; i++ {
		if t.reached[i] {
			return nil, errors.New("is in two places of the tree")
		}
		t.reached[i] = true
	}
	size := n * t.pageSize
	if uint64(cap(t.buf)) < size {
		t.buf = make([]byte, size)
	}
	page := t.buf[:size]
	if _, err := t.file.ReadAt(page, int64(id*t.pageSize)); err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	return page, nil
}

// parsePage finds the elements of a page.
func parsePage(page []byte) (isBranch bool, elements []element, err error) {
	if len(page) < pageHead {
		return false, nil, errors.New("is too short")
	}
	flags, count := binary.NativeEndian.Uint16(page[8:]), int(binary.NativeEndian.Uint16(page[10:]))
	isBranch = flags == branchPage
	if !isBranch && flags != leafPage || isBranch && count == 0 {
		return false, nil, errors.New("is of no kind that belongs here")
	}
	if pageHead+count*leafElem > len(page) { // branchElem is the same
		return false, nil, errors.New("says it has more keys than it can")
	}
	elements = make([]element, count)
	for i := range elements {
		at := page[pageHead+i*leafElem:] // positions count from here
		var pos, keySize, valueSize uint64
		if isBranch {
			pos, keySize = u32(at), u32(at[4:])
			elements[i].child = binary.NativeEndian.Uint64(at[8:])
		} else {
			pos, keySize, valueSize = u32(at[4:]), u32(at[8:]), u32(at[12:])
			elements[i].isBucket = u32(at)&bucketFlag != 0
		}
		if pos+keySize+valueSize > uint64(len(at)) {
			return false, nil, errors.New("has a key beyond its end")
		}
		elements[i].key = at[pos:][:keySize]
		elements[i].value = at[pos+keySize:][:valueSize]
	}
	return isBranch, elements, nil
}

func u32(b []byte) uint64 { return uint64(binary.NativeEndian.Uint32(b)) }
