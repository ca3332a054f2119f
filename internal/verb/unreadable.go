package verb

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/storage"
	storageerrors "k8s.io/apiserver/pkg/storage/errors"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/store"
)

// An object that is there but cannot be read (kind.Unreadable) is an error of
// whatever would show it, and can only be deleted, by those who may, with the
// option ignoreStoreReadErrorWithClusterBreakingPotential. What its errors say
// is upstream's, down to the keys: without their root where one object is read.

// keyRoot is what all storage keys begin with.
const keyRoot = "/registry"

// ReadError returns err, met while reading the target's object, as clients get
// to see it.
func (t Target) ReadError(o *object.Object, err error) error {
	var u *kind.Unreadable
	if !errors.As(err, &u) {
		return err
	}
	key := strings.TrimPrefix(t.resource().Storage.Key(o.Namespace, o.Name), keyRoot)
	return storageerrors.InterpretGetError(storage.NewCorruptObjError(key, u), t.GroupResource(), o.Name)
}

// updateError returns err, met while reading what is to be updated, as clients
// get to see it.
func (t Target) updateError(o *object.Object, err error, dryRun bool) error {
	var u *kind.Unreadable
	switch {
	case !errors.As(err, &u):
		return err
	case dryRun:
		return t.ReadError(o, err)
	case u.Damaged:
		return storage.NewInternalError(u)
	}
	return u
}

// maxUnreadable is how many objects the error of a list names.
const maxUnreadable = 100

// ListError returns err, met while reading objects of the target's resource,
// as clients get to see it: it tells of all that cannot be read.
func (t Target) ListError(objects iter.Seq[*object.Object], err error) error {
	if u := (*kind.Unreadable)(nil); !errors.As(err, &u) {
		return err
	}
	var causes []metav1.StatusCause
	for o := range objects {
		var u *kind.Unreadable
		if _, err := t.resource().DecodeStored(o); !errors.As(err, &u) {
			continue
		}
		key := t.resource().Storage.Key(o.Namespace, o.Name)
		causes = append(causes, metav1.StatusCause{
			Type: metav1.CauseTypeUnexpectedServerResponse, Field: key, Message: storage.NewCorruptObjError(key, u).Error(),
		})
		if len(causes) == maxUnreadable {
			break
		}
	}
	if len(causes) == 0 {
		return err
	}
	message := fmt.Sprintf("failed to read one or more %s from the storage: %s", t.GroupResource(), causes[0].Message)
	if len(causes) > 1 {
		message += fmt.Sprintf(" (and %d more)", len(causes)-1)
	}
	if len(causes) == maxUnreadable {
		causes = append(causes, metav1.StatusCause{Type: metav1.CauseTypeTooMany, Message: "too many errors, the list is truncated"})
	}
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusInternalServerError, Reason: metav1.StatusReasonStoreReadError, Message: message,
		Details: &metav1.StatusDetails{Group: t.resource().Group, Kind: t.resource().Name, Name: "list", Causes: causes},
	}}
}

// WatchError returns err, met while showing an event, as the watcher gets to see
// it; nil if it is not to be told.
func WatchError(e *WatchEvent, err error) error {
	var u *kind.Unreadable
	switch {
	case !errors.As(err, &u):
		return nil
	case e.Type != watch.Deleted:
		return apierrors.NewInternalError(u)
	}
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusInternalServerError, Reason: metav1.StatusReasonStoreReadError,
		Message: fmt.Sprintf("saw a DELETED event, but object data is corrupt - %v", u),
	}}
}

// deleteUnreadable deletes the target's object if it cannot be read. Neither
// its finalizers nor admission are asked, since nobody knows them.
func (v *Verbs) deleteUnreadable(ctx context.Context, t Target, a admission.Attributes) (*Result, error) {
	if t.resource().KeepUnreadable {
		return nil, apierrors.NewInternalError(errors.New("no unsafe deleter provided, can not honor ignoreStoreReadErrorWithClusterBreakingPotential"))
	}
	if err := v.authorizeUnreadable(ctx, a); err != nil {
		return nil, err
	}
	key, err := t.key()
	if err != nil {
		return nil, err
	}
	done := &Result{Status: &metav1.Status{
		Status: metav1.StatusSuccess, Code: http.StatusOK,
		Details: &metav1.StatusDetails{Name: t.Name, Kind: t.resource().Kind},
	}}
	for {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		o := v.State.Get(key)
		if o == nil {
			return nil, apierrors.NewNotFound(t.GroupResource(), t.Name)
		}
		if _, err := t.resource().DecodeStored(o); err == nil {
			err := storage.NewInvalidObjError(key, "unsafe deletion is not allowed because the object is decodable from storage")
			return nil, apierrors.NewConflict(t.GroupResource(), t.Name, err)
		}
		if a.IsDryRun() {
			return done, nil
		}
		_, err := v.commit(ctx, t, store.Change{Key: key, If: o.Rev}, nil)
		if conflict := (*store.Conflict)(nil); err == nil || !errors.As(err, &conflict) {
			return done, err
		}
	}
}

// authorizeUnreadable asks whether the user may delete what cannot be read,
// which is a verb of its own.
func (v *Verbs) authorizeUnreadable(ctx context.Context, a admission.Attributes) error {
	const verb = "unsafe-delete-ignore-read-errors"
	if v.Authorizer == nil {
		return nil
	}
	record := authorizer.AttributesRecord{
		User: a.GetUserInfo(), Verb: verb, ResourceRequest: true,
		Namespace: a.GetNamespace(), Name: a.GetName(),
		APIGroup: a.GetResource().Group, APIVersion: a.GetResource().Version, Resource: a.GetResource().Resource,
	}
	decision, reason, err := v.Authorizer.Authorize(ctx, record)
	switch {
	case err != nil:
		return admission.NewForbidden(a, fmt.Errorf("error while checking permission for %q, %w", verb, err))
	case decision == authorizer.DecisionAllow:
		return nil
	}
	return admission.NewForbidden(a, fmt.Errorf("not permitted to do %q, reason: %s", verb, reason))
}
