package state

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/store"
	"github.com/knarr-io/knarr/internal/store/memory"
)

func TestSnapshotNeverChanges(t *testing.T) {
	s := startInMemory(t)
	empty := s.Snapshot(pods)
	put(t, s, pods+"/ns/a", "1")
	put(t, s, pods+"/ns/b", "1")
	one := s.Snapshot(pods)
	put(t, s, pods+"/ns/a", "2")
	remove(t, s, pods+"/ns/b")
	put(t, s, pods+"/ns/c", "1")
	past, err := s.SnapshotAt(pods, 3)
	if err != nil {
		t.Fatal(err)
	}
	remove(t, s, pods+"/ns/c")

	wantStrings(t, "nothing", contents(empty, Range{}), nil)
	if empty.Rev != 1 || empty.Len("") != 0 || empty.Len("ns") != 0 || empty.Get("ns", "a") != nil {
		t.Errorf("the empty snapshot is not: %+v", empty)
	}
	for _, snapshot := range []Snapshot{one, past} {
		wantStrings(t, "at 3", contents(snapshot, Range{}), []string{"ns/a=1@2", "ns/b=1@3"})
	}
	wantStrings(t, "now", contents(s.Snapshot(pods), Range{}), []string{"ns/a=2@4"})
}

// Every resource's snapshot says the revision of the whole state.
func TestSnapshotRev(t *testing.T) {
	s := startInMemory(t)
	put(t, s, pods+"/ns/a", "1")
	if rev := s.Snapshot(pods).Rev; rev != 2 {
		t.Fatalf("revision %d, want 2", rev)
	}
	put(t, s, nodes+"/n", "1")
	for _, prefix := range []string{pods, nodes, "/registry/secrets"} {
		if rev := s.Snapshot(prefix).Rev; rev != 3 {
			t.Errorf("%s: revision %d, want 3", prefix, rev)
		}
		if snapshot, err := s.SnapshotAt(prefix, 1); err != nil || snapshot.Rev != 1 || snapshot.Len("") != 0 {
			t.Errorf("%s at 1: revision %d, %d objects, error %v", prefix, snapshot.Rev, snapshot.Len(""), err)
		}
	}
}

func TestEachStops(t *testing.T) {
	s := startInMemory(t)
	for i := range 100 {
		put(t, s, fmt.Sprintf("%s/ns/%02d", pods, i), "1")
	}
	for _, r := range []Range{{}, {Namespace: "ns"}, {FromName: "0", FromNamespace: "ns"}} {
		n := 0
		s.Snapshot(pods).Each(r, func(*object.Object) bool { n++; return n < 5 })
		if n != 5 {
			t.Errorf("%+v: visited %d, want 5", r, n)
		}
	}
}

// The pages of a list are read from one tree, whatever is written meanwhile.
func TestPagesShareARoot(t *testing.T) {
	s := startInMemory(t)
	for i := range 10 {
		put(t, s, fmt.Sprintf("%s/ns/%d", pods, i), "1")
	}
	first := s.Snapshot(pods)
	var page Snapshot
	for i := range 5 {
		put(t, s, pods+"/ns/0", fmt.Sprint(i+2))
		put(t, s, nodes+"/n", fmt.Sprint(i))
		again, err := s.SnapshotAt(pods, first.Rev)
		if err != nil {
			t.Fatal(err)
		}
		wantStrings(t, "page", contents(again, Range{}), contents(first, Range{}))
		if page.tree != nil && again.tree != page.tree {
			t.Fatalf("page %d was made anew", i)
		}
		page = again
	}

	// Revisions of other resources name the same tree.
	other := put(t, s, nodes+"/n", "x").Rev
	at, err := s.SnapshotAt(pods, other)
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, nodes+"/n", "y")
	put(t, s, pods+"/ns/0", "y")
	again, err := s.SnapshotAt(pods, other+1)
	if err != nil || again.tree != at.tree || again.Rev != other+1 {
		t.Errorf("revision %d, error %v, same tree: %v", again.Rev, err, again.tree == at.tree)
	}
}

// What is kept for pages is bounded, and gone with the history.
func TestRootsAreBounded(t *testing.T) {
	s := start(t, memory.New(memory.Options{}), Options{HistoryBytes: 100_000})
	for i := range 100 {
		rev := put(t, s, pods+"/ns/a", fmt.Sprint(i)).Rev
		put(t, s, pods+"/ns/b", fmt.Sprint(i))
		if _, err := s.SnapshotAt(pods, rev); err != nil {
			t.Fatal(err)
		}
	}
	kept := 0
	for _, k := range s.roots.kept {
		if k.tree != nil {
			kept++
		}
	}
	if kept != len(s.roots.kept) {
		t.Errorf("%d of %d roots are kept", kept, len(s.roots.kept))
	}
	old := s.Rev()
	for s.Floor() <= old {
		put(t, s, nodes+"/n", string(make([]byte, 1000)))
	}
	for _, k := range s.roots.kept {
		if k.tree != nil {
			t.Errorf("the root at %d has outlived its history, which begins at %d", k.at, k.of.log.first)
		}
	}
	if _, err := s.SnapshotAt(pods, old); !errors.Is(err, ErrExpired) {
		t.Errorf("error %v, want %v", err, ErrExpired)
	}
}

// Undoing goes on without the lock; nothing that happens meanwhile shows.
func TestSnapshotAtWhileWriting(t *testing.T) {
	s := start(t, memory.New(memory.Options{}), Options{HistoryBytes: 1 << 20})
	const keys = 50
	var changes []store.Change
	for i := range keys {
		changes = append(changes, store.Change{Key: fmt.Sprintf("%s/ns/%02d", pods, i), Value: []byte("0")})
	}
	commit(t, s, changes...)
	stop := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := tryPut(s, fmt.Sprintf("%s/ns/%02d", pods, n%keys), fmt.Sprint(n)); err != nil {
				t.Error(err)
				return
			}
		}
	})
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for range 200 {
				now := s.Snapshot(pods)
				want := contents(now, Range{})
				for range 3 {
					past, err := s.SnapshotAt(pods, now.Rev)
					if errors.Is(err, ErrExpired) && s.Floor() > now.Rev {
						continue
					}
					if err != nil {
						t.Error(err)
						return
					}
					if got := contents(past, Range{}); !slices.Equal(got, want) {
						t.Errorf("at %d:\n got %q\nwant %q", now.Rev, got, want)
						return
					}
				}
			}
		})
	}
	readers.Wait()
	close(stop)
	writer.Wait()
}
