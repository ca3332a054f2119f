package definitions

import (
	"testing"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/ownership"
)

type anyone struct{ ownership.Manager }

// TestManagersOf drops managers that are not used, and keeps none of what is
// gone.
func TestManagersOf(t *testing.T) {
	var m managersOf
	made := 0
	get := func(r *kind.Resource) {
		t.Helper()
		if m.get(r, "status", func() ownership.Manager {
			made++
			return &anyone{}
		}) == nil {
			t.Error("no manager")
		}
	}
	gone := make(chan struct{})
	r, other := &kind.Resource{Gone: gone}, &kind.Resource{}
	for _, step := range []struct {
		what string
		do   func()
		want int
	}{
		{"first", func() { get(r) }, 1},
		{"again", func() { get(r) }, 1},
		{"another's", func() { get(other) }, 2},
		{"used since", func() { m.dropUnused(); get(r) }, 2},
		{"used since again", func() { m.dropUnused(); get(r); get(other) }, 3},
		{"unused", func() { m.dropUnused(); m.dropUnused(); get(r) }, 4},
		{"gone", func() { close(gone); m.drop(r); get(r); get(r) }, 6},
	} {
		if step.do(); made != step.want {
			t.Errorf("%s: %d were made, want %d", step.what, made, step.want)
		}
	}
	if m.dropUnused(); len(m.all) != 0 {
		t.Errorf("%d are kept", len(m.all))
	}
}
