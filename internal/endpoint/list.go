package endpoint

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/storage"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/verb"
)

// items are the encodings of a list's objects. They are had again when they are
// written, so that who takes nothing of a long answer does not hold what the cache
// has long dropped; what must not, or need not, be made twice is kept.
type items struct {
	*query
	shape
	list   *verb.List
	form   object.Form
	made   [][]byte // of all objects, with nil for those that are not kept
	length []int    // of all, or nil if nobody asks
}

// errChanged is of an encoding that has another length than before.
var errChanged = fmt.Errorf("an encoding has changed its length")

// items makes sure that all encodings can be made. Protobuf begins with the length
// of it all.
func (q *query) items(s shape, list *verb.List) (*items, error) {
	v := q.target.Version
	it := &items{query: q, shape: s, list: list, form: s.form(v)}
	foreign := q.foreign()
	keep := foreign
	if s.media == mediaProtobuf {
		it.length = make([]int, len(list.Objects))
		if release, ok := q.kept.try(2 * size(list.Objects)); ok {
			q.reserved, keep = append(q.reserved, release), true
		}
	}
	if keep {
		it.made = make([][]byte, len(list.Objects))
	}
	for i, o := range list.Objects {
		if foreign && q.r.Context().Err() != nil { // or a webhook is asked for who has gone
			return nil, storage.NewTimeoutError(v.Resource.Storage.Key(o.Namespace, o.Name), "request did not complete within requested timeout")
		}
		if !keep && it.length == nil && o.Sound() {
			continue
		}
		b, err := it.encoding(o)
		if err != nil {
			return nil, q.target.ListError(slices.Values(list.Objects), err)
		}
		if keep {
			it.made[i] = b
		}
		if it.length != nil {
			it.length[i] = len(b)
		}
	}
	return it, nil
}

func (it *items) encoding(o *object.Object) ([]byte, error) {
	b, err := it.cache.Encoded(o, it.form)
	if err != nil {
		return nil, err
	}
	return it.asVersion(b), nil
}

// at is the encoding of one object.
func (it *items) at(i int) ([]byte, error) {
	if it.made != nil {
		return it.made[i], nil
	}
	b, err := it.encoding(it.list.Objects[i])
	if err == nil && it.length != nil && len(b) != it.length[i] {
		err = errChanged
	}
	return b, err
}

// foreign reports whether a webhook may have to be asked for what is answered.
func (q *query) foreign() bool {
	storage := q.target.Version.Resource.Storage
	return storage != nil && storage.Remote != nil
}

// reserveWhole takes what a list needs that is not written as it is made, in bytes
// for each byte that is stored, about.
func (q *query) reserveWhole(s shape, list *verb.List) error {
	weight := int64(0)
	if s.isTable() {
		weight += 20
	}
	if q.foreign() {
		weight += 3
	}
	if q.records() {
		weight += 12
	}
	switch {
	case s.media == mediaYAML:
		weight += 30
	case s.pretty:
		weight += 6
	}
	_, err := q.reserve(q.whole, weight*size(list.Objects))
	return err
}

// size is how many bytes objects have in their storage form.
func size(objects []*object.Object) (bytes int64) {
	for _, o := range objects {
		bytes += int64(len(o.Value))
	}
	return bytes
}

// writeList answers with a list: its items are copied from their encodings.
func (q *query) writeList(s shape, list *verb.List) error {
	if s.isTable() {
		return q.writeTables(s, list)
	}
	v := q.target.Version
	gvk := v.ListGVK()
	if s.isMetadata() {
		if s.as.Kind == "PartialObjectMetadata" {
			return notAcceptable("you requested PartialObjectMetadata, but the requested object is a list (" + hubType(v) + "List)")
		}
		gvk = *s.as
	}
	if err := q.reserveWhole(s, list); err != nil {
		return err
	}
	it, err := q.items(s, list)
	if err != nil {
		return err
	}
	if err := q.recordList(s, list); err != nil {
		return err
	}
	meta := &metav1.ListMeta{ResourceVersion: formatRevision(list.Rev), Continue: list.Continue, RemainingItemCount: list.Remaining}
	if s.media == mediaProtobuf {
		return it.writeProtobuf(gvk, meta)
	}
	return it.writeJSON(gvk, meta)
}

