package ownership

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// maxOwners is how many owners by other writes than apply an object may have
// before upstream puts the oldest of them together.
const maxOwners = 10

// manyOwners are more than objects have unless a client makes them up.
const manyOwners = 100

// direct keeps owners through writes that are no apply, by a walk over the
// objects themselves. What it cannot tell is left to upstream's manager.
type direct struct {
	convertor   runtime.ObjectConvertor
	gvk         schema.GroupVersionKind
	subresource string
	resets      *resets
	objects     objects
	walks       *pool
}

// objects is how versioned objects are walked.
type objects interface {
	// walk compares two of them.
	walk(w *walk, live, obj runtime.Object)
	// schema is what sets of owned fields are checked against.
	schema() below
}

// pool keeps what a walk needs for the next one. The zero value is ready.
type pool struct{ kept sync.Pool }

func (p *pool) get() *walk {
	if w, ok := p.kept.Get().(*walk); ok {
		return w
	}
	return &walk{}
}

func (p *pool) put(w *walk) {
	w.forget()
	p.kept.Put(w)
}

// resets is a tree of fields that a write leaves alone: all that is below such
// a field, or some of it.
type resets struct {
	all    bool
	fields map[string]*resets
}

// newResets makes a tree of a set of paths, which are nil if there are none.
// Paths by other elements than the names of fields are an error.
func newResets(set *fieldpath.Set) (*resets, error) {
	if set == nil || set.Empty() {
		return nil, nil
	}
	root := &resets{}
	for path := range set.All() {
		r := root
		for _, e := range path {
			if e.FieldName == nil {
				return nil, fmt.Errorf("a reset of %s", path)
			}
			if r.fields == nil {
				r.fields = map[string]*resets{}
			}
			if r.fields[*e.FieldName] == nil {
				r.fields[*e.FieldName] = &resets{}
			}
			r = r.fields[*e.FieldName]
		}
		r.all = true
	}
	return root, nil
}

// update gives obj its owners, as Manager.Update does, and returns true; or
// changes nothing and returns false.
func (d *direct) update(live, obj runtime.Object, by string) bool {
	liveMeta, err := meta.Accessor(live)
	if err != nil {
		return true // what has no metadata has no owners
	}
	objMeta, err := meta.Accessor(obj)
	if err != nil {
		return d.subresource == ""
	}
	if by == "" {
		by = "unknown"
	}
	owners, ok := d.owners(liveMeta, objMeta)
	if !ok || !utf8.ValidString(by) {
		return false
	}
	if len(owners) == 0 && liveMeta.GetUID() != "" {
		objMeta.SetManagedFields(nil) // not tracked from its creation: not now
		return true
	}
	w := d.walks.get()
	defer d.walks.put(w)
	if !d.compare(w, live, obj) {
		return false
	}
	if owners, ok = d.after(w, owners, by); !ok {
		return false
	}
	objMeta.SetManagedFields(owners)
	return true
}

// owners returns the owners before the write: those that obj names, where
// clients may, or else those of live.
func (d *direct) owners(live, obj metav1.Object) ([]metav1.ManagedFieldsEntry, bool) {
	if d.subresource == "" {
		given := obj.GetManagedFields()
		if given != nil && len(given) == 0 || len(given) == 1 && reflect.ValueOf(given[0]).IsZero() {
			return nil, true // how clients ask to forget owners
		}
		if len(given) > 0 {
			return given, d.usual(given)
		}
	}
	owners := live.GetManagedFields()
	return owners, d.usual(owners)
}

// usual reports whether upstream reads all owners, and their fields are of the
// version being written.
func (d *direct) usual(owners []metav1.ManagedFieldsEntry) bool {
	if len(owners) > manyOwners {
		return false
	}
	for i := range owners {
		o := &owners[i]
		switch {
		case o.Operation != metav1.ManagedFieldsOperationApply && o.Operation != metav1.ManagedFieldsOperationUpdate,
			o.FieldsType != "FieldsV1", o.FieldsV1 == nil, o.APIVersion != d.gvk.GroupVersion().String(),
			!utf8.ValidString(o.Manager), !utf8.ValidString(o.Subresource):
			return false
		}
		for j := range owners[:i] {
			if sameOwner(o, &owners[j]) {
				return false
			}
		}
	}
	return true
}

// sameOwner compares owners of one version.
func sameOwner(a, b *metav1.ManagedFieldsEntry) bool {
	return a.Manager == b.Manager && a.Operation == b.Operation && a.Subresource == b.Subresource
}

