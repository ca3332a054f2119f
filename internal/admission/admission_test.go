package admission

import (
	"context"
	"errors"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apiserver/pkg/admission"
)

// mutator and validator are plugins of one phase each.
type mutator struct {
	*admission.Handler
	admit func() error
}

func (m mutator) Admit(context.Context, admission.Attributes, admission.ObjectInterfaces) error {
	return m.admit()
}

type validator struct {
	*admission.Handler
	validate func() error
}

func (v validator) Validate(context.Context, admission.Attributes, admission.ObjectInterfaces) error {
	return v.validate()
}

// Who only mutates costs a write no copy for validation.
func TestChainTellsWhatItValidates(t *testing.T) {
	m := mutator{Handler: admission.NewHandler(admission.Create, admission.Update)}
	v := validator{Handler: admission.NewHandler(admission.Update)}
	for name, test := range map[string]struct {
		chain          Chain
		create, update bool
	}{
		"nothing":       {},
		"mutating only": {chain: Chain{m}},
		"one of each":   {chain: Chain{m, v}, update: true},
	} {
		if got := test.chain.Validates(admission.Create); got != test.create {
			t.Errorf("%s: validates creates: %v", name, got)
		}
		if got := test.chain.Validates(admission.Update); got != test.update {
			t.Errorf("%s: validates updates: %v", name, got)
		}
	}
}

// Each phase runs its own plugins, in order, up to the first refusal, and only
// those that handle the operation.
func TestChainRunsItsPhases(t *testing.T) {
	refusal := errors.New("refused")
	all := admission.NewHandler(admission.Create, admission.Update)
	var ran []string
	note := func(name string, err error) func() error {
		return func() error { ran = append(ran, name); return err }
	}
	c := Chain{
		mutator{all, note("m1", nil)}, validator{all, note("v1", nil)},
		mutator{admission.NewHandler(admission.Update), note("m2", nil)},
		mutator{all, note("m3", refusal)}, mutator{all, note("m4", nil)},
		validator{all, note("v2", refusal)}, validator{all, note("v3", nil)},
	}
	write := attributes(admission.Create, corev1.SchemeGroupVersion.WithKind("Pod"), "pods", "default", "a")
	if err := c.Admit(t.Context(), write, nil); !errors.Is(err, refusal) {
		t.Errorf("admitted: %v", err)
	}
	if err := c.Validate(t.Context(), write, nil); !errors.Is(err, refusal) {
		t.Errorf("valid: %v", err)
	}
	if want := []string{"m1", "m3", "v1", "v2"}; !slices.Equal(ran, want) {
		t.Errorf("ran %q, not %q", ran, want)
	}
	if !c.Handles(admission.Create) || c.Handles(admission.Delete) {
		t.Error("the chain does not handle what its plugins do")
	}
}
