package endpoint

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"k8s.io/apiserver/pkg/endpoints/request"
)

// get answers with one object.
func (q *query) get() error {
	form, err := q.negotiate()
	if err != nil {
		return err
	}
	opts, err := q.getOptions()
	if err != nil {
		return err
	}
	if strings.Contains(q.r.URL.RawQuery, "knarr") {
		if done, err := q.past(form, q.r.URL.Query()); done {
			return err
		}
	}
	o, err := q.verbs.Get(q.r.Context(), q.target, opts)
	if err != nil {
		return err
	}
	if opts.ResourceVersion == "" && q.target.Version.Resource.Foreign(o) {
		// Upstream's cache is not asked, and so the webhook is, each time.
		o, q.fresh = o.At(o.Rev), true
	}
	return q.writeObject(200, form, o)
}

// getOptions reads the options of a get.
func (q *query) getOptions() (*metav1.GetOptions, error) {
	opts := &metav1.GetOptions{}
	if values := q.r.URL.Query(); len(values) > 0 {
		if err := refuseExport(values); err != nil {
			return nil, err
		}
		if err := q.parameters(values, opts); err != nil {
			return nil, err
		}
	}
	return opts, nil
}

// refuseExport refuses a parameter that upstream once had.
func refuseExport(values url.Values) error {
	given, ok := values["export"]
	if !ok {
		return nil
	}
	export := true
	if err := runtime.Convert_Slice_string_To_bool(&given, &export, nil); err != nil {
		return apierrors.NewBadRequest(fmt.Sprintf("the export parameter cannot be parsed: %v", err))
	}
	if export {
		return apierrors.NewBadRequest("the export parameter, deprecated since v1.14, is no longer supported")
	}
	return nil
}

// list answers with a collection or a page of it.
func (q *query) list() error {
	ctx := request.WithNamespace(q.r.Context(), q.target.Namespace)
	form, err := q.negotiate()
	if err != nil {
		return err
	}
	opts, err := q.listOptions()
	if err != nil {
		return err
	}
	if opts.Watch {
		return q.watch()
	}
	list, err := q.verbs.List(ctx, q.target, opts)
	if err != nil {
		return err
	}
	return q.writeList(form, list)
}

// parameters reads the query into options of meta.k8s.io.
func (q *query) parameters(values url.Values, into runtime.Object) error {
	if len(values) == 0 {
		return nil
	}
	if err := scheme.ParameterCodec.DecodeParameters(values, meta, into); err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	return nil
}

// listOptions reads and checks the options of a list or watch, with the field
// selector translated to the kind's own terms.
func (q *query) listOptions() (*metainternalversion.ListOptions, error) {
	opts := &metainternalversion.ListOptions{}
	if err := q.parameters(q.r.URL.Query(), opts); err != nil {
		return nil, err
	}
	metainternalversion.SetListOptionsDefaults(opts, true)
	if errs := validation.ValidateListOptions(opts, true); len(errs) > 0 {
		return nil, apierrors.NewInvalid(schema.GroupKind{Group: metav1.GroupName, Kind: "ListOptions"}, "", errs)
	}
	if opts.FieldSelector != nil {
		var err error
		if opts.FieldSelector, err = opts.FieldSelector.Transform(q.target.Version.ConvertFieldLabel); err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
	}
	if name := q.info.Name; name != "" && q.info.Verb != "deletecollection" {
		// A watch of one object, or a selector by name: one is as the other.
		if opts.FieldSelector == nil || opts.FieldSelector.Empty() {
			opts.FieldSelector = fields.OneTermEqualSelector("metadata.name", name)
		} else if selected, ok := opts.FieldSelector.RequiresExactMatch("metadata.name"); !ok || selected != name {
			return nil, apierrors.NewBadRequest("fieldSelector metadata.name doesn't match requested name")
		}
	}
	return opts, nil
}

func formatRevision(rev uint64) string { return strconv.FormatUint(rev, 10) }
