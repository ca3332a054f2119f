package endpoint

import (
	"fmt"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	metav1beta1 "k8s.io/apimachinery/pkg/apis/meta/v1beta1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/handlers/negotiation"
	"k8s.io/apiserver/pkg/util/apihelpers"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/object"
)

// Media types that answers have.
const (
	mediaJSON     = runtime.ContentTypeJSON
	mediaYAML     = runtime.ContentTypeYAML
	mediaProtobuf = runtime.ContentTypeProtobuf
)

// shape is the form that a client asked for: a media type, and what the
// object is turned into.
type shape struct {
	media  string
	pretty bool
	// as is nil for the object itself, or Table, PartialObjectMetadata or
	// PartialObjectMetadataList of meta.k8s.io.
	as    *schema.GroupVersionKind
	table *metav1.TableOptions // if as is Table
}

// negotiate reads the Accept header, by upstream's rules.
func (q *query) negotiate() (shape, error) {
	ns := q.target.Version.Resource.Serializer
	options, info, err := negotiation.NegotiateOutputMediaType(q.r, ns, q.restrictions())
	if err != nil {
		return shape{}, err
	}
	s := shape{media: info.MediaType, pretty: info.Serializer == options.Accepted.PrettySerializer && options.Accepted.PrettySerializer != nil, as: options.Convert}
	if s.isTable() {
		s.table, err = q.tableOptions()
	}
	return s, err
}

func (s *shape) isTable() bool { return s.as != nil && s.as.Kind == "Table" }

func (s *shape) isMetadata() bool { return s.as != nil && s.as.Kind != "Table" }

// tableOptions reads what a table is to contain.
func (q *query) tableOptions() (*metav1.TableOptions, error) {
	opts := &metav1.TableOptions{}
	if err := scheme.ParameterCodec.DecodeParameters(q.r.URL.Query(), metav1.SchemeGroupVersion, opts); err != nil {
		return nil, err
	}
	switch errs := validation.ValidateTableOptions(opts); len(errs) {
	case 0:
		return opts, nil
	case 1:
		return nil, apierrors.NewBadRequest(fmt.Sprintf("Unable to convert to Table as requested: %v", errs[0].Error()))
	default:
		return nil, apierrors.NewBadRequest(fmt.Sprintf("Unable to convert to Table as requested: %v", errs))
	}
}

// form returns the cached form that an answer in s is made from: protobuf for
// protobuf, JSON for the rest.
func (s *shape) form(v *kind.Version) object.Form {
	switch {
	case s.isMetadata() && s.media == mediaProtobuf:
		return v.MetadataProtobuf
	case s.isMetadata():
		return v.MetadataJSON
	case s.media == mediaProtobuf:
		return v.Protobuf
	}
	return v.JSON
}

// gvk is the kind of a single answer in s.
func (s *shape) gvk(v schema.GroupVersionKind) schema.GroupVersionKind {
	if s.as != nil {
		return *s.as
	}
	return v
}

// restrictions are what objects of a version may be asked for as.
type restrictions struct {
	v     *kind.Version
	table bool
	// view tells of native objects shown as another kind, which has a protobuf
	// form. Upstream has none for views of custom ones.
	view bool
}

// restrictions are those of what is asked for. What cannot be listed, as the
// answers of actions, has no printed columns.
func (q *query) restrictions() restrictions {
	v, sub := q.target.Version, q.target.Subresource
	table := v.Resource.Table != nil && v.Resource.NewList != nil
	if sub != nil {
		table = sub.Table
	}
	return restrictions{v, table, sub != nil && sub.View != nil && !v.Resource.Custom()}
}

func (r restrictions) AllowsMediaTypeTransform(mimeType, subType string, as *schema.GroupVersionKind) bool {
	if as == nil {
		return subType != "vnd.kubernetes.protobuf" || r.v.Protobuf != nil || r.v.Resource.Storage == nil || r.view
	}
	if gv := as.GroupVersion(); gv != metav1.SchemeGroupVersion && gv != metav1beta1.SchemeGroupVersion {
		return false
	}
	switch as.Kind {
	case "Table":
		return r.table && mimeType == "application" && (subType == "json" || subType == "yaml")
	case "PartialObjectMetadata", "PartialObjectMetadataList":
		return true
	}
	return false
}

func (restrictions) AllowsServerVersion(version string) bool { return version == meta.Version }

func (restrictions) AllowsStreamSchema(s string) bool { return s == "watch" }

// notAcceptable is the refusal of a transformation that an answer does not
// have, in the words of upstream.
type notAcceptable string

func (e notAcceptable) Error() string { return string(e) }

func (e notAcceptable) Status() metav1.Status {
	return metav1.Status{Status: metav1.StatusFailure, Code: http.StatusNotAcceptable, Reason: "NotAcceptable", Message: string(e)}
}

// metaCodecs encode what meta.k8s.io defines: Status, Table and metadata.
func metaCodecs() runtime.NegotiatedSerializer { return apihelpers.GetMetaInternalVersionCodecs() }
