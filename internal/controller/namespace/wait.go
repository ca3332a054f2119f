package namespace

import (
	"time"

	"github.com/knarr-io/knarr/internal/controller"
	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/state"
)

// change is what a namespace waits for: something of what is stored under a prefix,
// in the namespace or, if wide, anywhere, has changed since a revision.
type change struct {
	prefix string
	since  uint64
	wide   bool
}

// wait has a namespace looked at again as soon as what it waits for has come about:
// at once when nothing is left of a resource, otherwise in a while, since there may be
// many changes.
func (r *run) wait(name string, left remains) {
	if left.recheck > 0 {
		r.schedule.AddAfter(name, left.recheck)
	}
	var changes []controller.Change
	for _, c := range left.changes {
		changes = append(changes, controller.Change{Prefix: c.prefix, Since: c.since, Lost: func() { r.schedule.Add(name) }, See: func(e *state.Event) bool {
			switch {
			case !c.wide && e.Object.Namespace != name:
				return false
			case !c.wide && !r.holds(c.prefix, name):
				r.schedule.Add(name)
				return true
			}
			r.schedule.AddAfter(name, toldEvery)
			return false
		}})
	}
	r.waits.For(r.ctx, name, changes...)
}

// holds reports whether anything is stored under a prefix in a namespace.
func (c *Controller) holds(prefix, namespace string) bool {
	return holds(c.state.Snapshot(prefix), namespace)
}

func holds(all state.Snapshot, namespace string) (any bool) {
	all.Each(state.Range{Namespace: namespace}, func(*object.Object) bool { any = true; return false })
	return any
}

// remains is what a namespace still waits for; nothing if it is empty.
type remains struct {
	changes []change
	// recheck, if not 0, is when to look again though nothing that is seen here
	// changes.
	recheck time.Duration
}

// soon has a namespace looked at again after a while, at the latest.
func (r *remains) soon(after time.Duration) {
	if r.recheck == 0 || after < r.recheck {
		r.recheck = max(after, time.Second)
	}
}
