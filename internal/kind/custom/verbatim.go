package custom

import (
	"bytes"
	"cmp"
	"strconv"

	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/knarr-io/knarr/internal/object"
)

// verbatim is the JSON of objects in a version. Mostly it is what is stored, with
// the resourceVersion put in: where that is of the version, and decoding it,
// coercing it to its schema and setting defaults would change nothing. This is
// found out by reading it once, a tenth of the cost of doing all that. What it is
// not sure of is decoded.
type verbatim struct {
	decoded    object.Form
	apiVersion string
	kind       string
	shape      *lazy[*shape]
}

func newVerbatim(d *definition, gvk schema.GroupVersionKind, decoded object.Form) *verbatim {
	return &verbatim{decoded, gvk.GroupVersion().String(), gvk.Kind, newLazy(func() (*shape, error) {
		s, err := d.of(gvk.Version)
		if err != nil || d.preserve {
			return nil, err
		}
		return rootShape(s), nil
	})}
}

func (v *verbatim) Encode(o *object.Object) ([]byte, error) {
	if o.Err == nil && o.Rev != 0 {
		if root, err := v.shape.get(); err == nil && root != nil {
			if at, value := v.splice(root, o.Value); at > 0 {
				encoded := make([]byte, 0, len(value)+len(`"resourceVersion":"",`)+20)
				encoded = append(append(encoded, value[:at]...), `"resourceVersion":"`...)
				encoded = append(strconv.AppendUint(encoded, o.Rev, 10), `",`...)
				return append(encoded, value[at:]...), nil
			}
		}
	}
	return v.decoded.Encode(o)
}

// splice returns what of a stored value is the object's JSON, and where in it the
// resourceVersion belongs; 0 if it must be decoded.
func (v *verbatim) splice(root *shape, value []byte) (at int, json []byte) {
	value = bytes.TrimSuffix(value, []byte("\n"))
	c := &canonical{in: value}
	own := 0 // of the three that every object has, each there once at most
	root.object(c, func(name []byte) bool {
		switch string(name) {
		case "apiVersion":
			if string(c.text()) != v.apiVersion {
				c.refuse()
			}
		case "kind":
			if string(c.text()) != v.kind {
				c.refuse()
			}
		case "metadata":
			at = plainMetadata(c)
		default:
			return false
		}
		own++
		return true
	})
	if c.bad || c.at != len(value) || own != 3 {
		return 0, nil
	}
	return at, value
}

// shape is what a structural schema says of which parts an object has: all that
// pruning and defaults go by.
type shape struct {
	properties map[string]*shape
	// others are the properties without a name here; nil if there are none.
	others *shape
	items  *shape
	// preserved is what nothing is known of and nothing is taken from.
	preserved bool
	// defaulted has a default; defaults is how many properties have.
	defaulted bool
	defaults  int
	// embedded is an object with metadata of its own, which is not looked at.
	embedded bool
}

var (
	preserved = &shape{preserved: true}
	// bare lets in what has no parts, or an empty object or list.
	bare = &shape{}
)

// newShape returns the shape of s, which may be nil.
func newShape(s *structuralschema.Structural) *shape {
	if s == nil {
		return bare
	}
	made := &shape{
		defaulted: s.Default.Object != nil, embedded: s.XEmbeddedResource,
		items: newShape(s.Items), properties: make(map[string]*shape, len(s.Properties)),
	}
	for name := range s.Properties {
		property := s.Properties[name]
		if made.properties[name] = newShape(&property); made.properties[name].defaulted {
			made.defaults++
		}
	}
	switch {
	case s.AdditionalProperties != nil:
		made.others = newShape(s.AdditionalProperties.Structural)
	case s.XPreserveUnknownFields:
		made.others = preserved
	}
	if s.Items == nil && s.XPreserveUnknownFields {
		made.items = preserved
	}
	return made
}

