package state_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/state"
	"github.com/knarr-io/knarr/internal/state/statetest"
	"github.com/knarr-io/knarr/internal/store"
)

const configs, pods = "/registry/configmaps", "/registry/pods"

// contents are the objects of a resource with their revisions.
func contents(s *state.State, prefix string) []string {
	all := []string{}
	s.Snapshot(prefix).Each(state.Range{}, func(o *object.Object) bool {
		all = append(all, fmt.Sprintf("%s=%s@%d", o.Key(), o.Value, o.Rev))
		return true
	})
	return all
}

func mustCommit(t *testing.T, s *state.State, changes ...store.Change) uint64 {
	t.Helper()
	objects, err := s.Commit(t.Context(), changes...)
	if err != nil {
		t.Fatal(err)
	}
	return objects[len(objects)-1].Rev
}

// After Rewind there is what there was, and the future goes on from there; the past
// is over for those who watch, follow or read it.
func TestRewind(t *testing.T) {
	s := statetest.Start(t)
	a, b, other := configs+"/x/a", configs+"/x/b", pods+"/x/p"
	rev := mustCommit(t, s, store.Change{Key: a, Value: []byte("1")})
	mark, err := s.Mark(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	before := contents(s, configs)
	tail := s.Tail(configs, pods)
	caughtUp := func() (begun int) {
		tail.CatchUp(func(int, state.Snapshot) { begun++ }, func(int, *state.Event) {})
		return begun
	}
	caughtUp()
	for round := range 3 {
		changed := mustCommit(t, s, store.Change{Key: a, Value: []byte("2"), If: rev})
		mustCommit(t, s, store.Change{Key: a, If: changed})
		mustCommit(t, s, store.Change{Key: b, Value: []byte("3")})
		last := mustCommit(t, s, store.Change{Key: other, Value: []byte("4")})
		caughtUp()
		cursor, err := s.Watch(configs, last)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Rewind(t.Context(), mark); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(before, contents(s, configs)); diff != "" {
			t.Fatalf("round %d (-was +is):\n%s", round, diff)
		}
		if got := contents(s, pods); len(got) > 0 {
			t.Errorf("there is %v", got)
		}
		if n, bytes := s.Size(configs); n != 1 || bytes != 1 {
			t.Errorf("%d objects of %d bytes", n, bytes)
		}
		if s.Rev() != last+1 {
			t.Errorf("the revision is %d after %d", s.Rev(), last)
		}
		if _, err := cursor.Next(t.Context(), make([]state.Event, 1)); !errors.Is(err, state.ErrExpired) {
			t.Errorf("a watch that was there: %v", err)
		}
		if _, err := s.Watch(configs, last); !errors.Is(err, state.ErrExpired) {
			t.Errorf("a watch from before: %v", err)
		}
		if _, err := s.SnapshotAt(configs, last); !errors.Is(err, state.ErrExpired) {
			t.Errorf("a read at a revision from before: %v", err)
		}
		if tail.Current() || caughtUp() != 2 {
			t.Error("a tail did not begin again")
		}
		if _, err := s.Commit(t.Context(), store.Change{Key: a, Value: []byte("5"), If: changed}); !errors.As(err, new(*store.Conflict)) {
			t.Errorf("a write on what was: %v", err)
		}
	}
	cursor, err := s.Watch(configs, s.Rev())
	if err != nil {
		t.Fatal(err)
	}
	next := mustCommit(t, s, store.Change{Key: a, Value: []byte("6"), If: rev})
	events := make([]state.Event, 1)
	if n, err := cursor.Next(t.Context(), events); n != 1 || err != nil || events[0].Rev() != next {
		t.Errorf("a watch from after: %d, %v, %v", n, err, events)
	}
}

// Who follows a resource is told of it anew, also of one that has not changed.
func TestRewindBeginsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := statetest.Start(t)
		mustCommit(t, s, store.Change{Key: configs + "/x/a", Value: []byte("1")})
		mark, err := s.Mark(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var begun []int
		go s.Follow(ctx, configs, func(all state.Snapshot) { begun = append(begun, all.Len("")) }, func(*state.Event) {})
		synctest.Wait()
		mustCommit(t, s, store.Change{Key: configs + "/x/b", Value: []byte("1")})
		synctest.Wait()
		for range 2 {
			if err := s.Rewind(ctx, mark); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		if diff := cmp.Diff([]int{1, 1, 1}, begun); diff != "" {
			t.Error(diff)
		}
	})
}
