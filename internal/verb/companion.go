package verb

import (
	"context"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/knarr-io/knarr/internal/store"
)

// Companion keeps what the objects of one resource hold beside themselves,
// such as the addresses of Services, in step with them. The changes that its
// methods return are committed together with the object's own, all or none.
// Where such a commit fails because another key than the object's own was
// written meanwhile, the attempt is made again, on the state as it is then.
//
// Create and Update see a hub object before the kind's rules do, and may
// complete it. For a dry run they complete it, but return no changes. Errors
// are those of the API. Methods may be called at the same time.
type Companion interface {
	// Create is for obj, which is to be created.
	Create(ctx context.Context, obj runtime.Object, dryRun bool) ([]store.Change, error)
	// Update is for obj, which is to replace old. It may complete old too,
	// with what an older release did not store.
	Update(ctx context.Context, obj, old runtime.Object, dryRun bool) ([]store.Change, error)
	// Delete is for obj, which is to be removed; it may modify it.
	Delete(ctx context.Context, obj runtime.Object) ([]store.Change, error)
}

// companion returns the target's companion, which does nothing if the resource
// has none.
func (v *Verbs) companion(t Target) Companion {
	if c := v.Companions[t.GroupResource()]; c != nil {
		return c
	}
	return alone{}
}

// alone is the companion of objects that hold nothing beside themselves.
type alone struct{}

func (alone) Create(context.Context, runtime.Object, bool) ([]store.Change, error) { return nil, nil }

func (alone) Update(context.Context, runtime.Object, runtime.Object, bool) ([]store.Change, error) {
	return nil, nil
}

func (alone) Delete(context.Context, runtime.Object) ([]store.Change, error) { return nil, nil }
