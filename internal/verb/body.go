package verb

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"

	"k8s.io/apiextensions-apiserver/pkg/crdserverscheme"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/warning"
)

// Decode reads the body of a create or update in the media type of info into
// a hub object of the target, with defaults set. directive is the request's
// fieldValidation.
func (t Target) Decode(ctx context.Context, body []byte, info runtime.SerializerInfo, directive string) (runtime.Object, error) {
	return t.decodeBody(ctx, body, info, directive, t.newBody(), t.accepts)
}

// decodeBody decodes into an empty hub object of the body's kind. accepts tells
// in which versions a body may be.
func (t Target) decodeBody(ctx context.Context, body []byte, info runtime.SerializerInfo, directive string,
	into runtime.Object, accepts func(schema.GroupVersion) bool,
) (runtime.Object, error) {
	directive = fieldValidation(directive)
	serializer := t.serializer(info, directive != metav1.FieldValidationIgnore)
	gvk := t.bodyKind()
	decoder := t.resource().Serializer.DecoderToVersion(serializer, t.bodyHub())
	obj, found, err := decoder.Decode(body, &gvk, into)
	if err != nil {
		strict, isStrict := runtime.AsStrictDecodingError(err)
		if !isStrict || obj == nil || directive != metav1.FieldValidationWarn {
			return nil, t.decodeError(err, into, found, body)
		}
		warnStrict(ctx, strict.Errors())
	}
	if gv := found.GroupVersion(); !accepts(gv) {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("the API version in the data (%s) does not match the expected API version (%v)", gv, gvk.GroupVersion()))
	}
	t.RecordBody(ctx, obj, found.GroupVersion(), t.resource().Serializer)
	return obj, nil
}

// bodyKind is the kind that bodies of the target have.
func (t Target) bodyKind() schema.GroupVersionKind {
	if t.Subresource != nil {
		return t.Subresource.GVK(t.Version)
	}
	return t.Version.GVK()
}

// accepts reports whether bodies of the target may be of a version.
func (t Target) accepts(gv schema.GroupVersion) bool { return gv == t.bodyKind().GroupVersion() }

// bodyHub is the group and version of hub objects of that kind.
func (t Target) bodyHub() schema.GroupVersion {
	if hub := t.resource().Hub; hub.Version != runtime.APIVersionInternal {
		return hub
	}
	return schema.GroupVersion{Group: t.bodyKind().Group, Version: runtime.APIVersionInternal}
}

// newBody is an empty hub object of that kind.
func (t Target) newBody() runtime.Object {
	if view := t.view(); view != nil {
		return view.New()
	}
	return t.resource().New()
}

// decodeError says what was wrong with a body, and what it should have been.
func (t Target) decodeError(err error, into runtime.Object, found *schema.GroupVersionKind, body []byte) error {
	typer := runtime.ObjectTyper(t.resource().Scheme)
	if _, ok := into.(runtime.Unstructured); ok {
		typer = crdserverscheme.NewUnstructuredObjectTyper() // in whose words it lacks an apiVersion
	}
	kinds, _, kindErr := typer.ObjectKinds(into)
	if kindErr != nil {
		return apierrors.NewBadRequest(kindErr.Error())
	}
	if found != nil && found.Kind != "" {
		return apierrors.NewBadRequest(fmt.Sprintf("%s in version %q cannot be handled as a %s: %v", found.Kind, found.Version, kinds[0].Kind, err))
	}
	return apierrors.NewBadRequest(fmt.Sprintf("the object provided is unrecognized (must be of type %s): %v (%s)", kinds[0].Kind, err, summary(body)))
}

// summary shows the beginning of a body: as text if it looks like JSON.
func summary(body []byte) string {
	const most = 30
	if len(body) == 0 {
		return "<empty>"
	}
	more := ""
	show := body
	if len(show) > most {
		show, more = show[:most], " ..."
	}
	if body[0] == '{' {
		return string(show) + more
	}
	return hex.EncodeToString(show) + more
}

// fieldValidation is what an empty directive means.
func fieldValidation(directive string) string {
	if directive == "" {
		return metav1.FieldValidationWarn
	}
	return directive
}

// warnStrict warns of unknown and duplicate fields. YAML tells of them in one
// error of several lines.
func warnStrict(ctx context.Context, errs []error) {
	for _, err := range errs {
		text := strings.TrimPrefix(err.Error(), "error converting YAML to JSON: ")
		lines, ok := strings.CutPrefix(text, "yaml: unmarshal errors:\n")
		if !ok {
			warning.AddWarning(ctx, "", err.Error())
			continue
		}
		for line := range strings.SplitSeq(lines, "\n") {
			warning.AddWarning(ctx, "", strings.TrimSpace(line))
		}
	}
}
