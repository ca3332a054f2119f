package endpoint

import (
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	auditinternal "k8s.io/apiserver/pkg/apis/audit"
	"k8s.io/apiserver/pkg/audit"

	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/verb"
)

// What is answered with an encoding that was made before is recorded here, and
// only here decoded for it; answers that are encoded on the spot, errors among
// them, are recorded by upstream's writers.

// records reports whether answers to the request are recorded.
func (q *query) records() bool {
	if q.Audit == nil {
		return false
	}
	a := audit.AuditContextFrom(q.r.Context())
	return a != nil && !a.GetEventLevel().Less(auditinternal.LevelRequestResponse)
}

// record records an answer with one object.
func (q *query) record(s shape, o *object.Object) error {
	if !q.records() {
		return nil
	}
	obj, err := q.target.Version.Resource.Decode(o)
	if err != nil {
		return err
	}
	return q.recordHub(s, obj)
}

// recordList records an answer with a list.
func (q *query) recordList(s shape, list *verb.List) error {
	if !q.records() {
		return nil
	}
	obj, err := q.hubList(list)
	if err != nil {
		return err
	}
	return q.recordHub(s, obj)
}

func (q *query) recordHub(s shape, obj runtime.Object) (err error) {
	codecs, gv := q.target.Version.Resource.Serializer, q.bodyVersion()
	if s.isMetadata() {
		codecs, gv = metaCodecs(), s.as.GroupVersion()
		if apimeta.IsListType(obj) {
			obj, err = partialList(obj, s.as)
		} else {
			obj, err = partial(obj, gv)
		}
		if err != nil {
			return err
		}
	}
	audit.LogResponseObject(q.r.Context(), obj, gv, codecs)
	return nil
}

// recordDeprecation records that the version asked for is deprecated, when the
// request has been answered.
func (q *query) recordDeprecation() {
	v := q.target.Version
	if q.Audit == nil || v.Deprecated == "" {
		return
	}
	audit.AddAuditAnnotation(q.r.Context(), "k8s.io/deprecated", "true")
	if v.RemovedRelease != "" {
		audit.AddAuditAnnotation(q.r.Context(), "k8s.io/removed-release", v.RemovedRelease)
	}
}
