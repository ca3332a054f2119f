package verb

import (
	"context"
	"errors"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apiserver/pkg/storage"

	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/state"
)

// List is the answer to a list: objects in the order of their keys.
type List struct {
	Objects []*object.Object
	Rev     uint64
	// Continue is the token for the next page; empty on the last.
	Continue string
	// Remaining is how many objects follow the page, if that is known.
	Remaining *int64
}

// Messages of upstream for a list that has outlived the history.
const (
	listExpired     = "The resourceVersion for the provided list is too old."
	continueExpired = "The provided continue parameter is too old to display a consistent list result. " +
		"You can start a new list without the continue parameter, or use the continue token in this response to " +
		"retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - " +
		"objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list."
)

// List returns the target's collection, or the page of it that opts ask for.
// opts must be valid, and its field selector in the kind's own terms. That all
// of the list can be read is not certain: see ListError.
func (v *Verbs) List(ctx context.Context, t Target, opts *metainternalversion.ListOptions) (*List, error) {
	if err := t.checkCollection(); err != nil {
		return nil, err
	}
	sel := t.selection(opts)
	snapshot, from, err := v.listSnapshot(ctx, t, sel, opts)
	if err != nil {
		return nil, err
	}
	if sel.inside && t.resource().Storage.Remote != nil {
		t.resource().Convert(ctx, v.State.Cache(), sel.candidates(snapshot))
	}
	list, err := sel.page(t, snapshot, from, opts)
	if err == nil {
		t.resource().Convert(ctx, v.State.Cache(), list.Objects)
	}
	if err != nil {
		every := func(visit func(*object.Object) bool) {
			snapshot.Each(state.Range{Namespace: sel.namespace}, func(o *object.Object) bool { return ctx.Err() == nil && visit(o) })
		}
		return nil, t.ListError(every, err)
	}
	return list, nil
}

// chosen is which objects of a resource a request is about.
type chosen struct {
	namespace, name string // empty for all
	label           labels.Selector
	field           fields.Selector
	by              object.Selector
	// inside tells that more than an object's name and namespace counts, so
	// that one has to look inside.
	inside bool
}

// selection reads them from a request. Selectors by name or namespace narrow
// what is looked at, as upstream's do.
func (t Target) selection(opts *metainternalversion.ListOptions) chosen {
	s := chosen{namespace: t.keyNamespace(), label: opts.LabelSelector, field: opts.FieldSelector, by: t.resource().Selector()}
	if s.label == nil {
		s.label = labels.Everything()
	}
	if s.field == nil {
		s.field = fields.Everything()
	}
	if t.resource().Namespaced && s.namespace == "" {
		s.namespace, _ = s.field.RequiresExactMatch("metadata.namespace")
	}
	s.name, _ = s.field.RequiresExactMatch("metadata.name")
	s.inside = !s.label.Empty()
	for _, r := range s.field.Requirements() {
		byName := r.Field == "metadata.name" && r.Value == s.name || r.Field == "metadata.namespace" && r.Value == s.namespace
		if r.Operator == selection.NotEquals || r.Value == "" || !byName {
			s.inside = true
		}
	}
	return s
}

func (s *chosen) everything() bool { return s.label.Empty() && s.field.Empty() }

// named reports whether o is selected as far as its name and namespace tell.
func (s *chosen) named(o *object.Object) bool {
	return (s.namespace == "" || o.Namespace == s.namespace) && (s.name == "" || o.Name == s.name)
}

// matches reports whether o is selected. An object that cannot be read is an
// error, unless everything is selected.
func (s *chosen) matches(o *object.Object) (bool, error) {
	if !s.named(o) {
		return false, nil
	}
	if !s.inside {
		return true, nil
	}
	a, err := o.Attributes(s.by)
	if err != nil {
		return false, err
	}
	return s.label.Matches(a.Labels) && s.field.Matches(a.Fields), nil
}

