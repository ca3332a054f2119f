// Package kind is the catalogue: every resource that is served, with its
// names, versions, storage form and rules. Native kinds are built by the
// package native from tables and upstream's rules; custom ones will be made
// from their definitions. To those above, they look the same.
//
// It must not know about HTTP, users, or where objects are kept.
package kind

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/kube-openapi/pkg/spec3"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/knarr-io/knarr/internal/object"
)

// Resource is one resource of the API in all its versions. It is immutable
// once it is in a Catalogue.
type Resource struct {
	// Group is empty for the core group. Name is the plural, as in URLs.
	Group, Name, Singular, Kind string
	// ListKind is the kind of lists, if it is not Kind + "List".
	ListKind               string
	ShortNames, Categories []string
	Namespaced             bool
	// Verbs, sorted, as discovery tells them.
	Verbs []string

	// Versions are those served, most preferred first.
	Versions []*Version
	// Cohabiting are the versions of other resources that show the same objects:
	// in other groups or, of a custom resource, its other versions.
	Cohabiting   []*Version
	Subresources []*Subresource
	// Gone, if not nil, is closed when the resource is no longer served, or is
	// served as another: watches of it end when they have told what was done
	// until then.
	Gone <-chan struct{}

	// Storage says how objects are kept; nil if they are not (reviews,
	// bindings), which is when Rules may be empty too.
	Storage *Storage
	// Published describes a custom resource to clients. It is nil for others,
	// which are described by their Go types.
	Published Published
	Rules
	Types
}

// Published describes a resource in the one version that it has, in the terms of
// OpenAPI. It costs milliseconds, each time.
type Published interface {
	// ID is another one if the description may be another.
	ID() string
	OpenAPIV2() (*spec.Swagger, error)
	OpenAPIV3() (*spec3.OpenAPI, error)
}

// Types is what decoding, converting and encoding bodies needs.
type Types struct {
	// Scheme knows every version of the kind, its defaults and conversions.
	Scheme *runtime.Scheme
	// Convertor converts between hub and versions. What it returns may share
	// memory with what it was given.
	Convertor runtime.ObjectConvertor
	// Serializer decodes and encodes bodies by media type.
	Serializer runtime.NegotiatedSerializer
	// ParameterCodec decodes the options in a query.
	ParameterCodec runtime.ParameterCodec
	// Hub is the group and version of hub objects: the kind's group, internal
	// or, of a custom resource, the version that is served.
	Hub schema.GroupVersion
	// Creater and Defaulter, if set, make empty objects and set their defaults in
	// place of Scheme, which cannot where one Go type is for all kinds.
	Creater   runtime.ObjectCreater
	Defaulter runtime.ObjectDefaulter
}

// Custom reports whether objects are unstructured: those of a custom resource,
// which has no Go type.
func (t *Types) Custom() bool { return t.Creater != nil }

// NewObject makes an empty object of a version.
func (t *Types) NewObject(gvk schema.GroupVersionKind) (runtime.Object, error) {
	if t.Custom() {
		return t.Creater.New(gvk)
	}
	return t.Scheme.New(gvk)
}

// Storage is how objects of a resource are kept.
type Storage struct {
	// Prefix of the storage keys, as upstream's: "/registry/pods",
	// "/registry/services/specs". No slash at the end. Resources that live
	// together (events of both groups) share it.
	Prefix string
	// Version is the group and version of the storage form.
	Version schema.GroupVersion
	Codec   Codec
	// Remote, if not nil, is what decodes objects whose conversion is not ours.
	Remote Remote
}

// Key returns the storage key of an object; namespace is empty for objects of
// cluster scope. Neither may contain a slash.
func (s *Storage) Key(namespace, name string) string {
	if namespace == "" {
		return s.Prefix + "/" + name
	}
	return s.Prefix + "/" + namespace + "/" + name
}

// Codec turns hub objects (upstream's internal types for native kinds) to
// their storage form and back.
type Codec interface {
	// Encode returns the storage form. obj must have no resourceVersion if it is
	// to be stored. It does not modify or keep obj.
	Encode(obj runtime.Object) ([]byte, error)
	// Decode returns a new hub object with the defaults of the storage
	// version, without resourceVersion. It does not keep value.
	Decode(value []byte) (runtime.Object, error)
}

