package custom_test

import (
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/knarr-io/knarr/internal/kind/custom"
)

// TestDropUnused drops what a definition of two versions is compiled to: what is
// done with it afterwards reads the definition again, and is as before.
func TestDropUnused(t *testing.T) {
	crd := definition(t, `
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {text: {type: string, default: a, maxLength: 3}},
      x-kubernetes-validations: [{rule: "self.text != 'no'", message: "not no"}]}}}}
  - name: v2
    served: true
    storage: false
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {text: {type: string, maxLength: 2}}}}}}
`)
	c := newCluster(t, crd)
	maker, err := custom.NewMaker(nil)
	if err != nil {
		t.Fatal(err)
	}
	read := 0
	kinds, err := maker.Outlined(crd, func() (*apiextensionsv1.CustomResourceDefinition, error) {
		read++
		return crd, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range kinds {
		c.kinds[k.Versions[0].Name] = k
	}
	use := func(name string) {
		t.Helper()
		got := c.must("create", "v1", widget("v1", name, `"spec":{"gone":1}`))
		if part(got, "spec") != `{"text":"a"}` {
			t.Errorf("created: %v", got)
		}
		c.refuse(`Widget.example.com "x" is invalid: spec: Invalid value: not no`, "create", "v1", widget("v1", "x", `"spec":{"text":"no"}`))
		c.refuse(`Widget.example.com "x" is invalid: spec.text: Too long: may not be more than 2 bytes`, "create", "v2", widget("v2", "x", `"spec":{"text":"abc"}`))
		got = c.must(apply, "v1/"+name, widget("v1", name, `"spec":{"text":"a"}`), by("other"))
		if part(got, "spec") != `{"text":"a"}` {
			t.Errorf("applied: %v", got)
		}
	}
	use("one")
	once := read
	if custom.DropUnused(kinds) {
		t.Error("something was dropped that was in use")
	}
	use("two")
	if read != once {
		t.Errorf("the definition was read %d times more, though it was in use", read-once)
	}
	custom.DropUnused(kinds)
	if !custom.DropUnused(kinds) || custom.DropUnused(kinds) {
		t.Error("not dropped, or more than once")
	}
	use("three")
	if read != 2*once {
		t.Errorf("the definition was read %d times, want %d: as often as at first", read-once, once)
	}
}
