package native

import (
	"context"
	"maps"
	"reflect"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/component-base/featuregate"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/object"
)

// group is an API group: a table of resources.
type group struct {
	name string
	// family tells where the types come from; nil for those of the API server
	// proper, which are most.
	family *family
	rows   []row
}

// row is one resource as the tables of this package tell it. What is left out
// follows from the rest: the kind is the name of the hub type, the verbs are
// all if there is a strategy and create alone if not, and so on.
type row struct {
	name       string
	hub        hub
	short      []string
	categories []string
	namespaced bool
	// versions that have the resource, most preferred first.
	versions []string
	// byName has it served only where the version or the resource itself is
	// switched on, and then though this release has ended it.
	byName bool
	// gate, if set, is a feature that must be on for the resource to exist.
	gate featuregate.Feature
	// verbs, if not those of the rule above.
	verbs []string

	// strategy is upstream's for objects as a whole; nil for what is not kept.
	strategy strategy
	// status is upstream's strategy for the status subresource, if there is one.
	status rest.RESTUpdateStrategy
	// statusPlain has the status subresource come without printed columns.
	statusPlain bool
	// statusCreates has an apply to the status make the object: upstream keeps
	// all but one kind from it.
	statusCreates bool
	// parts are the other subresources.
	parts []part

	// attributes tells what objects are selected by, if by more than their
	// metadata.
	attributes func(runtime.Object) (labels.Set, fields.Set, error)
	// table, if not upstream's printers.
	table rest.TableConvertor

	// prefix of the keys, below /registry, if not the name.
	prefix string
	// stored is the group and version of the storage form, if upstream's rule
	// does not give it.
	stored schema.GroupVersion

	// The rest is what upstream's registries set for this kind alone, as
	// kind.Rules has it.
	decorate           func(runtime.Object)
	permit             func(ctx context.Context, obj, old runtime.Object) error
	ttl                func(runtime.Object, bool) (uint64, error)
	beforeDelete       func(ctx context.Context, name string, options *metav1.DeleteOptions) error
	terminate          func(runtime.Object, *metav1.DeleteOptions)
	terminated         func(runtime.Object) bool
	deleteDuringUpdate func(ctx context.Context, key string, obj, existing runtime.Object) bool
	keepUnreadable     bool
	returnDeleted      bool
	// returnDeletedIn names the versions that return what they delete, if it is
	// not all or none.
	returnDeletedIn []string
}

// strategy is what upstream's registries define for a kind.
type strategy interface {
	rest.RESTCreateStrategy
	rest.RESTUpdateStrategy
	rest.RESTDeleteStrategy
}

// part is a subresource other than status.
type part struct {
	name string
	// kind as kind.Subresource has it; empty for that of the resource.
	kind  schema.GroupVersionKind
	verbs []string
	gate  featuregate.Feature
	// update makes it the object itself, under other rules.
	update rest.RESTUpdateStrategy
	// resets has update's reset fields apply: upstream forgets them for some.
	resets bool
	view   kind.View
}

// hub makes the empty objects of a kind.
type hub struct {
	kind     string
	new, all func() runtime.Object
}

// of names the hub types of a kind and of its lists.
func of[T, L any, P interface {
	*T
	runtime.Object
}, PL interface {
	*L
	runtime.Object
}]() hub {
	return hub{
		kind: reflect.TypeFor[T]().Name(),
		new:  func() runtime.Object { return P(new(T)) },
		all:  func() runtime.Object { return PL(new(L)) },
	}
}

// review names the hub type of a kind that has no lists.
func review[T any, P interface {
	*T
	runtime.Object
}]() hub {
	return hub{kind: reflect.TypeFor[T]().Name(), new: func() runtime.Object { return P(new(T)) }}
}

// words makes the short lists of names in tables easy to read.
func words(s string) []string { return strings.Fields(s) }

var (
	allVerbs    = words("create delete deletecollection get list patch update watch")
	statusVerbs = words("get patch update")
)

