package ownership

import (
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/structured-merge-diff/v6/schema"
)

// rule is what a schema says of a value: which of scalar, list and object it
// may be, and who can own what of it. More than one of them may be set.
// A null is allowed everywhere. Rules refer to each other in circles.
type rule struct {
	scalar schema.Scalar // empty if it may be none
	list   *listRule
	object *objectRule
}

// listRule is of lists. Those that are not atomic have items with owners of
// their own, told apart by keys or, without keys, by their value.
type listRule struct {
	atomic bool
	keys   []listKey // sorted by name
	item   *rule
}

// listKey is a field by which the items of a list are told apart. Items that
// lack it have its default, unless that is nil.
type listKey struct {
	name  string
	value any
}

// objectRule is of objects. Those that are not atomic have fields with owners
// of their own.
type objectRule struct {
	atomic bool
	fields map[string]*rule
	others *rule // of what is not in fields; nil if there may be nothing
	// deduced says that nothing is known of the fields. Owners of what is below
	// are never questioned then.
	deduced bool
}

// below is what a rule or a plan tells about a set of owned fields that lies
// below a value.
type below interface {
	// relation tells if fields below the value can have owners: no, if it is
	// atomic; and if not, whether they are fields or items. belowUnknown is
	// where upstream does not look.
	relation() relation
	// field and item are nil where the schema has none.
	field(name string) below
	element() below
}

type relation int

const (
	belowUnknown relation = iota
	belowAtomic
	belowFields
	belowItems
)

func (r *rule) relation() relation {
	switch {
	case r.object != nil && r.object.deduced:
		return belowUnknown
	case r.object != nil && r.object.atomic:
		return belowAtomic
	case r.object != nil:
		return belowFields
	case r.scalar != "" || r.list == nil:
		return belowUnknown
	case r.list.atomic:
		return belowAtomic
	}
	return belowItems
}

func (r *rule) field(name string) below {
	if f, ok := r.object.fields[name]; ok {
		return f
	}
	return r.element()
}

func (r *rule) element() below {
	next := (*rule)(nil)
	switch {
	case r.object != nil:
		next = r.object.others
	case r.list != nil:
		next = r.list.item
	}
	if next == nil {
		return nil
	}
	return next
}

// rules makes rules of a schema, each type once.
type rules struct {
	schema *schema.Schema
	named  map[string]*rule
}

// newRules returns the rule of a type in a schema. What no schema of
// Kubernetes has is an error.
func newRules(s *schema.Schema, root schema.TypeRef) (*rule, error) {
	return (&rules{s, map[string]*rule{}}).of(root)
}

func (c *rules) of(ref schema.TypeRef) (*rule, error) {
	atom, ok := c.schema.Resolve(ref)
	if !ok {
		return nil, fmt.Errorf("no type for %v", ref)
	}
	r := &rule{}
	if ref.NamedType != nil {
		name := *ref.NamedType
		if ref.ElementRelationship != nil {
			name += " " + string(*ref.ElementRelationship)
		}
		if known, ok := c.named[name]; ok {
			return known, nil
		}
		c.named[name] = r
	}
	var err error
	if atom.Scalar != nil {
		r.scalar = *atom.Scalar
	}
	if atom.List != nil {
		if r.list, err = c.listOf(atom.List); err != nil {
			return nil, err
		}
	}
	if atom.Map != nil {
		if r.object, err = c.objectOf(atom.Map); err != nil {
			return nil, err
		}
	}
	if *r == (rule{}) {
		return nil, fmt.Errorf("a type of no kind: %v", ref)
	}
	return r, nil
}

func (c *rules) listOf(l *schema.List) (*listRule, error) {
	item, err := c.of(l.ElementType)
	if err != nil {
		return nil, err
	}
	r := &listRule{item: item}
	switch l.ElementRelationship {
	case schema.Atomic:
		r.atomic = true
		return r, nil
	case schema.Associative:
	default:
		return nil, fmt.Errorf("a list that is %q", l.ElementRelationship)
	}
	if len(l.Keys) == 0 {
		return r, nil
	}
	atom, _ := c.schema.Resolve(l.ElementType)
	if atom.Map == nil {
		return nil, fmt.Errorf("a list with keys %q of what are no objects", l.Keys)
	}
	for _, name := range l.Keys {
		f, _ := atom.Map.FindField(name)
		r.keys = append(r.keys, listKey{name, f.Default})
	}
	slices.SortFunc(r.keys, func(a, b listKey) int { return strings.Compare(a.name, b.name) })
	return r, nil
}

func (c *rules) objectOf(m *schema.Map) (*objectRule, error) {
	r := &objectRule{
		atomic:  m.ElementRelationship == schema.Atomic,
		fields:  make(map[string]*rule, len(m.Fields)),
		deduced: m.Fields == nil && isDeduced(m.ElementType),
	}
	for _, f := range m.Fields {
		field, err := c.of(f.Type)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		r.fields[f.Name] = field
	}
	if m.ElementType == (schema.TypeRef{}) {
		return r, nil
	}
	var err error
	r.others, err = c.of(m.ElementType)
	return r, err
}

// isDeduced reports whether ref says nothing, by upstream's understanding.
func isDeduced(ref schema.TypeRef) bool {
	if ref.NamedType != nil {
		return *ref.NamedType == "__untyped_deduced_"
	}
	return ref.Inlined.Scalar != nil && *ref.Inlined.Scalar == schema.Untyped
}
