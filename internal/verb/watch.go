package verb

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/state"
)

// bookmarkEvery is how often a watcher that asked for bookmarks gets one;
// bookmarkBefore is how long before its end it gets the last. Both are
// upstream's.
const (
	bookmarkEvery  = time.Minute
	bookmarkBefore = 2 * time.Second
)

// WatchEvent is one event of a watch.
type WatchEvent struct {
	Type watch.EventType
	// Object is set for ADDED, MODIFIED and DELETED.
	Object *object.Object
	// Rev and InitialEnd describe a BOOKMARK: everything up to Rev has been
	// told, and InitialEnd marks the end of the initial events.
	Rev        uint64
	InitialEnd bool
	// Err is what an ERROR says; the watch ends with it.
	Err *apierrors.StatusError
}

// Watch is a running watch. It holds no events: what is not read yet stays in
// the state's history. It belongs to one goroutine and needs no closing.
type Watch struct {
	state    *state.State
	resource *kind.Resource
	sel      chosen
	// since is where the cursor begins; there is none before the first wait.
	since  uint64
	cursor *state.Cursor
	// initial is what is left to tell of the objects that are there when the watch
	// begins; pending is what is told next, and err after them.
	initial *initial
	pending []WatchEvent
	err     *apierrors.StatusError

	bookmarks bool
	next      time.Time // of the next bookmark
	deadline  time.Time // zero if there is none
	buffer    []state.Event
}

// Watch begins a watch as opts ask for. opts must be valid, and its field
// selector in the kind's own terms. What goes wrong after the request was
// understood is told as an ERROR event, as upstream does.
func (v *Verbs) Watch(ctx context.Context, t Target, opts *metainternalversion.ListOptions) (*Watch, error) {
	if err := t.checkCollection(); err != nil {
		return nil, err
	}
	rev, err := parseRevision(opts.ResourceVersion)
	if err != nil {
		return nil, err
	}
	w := &Watch{state: v.State, resource: t.resource(), sel: t.selection(opts), bookmarks: opts.AllowWatchBookmarks, buffer: make([]state.Event, 64)}
	w.deadline, _ = ctx.Deadline()
	w.schedule(time.Now())

	initial := opts.SendInitialEvents != nil && *opts.SendInitialEvents
	if initial {
		if opts.ResourceVersion == "" {
			err = v.waitForLatest(ctx)
		} else {
			err = v.waitFor(ctx, rev)
		}
		if err != nil {
			w.fail(err)
			return w, nil
		}
	}
	if initial || rev == 0 {
		snapshot := v.State.Snapshot(w.resource.Storage.Prefix)
		if initial || opts.SendInitialEvents == nil {
			w.begin(snapshot, initial && w.bookmarks)
		}
		rev = snapshot.Rev
	}
	w.since = rev
	if rev <= v.State.Rev() {
		w.open()
	}
	return w, nil
}

// open places the cursor.
func (w *Watch) open() {
	var err error
	if w.cursor, err = w.state.Watch(w.resource.Storage.Prefix, w.since); err != nil {
		w.fail(expiredAt(err, w.since, w.state.Floor()))
	}
}

// convertedAtOnce is of how many initial events the objects are converted together.
const convertedAtOnce = 500

// initial are objects of a snapshot, which are told as ADDED, few at a time: a
// watch whose client takes nothing holds no more.
type initial struct {
	snapshot state.Snapshot
	from     state.Range
	end      bool // is told
}

func (w *Watch) begin(snapshot state.Snapshot, end bool) {
	w.initial = &initial{snapshot, state.Range{Namespace: w.sel.namespace}, end}
}

// tellInitial has the next of the initial events pending.
func (w *Watch) tellInitial(ctx context.Context) {
	var objects []*object.Object
	more, most := false, len(w.buffer)
	if w.resource.Storage.Remote != nil {
		most = convertedAtOnce
	}
	w.initial.snapshot.Each(w.initial.from, func(o *object.Object) bool {
		if len(objects) == most {
			more = true
			w.initial.from.FromNamespace, w.initial.from.FromName = o.Namespace, o.Name
			return false
		}
		if w.sel.named(o) {
			objects = append(objects, o)
		}
		return true
	})
	if w.resource.Storage.Remote != nil {
		w.resource.Convert(ctx, w.state.Cache(), objects)
	}
	for _, o := range objects {
		if ok, _ := w.sel.matches(o); ok {
			w.pending = append(w.pending, WatchEvent{Type: watch.Added, Object: o})
		}
	}
	if more {
		return
	}
	if w.initial.end {
		w.pending = append(w.pending, WatchEvent{Type: watch.Bookmark, Rev: w.initial.snapshot.Rev, InitialEnd: true})
	}
	w.initial = nil
}

