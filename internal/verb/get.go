package verb

import (
	"context"
	"errors"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/storage"

	"github.com/knarr-io/knarr/internal/object"
)

// freshness is how long a read waits for a revision that has not been
// reached, and what it then tells the client to wait before the next try; both
// are upstream's.
const (
	freshness      = 3 * time.Second
	tooLargeRetryS = 1
)

// Get returns the target's object. A Subresource that is part of the object
// is the object; one that shows it as another kind is made from it by the
// caller. That it can be read is not certain: see ReadError.
func (v *Verbs) Get(ctx context.Context, t Target, opts *metav1.GetOptions) (*object.Object, error) {
	key, err := t.key()
	if err != nil {
		return nil, err
	}
	rev, err := parseRevision(opts.ResourceVersion)
	if err != nil {
		return nil, err
	}
	if opts.ResourceVersion == "" {
		err = v.waitForLatest(ctx)
	} else {
		err = v.waitFor(ctx, rev)
	}
	if err != nil {
		return nil, err
	}
	o := v.State.Get(key)
	if o == nil {
		return nil, apierrors.NewNotFound(t.GroupResource(), t.Name)
	}
	return o, nil
}

// parseRevision reads a resourceVersion given by a client; empty is 0.
func parseRevision(s string) (uint64, error) {
	if s == "" || s == "0" {
		return 0, nil
	}
	rev, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, storage.NewInvalidError(field.ErrorList{field.Invalid(field.NewPath("resourceVersion"), s, err.Error())})
	}
	return rev, nil
}

// waitFor waits until reads see rev, for as long as upstream does.
func (v *Verbs) waitFor(ctx context.Context, rev uint64) error {
	if v.State.Rev() >= rev {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, freshness)
	defer cancel()
	err := v.State.WaitFor(ctx, rev)
	if errors.Is(err, context.DeadlineExceeded) {
		return storage.NewTooLargeResourceVersionError(rev, v.State.Rev(), tooLargeRetryS)
	}
	return err
}

// waitForLatest waits until reads see what was committed by now, by other servers
// too, so that an answer is no older than any that was given before.
func (v *Verbs) waitForLatest(ctx context.Context) error {
	rev, err := v.State.Latest(ctx)
	if err != nil || rev == 0 {
		return err
	}
	return v.waitFor(ctx, rev)
}

// decide calls attempt, which writes the object at key or finds that it is not to
// be written, for as long as it asks for another. What has come to nothing by an
// object that another server has written meanwhile is decided again: this one had
// not heard of it.
func (v *Verbs) decide(ctx context.Context, key string, attempt func() (written *object.Object, again bool, err error)) (*object.Object, error) {
	for current := false; ; {
		seen := v.revision(key)
		written, again, err := attempt()
		if again {
			continue
		}
		nothing := err != nil && !errors.Is(err, errRemove) && !errors.Is(err, errDeleteNow) || err == nil && written.Rev == seen
		if current || !nothing || context.Cause(ctx) != nil {
			return written, err
		}
		if err := v.waitForLatest(ctx); err != nil {
			return nil, err
		}
		if v.revision(key) == seen {
			return written, err
		}
		current = true
	}
}

// revision is that of the object at key, 0 if there is none.
func (v *Verbs) revision(key string) uint64 {
	if o := v.State.Get(key); o != nil {
		return o.Rev
	}
	return 0
}

// decode returns the hub object of o, with its resourceVersion.
func (t Target) decode(o *object.Object) (runtime.Object, error) {
	obj, err := t.resource().Decode(o)
	if err != nil {
		return nil, t.ReadError(o, err)
	}
	return obj, nil
}
