package endpoint

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/endpoints/handlers/negotiation"
	"k8s.io/apiserver/pkg/endpoints/request"

	"github.com/knarr-io/knarr/internal/verb"
)

// maxBody is the largest request body, as upstream's.
const maxBody = 3 << 20

// body reads the request's body.
func (q *query) body() ([]byte, error) {
	defer q.r.Body.Close()
	limited := &io.LimitedReader{R: q.r.Body, N: maxBody + 1}
	b, err := io.ReadAll(limited)
	if err != nil {
		return nil, err
	}
	if limited.N <= 0 {
		return nil, apierrors.NewRequestEntityTooLargeError(fmt.Sprintf("limit is %d", maxBody))
	}
	return b, nil
}

// invalidOptions is the refusal of options that contradict themselves.
func invalidOptions(kind string, errs field.ErrorList) error {
	if len(errs) == 0 {
		return nil
	}
	return apierrors.NewInvalid(schema.GroupKind{Group: metav1.GroupName, Kind: kind}, "", errs)
}

func (q *query) create() error {
	form, err := q.negotiate()
	if err != nil {
		return err
	}
	info, err := negotiation.NegotiateInputSerializer(q.r, false, q.target.Version.Resource.Serializer)
	if err != nil {
		return err
	}
	body, err := q.body()
	if err != nil {
		return err
	}
	opts := &metav1.CreateOptions{}
	if err := q.parameters(q.r.URL.Query(), opts); err != nil {
		return err
	}
	if err := invalidOptions("CreateOptions", validation.ValidateCreateOptions(opts)); err != nil {
		return err
	}
	opts.SetGroupVersionKind(metav1.SchemeGroupVersion.WithKind("CreateOptions"))
	obj, err := q.target.Decode(q.r.Context(), body, info, opts.FieldValidation)
	if err != nil {
		return err
	}
	result, err := q.verbs.Create(q.r.Context(), q.target, obj, opts)
	if err != nil {
		return err
	}
	return q.writeObject(http.StatusCreated, form, result.Object)
}

func (q *query) update() error {
	ctx := request.WithNamespace(q.r.Context(), q.target.Namespace)
	form, err := q.negotiate()
	if err != nil {
		return err
	}
	body, err := q.body()
	if err != nil {
		return err
	}
	opts := &metav1.UpdateOptions{}
	if err := q.parameters(q.r.URL.Query(), opts); err != nil {
		return err
	}
	if err := invalidOptions("UpdateOptions", validation.ValidateUpdateOptions(opts)); err != nil {
		return err
	}
	opts.SetGroupVersionKind(metav1.SchemeGroupVersion.WithKind("UpdateOptions"))
	info, err := negotiation.NegotiateInputSerializer(q.r, false, q.target.Version.Resource.Serializer)
	if err != nil {
		return err
	}
	obj, err := q.target.Decode(ctx, body, info, opts.FieldValidation)
	if err != nil {
		return err
	}
	write := q.verbs.Update
	if sub := q.target.Subresource; sub != nil && sub.View != nil {
		write = q.verbs.UpdateView
	}
	result, err := write(ctx, q.target, obj, opts)
	if err != nil {
		return err
	}
	return q.writeObject(q.code(result), form, result.Object)
}

func (q *query) code(r *verb.Result) int {
	if r.Created {
		return http.StatusCreated
	}
	return http.StatusOK
}

func (q *query) patch() error {
	ctx := request.WithNamespace(q.r.Context(), q.target.Namespace)
	contentType, _, _ := strings.Cut(q.r.Header.Get("Content-Type"), ";")
	known := q.patchTypes()
	if !slices.Contains(known, contentType) {
		return negotiation.NewUnsupportedMediaTypeError(known)
	}
	form, err := q.negotiate()
	if err != nil {
		return err
	}
	body, err := q.body()
	if err != nil {
		return err
	}
	opts := &metav1.PatchOptions{}
	if err := q.parameters(q.r.URL.Query(), opts); err != nil {
		return err
	}
	if err := invalidOptions("PatchOptions", validation.ValidatePatchOptions(opts, types.PatchType(contentType))); err != nil {
		return err
	}
	opts.SetGroupVersionKind(metav1.SchemeGroupVersion.WithKind("PatchOptions"))
	result, err := q.verbs.Patch(ctx, q.target, types.PatchType(contentType), body, opts)
	if err != nil {
		return err
	}
	return q.writeObject(q.code(result), form, result.Object)
}

// patchTypes are the patches that the target's kind takes.
func (q *query) patchTypes() []string {
	return []string{
		string(types.JSONPatchType), string(types.MergePatchType), string(types.StrategicMergePatchType), string(types.ApplyYAMLPatchType),
	}
}

func (q *query) delete() error {
	ctx := request.WithNamespace(q.r.Context(), q.target.Namespace)
	form, err := q.negotiate()
	if err != nil {
		return err
	}
	opts, err := q.deleteOptions()
	if err != nil {
		return err
	}
	result, err := q.verbs.Delete(ctx, q.target, opts)
	if err != nil {
		return err
	}
	code := http.StatusOK
	if result.Accepted {
		code = http.StatusAccepted
	}
	if result.Status != nil {
		return q.writeStatus(code, result.Status)
	}
	return q.writeObject(code, form, result.Object)
}

// deleteOptions reads the options of a deletion from the body or, if there is
// none, from the query.
func (q *query) deleteOptions() (*metav1.DeleteOptions, error) {
	body, err := q.body()
	if err != nil {
		return nil, err
	}
	opts := &metav1.DeleteOptions{}
	if len(body) == 0 {
		if err := q.parameters(q.r.URL.Query(), opts); err != nil {
			return nil, err
		}
	} else if err := q.decodeDeleteOptions(body, opts); err != nil {
		return nil, err
	}
	opts.IgnoreStoreReadErrorWithClusterBreakingPotential = nil
	if err := invalidOptions("DeleteOptions", validation.ValidateDeleteOptions(opts)); err != nil {
		return nil, err
	}
	opts.SetGroupVersionKind(metav1.SchemeGroupVersion.WithKind("DeleteOptions"))
	return opts, nil
}

// decodeDeleteOptions reads them from a body, which may name the version of
// any group.
func (q *query) decodeDeleteOptions(body []byte, into *metav1.DeleteOptions) error {
	info, err := negotiation.NegotiateInputSerializer(q.r, false, metaCodecs())
	if err != nil {
		return err
	}
	gvk := meta.WithKind("DeleteOptions")
	obj, _, err := metaCodecs().DecoderToVersion(info.Serializer, gvk.GroupVersion()).Decode(body, &gvk, into)
	if err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	if obj != into {
		return apierrors.NewBadRequest("decoded object cannot be converted to DeleteOptions")
	}
	return nil
}

func (q *query) deleteCollection() error {
	ctx := request.WithNamespace(q.r.Context(), q.target.Namespace)
	form, err := q.negotiate()
	if err != nil {
		return err
	}
	list, err := q.listOptions()
	if err != nil {
		return err
	}
	opts, err := q.deleteOptions()
	if err != nil {
		return err
	}
	found, err := q.verbs.DeleteCollection(ctx, q.target, list, opts)
	if err != nil {
		return err
	}
	return q.writeList(form, found)
}
