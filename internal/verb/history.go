package verb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/state"
)

// What a Revision did.
const (
	Created = "Create"
	Updated = "Update"
	Deleted = "Delete"
	// Present is the object as it was when the history begins.
	Present = "Present"
)

// Revision is an object as one change left it or, if that deleted it, found it.
type Revision struct {
	Object *object.Object
	Change string
	// Time is zero if it is not known.
	Time time.Time
	// By are the owners of fields that wrote it; nobody where nothing tells.
	By []metav1.ManagedFieldsEntry
}

// History returns what has become of the target's object for as long as the
// history goes back, which is to the revision since, oldest first.
func (v *Verbs) History(ctx context.Context, t Target) (revisions []Revision, since uint64, err error) {
	key, err := t.key()
	if err != nil {
		return nil, 0, err
	}
	changes, present, since := v.State.Revisions(key)
	switch {
	case len(changes) > 0 && changes[0].Prev != nil:
		revisions = append(revisions, Revision{Object: changes[0].Prev, Change: Present})
	case len(changes) == 0 && present != nil:
		revisions = append(revisions, Revision{Object: present, Change: Present})
	case len(changes) == 0:
		return nil, 0, apierrors.NewNotFound(t.GroupResource(), t.Name)
	}
	for _, e := range changes {
		r := Revision{Object: e.Object, Change: Updated, Time: e.Time()}
		switch {
		case e.Deleted:
			r.Change = Deleted
		case e.Prev == nil:
			r.Change = Created
		}
		revisions = append(revisions, r)
	}
	objects := make([]*object.Object, len(revisions))
	for i := range revisions {
		objects[i] = revisions[i].Object
	}
	t.resource().Convert(ctx, v.State.Cache(), objects)
	t.tellManagers(revisions)
	return revisions, since, nil
}

// tellManagers finds out who wrote what: those whose entries in managedFields are
// not what they were. What cannot be read was written by nobody.
func (t Target) tellManagers(revisions []Revision) {
	var before []metav1.ManagedFieldsEntry
	for i := range revisions {
		r := &revisions[i]
		var now []metav1.ManagedFieldsEntry
		if obj, err := t.resource().Decode(r.Object); err == nil {
			if m, err := meta.Accessor(obj); err == nil {
				now = m.GetManagedFields()
			}
		}
		if r.Change == Created {
			before = nil
		}
		if r.Change == Created || r.Change == Updated {
			r.By = changedEntries(before, now)
		}
		before = now
	}
}

// changedEntries are the entries that have won fields, or a later time; where none
// has, those that have lost some.
func changedEntries(before, now []metav1.ManagedFieldsEntry) (changed []metav1.ManagedFieldsEntry) {
	var lost []metav1.ManagedFieldsEntry
	for _, e := range now {
		i := slices.IndexFunc(before, func(b metav1.ManagedFieldsEntry) bool {
			return b.Manager == e.Manager && b.Operation == e.Operation && b.Subresource == e.Subresource && b.APIVersion == e.APIVersion
		})
		switch {
		case i < 0 || !e.Time.Equal(before[i].Time) || !fieldsOf(e).Difference(fieldsOf(before[i])).Empty():
			changed = append(changed, e)
		case !fieldsOf(e).Equals(fieldsOf(before[i])):
			lost = append(lost, e)
		}
	}
	if len(changed) == 0 {
		return lost
	}
	return changed
}

// fieldsOf is what an entry owns; nothing if that cannot be told.
func fieldsOf(e metav1.ManagedFieldsEntry) *fieldpath.Set {
	set := &fieldpath.Set{}
	if e.FieldsV1 == nil || set.FromJSON(bytes.NewReader(e.FieldsV1.Raw)) != nil {
		return &fieldpath.Set{}
	}
	return set
}

// GetAt returns the target's object as it was at a revision.
func (v *Verbs) GetAt(ctx context.Context, t Target, revision string) (*object.Object, error) {
	if _, err := t.key(); err != nil {
		return nil, err
	}
	rev, err := strconv.ParseUint(revision, 10, 64)
	if err != nil {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("%q is not a revision", revision))
	}
	if err := v.waitFor(ctx, rev); err != nil {
		return nil, err
	}
	snapshot, err := v.State.SnapshotAt(t.resource().Storage.Prefix, rev)
	if errors.Is(err, state.ErrExpired) {
		return nil, apierrors.NewResourceExpired("The revision is older than the history that is kept.")
	}
	if err != nil {
		return nil, err
	}
	o := snapshot.Get(t.keyNamespace(), t.Name)
	if o == nil {
		return nil, apierrors.NewNotFound(t.GroupResource(), t.Name)
	}
	return o, nil
}
