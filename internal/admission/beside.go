package admission

import (
	"context"

	"github.com/knarr-io/knarr/internal/store"
)

// Beside is what plugins want to be committed together with the write that they
// look at, in the same commit. It belongs to one attempt to write.
type Beside struct {
	changes []store.Change
	release []func()
}

type besideKey struct{}

// WithBeside returns ctx with a new Beside. Who looks for it later, with
// BesideOf, commits its changes; End ends the attempt.
func WithBeside(ctx context.Context) (context.Context, *Beside) {
	b := &Beside{}
	return context.WithValue(ctx, besideKey{}, b), b
}

// BesideOf returns the Beside of ctx; nil if there is none.
func BesideOf(ctx context.Context) *Beside {
	b, _ := ctx.Value(besideKey{}).(*Beside)
	return b
}

// Changes returns what is to be committed with the write. A nil Beside has
// nothing.
func (b *Beside) Changes() []store.Change {
	if b == nil {
		return nil
	}
	return b.changes
}

// End lets others on who wait for this attempt, whatever has become of it.
func (b *Beside) End() {
	for _, release := range b.release {
		release()
	}
	b.release, b.changes = nil, nil
}