// resource builds what a row says, in the versions that are on.
func (b *builder) resource(g *group, row *row, versions []string) (*kind.Resource, error) {
	r := &kind.Resource{
		Group:      g.name,
		Name:       row.name,
		Singular:   strings.ToLower(row.hub.kind),
		Kind:       row.hub.kind,
		ShortNames: row.short,
		Categories: row.categories,
		Namespaced: row.namespaced,
		Verbs:      row.verbs,
		Types:      b.types(g),
	}
	r.New, r.NewList = row.hub.new, row.hub.all
	r.Table = row.table
	if r.Table == nil {
		r.Table = b.printers
	}
	if r.Verbs == nil {
		r.Verbs = words("create")
	}
	if row.strategy != nil {
		if row.verbs == nil {
			r.Verbs = allVerbs
		}
		b.rules(r, row)
		var err error
		if r.Storage, err = b.storage(g, row); err != nil {
			return nil, err
		}
	}
	b.subresources(r, row)
	for _, name := range versions {
		v := &kind.Version{Resource: r, Name: name}
		v.Deprecated, v.RemovedRelease = b.deprecation(r, name)
		v.ReturnDeleted = row.returnDeleted || slices.Contains(row.returnDeletedIn, name)
		if r.Storage != nil {
			v.SetForms()
		}
		r.Versions = append(r.Versions, v)
	}
	return r, nil
}

// rules fills in what upstream's registries keep in a store.
func (b *builder) rules(r *kind.Resource, row *row) {
	r.Create, r.Update, r.Delete = row.strategy, row.strategy, row.strategy
	r.ResetFields = resetFields(row, r.Group, row.strategy)
	r.Decorate = row.decorate
	r.Permit = row.permit
	r.TTL = row.ttl
	r.BeforeDelete = row.beforeDelete
	r.Terminate, r.Terminated = row.terminate, row.terminated
	r.DeleteDuringUpdate = row.deleteDuringUpdate
	r.KeepUnreadable = row.keepUnreadable
	attrs := row.attributes
	if attrs == nil {
		attrs = storage.DefaultClusterScopedAttr
		if row.namespaced {
			attrs = storage.DefaultNamespaceScopedAttr
		}
	}
	r.Attributes = func(obj runtime.Object) (object.Attributes, error) {
		l, f, err := attrs(obj)
		return object.Attributes{Labels: l, Fields: f}, err
	}
}

// resetFields are those of a strategy. One that does not know the versions of
// the row's group has for them what it has for the version of the storage form.
func resetFields(row *row, group string, strategy any) func() map[fieldpath.APIVersion]*fieldpath.Set {
	s, ok := strategy.(rest.ResetFieldsStrategy)
	if !ok {
		return nil
	}
	if !row.byName {
		return s.GetResetFields
	}
	return func() map[fieldpath.APIVersion]*fieldpath.Set {
		fields := maps.Clone(s.GetResetFields())
		for _, v := range row.versions {
			version := fieldpath.APIVersion(schema.GroupVersion{Group: group, Version: v}.String())
			if stored, ok := fields[fieldpath.APIVersion(row.stored.String())]; ok && fields[version] == nil {
				fields[version] = stored
			}
		}
		return fields
	}
}

func (b *builder) subresources(r *kind.Resource, row *row) {
	if row.status != nil {
		r.Subresources = append(r.Subresources, &kind.Subresource{
			Name: "status", Kind: schema.GroupVersionKind{Kind: r.Kind}, Verbs: statusVerbs,
			Table: !row.statusPlain, ApplyCreates: row.statusCreates, Update: row.status, ResetFields: resetFields(row, r.Group, row.status),
		})
	}
	for _, p := range row.parts {
		if p.gate != "" && !b.features.Enabled(p.gate) {
			continue
		}
		s := &kind.Subresource{Name: p.name, Kind: p.kind, Verbs: p.verbs, Table: p.view != nil, Update: p.update, View: p.view}
		if s.Kind.Kind == "" {
			s.Kind.Kind = r.Kind
		}
		if p.resets {
			s.ResetFields = resetFields(row, r.Group, p.update)
		}
		r.Subresources = append(r.Subresources, s)
	}
	slices.SortFunc(r.Subresources, func(a, b *kind.Subresource) int { return strings.Compare(a.Name, b.Name) })
}