// Rules are what a kind means: upstream's strategies and what upstream keeps
// beside them.
type Rules struct {
	// New and NewList make empty hub objects.
	New, NewList func() runtime.Object
	// Create, Update and Delete are nil where the verb is not served.
	Create rest.RESTCreateStrategy
	Update rest.RESTUpdateStrategy
	Delete rest.RESTDeleteStrategy
	// Attributes tells labels and selectable fields of a hub object.
	Attributes func(obj runtime.Object) (object.Attributes, error)
	// Table makes printed columns from hub objects.
	Table rest.TableConvertor
	// Decorate, if set, completes a hub object as it is read (not as it is
	// stored): upstream's defaulting on read.
	Decorate func(obj runtime.Object)
	// Permit, if set, may refuse to have obj written, by what the user may do. It is
	// asked after mutating admission and before anything else; old is nil if the
	// request is a create, and empty if an update would create.
	Permit func(ctx context.Context, obj, old runtime.Object) error
	// TTL, if set, is the time to live in seconds of an object being written.
	TTL func(obj runtime.Object, update bool) (uint64, error)
	// DeleteDuringUpdate, if set, is asked in addition to the rule by which an
	// update that removes the last finalizer of an object under deletion
	// removes it.
	DeleteDuringUpdate func(ctx context.Context, key string, obj, existing runtime.Object) bool
	// BeforeDelete, if set, is asked when a deletion is requested, before
	// anything else: it may warn the client or refuse with the API's error.
	// name is empty for a collection, for which it is asked once.
	BeforeDelete func(ctx context.Context, name string, options *metav1.DeleteOptions) error
	// Terminate, if set, is how a deletion begins, in place of the common way:
	// it marks a hub object as going away. Removal waits for Terminated.
	Terminate func(obj runtime.Object, options *metav1.DeleteOptions)
	// Terminated reports whether an object marked by Terminate may be removed.
	Terminated func(obj runtime.Object) bool
	// KeepUnreadable has objects that cannot be read stay: nobody may delete
	// them.
	KeepUnreadable bool
	// ResetFields, if set, tells which fields a write of the whole object
	// leaves alone, by version: they are not owned by its manager.
	ResetFields func() map[fieldpath.APIVersion]*fieldpath.Set
}

// Version is a resource as served in one version.
type Version struct {
	Resource *Resource
	// Name is the version, for example "v1".
	Name string
	// JSON and Protobuf are the forms of whole objects; Protobuf is nil where
	// the kind has none (custom resources). MetadataJSON and MetadataProtobuf
	// are objects as PartialObjectMetadata of meta.k8s.io/v1.
	JSON, Protobuf                 object.Form
	MetadataJSON, MetadataProtobuf object.Form
	// Deprecated, if not empty, is the warning that every request gets.
	Deprecated string
	// RemovedRelease is the first release without a deprecated version, if that
	// is known.
	RemovedRelease string
	// ReturnDeleted has DELETE answer with the object, where others answer
	// with a Status.
	ReturnDeleted bool

	layout func() *Layout
}

// GroupVersion returns the group and version that v is served under.
func (v *Version) GroupVersion() schema.GroupVersion {
	return schema.GroupVersion{Group: v.Resource.Group, Version: v.Name}
}

// GVK returns the kind that v's objects have.
func (v *Version) GVK() schema.GroupVersionKind {
	return v.GroupVersion().WithKind(v.Resource.Kind)
}

// ListGVK returns the kind that lists of v's objects have.
func (v *Version) ListGVK() schema.GroupVersionKind {
	if k := v.Resource.ListKind; k != "" {
		return v.GroupVersion().WithKind(k)
	}
	return v.GroupVersion().WithKind(v.Resource.Kind + "List")
}

// GVR returns the resource that v is served as.
func (v *Version) GVR() schema.GroupVersionResource {
	return v.GroupVersion().WithResource(v.Resource.Name)
}

// Subresource is a part or a view of the objects of a resource, or an action
// on them.
type Subresource struct {
	// Name is the last part of its path, as "status".
	Name string
	// Kind is what it is served as, in discovery and in bodies; Kind.Group and
	// Kind.Version are empty where they are those of the resource's version.
	Kind schema.GroupVersionKind
	// Verbs, sorted, as discovery tells them.
	Verbs []string
	// Versions, if not nil, names the versions of the resource that have it.
	Versions []string
	// Table tells that it is to be had in the printed columns of its resource.
	Table bool
	// ApplyCreates has an apply to it make the object if there is none, as an
	// apply to the object does.
	ApplyCreates bool

	// Update, if set, makes the subresource the object itself, written under
	// other rules (status, approval, ephemeralcontainers).
	Update      rest.RESTUpdateStrategy
	ResetFields func() map[fieldpath.APIVersion]*fieldpath.Set
	// View, if set, shows the object as another kind (scale).
	View View
}

// View shows objects as another kind and takes changes back. It is what the
// scale subresource is made of.
type View interface {
	// New makes an empty hub object of the view's kind.
	New() runtime.Object
	// Of returns the view of a hub object, its metadata included.
	Of(obj runtime.Object) (runtime.Object, error)
	// Into checks view, which was changed by a client, and writes what it
	// says into obj, its resourceVersion included. Errors are those of the API
	// (invalid, conflict). ctx holds what strategies expect: the RequestInfo of
	// the view's request above all.
	Into(ctx context.Context, view, obj runtime.Object) error
	// Replicas is where the object has what the view has at spec.replicas.
	Replicas() fieldpath.Path
}

// PartialView is a View of objects that may lack what it shows.
type PartialView interface {
	View
	// Shown is Of for readers, who get an error if there is nothing to show.
	Shown(obj runtime.Object) (runtime.Object, error)
	// Begin is Of for writers: they start from what it returns.
	Begin(obj runtime.Object) (runtime.Object, error)
	// ReplicasIn is Replicas for the objects in another version of the resource;
	// nil if they have no such view.
	ReplicasIn(version string) fieldpath.Path
}

// GVK returns the kind of the subresource's bodies where the resource is
// served as v.
func (s *Subresource) GVK(v *Version) schema.GroupVersionKind {
	gvk := s.Kind
	if gvk.Version == "" {
		gvk.Group, gvk.Version = v.Resource.Group, v.Name
	}
	if gvk.Kind == "" {
		gvk.Kind = v.Resource.Kind
	}
	return gvk
}
