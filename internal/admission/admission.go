// Package admission decides which plugins see a write, and in which order. A
// plugin is an admission.Interface of k8s.io/apiserver; it reads what it needs
// from the state, so that it sees every write made before.
//
// It must not know about HTTP, nor store anything.
package admission

import (
	"context"
	"slices"

	"k8s.io/apiserver/pkg/admission"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/state"
)

// Chain is the plugins that run on every write, in their order: first those
// that change it, then those that look at what has come of it. It is safe for
// concurrent use.
type Chain []admission.Interface

var (
	_ admission.MutationInterface   = Chain{}
	_ admission.ValidationInterface = Chain{}
)

// New returns the chain. catalogue tells what is served now; it is called for
// every write.
func New(st *state.State, catalogue func() *kind.Catalogue) Chain {
	return Chain{
		newNamespaceLifecycle(st, catalogue),
	}
}

// Handles reports whether any plugin handles writes of that operation.
func (c Chain) Handles(op admission.Operation) bool {
	return slices.ContainsFunc(c, func(p admission.Interface) bool { return p.Handles(op) })
}

// Admit runs the plugins that may change the write, until one refuses it.
func (c Chain) Admit(ctx context.Context, a admission.Attributes, o admission.ObjectInterfaces) error {
	for _, p := range c {
		if m, ok := p.(admission.MutationInterface); ok && m.Handles(a.GetOperation()) {
			if err := m.Admit(ctx, a, o); err != nil {
				return err
			}
		}
	}
	return nil
}

// Validates reports whether any plugin looks at writes of that operation when
// they are complete. If none does, they need not be copied for it.
func (c Chain) Validates(op admission.Operation) bool {
	return slices.ContainsFunc(c, func(p admission.Interface) bool {
		_, ok := p.(admission.ValidationInterface)
		return ok && p.Handles(op)
	})
}

// Validate runs the plugins that may refuse the write, until one does.
func (c Chain) Validate(ctx context.Context, a admission.Attributes, o admission.ObjectInterfaces) error {
	for _, p := range c {
		if v, ok := p.(admission.ValidationInterface); ok && v.Handles(a.GetOperation()) {
			if err := v.Validate(ctx, a, o); err != nil {
				return err
			}
		}
	}
	return nil
}
