package state

import (
	"context"

	"github.com/knarr-io/knarr/internal/object"
)

// Follow tells of the objects stored under prefix until ctx ends: begin gets
// what there is, then changed gets every event after it, in order. Who is
// overtaken by the end of the history begins again, so begin must reckon with
// having missed anything. Both are called from this goroutine and should be
// quick; an event is theirs until they return.
func (s *State) Follow(ctx context.Context, prefix string, begin func(Snapshot), changed func(*Event)) {
	events := make([]Event, 64)
	for ctx.Err() == nil {
		snapshot := s.Snapshot(prefix)
		cursor, err := s.Watch(prefix, snapshot.Rev)
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

// AsNew returns a begin for Follow that sees each object as if it had just
// been made.
func AsNew(see func(*Event)) (begin func(Snapshot)) {
	return func(all Snapshot) {
		all.Each(Range{}, func(o *object.Object) bool {
			see(&Event{Object: o})
			return true
		})
	}
}
