package custom_test

import (
	"strings"
	"testing"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const withParts = `
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, properties: {
      spec: {type: object, properties: {text: {type: string}, replicas: {type: integer}}},
      status: {type: object, properties: {replicas: {type: integer}, selector: {type: string}, text: {type: string, maxLength: 3}}}}}}
    subresources: {status: {}, scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas, labelSelectorPath: .status.selector}}
`

func TestStatus(t *testing.T) {
	c := newCluster(t, definition(t, withParts))
	got := c.must("create", "v1", widget("v1", "w", `"spec":{"text":"a"},"status":{"text":"b"}`))
	if part(got, "status") != "null" {
		t.Errorf("created with a status: %v", got)
	}
	got = c.must(merge, "v1/w/status", `{"spec":{"text":"no"},"metadata":{"labels":{"a":"b"}},"status":{"text":"ok"}}`)
	if part(got, "spec", "text") != `"a"` || part(got, "status") != `{"text":"ok"}` || part(got, "metadata", "labels") != "null" || part(got, "metadata", "generation") != "1" {
		t.Errorf("status: %v", got)
	}
	owners := part(got, "metadata", "managedFields")
	if !strings.Contains(owners, `"f:status":{".":{},"f:text":{}}},"manager":"tester","operation":"Update","subresource":"status"`) {
		t.Errorf("owners: %s", owners)
	}
	got = c.must(merge, "v1/w", `{"spec":{"text":"c"},"status":{"text":"no"}}`)
	if part(got, "spec", "text") != `"c"` || part(got, "status") != `{"text":"ok"}` || part(got, "metadata", "generation") != "2" {
		t.Errorf("whole: %v", got)
	}
	c.refuse(`Widget.example.com "w" is invalid: status.text: Too long: may not be more than 3 bytes`, merge, "v1/w/status", `{"status":{"text":"long"}}`)
	got = c.must(apply, "v1/w/status", widget("v1", "w", `"status":{"replicas":2}`), by("other"))
	if part(got, "status") != `{"replicas":2,"text":"ok"}` {
		t.Errorf("applied: %v", got)
	}
}

func TestScale(t *testing.T) {
	c := newCluster(t, definition(t, withParts))
	c.must("create", "v1", widget("v1", "w", `"spec":{"text":"a"}`))
	c.refuse(`Internal error occurred: the spec replicas field ".spec.replicas" does not exist`, "get", "v1/w/scale", "")
	c.refuse(`the spec replicas field ".spec.replicas" cannot be empty`, merge, "v1/w/scale", `{"metadata":{"labels":{"a":"b"}}}`)
	got := c.must(merge, "v1/w/scale", `{"spec":{"replicas":2}}`)
	if part(got, "spec") != `{"replicas":2}` || part(got, "kind") != `"Scale"` || part(got, "apiVersion") != `"autoscaling/v1"` {
		t.Errorf("scaled: %v", got)
	}
	c.must(merge, "v1/w/status", `{"status":{"replicas":1,"selector":"a=b"}}`)
	got = c.must("get", "v1/w/scale", "")
	if part(got, "status") != `{"replicas":1,"selector":"a=b"}` || part(got, "metadata", "name") != `"w"` {
		t.Errorf("read: %v", got)
	}
	got = c.must("update", "v1/w/scale", `{"apiVersion":"autoscaling/v1","kind":"Scale","metadata":{"name":"w"},"spec":{"replicas":5}}`)
	if part(got, "spec") != `{"replicas":5}` {
		t.Errorf("updated: %v", got)
	}
	got = c.must("get", "v1/w", "")
	if part(got, "spec") != `{"replicas":5,"text":"a"}` || part(got, "metadata", "generation") != "3" {
		t.Errorf("the object: %v", got)
	}
	c.refuse(`Widget.example.com "w" is invalid: .spec.replicas: Invalid value: -1: should be a non-negative integer`,
		"update", "v1/w/scale", `{"apiVersion":"autoscaling/v1","kind":"Scale","metadata":{"name":"w"},"spec":{"replicas":-1}}`)
	c.refuse("Operation cannot be fulfilled on widgets.example.com \"w\": the object has been modified; please apply your changes to the latest version and try again",
		"update", "v1/w/scale", `{"apiVersion":"autoscaling/v1","kind":"Scale","metadata":{"name":"w","resourceVersion":"1"},"spec":{"replicas":1}}`)

	// Replicas that somebody owns are owned by who scales.
	c.must("create", "v1", widget("v1", "owned", `"spec":{"replicas":1}`))
	c.must(merge, "v1/owned/scale", `{"spec":{"replicas":2}}`, by("scaler"))
	owners := part(c.must("get", "v1/owned", ""), "metadata", "managedFields")
	if !strings.Contains(owners, `"fieldsV1":{"f:spec":{"f:replicas":{}}},"manager":"scaler","operation":"Update","subresource":"scale"`) {
		t.Errorf("owners: %s", owners)
	}

	// Upstream's rules for custom resources cannot bring a Scale to their hub.
	c.refuse(`failed to create manager for existing fields: failed to convert live object (/; autoscaling/v1, Kind=Scale) to proper version: `+
		`request to convert CR to an invalid group/version: autoscaling/v1`,
		apply, "v1/w/scale", `{"apiVersion":"autoscaling/v1","kind":"Scale","metadata":{"name":"w"},"spec":{"replicas":5}}`)
	c.refuse(`Apply failed with 1 conflict: conflict with "scaler" with subresource "scale" using autoscaling/v1: .spec.replicas`,
		apply, "v1/owned/scale", `{"apiVersion":"autoscaling/v1","kind":"Scale","metadata":{"name":"owned"},"spec":{"replicas":3}}`)
	force := func(o *metav1.PatchOptions) { yes := true; o.Force = &yes }
	c.refuse(`failed to convert new object (/owned; autoscaling/v1, Kind=Scale) to proper version: request to convert CR to an invalid group/version: autoscaling/v1`,
		apply, "v1/owned/scale", `{"apiVersion":"autoscaling/v1","kind":"Scale","metadata":{"name":"owned"},"spec":{"replicas":3}}`, force)

	table, err := c.kinds["v1"].Table.ConvertToTable(t.Context(), &autoscalingv1.Scale{Spec: autoscalingv1.ScaleSpec{Replicas: 2}}, &metav1.TableOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(table.ColumnDefinitions) != 4 || table.ColumnDefinitions[1].Name != "Desired" || table.Rows[0].Cells[1] != int64(2) {
		t.Errorf("table: %+v", table)
	}
}

func TestRules(t *testing.T) {
	c := newCluster(t, simple(t, `{type: object, properties: {
		size: {type: integer, x-kubernetes-validations: [{rule: "self >= oldSelf", message: may only grow}]},
		text: {type: string}, other: {type: string}},
		x-kubernetes-validations: [{rule: "!has(self.text) || self.text != 'bad'", messageExpression: "'text is ' + self.text", reason: FieldValueForbidden, fieldPath: .text}]}`))
	c.must("create", "v1", widget("v1", "w", `"spec":{"size":2}`))
	c.must(merge, "v1/w", `{"spec":{"size":3}}`)
	c.refuse(`Widget.example.com "w" is invalid: spec.size: Invalid value: 1: may only grow`, merge, "v1/w", `{"spec":{"size":1}}`)
	c.refuse(`Widget.example.com "w" is invalid: spec.text: Forbidden: text is bad`, merge, "v1/w", `{"spec":{"text":"bad"}}`)
}

// What was wrong already may stay while something else changes.
func TestRatcheting(t *testing.T) {
	c := newCluster(t, simple(t, `{type: object, properties: {text: {type: string, maxLength: 3}, count: {type: integer, x-kubernetes-validations: [{rule: "self < 3"}]}, other: {type: string}}}`))
	c.store("w", `{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"w","namespace":"ns","uid":"u","creationTimestamp":"2020-01-01T00:00:00Z"},"spec":{"text":"long","count":5}}`)
	got := c.must(merge, "v1/w", `{"spec":{"other":"x"}}`)
	if part(got, "spec") != `{"count":5,"other":"x","text":"long"}` {
		t.Errorf("%v", got)
	}
	c.refuse(`Widget.example.com "w" is invalid: [spec.text: Too long: may not be more than 3 bytes, `+
		`<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation]`,
		merge, "v1/w", `{"spec":{"text":"other"}}`)
	c.refuse(`Widget.example.com "w" is invalid: spec.count: Invalid value: 6: failed rule: self < 3`, merge, "v1/w", `{"spec":{"count":6}}`)
}

// Lists with keys are merged by them.
func TestApply(t *testing.T) {
	c := newCluster(t, simple(t, `{type: object, properties: {
		set: {type: array, x-kubernetes-list-type: set, items: {type: string}},
		items: {type: array, x-kubernetes-list-type: map, x-kubernetes-list-map-keys: [name],
			items: {type: object, required: [name], properties: {name: {type: string}, value: {type: string}}}}}}`))
	c.must(apply, "v1/w", widget("v1", "w", `"spec":{"set":["a"],"items":[{"name":"a","value":"1"}]}`), by("one"))
	got := c.must(apply, "v1/w", widget("v1", "w", `"spec":{"set":["b"],"items":[{"name":"b","value":"2"}]}`), by("two"))
	if s := part(got, "spec"); s != `{"items":[{"name":"a","value":"1"},{"name":"b","value":"2"}],"set":["a","b"]}` {
		t.Errorf("merged: %s", s)
	}
	c.refuse("Apply failed with 1 conflict: conflict with \"one\": .spec.items[name=\"a\"].value", apply, "v1/w",
		widget("v1", "w", `"spec":{"items":[{"name":"a","value":"3"}]}`), by("two"))
	got = c.must(apply, "v1/w", widget("v1", "w", `"spec":{}`), by("one"))
	if s := part(got, "spec"); s != `{"items":[{"name":"b","value":"2"}],"set":["b"]}` {
		t.Errorf("given up: %s", s)
	}
	c.refuse(`Widget.example.com "x" is invalid: spec.items[1]: Duplicate value: {"name":"a"}`, "create", "v1",
		widget("v1", "x", `"spec":{"items":[{"name":"a"},{"name":"a"}]}`))
	_, err := c.do(apply, "v1/w", widget("v1", "w", `"spec":{"odd":1}`), by("one"))
	if err == nil || !strings.Contains(err.Error(), ".spec.odd: field not declared in schema") {
		t.Errorf("an unknown field: %v", err)
	}
}

// A definition from before schemas had to be structural keeps all fields.
func TestPreserved(t *testing.T) {
	crd := simple(t, `{type: object, uniqueItems: true, properties: {text: {type: string}}}`)
	crd.Spec.PreserveUnknownFields = true
	c := newCluster(t, crd)
	got := c.must("create", "v1", widget("v1", "w", `"spec":{"text":"a","odd":{"a":null}}`))
	if s := part(got, "spec"); s != `{"odd":{"a":null},"text":"a"}` {
		t.Errorf("kept: %s", s)
	}
	got = c.must(apply, "v1/w", widget("v1", "w", `"spec":{"more":1}`), by("other"))
	if s := part(got, "spec"); s != `{"more":1,"odd":{"a":null},"text":"a"}` {
		t.Errorf("applied: %s", s)
	}
}

// Versions may have their replicas at paths of their own, and their owners there.
func TestScaleInVersions(t *testing.T) {
	version := func(name, stored, field string) string {
		return "  - name: " + name + "\n    served: true\n    storage: " + stored + "\n    subresources: {scale: {specReplicasPath: .spec." + field +
			", statusReplicasPath: .status.x}}\n    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}\n"
	}
	c := newCluster(t, definition(t, version("v1", "true", "one")+version("v2", "false", "two")))
	c.must("create", "v1", widget("v1", "w", `"spec":{"one":1,"two":1}`), by("creator"))
	c.must(merge, "v2/w/scale", `{"spec":{"replicas":2}}`, by("scaler"))
	got := c.must("get", "v1/w", "")
	if s := part(got, "spec"); s != `{"one":1,"two":2}` {
		t.Errorf("scaled: %s", s)
	}
	c.must(merge, "v1/w/scale", `{"spec":{"replicas":3}}`, by("scaler"))
	owners := part(c.must("get", "v1/w", ""), "metadata", "managedFields")
	if !strings.Contains(owners, `"fieldsV1":{"f:spec":{"f:one":{}}},"manager":"scaler","operation":"Update","subresource":"scale"`) || strings.Contains(owners, `{".":{},"f:one"`) {
		t.Errorf("owners: %s", owners)
	}
}
