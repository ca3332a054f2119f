package endpoint

import (
	"bytes"
	"encoding/json"
	"errors"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apiserver/pkg/warning"

	"github.com/knarr-io/knarr/internal/object"
)

// serveCustom finds the handler for what is asked of a custom resource. Upstream
// has no routes for them: it goes by what the request was taken for, whatever
// its method, and does not look at what follows a subresource in the path.
func (q *query) serveCustom() {
	namespaced, everywhere := q.info.Namespace != "", q.info.Verb == "list" || q.info.Verb == "watch"
	if namespaced != q.target.Version.Resource.Namespaced && (namespaced || !everywhere) {
		notFound(q.w)
		return
	}
	if d := q.target.Version.Deprecated; d != "" {
		warning.AddWarning(q.r.Context(), "", d)
		defer q.recordDeprecation()
	}
	handle, err := q.customHandler()
	if err == nil {
		err = handle()
	}
	if err != nil {
		q.fail(err)
	}
}

func (q *query) customHandler() (func() error, error) {
	if name := q.info.Subresource; name != "" {
		q.target.Subresource = q.target.Version.Subresource(name)
		if q.target.Subresource == nil {
			return nil, apierrors.NewNotFound(q.target.GroupResource(), q.info.Name)
		}
	}
	if handle := q.handlerOf(q.info.Verb); handle != nil {
		return handle, nil
	}
	return nil, apierrors.NewMethodNotSupported(q.target.GroupResource(), q.info.Verb)
}

// named refuses a write that must say of what it is. A native kind has no route
// for one that does not.
func (q *query) named() error {
	if q.info.Name == "" {
		return apierrors.NewBadRequest("name must be provided")
	}
	return nil
}

// takenForList is the error of an answer with a custom object that has a list of
// items: upstream takes it for a list, and then misses the list's Go type. What
// was asked for has been done by then.
func takenForList(o *object.Object) error {
	if !bytes.Contains(o.Value, []byte(`"items":[`)) {
		return nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(o.Value, &fields); err != nil || !bytes.HasPrefix(fields["items"], []byte("[")) {
		return nil
	}
	return errors.New("*unstructured.Unstructured is not a list: no Items field in this object")
}

// errNoList is what upstream has for a custom object that was asked for as a
// list of metadata: it takes any of them for a list until it looks for items.
var errNoList = errors.New("content is not a list")
