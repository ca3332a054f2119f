package controller

import (
	"context"

	"github.com/knarr-io/knarr/internal/state"
)

// Follow tells of the objects stored under prefix until ctx ends: begin gets
// what there is, then changed gets every event after it, in order. Who is
// overtaken by the end of the history begins again, so begin must reckon with
// having missed anything. Both are called from this goroutine and should be
// quick; an event is theirs until they return.
func Follow(ctx context.Context, st *state.State, prefix string, begin func(state.Snapshot), changed func(*state.Event)) {
	events := make([]state.Event, 64)
	for ctx.Err() == nil {
		snapshot := st.Snapshot(prefix)
		cursor, err := st.Watch(prefix, snapshot.Rev)
		if err != nil {
			continue // so much was written since that it is history, and forgotten
		}
		begin(snapshot)
		for err == nil {
			var n int
			n, err = cursor.Next(ctx, events)
			for i := range events[:n] {
				changed(&events[i])
			}
			clear(events[:n]) // keeps nothing while it sleeps
		}
	}
}