// rootShape is newShape of a whole object; nil if its schema says things that
// only decoding can see to.
func rootShape(s *structuralschema.Structural) *shape {
	if s == nil || s.AdditionalProperties != nil {
		return nil
	}
	root := newShape(s)
	root.embedded = false // it is, but its metadata is looked at
	for _, name := range []string{"apiVersion", "kind", "metadata"} {
		if property := root.properties[name]; property != nil && property.hasDefaults() {
			return nil
		}
	}
	return root
}

func (s *shape) hasDefaults() bool {
	if s == nil {
		return false
	}
	for _, property := range s.properties {
		if property.hasDefaults() {
			return true
		}
	}
	return s.defaulted || s.others.hasDefaults() || s.items.hasDefaults()
}

// value reads a value of the shape, and refuses one that would not stay as it is.
func (s *shape) value(c *canonical) {
	switch b := c.next(); {
	case s.preserved:
		c.any()
	case b == '{' && !s.embedded:
		s.object(c, nil)
	case b == '[':
		items := cmp.Or(s.items, bare)
		c.array(func() { items.value(c) })
	case b == '{' || b == 'n':
		c.refuse()
	default:
		c.scalar()
	}
}

// object reads an object. own, if it is not nil, is asked first and returns
// whether it has read a property.
func (s *shape) object(c *canonical, own func(name []byte) bool) {
	defaults := s.defaults
	c.object(func(name []byte) {
		if own != nil && own(name) {
			return
		}
		property := s.properties[string(name)]
		if property == nil {
			property = s.others
		} else if property.defaulted {
			defaults--
		}
		if property == nil {
			c.refuse()
			return
		}
		property.value(c)
	})
	if defaults > 0 {
		c.refuse()
	}
}

// plainMetadata reads metadata as hasPlainMetadata has it, with a generation, and
// returns where in the input the resourceVersion belongs.
func plainMetadata(c *canonical) (at int) {
	generation := int64(0)
	c.object(func(name []byte) {
		if at == 0 && string(name) > "resourceVersion" {
			at = c.at - len(name) - len(`"":`)
		}
		switch string(name) {
		case "name", "generateName", "namespace", "selfLink", "uid":
			someText(c)
		case "creationTimestamp", "deletionTimestamp":
			someTime(c)
		case "generation":
			generation = c.integer()
		case "deletionGracePeriodSeconds":
			c.integer()
		case "labels", "annotations":
			some(c, '{')
			c.object(func([]byte) { c.text() })
		case "finalizers":
			some(c, '[')
			c.array(func() { c.text() })
		case "ownerReferences":
			some(c, '[')
			c.array(func() { plainOwner(c) })
		case "managedFields":
			some(c, '[')
			c.array(func() { plainEntry(c) })
		default:
			c.refuse()
		}
	})
	if generation <= 0 {
		c.refuse()
	}
	return at
}

// some refuses what is empty.
func some(c *canonical, begin byte) {
	if end := c.at + 1; c.next() != begin || end == len(c.in) || c.in[end] == begin+2 {
		c.refuse()
	}
}

func someText(c *canonical) {
	if len(c.text()) == 0 {
		c.refuse()
	}
}

func someTime(c *canonical) {
	if !isTime(string(c.text())) {
		c.refuse()
	}
}

func flag(c *canonical) {
	if b := c.next(); b != 't' && b != 'f' {
		c.refuse()
	}
	c.scalar()
}

func plainOwner(c *canonical) {
	needed := 4
	c.object(func(name []byte) {
		switch string(name) {
		case "apiVersion", "kind", "name", "uid":
			needed--
			c.text()
		case "controller", "blockOwnerDeletion":
			flag(c)
		default:
			c.refuse()
		}
	})
	if needed > 0 {
		c.refuse()
	}
}

func plainEntry(c *canonical) {
	c.object(func(name []byte) {
		switch string(name) {
		case "manager", "operation", "apiVersion", "fieldsType", "subresource":
			someText(c)
		case "time":
			someTime(c)
		case "fieldsV1":
			tree(c)
		default:
			c.refuse()
		}
	})
}

func tree(c *canonical) {
	c.object(func([]byte) { tree(c) })
}
