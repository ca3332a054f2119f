package state

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/store"
	"github.com/knarr-io/knarr/internal/store/memory"
)

// What was there and what happens are told in order; who falls behind begins
// again and misses nothing that is.
func TestFollow(t *testing.T) {
	st, err := Start(t.Context(), memory.New(memory.Options{}), Options{HistoryBytes: 2000})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Stop()
	commit := func(name string) {
		change := store.Change{Key: "/registry/things/" + name, Value: []byte(name)}
		if o := st.Get(change.Key); o != nil {
			change.If = o.Rev
		}
		if _, err := st.Commit(t.Context(), change); err != nil {
			t.Error(err)
		}
	}
	commit("first")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var told []string
	last := uint64(0)
	begin := func(s Snapshot) {
		last = s.Rev
		names := []string{}
		s.Each(Range{}, func(o *object.Object) bool { names = append(names, o.Name); return true })
		told = append(told, fmt.Sprint(names))
		if len(told) > 1 {
			commit("end")
			return
		}
		for range 500 { // more than the history holds
			commit("second")
		}
	}
	changed := func(e *Event) {
		if e.Rev() <= last {
			t.Errorf("event %d after %d", e.Rev(), last)
		}
		last = e.Rev()
		if told = append(told, e.Object.Name); e.Object.Name == "end" {
			cancel()
		}
	}
	st.Follow(ctx, "/registry/things", begin, changed)
	if got, want := fmt.Sprint(told), "[[first] [first second] end]"; got != want {
		t.Errorf("told of %s, want %s", got, want)
	}
}