// expiredAt gives state's ErrExpired upstream's words.
func expiredAt(err error, rev, floor uint64) error {
	if errors.Is(err, state.ErrExpired) {
		return apierrors.NewResourceExpired(fmt.Sprintf("too old resource version: %d (%d)", rev, floor))
	}
	return err
}

// fail has the watch end with err.
func (w *Watch) fail(err error) {
	status, ok := err.(*apierrors.StatusError)
	if !ok {
		status = apierrors.NewInternalError(err)
	}
	w.err = status
}

// Next waits for events and returns at least one, in order. The slice is the
// caller's until the next call. When the watch is over, because of an error it
// has told, it returns ok false; when ctx ends, its cause.
func (w *Watch) Next(ctx context.Context) (events []WatchEvent, ok bool, err error) {
	for {
		if len(w.pending) > 0 {
			events, w.pending = w.pending, nil
			return events, true, nil
		}
		if w.initial != nil {
			w.tellInitial(ctx)
			continue
		}
		if w.err != nil {
			if w.buffer == nil {
				return nil, false, nil
			}
			w.cursor, w.buffer = nil, nil
			return []WatchEvent{{Type: watch.Error, Err: w.err}}, true, nil
		}
		if err := w.fill(ctx); err != nil {
			return nil, false, err
		}
	}
}

// fill waits for events of the state, or for the time of a bookmark.
func (w *Watch) fill(ctx context.Context) error {
	if w.cursor == nil {
		// A watch from a revision to come waits for it in silence.
		if err := w.state.WaitFor(ctx, w.since); err != nil {
			return err
		}
		w.open()
		return nil
	}
	wait := ctx
	if w.bookmarks {
		var cancel context.CancelFunc
		wait, cancel = context.WithDeadlineCause(ctx, w.next, errBookmark)
		defer cancel()
	}
	n, err := w.cursor.Next(wait, w.buffer)
	switch {
	case err == nil:
	case errors.Is(err, state.ErrExpired):
		w.fail(expiredAt(err, w.cursor.Delivered(), w.cursor.Delivered()))
		return nil
	case errors.Is(err, errBookmark) && ctx.Err() == nil:
		w.schedule(time.Now())
		w.pending = append(w.pending, WatchEvent{Type: watch.Bookmark, Rev: w.cursor.Delivered()})
		return nil
	default:
		return err
	}
	if w.resource.Storage.Remote != nil {
		w.convert(ctx, w.buffer[:n])
	}
	for i := range w.buffer[:n] {
		if e, ok := w.event(&w.buffer[i]); ok {
			w.pending = append(w.pending, e)
		}
	}
	clear(w.buffer[:n]) // not to hold objects while waiting
	return nil
}

// convert has the objects of events converted that this watcher may tell of, or has
// to look into.
func (w *Watch) convert(ctx context.Context, events []state.Event) {
	var objects []*object.Object
	for i := range events {
		e := &events[i]
		if !w.sel.named(e.Object) {
			continue
		}
		objects = append(objects, e.Object)
		if e.Prev != nil && w.sel.inside {
			objects = append(objects, e.Prev)
		}
	}
	w.resource.Convert(ctx, w.state.Cache(), objects)
}

var errBookmark = errors.New("time for a bookmark")

// event tells what a change of state means to this watcher: an object that
// begins or ceases to be selected is added or deleted to it.
func (w *Watch) event(e *state.Event) (WatchEvent, bool) {
	is := false
	if !e.Deleted {
		is, _ = w.sel.matches(e.Object)
	}
	was := false
	if e.Prev != nil {
		was, _ = w.sel.matches(e.Prev)
	}
	switch {
	case is && was:
		return WatchEvent{Type: watch.Modified, Object: e.Object}, true
	case is:
		return WatchEvent{Type: watch.Added, Object: e.Object}, true
	case was && e.Deleted:
		return WatchEvent{Type: watch.Deleted, Object: e.Object}, true
	case was:
		return WatchEvent{Type: watch.Deleted, Object: e.Prev.At(e.Rev())}, true
	}
	return WatchEvent{}, false
}

// schedule sets the time of the next bookmark.
func (w *Watch) schedule(now time.Time) {
	w.next = now.Add(bookmarkEvery)
	if last := w.deadline.Add(-bookmarkBefore); !w.deadline.IsZero() && now.Before(last) && last.Before(w.next) {
		w.next = last
	}
}

// InitialEventsEnd is the annotation of the bookmark that ends the initial
// events (KEP-3157).
const InitialEventsEnd = metav1.InitialEventsAnnotationKey
