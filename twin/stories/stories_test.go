package stories

import (
	"slices"
	"strings"
	"testing"

	"github.com/knarr-io/knarr/twin/sample"
	"github.com/knarr-io/knarr/twin/story"
)

func TestStoriesHaveNamesOfTheirOwn(t *testing.T) {
	custom, err := Custom()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, s := range slices.Concat(Features(), custom) {
		if seen[s.Name] {
			t.Errorf("two stories are called %s", s.Name)
		}
		seen[s.Name] = true
	}
}

func TestBadInputsSayWhatIsWrong(t *testing.T) {
	entries, err := badFiles.ReadDir("bad")
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, entry := range entries {
		inputs, err := readBad(entry.Name())
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, input := range inputs {
			count++
			if input.Why == "" || seen[input.Why] {
				t.Errorf("%s: %q is said twice, or nothing is", entry.Name(), input.Why)
			}
			seen[input.Why] = true
			if (input.Of == "") == (input.Request == "") {
				t.Errorf("%s: %s: either a resource or a request", entry.Name(), input.Why)
			}
			if input.Of != "" && input.With == nil && input.Update == nil {
				t.Errorf("%s: %s: nothing is bad", entry.Name(), input.Why)
			}
		}
	}
	if count < 300 {
		t.Errorf("only %d bad inputs", count)
	}
}

func TestMergedLeavesBoth(t *testing.T) {
	o, patch := object{"a": object{"b": 1, "c": 2}, "d": 3}, object{"a": object{"b": nil, "e": 4}, "d": []any{5}}
	if got, want := sample.Text(merged(o, patch)), `{"a":{"c":2,"e":4},"d":[5]}`; got != want {
		t.Errorf("merged to %s, want %s", got, want)
	}
	if got := sample.Text(o) + sample.Text(patch); got != `{"a":{"b":1,"c":2},"d":3}{"a":{"b":null,"e":4},"d":[5]}` {
		t.Errorf("the originals became %s", got)
	}
}

func TestBadDefinitionsSayWhatIsWrong(t *testing.T) {
	entries, err := definitionFiles.ReadDir("definitions")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		bad, err := readDefinitions(entry.Name())
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, b := range bad {
			if b.Why == "" || seen[b.Why] {
				t.Errorf("%s: %q is said twice, or nothing is", entry.Name(), b.Why)
			}
			seen[b.Why] = true
		}
	}
}

func TestADefinitionIsCompleted(t *testing.T) {
	c := newCustom(&story.Session{Namespace: "story-7"}, `{versions: [{name: v1, properties: {a: {type: string}}}, {name: v2, served: false}]}`)
	want := `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"widgets.story-7.example.com"},` +
		`"spec":{"group":"story-7.example.com","names":{"kind":"Widget","listKind":"WidgetList","plural":"widgets","singular":"widget"},"scope":"Namespaced",` +
		`"versions":[{"name":"v1","schema":{"openAPIV3Schema":{"properties":{"a":{"type":"string"}},"type":"object"}},"served":true,"storage":true},` +
		`{"name":"v2","served":false,"storage":false}]}}`
	if got := sample.Text(c.definition); got != want {
		t.Errorf("completed to %s", got)
	}
	for version, path := range map[string]string{c.in("v1"): "/apis/story-7.example.com/v1/namespaces/story-7/widgets", c.all("v2"): "/apis/story-7.example.com/v2/widgets"} {
		if version != path {
			t.Errorf("%s is not %s", version, path)
		}
	}
	o := c.object("v1", "a", `{metadata: {labels: {a: b}}, spec: {c: null}}`)
	if got := sample.Text(o); got != `{"apiVersion":"story-7.example.com/v1","kind":"Widget","metadata":{"labels":{"a":"b"},"name":"a"},"spec":{"c":null}}` {
		t.Errorf("the object is %s", got)
	}
}

func TestBadDefinitionsLeaveTheGoodOne(t *testing.T) {
	good := newCustom(&story.Session{Namespace: "story-7"}, minimalDefinition).definition
	before := sample.Text(good)
	b := badDefinition{Metadata: object{"name": nil}, Spec: object{"scope": "Other"}, Version: object{"served": nil}, Field: object{"type": "text"}}
	bad := sample.Text(b.of(good))
	for _, part := range []string{`"metadata":{}`, `"scope":"Other"`, `"field":{"type":"text"}`} {
		if !strings.Contains(bad, part) {
			t.Errorf("no %s in %s", part, bad)
		}
	}
	if strings.Contains(bad, "served") || sample.Text(good) != before {
		t.Errorf("made bad: %s, of %s", bad, sample.Text(good))
	}
}

func TestAdmissionCasesAreRead(t *testing.T) {
	cases := 0
	for _, dir := range []string{"admission", "admission-off"} {
		entries, err := admissionFiles.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			requests, err := readAdmission(dir + "/" + entry.Name())
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range requests {
				if r.Why != "" {
					cases++
				}
			}
		}
	}
	if cases < 100 {
		t.Errorf("there are %d cases of admission", cases)
	}
}
