package object

import (
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
)

// Attributes is what an object can be selected by.
type Attributes struct {
	Labels labels.Labels
	Fields fields.Fields
}

// Selector tells the attributes of objects of one kind. It must be comparable:
// attributes are cached under it, so a kind whose rules change uses a new one.
type Selector interface {
	// Attributes reads them out of o. It must not keep or modify o.Value. The
	// sets in the result belong to the caller.
	Attributes(o *Object) (Attributes, error)
}

type attrs struct {
	by Selector
	Attributes
}

// Attributes returns what o can be selected by, decoding it on the first call
// only. They are shared between goroutines and stay as they are.
func (o *Object) Attributes(by Selector) (Attributes, error) {
	if a := o.attrs.Load(); a != nil && a.by == by {
		return a.Attributes, nil
	}
	a, err := by.Attributes(o)
	if err != nil {
		return Attributes{}, err
	}
	return o.SetAttributes(by, a), nil
}

// SetAttributes records attributes that were taken from the object when it
// was written, so that no reader has to decode it for them, and returns them
// as they are kept. The sets in a belong to o from now on.
func (o *Object) SetAttributes(by Selector, a Attributes) Attributes {
	if set, ok := a.Labels.(labels.Set); ok {
		a.Labels = newPairs(set)
	}
	if set, ok := a.Fields.(fields.Set); ok {
		a.Fields = newPairs(set)
	}
	o.attrs.Store(&attrs{by, a})
	return a
}

// pairs is a small set of names and their values. It implements labels.Labels
// and fields.Fields in half the memory of a map.
type pairs []pair

type pair struct{ name, value string }

func newPairs(set map[string]string) pairs {
	p := make(pairs, 0, len(set))
	for name, value := range set {
		p = append(p, pair{name, value})
	}
	return p
}

func (p pairs) Lookup(name string) (string, bool) {
	for i := range p {
		if p[i].name == name {
			return p[i].value, true
		}
	}
	return "", false
}

func (p pairs) Has(name string) bool {
	_, ok := p.Lookup(name)
	return ok
}

func (p pairs) Get(name string) string {
	value, _ := p.Lookup(name)
	return value
}