// listSnapshot returns the snapshot that a list reads, and the key after
// which it goes on, relative to the keys that are listed.
func (v *Verbs) listSnapshot(ctx context.Context, t Target, sel chosen, opts *metainternalversion.ListOptions) (state.Snapshot, string, error) {
	prefix := t.resource().Storage.Prefix
	keyPrefix := prefix + "/"
	if sel.namespace != "" {
		keyPrefix += sel.namespace + "/"
	}
	exact, from, err := storage.ValidateListOptions(keyPrefix, storage.APIObjectVersioner{}, storage.ListOptions{
		ResourceVersion:      opts.ResourceVersion,
		ResourceVersionMatch: opts.ResourceVersionMatch,
		Predicate:            storage.SelectionPredicate{Limit: opts.Limit, Continue: opts.Continue},
		Recursive:            true,
	})
	if err != nil {
		return state.Snapshot{}, "", err
	}
	from = strings.TrimPrefix(from, keyPrefix)
	if exact <= 0 {
		rev, err := parseRevision(opts.ResourceVersion)
		if err != nil {
			return state.Snapshot{}, "", err
		}
		if opts.ResourceVersion == "" {
			err = v.waitForLatest(ctx)
		} else {
			err = v.waitFor(ctx, rev)
		}
		if err != nil {
			return state.Snapshot{}, "", err
		}
		return v.State.Snapshot(prefix), from, nil
	}
	if err := v.waitFor(ctx, uint64(exact)); err != nil {
		return state.Snapshot{}, "", err
	}
	snapshot, err := v.State.SnapshotAt(prefix, uint64(exact))
	if errors.Is(err, state.ErrExpired) {
		return snapshot, "", listExpiredError(keyPrefix, from, opts)
	}
	return snapshot, from, err
}

// listExpiredError tells that a list cannot be had at its revision; of a page
// it offers to go on with the present.
func listExpiredError(keyPrefix, from string, opts *metainternalversion.ListOptions) error {
	if opts.Continue == "" {
		return apierrors.NewResourceExpired(listExpired)
	}
	token, err := storage.EncodeContinue(keyPrefix+from, keyPrefix, -1)
	if err != nil {
		return err
	}
	expired := apierrors.NewResourceExpired(continueExpired)
	expired.ErrStatus.Continue = token
	return expired
}

// candidates are the objects of the snapshot that one has to look into.
func (s *chosen) candidates(snapshot state.Snapshot) (objects []*object.Object) {
	snapshot.Each(state.Range{Namespace: s.namespace}, func(o *object.Object) bool {
		if s.named(o) {
			objects = append(objects, o)
		}
		return true
	})
	return objects
}

// page selects from the snapshot what opts ask for.
func (s *chosen) page(t Target, snapshot state.Snapshot, from string, opts *metainternalversion.ListOptions) (*List, error) {
	list := &List{Rev: snapshot.Rev}
	if s.name != "" && (s.namespace != "" || !t.resource().Namespaced) {
		return list, s.single(list, snapshot)
	}
	r := state.Range{Namespace: s.namespace, FromName: from}
	if ns, name, ok := strings.Cut(from, "/"); ok && s.namespace == "" && t.resource().Namespaced {
		r.FromNamespace, r.FromName = ns, name
	}
	var seen, limit int64 = 0, opts.Limit
	if opts.ResourceVersion == "0" {
		limit = 0 // "any version" comes from upstream's cache, whole
	}
	var last *object.Object
	var err error
	more := false
	snapshot.Each(r, func(o *object.Object) bool {
		seen++
		if limit > 0 && int64(len(list.Objects)) == limit {
			more = true
			return s.everything() // only to count
		}
		last = o
		var ok bool
		if ok, err = s.matches(o); ok {
			list.Objects = append(list.Objects, o)
		}
		return err == nil
	})
	if err != nil || !more {
		return list, err
	}
	keyPrefix, key := t.resource().Storage.Prefix+"/", t.resource().Storage.Key(last.Namespace, last.Name)
	if s.namespace != "" {
		keyPrefix += s.namespace + "/"
	}
	if s.everything() {
		remaining := seen - limit
		list.Remaining = &remaining
	}
	list.Continue, err = storage.EncodeContinue(key+"\x00", keyPrefix, int64(snapshot.Rev))
	return list, err
}

// single is the page of a selection that names one object.
func (s *chosen) single(list *List, snapshot state.Snapshot) error {
	o := snapshot.Get(s.namespace, s.name)
	if o == nil {
		return nil
	}
	ok, err := s.matches(o)
	if ok {
		list.Objects = append(list.Objects, o)
	}
	return err
}