// compare finds what has changed.
func (d *direct) compare(w *walk, live, obj runtime.Object) bool {
	before, err := d.convertor.ConvertToVersion(live, d.gvk.GroupVersion())
	if err != nil {
		return false
	}
	after, err := d.convertor.ConvertToVersion(obj, d.gvk.GroupVersion())
	if err != nil {
		return false
	}
	if u, ok := after.(*unstructured.Unstructured); ok && u.GroupVersionKind() != d.gvk {
		return false // what is not of the kind has no schema
	}
	restore := hideOwners(after)
	defer restore()
	w.begin(d.resets)
	d.objects.walk(w, before, after)
	return !w.unclear
}

// hideOwners takes the owners out of a versioned object, which may share memory
// with the one being written, until restore is called.
func hideOwners(obj runtime.Object) (restore func()) {
	if u, ok := obj.(*unstructured.Unstructured); ok {
		metadata, _ := u.Object["metadata"].(map[string]any)
		kept, ok := metadata["managedFields"]
		if !ok {
			return func() {}
		}
		delete(metadata, "managedFields")
		return func() { metadata["managedFields"] = kept }
	}
	m, err := meta.Accessor(obj)
	if err != nil {
		return func() {}
	}
	kept := m.GetManagedFields()
	m.SetManagedFields(nil)
	return func() { m.SetManagedFields(kept) }
}

// after returns the owners after the changes that w found.
func (d *direct) after(w *walk, owners []metav1.ManagedFieldsEntry, by string) ([]metav1.ManagedFieldsEntry, bool) {
	w.disown()
	mine := metav1.ManagedFieldsEntry{
		Manager: by, Operation: metav1.ManagedFieldsOperationUpdate, APIVersion: d.gvk.GroupVersion().String(),
		FieldsType: "FieldsV1", Subresource: d.subresource,
	}
	gains := w.owned()
	schema := d.objects.schema()
	result := make([]metav1.ManagedFieldsEntry, 0, len(owners)+1)
	for i := range owners {
		o := owners[i]
		mineToo := gains && sameOwner(&o, &mine)
		if !w.rewrite(&o, schema, mineToo) {
			return nil, false
		}
		if o.FieldsV1 == nil {
			continue
		}
		if mineToo {
			o.Time = &metav1.Time{Time: time.Now().UTC()}
			gains = false
		}
		result = append(result, o)
	}
	if gains {
		mine.FieldsV1 = metav1.NewFieldsV1("{}")
		if !w.rewrite(&mine, schema, true) {
			return nil, false
		}
		mine.Time = &metav1.Time{Time: time.Now().UTC()}
		result = append(result, mine)
	}
	updaters := 0
	for i := range result {
		if result[i].Operation == metav1.ManagedFieldsOperationUpdate {
			updaters++
		}
	}
	if updaters > maxOwners {
		return nil, false
	}
	if len(result) == 0 {
		return nil, true
	}
	slices.SortFunc(result, compareOwners)
	return result, true
}

// rewrite gives o the fields that it has after the changes; none is nil.
func (w *walk) rewrite(o *metav1.ManagedFieldsEntry, schema below, mine bool) bool {
	f := fieldsWriter{changes: &w.changes, mine: mine, out: w.out[:0], text: w.scratch}
	before := o.FieldsV1.GetRawString()
	n, err := f.write(before, schema)
	if err != nil {
		// Those of unstructured objects have been sorted as texts, for one.
		var set fieldpath.Set
		if err := set.FromJSON(strings.NewReader(before)); err != nil {
			return false
		}
		inOrder, err := set.ToJSON()
		if err != nil {
			return false
		}
		f.out, f.deep = f.out[:0], 0
		if n, err = f.write(string(inOrder), schema); err != nil {
			return false
		}
	}
	w.out, w.scratch = f.out, f.text
	switch {
	case n == 0:
		o.FieldsV1 = nil
	case string(f.out) != before:
		o.FieldsV1 = &metav1.FieldsV1{}
		o.FieldsV1.SetRawBytes(f.out)
	}
	return true
}

// compareOwners is the order of metadata.managedFields.
func compareOwners(a, b metav1.ManagedFieldsEntry) int {
	seconds := func(t *metav1.Time) int64 {
		if t == nil {
			return 0
		}
		return t.Unix()
	}
	return cmp.Or(
		strings.Compare(string(a.Operation), string(b.Operation)), cmp.Compare(seconds(a.Time), seconds(b.Time)),
		strings.Compare(a.Manager, b.Manager), strings.Compare(a.APIVersion, b.APIVersion), strings.Compare(a.Subresource, b.Subresource),
	)
}
