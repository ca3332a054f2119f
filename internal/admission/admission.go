// Package admission decides which plugins see a write, and in which order. A
// plugin is an admission.Interface of k8s.io/apiserver; it reads what it needs
// from the state, so that it sees every write made before.
//
// It must not know about HTTP, nor store anything.
package admission

import (
	"k8s.io/apiserver/pkg/admission"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/state"
)

// New returns the chain of plugins that runs on every write. catalogue tells
// what is served now; it is called for every write. The chain is safe for
// concurrent use.
func New(st *state.State, catalogue func() *kind.Catalogue) admission.Interface {
	return admission.NewChainHandler(
		newNamespaceLifecycle(st, catalogue),
	)
}
