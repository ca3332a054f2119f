package state

import (
	"slices"

	"github.com/knarr-io/knarr/internal/object"
)

// Revisions returns the changes of the object at a storage key that the history
// holds, oldest first, and the floor of the history: what was before is not known,
// but for the Prev of the first. present is the object as it is now, or nil.
func (s *State) Revisions(key string) (changes []Event, present *object.Object, floor uint64) {
	prefix := ResourceOf(key)
	s.mu.RLock()
	floor = s.floor
	c := s.collections[prefix]
	if c == nil {
		s.mu.RUnlock()
		return nil, nil, floor
	}
	events := c.log.from(c.log.first)
	present = c.get(prefix, key)
	s.mu.RUnlock()

	of := object.New(prefix, key, nil, 0, nil)
	for _, e := range slices.Backward(events) {
		if e.Object.Name == of.Name && e.Object.Namespace == of.Namespace {
			changes = append(changes, e)
		}
	}
	slices.Reverse(changes)
	return changes, present, floor
}
