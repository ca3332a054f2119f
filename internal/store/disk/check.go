package disk

import (
	"context"
	"fmt"

	"go.etcd.io/bbolt"

	"github.com/knarr-io/knarr/internal/store"
	"github.com/knarr-io/knarr/internal/store/embedded"
)

// Contents is what a store, or a backup of one, has in it.
type Contents struct {
	// Floor and Rev are the revisions between which the history is kept.
	Floor, Rev uint64
	// Base is how many values there were at Floor, and History how many changes
	// there have been since.
	Base, History int
}

// Check reads everything in the store in dir, which must not be open, and
// reports each thing that is not as it should be; see, if not nil, gets what can be
// read. It changes nothing. It returns an error if it could not read on.
func Check(ctx context.Context, dir string, report func(problem error), see func(store.Event)) (*Contents, error) {
	e, err := openExisting(dir, true)
	if err != nil {
		return nil, inDir(dir, err)
	}
	defer e.Close()
	err = e.view(func(tx *bbolt.Tx) error {
		for err := range tx.Check() {
			report(err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	c := &checker{report: report, see: see}
	return &c.found, embedded.Read(ctx, e, c)
}

// checker is a follower that reports values it cannot read.
type checker struct {
	report func(error)
	see    func(store.Event)
	found  Contents
}

func (c *checker) Load(l store.Load) error {
	c.found.Floor, c.found.Rev = l.Floor, l.Rev
	visit := func(e store.Event) error {
		if e.Rev <= l.Floor {
			c.found.Base++
		} else {
			c.found.History++
		}
		c.tell(e)
		return nil
	}
	if err := l.Base(visit); err != nil {
		return err
	}
	return l.Events(visit)
}

// tell reports what is wrong with a value, or shows it.
func (c *checker) tell(e store.Event) {
	if e.Err != nil {
		c.report(fmt.Errorf("%s at revision %d: %w", e.Key, e.Rev, e.Err))
	} else if c.see != nil {
		c.see(e)
	}
}

func (*checker) Apply([]store.Event) {}
func (*checker) Progress(uint64)     {}
