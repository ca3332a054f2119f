package state

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/knarr-io/knarr/internal/store"
)

// loaded is a store's load of a base alone.
func loaded(rev uint64, base ...store.Event) store.Load {
	return store.Load{
		Floor: rev, Rev: rev,
		Base: func(visit func(store.Event) error) error {
			for _, e := range base {
				if err := visit(e); err != nil {
					return err
				}
			}
			return nil
		},
		Events: func(func(store.Event) error) error { return nil },
	}
}

// What is loaded again takes the place of what there was, and whoever followed
// begins anew: nobody is told of half of what has happened.
func TestLoadAgain(t *testing.T) {
	s := startInMemory(t)
	same := put(t, s, pods+"/ns/same", "1").Rev
	put(t, s, pods+"/ns/gone", "1")
	put(t, s, pods+"/ns/changed", "1")
	secret := put(t, s, "/registry/secrets/ns/s", "1").Rev // of a resource that is empty then
	was := s.Get(pods + "/ns/same")
	before := s.Snapshot(pods)
	tail := s.Tail(pods)
	tail.CatchUp(func(int, Snapshot) {}, func(int, *Event) {})
	atEnd, err := s.Watch(pods, s.Rev())
	if err != nil {
		t.Fatal(err)
	}
	behind, err := s.Watch(pods, same)
	if err != nil {
		t.Fatal(err)
	}
	empty, err := s.Watch("/registry/secrets", s.Rev())
	if err != nil {
		t.Fatal(err)
	}
	expired := make(chan error, 1)
	go func() {
		_, err := atEnd.Next(t.Context(), make([]Event, 1))
		expired <- err
	}()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	begun := make(chan int, 10)
	go s.Follow(ctx, pods, func(all Snapshot) { begun <- all.Len("") }, func(*Event) {})
	if n := <-begun; n != 3 {
		t.Fatalf("following begins with %d objects", n)
	}

	why := errors.New("etcd is away")
	failing := loaded(100)
	failing.Events = func(func(store.Event) error) error { return why }
	if err := (*follower)(s).Load(failing); !errors.Is(err, why) {
		t.Fatalf("Load: %v", err)
	}
	if got := s.Snapshot(pods); got.Len("") != 3 || s.Rev() != secret {
		t.Fatalf("after a load that failed there are %d objects at %d", got.Len(""), s.Rev())
	}

	if err := (*follower)(s).Load(loaded(100,
		store.Event{Key: pods + "/ns/same", Value: []byte("1"), Rev: same},
		store.Event{Key: pods + "/ns/changed", Value: []byte("2"), Rev: 90},
		store.Event{Key: "/registry/new/ns/n", Value: []byte("1"), Rev: 91},
	)); err != nil {
		t.Fatal(err)
	}
	wantStrings(t, "what there is", contents(s.Snapshot(pods), Range{}), []string{"ns/changed=2@90", "ns/same=1@2"})
	wantStrings(t, "what is new", contents(s.Snapshot("/registry/new"), Range{}), []string{"ns/n=1@91"})
	if n := s.Snapshot("/registry/secrets").Len(""); n != 0 {
		t.Errorf("%d objects stay that are gone", n)
	}
	if before.Len("") != 3 {
		t.Error("a snapshot has changed")
	}
	if s.Get(pods+"/ns/same") != was {
		t.Error("an object that is the same has lost its encodings")
	}
	if s.Rev() != 100 || s.Floor() != 100 {
		t.Errorf("the revision is %d and the floor %d, want 100", s.Rev(), s.Floor())
	}
	if err := <-expired; !errors.Is(err, ErrExpired) {
		t.Errorf("a watch that waited: %v", err)
	}
	for name, c := range map[string]*Cursor{"behind": behind, "of what is empty now": empty} {
		if _, err := c.Next(t.Context(), make([]Event, 1)); !errors.Is(err, ErrExpired) {
			t.Errorf("a watch %s: %v", name, err)
		}
	}
	if _, err := s.Watch(pods, 99); !errors.Is(err, ErrExpired) {
		t.Errorf("a watch from before: %v", err)
	}
	if _, err := s.SnapshotAt(pods, secret); !errors.Is(err, ErrExpired) {
		t.Errorf("a read of before: %v", err)
	}
	if tail.Current() {
		t.Error("who has not seen it is told that he is current")
	}
	seen := 0
	tail.CatchUp(func(_ int, all Snapshot) { seen = all.Len("") }, func(int, *Event) { t.Error("an event is told") })
	if seen != 2 {
		t.Errorf("catching up begins with %d objects", seen)
	}
	if n := <-begun; n != 2 {
		t.Errorf("following begins anew with %d objects", n)
	}

	// It goes on from there.
	from, err := s.Watch(pods, 100)
	if err != nil {
		t.Fatal(err)
	}
	(*follower)(s).Apply([]store.Event{{Key: pods + "/ns/next", Value: []byte("1"), Rev: 101, Time: time.Now()}})
	events := make([]Event, 2)
	if n, err := from.Next(t.Context(), events); n != 1 || err != nil || events[0].Object.Name != "next" {
		t.Errorf("the next event: %d, %v", n, err)
	}
	if !tail.Current() {
		tail.CatchUp(func(int, Snapshot) { t.Error("began again") }, func(_ int, e *Event) { seen++ })
	}
	if seen != 3 {
		t.Error("the next event is not told")
	}
}
