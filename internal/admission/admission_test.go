package admission

import (
	"context"
	"errors"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
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

// chainOf is a chain of plugins that look at every resource.
func chainOf(plugins ...admission.Interface) *Chain {
	var members []*member
	for _, p := range plugins {
		members = append(members, &member{Interface: p, plugin: plugin{resources: []string{""}}})
	}
	return newChain(members)
}

// Who only mutates costs a write no copy for validation.
func TestChainTellsWhatItValidates(t *testing.T) {
	m := mutator{Handler: admission.NewHandler(admission.Create, admission.Update)}
	v := validator{Handler: admission.NewHandler(admission.Update)}
	for name, test := range map[string]struct {
		chain          []admission.Interface
		create, update bool
	}{
		"nothing":       {},
		"mutating only": {chain: []admission.Interface{m}},
		"one of each":   {chain: []admission.Interface{m, v}, update: true},
	} {
		chain := chainOf(test.chain...)
		pod := corev1.SchemeGroupVersion.WithKind("Pod")
		if got := chain.Validates(attributes(admission.Create, pod, "pods", "default", "a")); got != test.create {
			t.Errorf("%s: validates creates: %v", name, got)
		}
		if got := chain.Validates(attributes(admission.Update, pod, "pods", "default", "a")); got != test.update {
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
	c := chainOf(
		mutator{all, note("m1", nil)}, validator{all, note("v1", nil)},
		mutator{admission.NewHandler(admission.Update), note("m2", nil)},
		mutator{all, note("m3", refusal)}, mutator{all, note("m4", nil)},
		validator{all, note("v2", refusal)}, validator{all, note("v3", nil)},
	)
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
	if gone := attributes(admission.Delete, corev1.SchemeGroupVersion.WithKind("Pod"), "pods", "default", "a"); c.Mutates(gone) || c.Validates(gone) {
		t.Error("the chain looks at what none of its plugins do")
	}
}

// again asks for the plugins to be run once more.
type again struct{ *admission.Handler }

func (again) Admit(_ context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	if c := a.GetReinvocationContext(); !c.IsReinvoke() {
		c.SetShouldReinvoke()
	}
	return nil
}

func TestChainRunsAgain(t *testing.T) {
	runs := 0
	all := admission.NewHandler(admission.Create)
	c := chainOf(mutator{all, func() error { runs++; return nil }}, again{all})
	if err := c.Admit(t.Context(), attributes(admission.Create, corev1.SchemeGroupVersion.WithKind("Pod"), "pods", "default", "a"), nil); err != nil {
		t.Fatal(err)
	}
	if runs != 2 {
		t.Errorf("the first plugin ran %d times", runs)
	}
}

// A plugin sees the resources that it names, and the others' writes do not
// even ask it.
func TestChainAsksByResource(t *testing.T) {
	asked := 0
	v := validator{admission.NewHandler(admission.Create), func() error { return nil }}
	c := newChain([]*member{{
		Interface: v, plugin: plugin{resources: []string{"pods", "jobs.batch"}},
		concerns: func(a admission.Attributes) bool { asked++; return a.GetNamespace() == "here" },
	}})
	for _, test := range []struct {
		gvk                 schema.GroupVersionKind
		resource, namespace string
		looks               bool
		asked               int
	}{
		{corev1.SchemeGroupVersion.WithKind("Pod"), "pods", "here", true, 1},
		{corev1.SchemeGroupVersion.WithKind("Pod"), "pods", "there", false, 1},
		{schema.GroupVersionKind{Group: "batch", Version: "v1", Kind: "Job"}, "jobs", "here", true, 1},
		{corev1.SchemeGroupVersion.WithKind("Job"), "jobs", "here", false, 0},
		{corev1.SchemeGroupVersion.WithKind("ConfigMap"), "configmaps", "here", false, 0},
	} {
		asked = 0
		if looks := c.Validates(attributes(admission.Create, test.gvk, test.resource, test.namespace, "a")); looks != test.looks || asked != test.asked {
			t.Errorf("%s in %s: looks %t, asked %d", test.gvk, test.namespace, looks, asked)
		}
	}
}
