package storetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/knarr-io/knarr/internal/store"
)

// testModel does random operations on the store and on a model of it, and
// compares them after each.
func testModel(t *testing.T, f *fixture) {
	r := random(t)
	model := map[string]modelValue{}
	for step := range 400 {
		switch n := r.IntN(100); {
		case n < 90:
			changes, conflict := randomChanges(r, model)
			revs, err := f.commit(changes...)
			if !sameConflict(err, conflict) {
				t.Fatalf("step %d: %+v: got %v, want %v", step, changes, err, conflict)
			}
			for i, rev := range revs {
				c := changes[i]
				if c.Check {
					continue
				}
				if c.Value == nil {
					delete(model, c.Key)
				} else {
					model[c.Key] = modelValue{rev, string(c.Value)}
				}
			}
		case n < 96:
			f.compact(1 + r.Uint64N(f.seen.Rev()))
		case f.backend.Durable:
			f.reopen()
		}
		compareModel(t, step, f.seen.Current(), model)
		if t.Failed() {
			return
		}
	}
}

type modelValue struct {
	rev   uint64
	value string
}

// randomChanges makes a commit and tells which conflict it meets, if any.
func randomChanges(r *rand.Rand, model map[string]modelValue) ([]store.Change, *store.Conflict) {
	n := 1
	if r.IntN(3) == 0 {
		n = 1 + r.IntN(6)
	}
	var (
		changes  []store.Change
		conflict *store.Conflict
	)
	for _, k := range r.Perm(12)[:n] {
		c := store.Change{Key: key(k), If: model[key(k)].rev}
		if r.IntN(12) == 0 {
			c.If = r.Uint64N(c.If + 2)
		}
		if c.If == 0 || r.IntN(4) != 0 {
			c.Value = fmt.Appendf([]byte{}, "%0*d", r.IntN(3000), r.Uint32())
		}
		c.Check = len(changes) > 0 && r.IntN(5) == 0 // the first is none: something must change
		if have := model[c.Key].rev; conflict == nil && (have != c.If || c.Value == nil && have == 0 && !c.Check) {
			conflict = &store.Conflict{Key: c.Key, Rev: have}
		}
		changes = append(changes, c)
	}
	return changes, conflict
}

func sameConflict(err error, want *store.Conflict) bool {
	if want == nil {
		return err == nil
	}
	var got *store.Conflict
	return errors.As(err, &got) && *got == *want
}

func compareModel(t *testing.T, step int, got map[string]store.Event, want map[string]modelValue) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("step %d: there are %d keys, want %d", step, len(got), len(want))
	}
	for k, w := range want {
		if g := got[k]; g.Rev != w.rev || string(g.Value) != w.value {
			t.Errorf("step %d: %s is %s, want revision %d", step, k, describe(g), w.rev)
		}
	}
}
