// Package verb is what can be done to objects: get, list, watch, create,
// update, patch, delete, deletecollection, connect. One verb, one file. It takes
// decoded requests and applies, in upstream's order, admission, the kind's
// rules and the conditions of a write to the state.
//
// It must not know about HTTP, but for the type of what serves a connection. Errors are those of the API: whatever is
// returned to a client is an apierrors.StatusError or becomes a 500.
package verb

import (
	"context"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/validate/content"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/warning"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/ownership"
	"github.com/knarr-io/knarr/internal/state"
)

// Verbs acts on the objects of one server. It is safe for concurrent use.
type Verbs struct {
	State *state.State
	// Admission runs on every write; nil admits everything.
	Admission admission.Interface
	// Authorizer is asked again where one verb may become another: an update
	// that creates. Nil allows it.
	Authorizer authorizer.Authorizer
	// Ownership returns who keeps the owners of fields for what is written to a
	// version, or to one of its subresources. Nil keeps none, and then nothing
	// can be applied.
	Ownership func(v *kind.Version, sub *kind.Subresource) ownership.Manager
	// Companions are those of the resources that have one. They are set before
	// the first write.
	Companions map[schema.GroupResource]Companion
	// Actions are what creates do that make no object. They are set before the
	// first request.
	Actions map[ActionKey]Action
	// Connecters are the subresources that connect clients to what is behind an
	// object, and Streams those that read from it. They are set before the first
	// request.
	Connecters map[ActionKey]rest.Connecter
	Streams    map[ActionKey]rest.GetterWithOptions
	// Committed is told of every object of a resource that was written or, as it
	// was last, removed, before the verb returns. It is set before the first
	// write.
	Committed map[schema.GroupResource]func(ctx context.Context, o *object.Object)
	// Computed are the resources whose objects are made when they are asked for.
	// They are set before the first request.
	Computed map[schema.GroupResource]Computed
}

// Target is what a request is about.
type Target struct {
	Version *kind.Version
	// Subresource is nil for the object itself.
	Subresource *kind.Subresource
	// Namespace is empty for objects of cluster scope and for reads across
	// all namespaces. Name is empty for collections.
	Namespace, Name string
	// Agent is the program that asks, as its User-Agent header says. Writes
	// whose options name no field manager are owned in its name.
	Agent string
}

// Context returns ctx with what upstream's rules read from it: the request's
// info, namespace and user. Every write passes through here, those made
// in-process included; who has them already, from HTTP, need not call it.
func (t Target) Context(ctx context.Context, verb string, u user.Info) context.Context {
	info := &request.RequestInfo{
		IsResourceRequest: true,
		Verb:              verb,
		APIPrefix:         "apis",
		APIGroup:          t.resource().Group,
		APIVersion:        t.Version.Name,
		Namespace:         t.Namespace,
		Resource:          t.resource().Name,
		Name:              t.Name,
	}
	if t.resource().Group == "" {
		info.APIPrefix = "api"
	}
	if t.Subresource != nil {
		info.Subresource = t.Subresource.Name
	}
	ctx = request.WithRequestInfo(ctx, info)
	ctx = request.WithUser(ctx, u)
	return request.WithNamespace(ctx, t.Namespace)
}

func (t Target) resource() *kind.Resource { return t.Version.Resource }

// GroupResource returns the group and resource, for errors.
func (t Target) GroupResource() schema.GroupResource {
	return schema.GroupResource{Group: t.resource().Group, Resource: t.resource().Name}
}

// subresource returns the subresource's name, or "".
func (t Target) subresource() string {
	if t.Subresource == nil {
		return ""
	}
	return t.Subresource.Name
}

// updateStrategy returns the rules for updates of the target.
func (t Target) updateStrategy() rest.RESTUpdateStrategy {
	if t.Subresource != nil && t.view() == nil {
		return t.Subresource.Update
	}
	return t.resource().Update
}

// key returns the storage key of the target, or upstream's errors for names
// that cannot be one.
func (t Target) key() (string, error) {
	if t.resource().Namespaced && t.Namespace == "" {
		return "", apierrors.NewBadRequest("Namespace parameter required.")
	}
	if t.Name == "" {
		return "", apierrors.NewBadRequest("Name parameter required.")
	}
	if msgs := content.IsPathSegmentName(t.Name); len(msgs) != 0 {
		return "", apierrors.NewBadRequest(fmt.Sprintf("Name parameter invalid: %q: %s", t.Name, strings.Join(msgs, ";")))
	}
	key := t.resource().Storage.Key(t.keyNamespace(), t.Name)
	return key, t.checkKey(key)
}