// writeProtobuf writes { metadata = 1, repeated items = 2 }.
func (it *items) writeProtobuf(gvk schema.GroupVersionKind, meta *metav1.ListMeta) error {
	m, err := meta.Marshal()
	if err != nil {
		return err
	}
	size := 1 + kind.UvarintLen(len(m)) + len(m)
	for _, n := range it.length {
		size += 1 + kind.UvarintLen(n) + n
	}
	head := kind.AppendEnvelopeHead(make([]byte, 0, 512), gvk, size)
	tail := kind.AppendEnvelopeTail(nil)
	out := it.begin(http.StatusOK, it.shape, len(head)+size+len(tail))
	defer out.close()
	out.write(head)
	var prefix [binary.MaxVarintLen64 + 1]byte
	out.write(append(binary.AppendUvarint(append(prefix[:0], 0x0a), uint64(len(m))), m...))
	for i, n := range it.length {
		b, err := it.at(i)
		if err != nil {
			return out.fail(err)
		}
		out.write(binary.AppendUvarint(append(prefix[:0], 0x12), uint64(n)))
		out.write(b)
	}
	out.write(tail)
	out.end()
	return nil
}

// writeJSON writes head, items joined by commas, tail. Items of native lists carry
// no kind and apiVersion.
func (it *items) writeJSON(gvk schema.GroupVersionKind, meta *metav1.ListMeta) error {
	head, tail, err := it.listEnds(it.shape, gvk, meta, len(it.list.Objects))
	if err != nil {
		return err
	}
	typed := []byte(nil)
	if !it.isMetadata() {
		typed = []byte(`{"kind":"` + it.target.Version.Resource.Kind + `","apiVersion":"` + gvk.GroupVersion().String() + `",`)
	}
	if it.media == mediaYAML || it.pretty {
		return it.writeWhole(head, typed, tail[:len(tail)-1])
	}
	out := it.begin(http.StatusOK, it.shape, -1)
	defer out.close()
	if err := it.join(out.write, head, typed, tail); err != nil {
		return out.fail(err)
	}
	out.end()
	return nil
}

// writeWhole writes the list as YAML, or indented, which is made of all of it.
func (it *items) writeWhole(head, typed, tail []byte) error {
	var all []byte
	if err := it.join(func(b []byte) { all = append(all, b...) }, head, typed, tail); err != nil {
		return err
	}
	return it.query.writeJSON(http.StatusOK, it.shape, all)
}

// join writes head, items with commas between them, and tail.
func (it *items) join(write func([]byte), head, typed, tail []byte) error {
	write(head)
	for i := range it.list.Objects {
		b, err := it.at(i)
		if err != nil {
			return err
		}
		if i > 0 {
			write(comma)
		}
		if typed != nil && bytes.HasPrefix(b, typed) {
			write(brace)
			b = b[len(typed):]
		}
		write(b)
	}
	write(tail)
	return nil
}

// listEnds returns what a JSON list has before and after its items. Those of
// custom resources are maps to upstream: in order of their keys, and with a
// continue that may be empty. The metadata of no objects are no list.
func (q *query) listEnds(s shape, gvk schema.GroupVersionKind, meta *metav1.ListMeta, items int) (head, tail []byte, err error) {
	apiVersion := gvk.GroupVersion().String()
	if !q.target.Version.Resource.Custom() || s.isMetadata() {
		m, err := json.Marshal(meta)
		if err != nil {
			return nil, nil, err
		}
		head = append([]byte(`{"kind":"`+gvk.Kind+`","apiVersion":"`+apiVersion+`","metadata":`), m...)
		if s.isMetadata() && items == 0 {
			return append(head, `,"items":null`...), []byte("}\n"), nil
		}
		return append(head, `,"items":[`...), []byte("]}\n"), nil
	}
	fields := map[string]any{"continue": meta.Continue, "resourceVersion": meta.ResourceVersion}
	if meta.RemainingItemCount != nil {
		fields["remainingItemCount"] = *meta.RemainingItemCount
	}
	m, err := json.Marshal(fields)
	if err != nil {
		return nil, nil, err
	}
	tail = append([]byte(`],"kind":"`+gvk.Kind+`","metadata":`), m...)
	return []byte(`{"apiVersion":"` + apiVersion + `","items":[`), append(tail, "}\n"...), nil
}

var comma, brace = []byte{','}, []byte{'{'}
