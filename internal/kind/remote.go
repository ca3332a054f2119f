package kind

import (
	"context"
	"strconv"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/knarr-io/knarr/internal/object"
)

// Remote decodes stored objects of a resource that somebody else converts
// between its versions: a call that takes time, may fail, and may have another
// answer the next time. So it is made for many objects at once, and no more than
// once for those that are read over and over.
type Remote interface {
	// Foreign reports whether it takes a call to decode value.
	Foreign(value []byte) bool
	// DecodeAll is Codec.Decode of several values with one call. If that fails,
	// which of them is to blame is not known: each may well decode alone.
	DecodeAll(values [][]byte) ([]runtime.Object, error)
	// Restore returns the hub object that encoding is of: one in JSON, in the
	// version of the resource.
	Restore(encoding []byte) (runtime.Object, error)
}

// What one call converts at most. Upstream sends one object per call, so that
// webhooks may not be prepared for much.
const (
	maxConverted      = 500
	maxConvertedBytes = 2 << 20
)

// Foreign reports whether reading o takes a call to somebody else.
func (r *Resource) Foreign(o *object.Object) bool {
	return r.Storage.Remote != nil && o.Err == nil && r.Storage.Remote.Foreign(o.Value)
}

// converted returns the hub object of o if its conversion is known.
func (r *Resource) converted(o *object.Object) runtime.Object {
	if r.Storage.Remote == nil || !r.Storage.Remote.Foreign(o.Value) {
		return nil
	}
	encoding := o.Kept(r.Versions[0].JSON)
	if encoding == nil {
		return nil
	}
	obj, err := r.Storage.Remote.Restore(encoding)
	if err != nil {
		return nil
	}
	return obj
}

// Convert has objects converted that are not yet, many with one call, and keeps
// what they become, so that reading them takes no call each. It does nothing for
// resources that are converted here, and for objects in the version that is
// stored. If a call fails, or ctx ends, what is left is left to those who read it,
// one by one, and have errors to tell. It does not keep objects.
func (r *Resource) Convert(ctx context.Context, cache *object.Cache, objects []*object.Object) {
	if r.Storage.Remote == nil || cache == nil {
		return
	}
	var batch []*object.Object
	size := 0
	for _, o := range objects {
		if !r.Foreign(o) || o.Kept(r.Versions[0].JSON) != nil {
			continue
		}
		if len(batch) > 0 && (len(batch) == maxConverted || size+len(o.Value) > maxConvertedBytes) {
			if !r.convert(ctx, cache, batch) {
				return
			}
			batch, size = batch[:0], 0
		}
		batch, size = append(batch, o), size+len(o.Value)
	}
	r.convert(ctx, cache, batch)
}

// convert has a batch converted, and reports whether that went well.
func (r *Resource) convert(ctx context.Context, cache *object.Cache, batch []*object.Object) bool {
	if len(batch) == 0 || ctx.Err() != nil {
		return false
	}
	values := make([][]byte, len(batch))
	for i, o := range batch {
		values[i] = o.Value
	}
	converted, err := r.Storage.Remote.DecodeAll(values)
	if err != nil {
		return false
	}
	for i, o := range batch {
		if err := r.keep(cache, o, converted[i]); err != nil {
			return false
		}
	}
	return true
}

// keep caches what o was converted to.
func (r *Resource) keep(cache *object.Cache, o *object.Object, obj runtime.Object) error {
	m, err := meta.Accessor(obj)
	if err != nil {
		return err
	}
	if o.Rev != 0 {
		m.SetResourceVersion(strconv.FormatUint(o.Rev, 10))
	}
	encoding, err := marshalJSON(obj)
	if err != nil {
		return err
	}
	cache.Keep(o, r.Versions[0].JSON, encoding)
	return nil
}
