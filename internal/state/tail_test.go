package state

import (
	"fmt"
	"testing"
	"time"
)

// A Tail tells everything once, in order, and the objects themselves where it has
// missed what happened.
func TestTail(t *testing.T) {
	const nodes = "/registry/minions"
	s := startInMemory(t)
	put(t, s, pods+"/ns/a", "1")
	tail := s.Tail(pods, nodes)
	var told []string
	catchUp := func() string {
		told = nil
		tail.CatchUp(func(i int, all Snapshot) {
			told = append(told, fmt.Sprintf("%d has %d", i, all.Len("")))
		}, func(i int, e *Event) {
			told = append(told, fmt.Sprintf("%d: %s %v", i, e.Object.Name, e.Deleted))
		})
		if !tail.Current() {
			t.Error("caught up, but not current")
		}
		return fmt.Sprint(told)
	}
	expect := func(want string) {
		t.Helper()
		if got := catchUp(); got != want {
			t.Errorf("told %s, want %s", got, want)
		}
	}
	if tail.Current() {
		t.Error("current before it was asked")
	}
	expect("[0 has 1 1 has 0]")
	expect("[]")
	put(t, s, "/registry/secrets/ns/x", "1")
	if !tail.Current() {
		t.Error("something else has changed, and it is not current")
	}
	put(t, s, nodes+"/n", "1")
	put(t, s, pods+"/ns/b", "1")
	put(t, s, pods+"/ns/a", "2")
	if tail.Current() {
		t.Error("current after a change")
	}
	expect("[0: b false 0: a false 1: n false]")
	remove(t, s, pods+"/ns/a")
	s.mu.Lock()
	s.forget(time.Now().Add(time.Hour))
	s.mu.Unlock()
	expect("[0 has 1]") // nothing was missed of nodes
	expect("[]")
}

// What is added later is told from its beginning.
func TestTailGrows(t *testing.T) {
	s := startInMemory(t)
	put(t, s, pods+"/ns/a", "1")
	tail := s.Tail()
	var told []string
	catchUp := func() {
		tail.CatchUp(func(i int, all Snapshot) {
			told = append(told, fmt.Sprintf("%d has %d", i, all.Len("")))
		}, func(i int, e *Event) {
			told = append(told, fmt.Sprintf("%d: %s", i, e.Object.Name))
		})
	}
	if !tail.Current() {
		t.Error("it follows nothing, and something has changed")
	}
	catchUp()
	tail.Add(pods)
	if tail.Current() {
		t.Error("current before it was told")
	}
	catchUp()
	tail.Add("/registry/secrets")
	put(t, s, pods+"/ns/b", "1")
	catchUp()
	put(t, s, "/registry/secrets/ns/x", "1")
	catchUp()
	if got, want := fmt.Sprint(told), "[0 has 1 0: b 1 has 0 1: x]"; got != want {
		t.Errorf("told %s, want %s", got, want)
	}
}
