package state

import (
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/knarr-io/knarr/internal/store"
	"github.com/knarr-io/knarr/internal/store/embedded"
)

// The changes of one object are told from the floor on, with what was there before,
// across a deletion, and with their times.
func TestRevisions(t *testing.T) {
	clock := clocktesting.NewFakeClock(begin)
	s := start(t, embedded.New(newKeeper(), embedded.Options{Clock: clock}), Options{Retention: time.Minute, Clock: clock})
	key := pods + "/ns/a"
	if changes, present, _ := s.Revisions(key); len(changes) > 0 || present != nil {
		t.Errorf("of what never was: %v, %v", changes, present)
	}
	put(t, s, key, "1")
	clock.Step(50 * time.Second)
	put(t, s, key, "2")
	put(t, s, pods+"/ns/b", "other")
	if _, err := s.Commit(t.Context(), store.Change{Key: key, If: s.Get(key).Rev}); err != nil {
		t.Fatal(err)
	}
	put(t, s, key, "3")
	changes, present, floor := s.Revisions(key)
	if len(changes) != 4 || present == nil || string(present.Value) != "3" || floor != 1 {
		t.Fatalf("%d changes, %v, floor %d", len(changes), present, floor)
	}
	if !changes[0].Time().Equal(begin) || !changes[1].Time().Equal(begin.Add(50*time.Second)) || !changes[2].Deleted || changes[3].Prev != nil {
		t.Errorf("they are %+v", changes)
	}
	eventually(t, "a timer", clock.HasWaiters)
	clock.Step(12 * time.Second)
	eventually(t, "forgetting revision 2", func() bool { return s.Floor() == 2 })
	changes, _, floor = s.Revisions(key)
	if len(changes) != 3 || floor != 2 || changes[0].Prev == nil || string(changes[0].Prev.Value) != "1" {
		t.Errorf("after the floor: %+v", changes)
	}
}
