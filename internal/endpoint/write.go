package endpoint

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/endpoints/handlers/negotiation"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/features"
	utilfeature "k8s.io/apiserver/pkg/util/feature"

	"github.com/knarr-io/knarr/internal/verb"
)

// maxBody is the largest request body, as upstream's.
const maxBody = 3 << 20

// writeTimeout is how long a write of one object may take; the request's own
// deadline may be earlier.
const writeTimeout = 34 * time.Second

// inTime has a write end in time.
func inTime[T any](ctx context.Context, write func(context.Context) (T, error)) (T, error) {
	limited, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	result, err := write(limited)
	if ctx.Err() != nil { // all of the request's time is over, which fail says
		return result, err
	}
	return result, outOfTime(limited, err)
}

// outOfTime words the error of what has failed because ctx had ended.
func outOfTime(ctx context.Context, err error) error {
	if becauseEnded(ctx, err) {
		return apierrors.NewTimeoutError(fmt.Sprintf("request did not complete within requested timeout - %s", ctx.Err()), 0)
	}
	return err
}

// becauseEnded reports whether err tells that ctx has ended.
func becauseEnded(ctx context.Context, err error) bool {
	return ctx.Err() != nil && (errors.Is(err, ctx.Err()) || errors.Is(err, context.Cause(ctx)))
}

// body reads the request's body, and reserves what decoding it will take.
func (q *query) body() ([]byte, error) {
	defer q.r.Body.Close()
	announced := min(q.r.ContentLength, maxBody)
	if announced < 0 {
		announced = maxBody
	}
	done, err := q.reserve(q.bodies, announced)
	if err != nil {
		return nil, err
	}
	defer done()
	limited := &io.LimitedReader{R: q.r.Body, N: maxBody + 1}
	// Room for what is announced, and for the read that finds the end.
	b := bytes.NewBuffer(make([]byte, 0, min(max(q.r.ContentLength, 0), maxBody)+bytes.MinRead))
	if _, err := b.ReadFrom(limited); errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, apierrors.NewTimeoutError("request did not complete within the allotted timeout", 0)
	} else if err != nil {
		return nil, err
	}
	if limited.N <= 0 {
		return nil, apierrors.NewRequestEntityTooLargeError(fmt.Sprintf("limit is %d", maxBody))
	}
	need, err := q.checkBody(b.Bytes())
	if err == nil {
		_, err = q.reserve(q.decoded, need)
	}
	return b.Bytes(), err
}

// invalidOptions is the refusal of options that contradict themselves.
func invalidOptions(kind string, errs field.ErrorList) error {
	if len(errs) == 0 {
		return nil
	}
	return apierrors.NewInvalid(schema.GroupKind{Group: metav1.GroupName, Kind: kind}, "", errs)
}

// creation is what the request for a create says, up to its body, which is not
// decoded yet.
type creation struct {
	form shape
	info runtime.SerializerInfo
	body []byte
	opts *metav1.CreateOptions
}

func (q *query) creation() (c creation, err error) {
	if c.form, err = q.negotiate(); err != nil {
		return c, err
	}
	if c.info, err = negotiation.NegotiateInputSerializer(q.r, false, q.target.Version.Resource.Serializer); err != nil {
		return c, err
	}
	if c.body, err = q.body(); err != nil {
		return c, err
	}
	c.opts = &metav1.CreateOptions{}
	if err := q.parameters(q.r.URL.Query(), c.opts); err != nil {
		return c, err
	}
	if err := invalidOptions("CreateOptions", validation.ValidateCreateOptions(c.opts)); err != nil {
		return c, err
	}
	c.opts.SetGroupVersionKind(metav1.SchemeGroupVersion.WithKind("CreateOptions"))
	return c, nil
}

func (q *query) create() error {
	c, err := q.creation()
	if err != nil {
		return err
	}
	obj, err := q.target.Decode(q.r.Context(), c.body, c.info, c.opts.FieldValidation)
	if err != nil {
		return err
	}
	result, err := inTime(q.r.Context(), func(ctx context.Context) (*verb.Result, error) {
		return q.verbs.Create(ctx, q.target, obj, c.opts)
	})
	if err != nil {
		return err
	}
	return q.writeObject(http.StatusCreated, c.form, result.Object)
}

// act is a create that makes no object.
func (q *query) act() error {
	c, err := q.creation()
	if err != nil {
		return err
	}
	body, err := q.verbs.DecodeAction(q.r.Context(), q.target, c.body, c.info, c.opts.FieldValidation)
	if err != nil {
		return err
	}
	answer, err := inTime(q.r.Context(), func(ctx context.Context) (runtime.Object, error) {
		return q.verbs.Act(ctx, q.target, body, c.opts)
	})
	if err != nil {
		return err
	}
	if status, ok := answer.(*metav1.Status); ok && status.Code == 0 {
		status.Code = http.StatusCreated
	}
	return q.writeHub(http.StatusCreated, c.form, answer)
}

func (q *query) update() error {
	if err := q.named(); err != nil {
		return err
	}
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
	result, err := inTime(ctx, func(ctx context.Context) (*verb.Result, error) { return q.verbs.Update(ctx, q.target, obj, opts) })
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
	if err := q.named(); err != nil {
		return err
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
	result, err := inTime(ctx, func(ctx context.Context) (*verb.Result, error) {
		return q.verbs.Patch(ctx, q.target, types.PatchType(contentType), body, opts)
	})
	if err != nil {
		return err
	}
	return q.writeObject(q.code(result), form, result.Object)
}

// patchTypes are the patches that the target's kind takes.
func (q *query) patchTypes() []string {
	if q.target.Version.Resource.Custom() { // no Go type says how lists are merged
		return []string{string(types.JSONPatchType), string(types.MergePatchType), string(types.ApplyYAMLPatchType)}
	}
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
	result, err := inTime(ctx, func(ctx context.Context) (*verb.Result, error) { return q.verbs.Delete(ctx, q.target, opts) })
	if err != nil {
		return err
	}
	code := http.StatusOK
	if result.Accepted {
		code = http.StatusAccepted
	}
	if result.Status != nil {
		return q.writeHub(code, form, result.Status)
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
	if !utilfeature.DefaultFeatureGate.Enabled(features.AllowUnsafeMalformedObjectDeletion) {
		opts.IgnoreStoreReadErrorWithClusterBreakingPotential = nil
	}
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
	obj, found, err := metaCodecs().DecoderToVersion(info.Serializer, gvk.GroupVersion()).Decode(body, &gvk, into)
	if err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	if obj != into {
		return apierrors.NewBadRequest("decoded object cannot be converted to DeleteOptions")
	}
	q.target.RecordBody(q.r.Context(), obj, found.GroupVersion(), metaCodecs())
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
	if ignore := opts.IgnoreStoreReadErrorWithClusterBreakingPotential; ignore != nil && *ignore {
		return invalidOptions("DeleteOptions", field.ErrorList{field.Invalid(
			field.NewPath("ignoreStoreReadErrorWithClusterBreakingPotential"), true,
			"is not allowed with DELETECOLLECTION, try again after removing the option")})
	}
	found, err := q.verbs.DeleteCollection(ctx, q.target, list, opts)
	if err != nil {
		return err
	}
	return q.writeList(form, found)
}
