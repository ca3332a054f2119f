package endpoint

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/handlers/responsewriters"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/verb"
)

// writeTable answers with printed columns. Cells hold relative times, so they
// are made for every request.
func (q *query) writeTable(code int, s shape, objects []*object.Object, list *verb.List) error {
	var obj runtime.Object
	var err error
	if list == nil {
		if obj, err = q.target.Version.Resource.Decode(objects[0]); err != nil {
			return q.target.ReadError(objects[0], err)
		}
	} else if obj, err = q.hubList(list); err != nil {
		return q.target.ListError(slices.Values(list.Objects), err)
	}
	table, err := q.table(q.r.Context(), s, obj)
	if err != nil {
		return err
	}
	responsewriters.WriteObjectNegotiated(metaCodecs(), q.restrictions(), s.as.GroupVersion(), q.w, q.r, code, table, false)
	return nil
}

// rowsAtOnce and bytesAtOnce bound of how many objects rows are made together.
const (
	rowsAtOnce  = 64
	bytesAtOnce = 256 << 10
)

// writeTables answers with the table of a list: that of a long one as its rows are
// made, few at a time, since the objects that they are made of take much memory.
func (q *query) writeTables(s shape, list *verb.List) error {
	if n := batch(list.Objects); n == len(list.Objects) || s.media != mediaJSON || s.pretty || q.foreign() || q.records() {
		if err := q.reserveWhole(s, list); err != nil {
			return err
		}
		return q.writeTable(http.StatusOK, s, list.Objects, list)
	}
	for _, o := range list.Objects {
		if o.Sound() {
			continue
		}
		if _, err := q.cache.Encoded(o, q.target.Version.JSON); err != nil {
			return q.target.ListError(slices.Values(list.Objects), err)
		}
	}
	out := q.begin(http.StatusOK, s, -1)
	defer out.close()
	opts := *s.table
	s.table = &opts
	const noRows = "]}"
	for part := *list; len(list.Objects) > 0; opts.NoHeaders = true { // the first part has the columns
		n := batch(list.Objects)
		part.Objects = list.Objects[:n]
		obj, err := q.hubList(&part)
		if err != nil {
			return out.fail(q.target.ListError(slices.Values(part.Objects), err))
		}
		table, err := q.table(q.r.Context(), s, obj)
		if err != nil {
			return out.fail(err)
		}
		rows, err := json.Marshal(table.Rows)
		if err != nil {
			return out.fail(err)
		}
		if !out.begun && len(*out.buf) == 0 {
			table.Rows = []metav1.TableRow{}
			table.SetGroupVersionKind(*s.as)
			head, err := json.Marshal(table)
			if err != nil {
				return out.fail(err)
			}
			out.write(head[:len(head)-len(noRows)])
		} else {
			out.write(comma)
		}
		out.write(rows[1 : len(rows)-1])
		rest := *list
		rest.Objects = list.Objects[n:]
		list = &rest
	}
	out.write([]byte(noRows + "\n"))
	out.end()
	return nil
}

// batch is of how many of objects rows are made together.
func batch(objects []*object.Object) int {
	bytes := 0
	for i, o := range objects {
		if bytes += len(o.Value); i > 0 && (i == rowsAtOnce || bytes > bytesAtOnce) {
			return i
		}
	}
	return len(objects)
}

// hubList decodes a list.
func (q *query) hubList(list *verb.List) (runtime.Object, error) {
	resource := q.target.Version.Resource
	items := make([]runtime.Object, len(list.Objects))
	for i, o := range list.Objects {
		var err error
		if items[i], err = resource.Decode(o); err != nil {
			return nil, err
		}
	}
	hub := resource.NewList()
	if err := apimeta.SetList(hub, items); err != nil {
		return nil, err
	}
	m, err := apimeta.ListAccessor(hub)
	if err != nil {
		return nil, err
	}
	m.SetResourceVersion(formatRevision(list.Rev))
	m.SetContinue(list.Continue)
	m.SetRemainingItemCount(list.Remaining)
	return hub, nil
}

// table makes the table of a hub object or list, with each row's object as
// the client asked for it.
func (q *query) table(ctx context.Context, s shape, obj runtime.Object) (*metav1.Table, error) {
	table, err := q.target.Version.Resource.Table.ConvertToTable(ctx, obj, s.table)
	if err != nil {
		return nil, err
	}
	for i := range table.Rows {
		row := &table.Rows[i]
		switch s.table.IncludeObject {
		case metav1.IncludeObject:
			row.Object.Object, err = q.target.Version.Resource.Convertor.ConvertToVersion(row.Object.Object, q.bodyVersion())
		case metav1.IncludeMetadata, "":
			row.Object.Object, err = partial(row.Object.Object, s.as.GroupVersion())
		case metav1.IncludeNone:
			row.Object.Object = nil
		default:
			err = apierrors.NewBadRequest(fmt.Sprintf("unrecognized includeObject value: %q", s.table.IncludeObject))
		}
		if err != nil {
			return nil, err
		}
	}
	return table, nil
}

// partial is an object's metadata as clients of a version of meta.k8s.io see it.
func partial(obj runtime.Object, gv schema.GroupVersion) (runtime.Object, error) {
	m, err := apimeta.Accessor(obj)
	if err != nil {
		return nil, err
	}
	p := apimeta.AsPartialObjectMetadata(m)
	p.SetGroupVersionKind(gv.WithKind("PartialObjectMetadata"))
	return p, nil
}

// hubType is the Go type of a kind's hub objects, as upstream's messages show it.
func hubType(v *kind.Version) string { return fmt.Sprintf("%T", v.Resource.New()) }