// checkKey refuses namespaces that would lead out of their place in a path, as
// upstream's storage does. Here they would lead nowhere.
func (t Target) checkKey(key string) error {
	if t.Namespace == "." || t.Namespace == ".." {
		return fmt.Errorf("invalid key: %q", strings.TrimPrefix(key, "/registry"))
	}
	return nil
}

// checkCollection is checkKey for all objects at once.
func (t Target) checkCollection() error {
	return t.checkKey(t.resource().Storage.Prefix + "/" + t.Namespace)
}

// keyNamespace is the namespace in storage keys: namespaces themselves are
// requested with one, but are of cluster scope.
func (t Target) keyNamespace() string {
	if !t.resource().Namespaced {
		return ""
	}
	return t.Namespace
}

// attributes describes a write to admission.
func (t Target) attributes(ctx context.Context, obj, old runtime.Object, op admission.Operation, options runtime.Object, dryRun bool) admission.Attributes {
	u, _ := request.UserFrom(ctx)
	return admission.NewAttributesRecord(obj, old, admittedKind(t.Version, t.Subresource), t.Namespace, t.Name, t.Version.GVR(), t.subresource(), op, options, dryRun, u)
}

// admit runs mutating admission on a write.
func (v *Verbs) admit(ctx context.Context, t Target, a admission.Attributes) error {
	m, ok := v.admission().(admission.MutationInterface)
	if !ok || !v.mutates(a) {
		return nil
	}
	kept := heldOwners(a.GetObject())
	if err := m.Admit(ctx, a, t.interfaces()); err != nil {
		return err
	}
	restoreOwners(ctx, a.GetObject(), kept)
	return nil
}

// selective is an admission that can tell early that it does not look at a
// write: before its objects are known.
type selective interface {
	Mutates(a admission.Attributes) bool
	Validates(a admission.Attributes) bool
}

// mutates reports whether mutating admission looks at a write like a at all.
func (v *Verbs) mutates(a admission.Attributes) bool {
	if s, ok := v.Admission.(selective); ok {
		return s.Mutates(a)
	}
	m, ok := v.Admission.(admission.MutationInterface)
	return ok && m.Handles(a.GetOperation())
}

// validates reports whether validating admission looks at a write like a at
// all: if not, nothing has to be copied for it.
func (v *Verbs) validates(a admission.Attributes) bool {
	if s, ok := v.Admission.(selective); ok {
		return s.Validates(a)
	}
	p, ok := v.Admission.(admission.ValidationInterface)
	return ok && p.Handles(a.GetOperation())
}

// validateDelete returns the admission of a deletion.
func (v *Verbs) validateDelete(t Target, a admission.Attributes) rest.ValidateObjectFunc {
	if !v.mutates(a) && !v.validates(a) {
		return rest.ValidateAllObjectFunc
	}
	return rest.AdmissionToValidateObjectDeleteFunc(v.admission(), a, t.interfaces())
}

// validateCreate returns the validating admission of a create. Where the
// request was another verb, the user is asked about first.
func (v *Verbs) validateCreate(t Target, a admission.Attributes, authorize bool) rest.ValidateObjectFunc {
	validate := rest.ValidateAllObjectFunc
	if v.validates(a) {
		plugins := rest.AdmissionToValidateObjectFunc(v.admission(), a, t.interfaces())
		validate = func(ctx context.Context, obj runtime.Object) error { return plugins(ctx, obj.DeepCopyObject()) }
	}
	if !authorize || v.Authorizer == nil {
		return validate
	}
	return func(ctx context.Context, obj runtime.Object) error {
		u, _ := request.UserFrom(ctx)
		attributes := authorizer.AttributesRecord{
			User: u, Verb: "create", ResourceRequest: true, Path: requestPath(ctx),
			APIGroup: t.resource().Group, APIVersion: t.Version.Name, Resource: t.resource().Name, Subresource: t.subresource(),
			Namespace: t.Namespace, Name: t.Name,
		}
		decision, reason, err := v.Authorizer.Authorize(ctx, attributes)
		switch {
		case decision == authorizer.DecisionAllow:
			return validate(ctx, obj)
		case err != nil:
			return apierrors.NewInternalError(err)
		}
		return forbidden(attributes, reason)
	}
}

