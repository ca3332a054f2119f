// Package admission decides which plugins see a write, and in which order. They
// are upstream's, in upstream's order; they read what they need from the state,
// so that they see every write made before. One that does not look at a write
// costs it nothing.
//
// It must not know about HTTP, nor store anything.
package admission

import (
	"context"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
)

// Chain is the plugins that run on every write, in their order: first those
// that change it, then those that look at what has come of it. It is safe for
// concurrent use.
type Chain struct {
	// named are those that look at a resource, for the resources that have some
	// of their own; others has the rest of the resources.
	named  map[schema.GroupResource]*stages
	others *stages
	// lifecycle is the plugin NamespaceLifecycle; nil if it does not run.
	lifecycle *namespaceLifecycle
}

var (
	_ admission.MutationInterface   = &Chain{}
	_ admission.ValidationInterface = &Chain{}
)

// member is a plugin of a chain.
type member struct {
	admission.Interface
	plugin
	// concerns, if set, tells early whether the plugin looks at a write: by its
	// operation, resource, subresource and namespace, since the rest may not be
	// known yet.
	concerns func(a admission.Attributes) bool
}

// looks reports whether the plugin looks at a write.
func (m *member) looks(a admission.Attributes) bool {
	return m.Handles(a.GetOperation()) && (m.concerns == nil || m.concerns(a))
}

// stages are the plugins that look at a resource, by what they do.
type stages struct {
	mutating   []*member
	validating []*member
}

// newChain returns the chain of plugins.
func newChain(members []*member) *Chain {
	c := &Chain{named: map[schema.GroupResource]*stages{}}
	for _, m := range members {
		for _, name := range m.resources {
			if name != "" {
				c.named[schema.ParseGroupResource(name)] = nil
			}
		}
	}
	for _, m := range members {
		if p, ok := m.Interface.(*namespaceLifecycle); ok {
			c.lifecycle = p
		}
	}
	for gr := range c.named {
		c.named[gr] = stagesOf(members, gr)
	}
	c.others = stagesOf(members, schema.GroupResource{})
	return c
}

func stagesOf(members []*member, gr schema.GroupResource) *stages {
	s := &stages{}
	for _, m := range members {
		if !m.looksAt(gr) {
			continue
		}
		if _, ok := m.Interface.(admission.MutationInterface); ok {
			s.mutating = append(s.mutating, m)
		}
		if _, ok := m.Interface.(admission.ValidationInterface); ok {
			s.validating = append(s.validating, m)
		}
	}
	return s
}

// stages returns the plugins that look at the resource of a write.
func (c *Chain) stages(a admission.Attributes) *stages {
	if s := c.named[a.GetResource().GroupResource()]; s != nil {
		return s
	}
	return c.others
}

// Handles says that any operation may be looked at. Mutates and Validates know
// better.
func (c *Chain) Handles(admission.Operation) bool { return true }

// Mutates reports whether any plugin that may change a write looks at this one.
// Its objects and its name need not be known.
func (c *Chain) Mutates(a admission.Attributes) bool { return anyLooks(c.stages(a).mutating, a) }

// Validates reports whether any plugin looks at a write like this when it is
// complete. If none does, nothing need be copied for it.
func (c *Chain) Validates(a admission.Attributes) bool { return anyLooks(c.stages(a).validating, a) }

func anyLooks(members []*member, a admission.Attributes) bool {
	for _, m := range members {
		if m.looks(a) {
			return true
		}
	}
	return false
}

// Admit runs the plugins that may change the write, until one refuses it, and
// all of them again if one asks for that.
func (c *Chain) Admit(ctx context.Context, a admission.Attributes, o admission.ObjectInterfaces) error {
	if err := c.admit(ctx, a, o); err != nil {
		return err
	}
	again := a.GetReinvocationContext()
	if !again.ShouldReinvoke() {
		return nil
	}
	again.SetIsReinvoke()
	return c.admit(ctx, a, o)
}

func (c *Chain) admit(ctx context.Context, a admission.Attributes, o admission.ObjectInterfaces) error {
	for _, m := range c.stages(a).mutating {
		if m.looks(a) {
			if err := m.Interface.(admission.MutationInterface).Admit(ctx, a, o); err != nil {
				return err
			}
		}
	}
	return nil
}

// Validate runs the plugins that may refuse the write, until one does.
func (c *Chain) Validate(ctx context.Context, a admission.Attributes, o admission.ObjectInterfaces) error {
	for _, m := range c.stages(a).validating {
		if m.looks(a) {
			if err := m.Interface.(admission.ValidationInterface).Validate(ctx, a, o); err != nil {
				return err
			}
		}
	}
	return nil
}
