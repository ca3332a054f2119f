package verb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/mergepatch"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/registry/rest"
	kjson "sigs.k8s.io/json"
)

// maxPatchOperations is how many operations a JSON patch may have.
const maxPatchOperations = 10000

// Patch changes the target's object as patch says. Conflicts with other
// writers are retried, since a patch applies to whatever is there.
func (v *Verbs) Patch(ctx context.Context, t Target, patchType types.PatchType, patch []byte, opts *metav1.PatchOptions) (*Result, error) {
	p := &patching{Target: t, patch: patch, directive: fieldValidation(opts.FieldValidation), own: v.own(t, opts.FieldManager)}
	switch patchType {
	case types.ApplyYAMLPatchType:
		return v.apply(ctx, t, patch, opts)
	case types.JSONPatchType:
		p.apply = p.jsonPatch
	case types.MergePatchType:
		p.apply = p.mergePatch
	case types.StrategicMergePatchType:
		p.apply = p.strategicMergePatch
	default:
		return nil, fmt.Errorf("%v: unimplemented patch type", patchType)
	}
	if !json.Valid(patch) {
		return nil, apierrors.NewBadRequest("invalid JSON patch")
	}
	recordPatch(ctx, patch)
	return v.updateBy(ctx, t, p.transform, opts, false)
}

// updateBy updates the target by what transform makes of the present object.
func (v *Verbs) updateBy(ctx context.Context, t Target, transform rest.TransformFunc, opts *metav1.PatchOptions, forceCreate bool) (*Result, error) {
	update := &metav1.UpdateOptions{DryRun: opts.DryRun, FieldManager: opts.FieldManager, FieldValidation: opts.FieldValidation}
	update.SetGroupVersionKind(metav1.SchemeGroupVersion.WithKind("UpdateOptions"))
	return v.update(ctx, t, rest.DefaultUpdatedObjectInfo(nil, transform, v.admitUpdate(t, update)), update, forceCreate)
}

// patching is one patch.
type patching struct {
	Target
	patch     []byte
	directive string
	apply     func(ctx context.Context, current runtime.Object) (runtime.Object, error)
	own       rest.TransformFunc
}

// transform makes the patched hub object of the current one.
func (p *patching) transform(ctx context.Context, _, current runtime.Object) (runtime.Object, error) {
	if !exists(current) {
		return nil, apierrors.NewNotFound(p.GroupResource(), p.Name)
	}
	obj, err := p.apply(ctx, current)
	if err != nil {
		return nil, err
	}
	if obj, err = p.own(ctx, obj, current); err != nil {
		return nil, err
	}
	return obj, p.checkPatched(obj)
}

// checkPatched makes sure that a patch did not turn an object into another.
func (t Target) checkPatched(obj runtime.Object) error {
	if err := t.ensureNamespace(obj); err != nil {
		return err
	}
	return t.checkNames(obj)
}

// jsonPatchOp is one operation of a JSON patch (RFC 6902).
type jsonPatchOp struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	From  string `json:"from"`
	Value any    `json:"value"`
}

func (p *patching) jsonPatch(ctx context.Context, current runtime.Object) (runtime.Object, error) {
	var strict []error
	if p.directive != metav1.FieldValidationIgnore {
		var ops []jsonPatchOp
		found, err := kjson.UnmarshalStrict(p.patch, &ops)
		if err != nil {
			// The type's name is part of the message, upstream's package included.
			return nil, apierrors.NewBadRequest("error decoding patch: " + strings.ReplaceAll(err.Error(), "verb.jsonPatchOp", "handlers.jsonPatchOp"))
		}
		for _, err := range found {
			strict = append(strict, fmt.Errorf("json patch %w", err))
		}
	}
	patch, err := jsonpatch.DecodePatch(p.patch)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	if len(patch) > maxPatchOperations {
		return nil, apierrors.NewRequestEntityTooLargeError(
			fmt.Sprintf("The allowed maximum operations in a JSON patch is %d, got %d", maxPatchOperations, len(patch)))
	}
	before, err := p.encode(current)
	if err != nil {
		return nil, err
	}
	after, err := patch.Apply(before)
	if err != nil {
		return nil, apierrors.NewGenericServerResponse(http.StatusUnprocessableEntity, "", schema.GroupResource{}, "", err.Error(), 0, false)
	}
	return p.decodePatched(ctx, after, strict)
}