// validateUpdate returns the validating admission of an update.
func (v *Verbs) validateUpdate(t Target, a admission.Attributes) rest.ValidateObjectUpdateFunc {
	if !v.validates(a) {
		return rest.ValidateAllObjectUpdateFunc
	}
	plugins := rest.AdmissionToValidateObjectUpdateFunc(v.admission(), a, t.interfaces())
	if view := t.view(); view != nil {
		return viewed(view, plugins)
	}
	return func(ctx context.Context, obj, old runtime.Object) error {
		return plugins(ctx, obj.DeepCopyObject(), old.DeepCopyObject())
	}
}

func requestPath(ctx context.Context) string {
	if info, ok := request.RequestInfoFrom(ctx); ok {
		return info.Path
	}
	return ""
}

// checkNames makes sure that obj is the one that the URL names.
func (t Target) checkNames(obj runtime.Object) error {
	m, err := meta.Accessor(obj)
	if err != nil {
		return apierrors.NewBadRequest(fmt.Sprintf("the name of the object (%s based on URL) was undeterminable: %v", t.Name, err))
	}
	if m.GetName() == "" {
		return apierrors.NewBadRequest(fmt.Sprintf("the name of the object (%s based on URL) was undeterminable: %v", t.Name, "name must be provided"))
	}
	if m.GetName() != t.Name {
		return apierrors.NewBadRequest(fmt.Sprintf("the name of the object (%s) does not match the name on the URL (%s)", m.GetName(), t.Name))
	}
	if ns := m.GetNamespace(); t.Namespace != "" && ns != "" && ns != t.Namespace {
		return apierrors.NewBadRequest(fmt.Sprintf("the namespace of the object (%s) does not match the namespace on the request (%s)", ns, t.Namespace))
	}
	return nil
}

// ensureNamespace puts the request's namespace into obj, or fails if obj says
// otherwise. Objects without metadata pass.
func (t Target) ensureNamespace(obj runtime.Object) error {
	m, err := meta.Accessor(obj)
	if err != nil {
		return nil
	}
	return rest.EnsureObjectNamespaceMatchesRequestNamespace(rest.ExpectedNamespaceForResource(t.Namespace, t.Version.GVR()), m)
}

// Result is what a write made.
type Result struct {
	// Object is the object as stored or, after a dry run, as it would be. Of
	// a subresource that shows an object as another kind, it is that object.
	Object *object.Object
	// Created tells an update that made the object.
	Created bool
	// Status, if set, is the answer in place of the object.
	Status *metav1.Status
	// Accepted tells a deletion that goes on after the answer.
	Accepted bool
}

const (
	duplicateOwners           = ".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: %v"
	duplicateOwnersAfterAdmit = ".metadata.ownerReferences contains duplicate entries after mutating admission happens; API server dedups owner references in 1.20+, and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: %v"
)

// dedupOwners removes owner references that are there twice, with a warning
// of the given format.
func dedupOwners(ctx context.Context, obj runtime.Object, format string) {
	m, err := meta.Accessor(obj)
	if err != nil {
		return
	}
	refs := m.GetOwnerReferences()
	if len(refs) < 2 {
		return
	}
	unique := make([]metav1.OwnerReference, 0, len(refs))
	var duplicates []string
next:
	for _, ref := range refs {
		for _, seen := range unique {
			if equalOwners(ref, seen) {
				duplicates = append(duplicates, string(ref.UID))
				continue next
			}
		}
		unique = append(unique, ref)
	}
	if len(duplicates) > 0 {
		warning.AddWarning(ctx, "", fmt.Sprintf(format, strings.Join(duplicates, ", ")))
		m.SetOwnerReferences(unique)
	}
}

func equalOwners(a, b metav1.OwnerReference) bool {
	equal := func(a, b *bool) bool { return (a == nil) == (b == nil) && (a == nil || *a == *b) }
	return a.UID == b.UID && a.APIVersion == b.APIVersion && a.Kind == b.Kind && a.Name == b.Name &&
		equal(a.Controller, b.Controller) && equal(a.BlockOwnerDeletion, b.BlockOwnerDeletion)
}
