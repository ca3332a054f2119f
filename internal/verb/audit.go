package verb

import (
	"context"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	auditinternal "k8s.io/apiserver/pkg/apis/audit"
	"k8s.io/apiserver/pkg/audit"
	"k8s.io/apiserver/pkg/util/apihelpers"
)

// RecordBody records the body of a request, which was read as obj of a group
// and version, as far as its audit policy asks for it.
func (t Target) RecordBody(ctx context.Context, obj runtime.Object, gv schema.GroupVersion, codecs runtime.NegotiatedSerializer) {
	a := audit.AuditContextFrom(ctx)
	if a == nil || !a.Enabled() {
		return
	}
	level := a.GetEventLevel()
	if level.Less(auditinternal.LevelMetadata) {
		return
	}
	if level.Less(auditinternal.LevelRequest) {
		// The body itself is not recorded, but what it is: upstream would
		// encode it all the same.
		m, err := meta.Accessor(obj)
		if err != nil {
			return
		}
		obj, gv, codecs = identity(m), metav1.SchemeGroupVersion, apihelpers.GetMetaInternalVersionCodecs()
	}
	audit.LogRequestObject(ctx, obj, gv, t.Version.GVR(), t.subresource(), codecs)
}

// identity is what says which object it is.
func identity(m metav1.Object) runtime.Object {
	return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Namespace: m.GetNamespace(), Name: m.GetName(), UID: m.GetUID(), ResourceVersion: m.GetResourceVersion(),
	}}
}

// recordPatch records a patch, in JSON.
func recordPatch(ctx context.Context, patch []byte) {
	if a := audit.AuditContextFrom(ctx); a != nil {
		audit.LogRequestPatch(ctx, patch)
	}
}

// admission is what runs on a write of a request: the plugins, and after them
// a record of what they have to say of it.
func (v *Verbs) admission() admission.Interface { return admission.WithAudit(v.Admission) }
