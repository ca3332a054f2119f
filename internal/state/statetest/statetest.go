// Package statetest makes states for the tests of those above.
//
// It must not know what is kept in them.
package statetest

import (
	"testing"

	"github.com/knarr-io/knarr/internal/state"
	"github.com/knarr-io/knarr/internal/store/memory"
)

// Start returns an empty state in memory, which is stopped with the test.
func Start(t testing.TB) *state.State {
	t.Helper()
	st, err := state.Start(t.Context(), memory.New(memory.Options{}), state.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Stop(); err != nil {
			t.Error(err)
		}
	})
	return st
}