func (p *patching) mergePatch(ctx context.Context, current runtime.Object) (runtime.Object, error) {
	var strict []error
	if p.directive != metav1.FieldValidationIgnore {
		patch := map[string]any{}
		var err error
		if strict, err = kjson.UnmarshalStrict(p.patch, &patch); err != nil {
			return nil, apierrors.NewBadRequest(fmt.Sprintf("error decoding patch: %v", err))
		}
		if len(strict) == 0 {
			if obj := p.mergeShort(ctx, current, patch); obj != nil {
				return obj, nil
			}
		}
	}
	before, err := p.encode(current)
	if err != nil {
		return nil, err
	}
	after, err := mergeInto(before, p.patch)
	if errors.Is(err, jsonpatch.ErrBadJSONPatch) {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	if err != nil {
		return nil, err
	}
	return p.decodePatched(ctx, after, strict)
}

// encode is the hub object as clients of the target's version see it, in JSON.
func (p *patching) encode(current runtime.Object) ([]byte, error) {
	return runtime.Encode(p.resource().Serializer.EncoderForVersion(p.json().Serializer, p.bodyKind().GroupVersion()), current)
}

func (p *patching) json() runtime.SerializerInfo {
	info, _ := runtime.SerializerInfoForMediaType(p.resource().Serializer.SupportedMediaTypes(), runtime.ContentTypeJSON)
	return info
}

// decodePatched reads the patched JSON. strict is what was unclean about the
// patch itself.
func (p *patching) decodePatched(ctx context.Context, after []byte, strict []error) (runtime.Object, error) {
	serializer := p.serializer(p.json(), p.directive != metav1.FieldValidationIgnore)
	obj := p.newBody()
	err := runtime.DecodeInto(p.resource().Serializer.DecoderToVersion(serializer, p.bodyHub()), after, obj)
	if err != nil {
		more, ok := runtime.AsStrictDecodingError(err)
		if !ok {
			return nil, invalidPatch(string(after), err)
		}
		strict = append(strict, more.Errors()...)
	}
	return obj, p.strict(ctx, string(after), strict)
}

// strict warns of, or refuses, what was unclean, as the directive says.
func (p *patching) strict(ctx context.Context, patched string, found []error) error {
	switch {
	case len(found) == 0:
		return nil
	case p.directive == metav1.FieldValidationWarn:
		warnStrict(ctx, found)
		return nil
	}
	return invalidPatch(patched, runtime.NewStrictDecodingError(found))
}

func invalidPatch(patched string, err error) error {
	return apierrors.NewInvalid(schema.GroupKind{}, "", field.ErrorList{field.Invalid(field.NewPath("patch"), patched, err.Error())})
}

func (p *patching) strategicMergePatch(ctx context.Context, current runtime.Object) (runtime.Object, error) {
	scheme, gvk := p.resource().Scheme, p.bodyKind()
	versioned, err := p.resource().Convertor.ConvertToVersion(current, gvk.GroupVersion())
	if err != nil {
		return nil, err
	}
	before, err := runtime.DefaultUnstructuredConverter.ToUnstructured(versioned)
	if err != nil {
		return nil, err
	}
	patch := map[string]any{}
	var strict []error
	if p.directive != metav1.FieldValidationIgnore {
		strict, err = kjson.UnmarshalStrict(p.patch, &patch)
	} else {
		err = kjson.UnmarshalCaseSensitivePreserveInts(p.patch, &patch)
	}
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	result, err := scheme.New(gvk)
	if err != nil {
		return nil, err
	}
	after, err := strategicpatch.StrategicMergeMapPatch(before, patch, result)
	if err != nil {
		return nil, strategicError(err)
	}
	err = runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(after, result, p.directive != metav1.FieldValidationIgnore)
	if err != nil {
		more, ok := runtime.AsStrictDecodingError(err)
		if !ok {
			return nil, invalidPatch(fmt.Sprintf("%+v", patch), err)
		}
		strict = append(strict, more.Errors()...)
	}
	if err := p.strict(ctx, fmt.Sprintf("%+v", patch), strict); err != nil {
		return nil, err
	}
	scheme.Default(result)
	return p.resource().Convertor.ConvertToVersion(result, p.bodyHub())
}

// strategicError gives a merge's errors their status.
func strategicError(err error) error {
	switch err {
	case mergepatch.ErrBadJSONDoc, mergepatch.ErrBadPatchFormatForPrimitiveList, mergepatch.ErrBadPatchFormatForRetainKeys,
		mergepatch.ErrBadPatchFormatForSetElementOrderList, mergepatch.ErrUnsupportedStrategicMergePatchFormat:
		return apierrors.NewBadRequest(err.Error())
	case mergepatch.ErrNoListOfLists, mergepatch.ErrPatchContentNotMatchRetainKeys:
		return apierrors.NewGenericServerResponse(http.StatusUnprocessableEntity, "", schema.GroupResource{}, "", err.Error(), 0, false)
	}
	return err
}
