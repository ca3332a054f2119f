// Package ownership keeps metadata.managedFields: which manager set which
// field of an object, and what follows when one of them applies its wishes
// again. The rules are those of upstream's k8s.io/apimachinery/pkg/util/managedfields
// (KEP-555, Server-side Apply) on the schemas that kube-apiserver serves.
// Applies are merged by upstream's library. Other writes, which are most, are
// told by one walk over the object before and after, from what Go types say
// and a table of what they do not; what is too rare to be worth a rule of our
// own is left to upstream's library too.
//
// It must not know about requests, users, or where objects are kept.
package ownership

import (
	"reflect"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/knarr-io/knarr/internal/kind"
)

// Manager keeps the owners of the objects of one kind, as written in one
// version under one name of a subresource. It is safe for concurrent use.
type Manager interface {
	// Update returns obj, a hub object that is to replace live, with its owners
	// after a write by the named manager that was no apply. live is a hub object
	// too or, where there is none yet, an empty object of the hub or of the
	// version. Where the owners cannot be told, obj keeps those of live: that is
	// logged, and no reason to refuse a write. obj itself may be modified, and
	// what it says of owners may share memory with live.
	Update(live, obj runtime.Object, manager string) runtime.Object
	// Apply returns the hub object that live becomes when the named manager
	// applies patch, an object of the version with just the fields that the
	// manager has an opinion about. Those that it applied earlier and no longer
	// names are removed if nobody else owns them. Another opinion than that of
	// another manager is a conflict (409, its causes name managers and fields),
	// unless force takes the fields over. A patch that changes nothing returns
	// an equal object, owners and their times included. Errors that are not of
	// the API tell of fields that the schema does not have. live and patch may
	// be modified, and the result may share memory with them.
	Apply(live runtime.Object, patch *unstructured.Unstructured, manager string, force bool) (runtime.Object, error)
}

// Managers makes managers and keeps them. How a kind is walked is found out as
// it is first written; the schemas that upstream's rules work by are made on
// their first use, once for all kinds. The zero value is ready and safe for
// concurrent use; servers do not share one.
type Managers struct {
	types    types
	plans    plans
	walks    pool
	managers sync.Map // target to Manager
}

// target is what a manager is for. It is kept for good, as catalogues are.
type target struct {
	version     *kind.Version
	subresource *kind.Subresource
}

// For returns the manager for the objects of v or, if sub is not nil, for what
// v has under that subresource.
func (m *Managers) For(v *kind.Version, sub *kind.Subresource) Manager {
	key := target{v, sub}
	if kept, ok := m.managers.Load(key); ok {
		return kept.(Manager)
	}
	kept, _ := m.managers.LoadOrStore(key, m.make(v, sub))
	return kept.(Manager)
}

func (m *Managers) make(v *kind.Version, sub *kind.Subresource) Manager {
	r := v.Resource
	gvk, name, resets := v.GVK(), "", r.ResetFields
	if sub != nil {
		gvk, name, resets = sub.GVK(v), sub.Name, sub.ResetFields
	}
	return newManager(config{
		convertor: r.Convertor, defaulter: r.Scheme, creater: r.Scheme, gvk: gvk, subresource: name, resets: resets,
		hub:     schema.GroupVersion{Group: gvk.Group, Version: runtime.APIVersionInternal},
		objects: &structs{sync.OnceValue(func() *plan { return m.plans.of(r.Scheme.AllKnownTypes()[gvk], exception{}) })}, walks: &m.walks,
		types: &converter{m.types.named(definitions(v, gvk))}, make: managedfields.NewDefaultFieldManager,
	})
}

// config is what a manager is made of.
type config struct {
	convertor   runtime.ObjectConvertor
	defaulter   runtime.ObjectDefaulter
	creater     runtime.ObjectCreater
	gvk         schema.GroupVersionKind
	hub         schema.GroupVersion
	subresource string
	resets      func() map[fieldpath.APIVersion]*fieldpath.Set // may be nil
	objects     objects                                        // nil if only upstream's rules can walk them
	walks       *pool
	types       managedfields.TypeConverter
	// make is upstream's constructor for the kind of kind.
	make func(managedfields.TypeConverter, runtime.ObjectConvertor, runtime.ObjectDefaulter, runtime.ObjectCreater,
		schema.GroupVersionKind, schema.GroupVersion, string, map[fieldpath.APIVersion]fieldpath.Filter) (*managedfields.FieldManager, error)
}

// manager does plain writes directly, and applies by upstream's FieldManager.
type manager struct {
	direct   *direct // nil if upstream's does plain writes too
	upstream func() *managedfields.FieldManager
}

func newManager(c config) Manager {
	m := &manager{upstream: sync.OnceValue(func() *managedfields.FieldManager {
		var filter map[fieldpath.APIVersion]fieldpath.Filter
		if c.resets != nil {
			filter = fieldpath.NewExcludeFilterSetMap(c.resets())
		}
		f, err := c.make(c.types, c.convertor, c.defaulter, c.creater, c.gvk, c.hub, c.subresource, filter)
		if err != nil {
			panic(err) // only a missing converter is an error
		}
		return f
	})}
	if c.objects == nil {
		return m
	}
	d := &direct{convertor: c.convertor, gvk: c.gvk, subresource: c.subresource, objects: c.objects, walks: c.walks}
	if c.resets != nil {
		var err error
		if d.resets, err = newResets(c.resets()[fieldpath.APIVersion(c.gvk.GroupVersion().String())]); err != nil {
			return m
		}
	}
	m.direct = d
	return m
}

func (m *manager) Update(live, obj runtime.Object, by string) runtime.Object {
	if m.direct != nil && m.direct.update(live, obj, by) {
		return obj
	}
	return m.upstream().UpdateNoErrors(live, obj, by)
}

func (m *manager) Apply(live runtime.Object, patch *unstructured.Unstructured, by string, force bool) (runtime.Object, error) {
	return m.upstream().Apply(live, patch, by, force)
}

// structs are objects of a native kind, which are structs in every version.
type structs struct{ plan func() *plan }

func (s *structs) walk(w *walk, live, obj runtime.Object) {
	p, l, r := s.plan(), reflect.ValueOf(live).Elem(), reflect.ValueOf(obj).Elem()
	if w.native = true; l.Type() != p.typ || r.Type() != p.typ {
		w.unclear = true
		return
	}
	w.structs(p, l, r)
}

func (s *structs) schema() below { return s.plan() }

// Name is what a manager is called: as its options say or else by the
// program's name in its User-Agent header, without what cannot be printed and
// no longer than a name may be.
func Name(given, userAgent string) string {
	if given != "" {
		return given
	}
	program, _, _ := strings.Cut(userAgent, "/")
	var name strings.Builder
	for _, r := range program {
		if !unicode.IsPrint(r) {
			continue
		}
		if name.Len()+utf8.RuneLen(r) > validation.FieldManagerMaxLength {
			break
		}
		name.WriteRune(r)
	}
	return name.String()
}
