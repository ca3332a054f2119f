package ownership_test

import (
	"encoding/json"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/knarr-io/knarr/internal/ownership"
)

// What the writer of a custom object owns, by its schema or without one: after
// its creation, and what another owns after a change.
func TestCustom(t *testing.T) {
	w := newWidgets(t)
	for _, c := range []struct {
		name          string
		schemaless    bool
		before, after string // the spec
		created       string // fields of who created it, after the change
		changed       string // and of who changed it
	}{
		{
			name:    "items by keys, one of them by default",
			before:  `{"items":[{"port":2,"value":"a"},{"name":"y","port":1}]}`,
			after:   `{"items":[{"name":"y","port":1},{"name":"x","port":2,"value":"b"}]}`,
			created: `{"f:spec":{".":{},"f:items":{".":{},"k:{\"name\":\"x\",\"port\":2}":{".":{},"f:port":{}},"k:{\"name\":\"y\",\"port\":1}":{".":{},"f:name":{},"f:port":{}}}}}`,
			changed: `{"f:spec":{"f:items":{"k:{\"name\":\"x\",\"port\":2}":{"f:name":{},"f:value":{}}}}}`,
		},
		{
			name: "a set", before: `{"set":["b","a"],"numbers":[10,2]}`, after: `{"set":["c","b"],"numbers":[2,3]}`,
			created: `{"f:spec":{".":{},"f:numbers":{".":{},"v:2":{}},"f:set":{".":{},"v:\"b\"":{}}}}`,
			changed: `{"f:spec":{"f:numbers":{"v:3":{}},"f:set":{"v:\"c\"":{}}}}`,
		},
		{
			name:    "what is owned as a whole",
			before:  `{"atomicList":[{"name":"a"}],"atomicMap":{"text":"t","items":[{"name":"a"}]}}`,
			after:   `{"atomicList":[{"name":"b"}],"atomicMap":{"text":"u"}}`,
			created: `{"f:spec":{}}`,
			changed: `{"f:spec":{"f:atomicList":{},"f:atomicMap":{}}}`,
		},
		{
			name:    "unknown fields",
			before:  `{"free":{"a":{"b":1,"c":[1,2]}},"embedded":{"set":["a"],"other":{"a":null}}}`,
			after:   `{"free":{"a":{"b":2,"c":[1,2]}},"embedded":{"set":["a"],"other":{"a":{}}}}`,
			created: `{"f:spec":{".":{},"f:embedded":{".":{},"f:other":{},"f:set":{".":{},"v:\"a\"":{}}},"f:free":{".":{},"f:a":{".":{},"f:c":{}}}}}`,
			changed: `{"f:spec":{"f:embedded":{"f:other":{"f:a":{}}},"f:free":{"f:a":{"f:b":{}}}}}`,
		},
		{
			name:    "deep",
			before:  `{"items":[{"port":1,"deep":{"text":"t","labels":{"a":{"text":"x"}}}}]}`,
			after:   `{"items":[{"port":1,"deep":{"labels":{"a":{"text":"y"},"b":{}}}}]}`,
			created: `{"f:spec":{".":{},"f:items":{".":{},"k:{\"name\":\"x\",\"port\":1}":{".":{},"f:deep":{".":{},"f:labels":{".":{},"f:a":{}}},"f:port":{}}}}}`,
			changed: `{"f:spec":{"f:items":{"k:{\"name\":\"x\",\"port\":1}":{"f:deep":{"f:labels":{"f:a":{"f:text":{}},"f:b":{}}}}}}}`,
		},
		{
			name: "no schema", schemaless: true,
			before: `{"list":[{"name":"a"}],"map":{"a":{"b":1},"c":"d"},"same":1}`, after: `{"list":[{"name":"b"}],"map":{"a":{"b":"1"}},"same":1.0}`,
			created: `{"f:spec":{".":{},"f:map":{".":{},"f:a":{}},"f:same":{}}}`,
			changed: `{"f:spec":{"f:list":{},"f:map":{"f:a":{"f:b":{}}}}}`,
		},
		{
			name:    "duplicates",
			before:  `{"set":["a","a","b"],"items":[{"port":1}]}`,
			after:   `{"set":["a","b","b"],"items":[{"port":1},{"port":1,"value":"v"}]}`,
			created: `{"f:spec":{".":{},"f:items":{},"f:set":{}}}`,
			changed: `{"f:spec":{"f:items":{"k:{\"name\":\"x\",\"port\":1}":{}},"f:set":{"v:\"a\"":{},"v:\"b\"":{}}}}`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			theirs, ours := w.managers(t, new(ownership.Managers), widgetManager{"v1", c.schemaless, false})
			live := widget(t, `{}`)
			delete(live.Object, "spec")
			obj := widget(t, c.before)
			want := theirs.UpdateNoErrors(live.DeepCopy(), obj.DeepCopy(), "creator").(*unstructured.Unstructured)
			if !ownership.Direct(ours, live, obj, "creator") {
				t.Fatal("upstream's manager is needed")
			}
			same(t, obj, want)
			obj.SetUID("u")
			changed := obj.DeepCopy()
			changed.Object["spec"] = widget(t, c.after).Object["spec"]
			want = theirs.UpdateNoErrors(obj.DeepCopy(), changed.DeepCopy(), "changer").(*unstructured.Unstructured)
			if !ownership.Direct(ours, obj, changed, "changer") {
				t.Fatal("upstream's manager is needed")
			}
			same(t, changed, want)
			fields := map[string]string{}
			for _, entry := range changed.GetManagedFields() {
				fields[entry.Manager] = entry.FieldsV1.GetRawString()
			}
			if fields["creator"] != c.created || fields["changer"] != c.changed {
				t.Errorf("owners are\n%s\n%s\nwant\n%s\n%s", fields["creator"], fields["changer"], c.created, c.changed)
			}
		})
	}
}

func same(t *testing.T, got, want *unstructured.Unstructured) {
	t.Helper()
	(&pair{t: t}).compare(got, want)
}

// widget is an object with a spec given in JSON.
func widget(t *testing.T, spec string) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	if err := json.Unmarshal([]byte(`{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"it"},"spec":`+spec+`}`), u); err != nil {
		t.Fatal(err)
	}
	return u
}
