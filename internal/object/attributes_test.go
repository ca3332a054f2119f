package object

import (
	"errors"
	"testing"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
)

// counter counts how often it is asked.
type counter struct {
	calls int
	err   error
}

func (c *counter) Attributes(o *Object) (Attributes, error) {
	c.calls++
	return Attributes{Labels: labels.Set{"calls": string(rune('0' + c.calls))}, Fields: fields.Set{"metadata.name": o.Name}}, c.err
}

func TestAttributes(t *testing.T) {
	o := &Object{Name: "a"}
	rules, changed := &counter{}, &counter{}
	want := func(by *counter, label string, calls int) {
		t.Helper()
		a, err := o.Attributes(by)
		if err != nil || a.Labels.Get("calls") != label || by.calls != calls {
			t.Errorf("attributes %v, error %v after %d calls, want label %q after %d", a, err, by.calls, label, calls)
		}
	}
	want(rules, "1", 1)
	want(rules, "1", 1)
	want(changed, "1", 1) // other rules never see the attributes of these
	want(changed, "1", 1)

	o.SetAttributes(changed, Attributes{Labels: labels.Set{"calls": "set"}, Fields: fields.Set{}})
	want(changed, "set", 1)

	failing := &counter{err: errors.New("cannot be decoded")}
	if _, err := o.Attributes(failing); err != failing.err {
		t.Errorf("error %v, want %v", err, failing.err)
	}
	want(changed, "set", 1) // what failed replaces nothing
}

// What is kept of the sets is selected from as they are.
func TestAttributesSelect(t *testing.T) {
	set := map[string]string{"app": "web", "tier": "front", "empty": ""}
	o := &Object{}
	kept := o.SetAttributes(&counter{}, Attributes{Labels: labels.Set(set), Fields: fields.Set(set)})
	for _, name := range []string{"app", "tier", "empty", "absent", ""} {
		want, exists := set[name]
		if got, ok := kept.Labels.Lookup(name); got != want || ok != exists {
			t.Errorf("label %q is %q, %v, want %q, %v", name, got, ok, want, exists)
		}
		if kept.Labels.Has(name) != exists || kept.Fields.Has(name) != exists || kept.Labels.Get(name) != want || kept.Fields.Get(name) != want {
			t.Errorf("%q: labels and fields differ from the set", name)
		}
	}
	for _, s := range []string{"app=web", "app!=web", "app in (web,api)", "app notin (web)", "absent", "!absent", "empty=", "empty", "absent=", "tier"} {
		selector, err := labels.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := selector.Matches(kept.Labels), selector.Matches(labels.Set(set)); got != want {
			t.Errorf("%q matches: %v, want %v", s, got, want)
		}
	}
	for _, s := range []string{"app=web", "app!=web", "absent=x", "absent!=x", "empty=", "app=web,tier=back"} {
		selector := fields.ParseSelectorOrDie(s)
		if got, want := selector.Matches(kept.Fields), selector.Matches(fields.Set(set)); got != want {
			t.Errorf("%q matches: %v, want %v", s, got, want)
		}
	}
}
